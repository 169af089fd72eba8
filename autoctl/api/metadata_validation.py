"""Checks of an object's metadata, in the API server's words.

Source: `k8s.io/apimachinery` `ValidateObjectMeta`; what cannot be decoded into `v1.ObjectMeta` at
all is told as the API server's decoder tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from autoctl.api import labels
from autoctl.api.go_values import go_type, shown
from autoctl.api.meta import JsonSchema
from autoctl.api.selector_validation import invalid, label_map_errors, mapping, sequence
from autoctl.api.structural import FieldError

_MOST_ANNOTATIONS: Final = 256 * 1024
"""Bytes of all annotations, keys included."""

_STRINGS: Final = "map[string]string"
_FIELDS: Final[Mapping[str, str]] = {
    "name": "string",
    "generateName": "string",
    "namespace": "string",
    "selfLink": "string",
    "uid": "string",
    "resourceVersion": "string",
    "generation": "int64",
    "creationTimestamp": "time",
    "deletionTimestamp": "time",
    "deletionGracePeriodSeconds": "int64",
    "labels": _STRINGS,
    "annotations": _STRINGS,
    "ownerReferences": "[]v1.OwnerReference",
    "finalizers": "[]string",
    "managedFields": "[]v1.ManagedFieldsEntry",
}
_OWNER_FIELDS: Final[Mapping[str, str]] = {
    "apiVersion": "string",
    "kind": "string",
    "name": "string",
    "uid": "string",
    "controller": "bool",
    "blockOwnerDeletion": "bool",
}
_JSON_NAMES: Final[Mapping[str, str]] = {
    "int64": "number",
    "float64": "number",
    "[]interface {}": "array",
    "map[string]interface {}": "object",
}


def metadata_errors(metadata: JsonSchema) -> Iterator[FieldError]:
    """What is wrong with an object's metadata, all fields being of the right type."""
    name, prefix = metadata.get("name", ""), metadata.get("generateName")
    if prefix:
        # What the API server appends makes a last dash or dot a good name.
        for reason in labels.subdomain_errors(_masked(str(prefix))):
            yield invalid("metadata.generateName", prefix, reason)
    if not name and not prefix:
        detail = "name or generateName is required"
        yield FieldError("metadata.name", f"Required value: {detail}", blocks_rules=True)
    elif name:
        for reason in labels.subdomain_errors(str(name)):
            yield invalid("metadata.name", name, reason)
    yield from label_map_errors(metadata.get("labels"), "metadata.labels")
    yield from _annotation_errors(mapping(metadata.get("annotations")))
    yield from _owner_errors(sequence(metadata.get("ownerReferences")))
    yield from _finalizer_errors(sequence(metadata.get("finalizers")))


def unknown_metadata(metadata: Any) -> Iterator[str]:
    """The paths of fields that `v1.ObjectMeta` does not have."""
    for field in mapping(metadata):
        if field not in _FIELDS:
            yield f"metadata.{field}"
    for index, owner in enumerate(sequence(mapping(metadata).get("ownerReferences"))):
        for field in mapping(owner):
            if field not in _OWNER_FIELDS:
                yield f"metadata.ownerReferences[{index}].{field}"


def undecodable(metadata: Any) -> FieldError | None:
    """The first field of another type than `v1.ObjectMeta` has; None when all can be read."""
    if metadata is not None and not isinstance(metadata, dict):
        detail = (
            f"json: cannot unmarshal {_json_name(metadata)} into Go value of type v1.ObjectMeta"
        )
        return FieldError("metadata", detail, metadata)
    for field, value in mapping(metadata).items():
        expected = _FIELDS.get(field)
        wrong = None if expected is None else _mismatch(value, expected)
        if wrong is not None:
            return FieldError(f"metadata.{field}", _told(field, wrong), value)
    return None


def _told(field: str, wrong: tuple[Any, str]) -> str:
    value, expected = wrong
    if expected == "time":
        return f"parsing time {shown(value)}: expected RFC 3339, such as 2006-01-02T15:04:05Z"
    return (
        f"json: cannot unmarshal {_json_name(value)} into Go struct field ObjectMeta.{field} "
        f"of type {expected}"
    )


def _mismatch(value: Any, expected: str) -> tuple[Any, str] | None:
    """The value that cannot be read, itself or inside, and what it should have been."""
    if value is None:
        return None
    if expected == "time":
        return (
            None if _is_time(value) else (value, expected if isinstance(value, str) else "string")
        )
    if expected == _STRINGS:
        if not isinstance(value, dict):
            return value, expected
        return _first(value.values(), "string")
    if expected.startswith("[]"):
        if not isinstance(value, list):
            return value, expected
        if expected == "[]v1.OwnerReference":
            return _first(value, "v1.OwnerReference")
        return _first(value, "string") if expected == "[]string" else None
    if expected == "v1.OwnerReference":
        if not isinstance(value, dict):
            return value, expected
        fields = ((value.get(name), kind) for name, kind in _OWNER_FIELDS.items())
        return next((m for v, kind in fields if (m := _mismatch(v, kind)) is not None), None)
    return None if go_type(value) == expected else (value, expected)


def _first(values: Any, expected: str) -> tuple[Any, str] | None:
    return next((m for v in values if (m := _mismatch(v, expected)) is not None), None)


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or "T" not in value:
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _json_name(value: Any) -> str:
    kind = go_type(value)
    return _JSON_NAMES.get(kind, kind)


def _masked(prefix: str) -> str:
    return f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def _annotation_errors(annotations: JsonSchema) -> Iterator[FieldError]:
    for key in annotations:
        for reason in labels.qualified_name_errors(str(key).lower()):
            yield invalid("metadata.annotations", key, reason)
    size = sum(len(str(k).encode()) + len(str(v).encode()) for k, v in annotations.items())
    if size > _MOST_ANNOTATIONS:
        detail = f"Too long: may not be more than {_MOST_ANNOTATIONS} bytes"
        yield FieldError("metadata.annotations", detail, blocks_rules=True)


def _owner_errors(owners: list[Any]) -> Iterator[FieldError]:
    path = "metadata.ownerReferences"
    controller = None
    for owner in map(mapping, owners):
        version, kind, name = (owner.get(f) or "" for f in ("apiVersion", "kind", "name"))
        if not version or version.count("/") > 1:
            yield invalid(f"{path}.apiVersion", version, "version must not be empty")
        for field, value in (("kind", kind), ("name", name), ("uid", owner.get("uid") or "")):
            if not value:
                yield invalid(f"{path}.{field}", "", "must not be empty")
        if (version, kind) == ("v1", "Event"):
            detail = "/v1, Kind=Event is disallowed from being an owner"
            yield FieldError(path, f"Invalid value: {_owner_text(owner)}: {detail}", owner)
        if not owner.get("controller"):
            continue
        if controller is not None:
            listed = ",".join(_owner_text(mapping(o)) for o in owners)
            detail = (
                'Only one reference can have Controller set to true. Found "true" in references '
                f"for {controller} and {kind}/{name}"
            )
            yield FieldError(path, f"Invalid value: [{listed}]: {detail}", owners)
        else:
            controller = f"{kind}/{name}"


def _owner_text(owner: JsonSchema) -> str:
    parts = (f"{shown(f)}:{shown(owner[f])}" for f in _OWNER_FIELDS if owner.get(f) is not None)
    return f"{{{','.join(parts)}}}"


def _finalizer_errors(finalizers: list[Any]) -> Iterator[FieldError]:
    path = "metadata.finalizers"
    for finalizer in finalizers:
        for reason in labels.qualified_name_errors(str(finalizer)):
            yield invalid(path, finalizer, reason)
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        yield invalid(path, finalizers, detail)
