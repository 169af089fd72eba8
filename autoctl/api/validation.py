"""Validation and defaulting of manifests without an API server: same verdict, same words."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from autoctl.api.core_validation import validate_core
from autoctl.api.crd import MODELS
from autoctl.api.go_values import go_text, go_type
from autoctl.api.meta import CustomResource
from autoctl.api.metadata_validation import metadata_errors, undecodable, unknown_metadata
from autoctl.api.schema import structural_schema
from autoctl.api.selector_validation import mapping
from autoctl.api.structural import (
    MISSING,
    FieldError,
    unknown_fields,
    validate,
    with_defaults,
)

__all__ = ["FieldError", "apply_defaults", "find_model", "validate_core", "validate_manifest"]

_MOST_REPLICAS: Final = 2**31 - 1
_KINDS: Final = {(f"{model.GROUP}/{model.VERSION}", model.KIND): model for model in MODELS}


@cache
def find_model(api_version: str, kind: str) -> type[CustomResource] | None:
    """The model of a custom resource; None when this project defines none of that name."""
    return _KINDS.get((api_version, kind))


def apply_defaults(obj: dict[str, Any], stored: dict[str, Any] | None = None) -> dict[str, Any]:
    """A copy of a custom resource as the API server would store it: defaulted and pruned.

    Parts of `stored`, what the API server has already, are complete: `obj` shares them as they are.

    Raises:
        KeyError: not one of this project's custom resources.
    """
    model = _model(obj)
    metadata = {k: v for k, v in mapping(obj["metadata"]).items() if v is not None}
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    kept = {} if stored is None else _shared(obj, stored)
    body = {key: value for key, value in obj.items() if key not in head and key not in kept}
    completed: dict[str, Any] = with_defaults(body, _schema_without(model, frozenset(kept)))
    return head | kept | completed


def validate_manifest(
    obj: dict[str, Any], old: dict[str, Any] | None = None, *, strict: bool = True
) -> list[FieldError]:
    """What the API server would say against an object; nothing when it is accepted.

    Custom resources are judged by schema and rules, Kubernetes' own kinds by `validate_core`. With
    `old`, the object before an update, transition rules hold too and what was wrong before and is
    unchanged passes. `strict` refuses unknown fields, as kubectl does by default.
    """
    model = find_model(obj.get("apiVersion", ""), obj.get("kind", ""))
    if model is None:
        return validate_core(obj)
    schema = _body_schema(model)
    body = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}
    metadata = body.pop("metadata", None)
    unreadable = undecodable(metadata)
    if unreadable is not None:
        return [unreadable]
    if strict:
        unknown = [*unknown_metadata(metadata), *unknown_fields(body, schema)]
        if unknown:
            return [FieldError(path, f'unknown field "{path}"') for path in unknown]
    named = list(metadata_errors(mapping(metadata)))
    scale = _scale_errors(body) if model.SCALE is not None else []
    if old is None:
        return validate(with_defaults(body, schema), schema, MISSING, named) + scale
    # What is the very same has not changed, and what has not changed passes.
    schema = _schema_without(model, frozenset(_shared(obj, old)))
    before, after = (
        {key: value for key, value in each.items() if key in schema["properties"]}
        for each in (old, obj)
    )
    completed = with_defaults(after, schema)
    return validate(completed, schema, with_defaults(before, schema), named) + scale


def _shared(obj: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The parts besides metadata that both objects have as one and the same value."""
    return {
        key: value
        for key, value in obj.items()
        if isinstance(value, dict) and key != "metadata" and other.get(key) is value
    }


def _scale_errors(body: dict[str, Any]) -> list[FieldError]:
    """What the API server's scale subresource says besides the schema."""
    spec = body.get("spec")
    if spec is not None and not isinstance(spec, dict):
        return [_not_accessible(spec, "map[string]interface{}")]
    replicas = (spec or {}).get("replicas")
    if replicas is None:
        return []
    if go_type(replicas) != "int64":
        return [_not_accessible(replicas, "int64")]
    if replicas < 0:
        detail = "should be a non-negative integer"
    elif replicas > _MOST_REPLICAS:
        detail = f"should be less than or equal to {_MOST_REPLICAS}"
    else:
        return []
    return [FieldError(".spec.replicas", f"Invalid value: {replicas}: {detail}", replicas)]


def _not_accessible(value: Any, expected: str) -> FieldError:
    detail = f"{go_text(value)} is of the type {go_type(value)}, expected {expected}"
    return FieldError(
        ".spec.replicas", f"Invalid value: 0: .spec.replicas accessor error: {detail}", value
    )


def _model(obj: dict[str, Any]) -> type[CustomResource]:
    model = find_model(obj.get("apiVersion", ""), obj.get("kind", ""))
    if model is None:
        raise KeyError(f"{obj.get('apiVersion')} {obj.get('kind')} is no custom resource of ours")
    return model


@cache
def _body_schema(model: type[CustomResource]) -> dict[str, Any]:
    """The schema without what every object has."""
    schema = structural_schema(model)
    properties = {
        name: inner
        for name, inner in schema["properties"].items()
        if name not in {"apiVersion", "kind", "metadata"}
    }
    return schema | {"properties": properties}


@cache
def _schema_without(model: type[CustomResource], parts: frozenset[str]) -> dict[str, Any]:
    """The schema of what is left of an object without these parts."""
    schema = _body_schema(model)
    if not parts:
        return schema
    assert "x-kubernetes-validations" not in schema, "rules of a whole object see all its parts"
    properties = {name: s for name, s in schema["properties"].items() if name not in parts}
    required = [name for name in schema.get("required", ()) if name not in parts]
    return schema | {"properties": properties, "required": required}
