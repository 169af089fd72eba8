"""PATCH: merge, JSON, strategic and (simplified) server-side apply, all copy-on-write.

No function changes its arguments: unchanged parts of the result are shared with the original,
because stored objects are immutable by convention.

Server-side apply keeps no managed fields. It merges like a strategic patch, so that lists with
known keys are merged by key and other lists are replaced; fields that an earlier apply of the same
manager set and this one leaves out stay. Strategic merge knows the list keys below (from the
`patchMergeKey` tags of the API types) and the `$patch: delete` directive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from autoctl.ports.kubernetes import BadRequest, Invalid, Object, PatchType

_LIST_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "taints": ("key", "effect"),
    "startupTaints": ("key", "effect"),
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "protocol"),
    "addresses": ("type",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "schedulingGates": ("name",),
    "drivers": ("name",),
    "containerStatuses": ("name",),
}
_SET_LISTS: Final = frozenset({"finalizers"})


def apply_patch(obj: Object, patch: Object | Sequence[Object], patch_type: PatchType) -> Object:
    """The patched object. Raises `BadRequest` or `Invalid` for a patch that does not fit."""
    if patch_type is PatchType.JSON:
        if isinstance(patch, Mapping):
            raise BadRequest("error decoding patch: a JSON patch is an array of operations")
        return json_patch(obj, patch)
    if not isinstance(patch, Mapping):
        raise BadRequest("error decoding patch: expected an object")
    result = merge(obj, patch) if patch_type is PatchType.MERGE else strategic(obj, patch)
    assert isinstance(result, dict)
    return result


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, `null` removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target: Any, patch: Any, *, field: str = "") -> Any:
    """Merge patch, but lists with known keys merge item by item and set lists unite."""
    if isinstance(patch, Mapping):
        if patch.get("$patch") == "replace":
            return {k: v for k, v in patch.items() if k != "$patch"}
        result = dict(target) if isinstance(target, Mapping) else {}
        for key, value in patch.items():
            if key.startswith("$"):
                continue
            if value is None:
                result.pop(key, None)
            else:
                result[key] = strategic(result.get(key), value, field=key)
        for key, removed in patch.items():
            if key.startswith("$deleteFromPrimitiveList/"):
                name = key.partition("/")[2]
                result[name] = [v for v in result.get(name) or () if v not in removed]
        return result
    if isinstance(patch, list):
        current = target if isinstance(target, list) else []
        if field in _SET_LISTS:
            return [*current, *(v for v in patch if v not in current)]
        if field in _LIST_KEYS and all(isinstance(v, Mapping) for v in patch):
            return _merge_list(current, patch, _LIST_KEYS[field])
    return patch


def _merge_list(current: list[Any], patch: list[Any], keys: tuple[str, ...]) -> list[Any]:
    def identity(item: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in keys)

    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    merged = {identity(item): item for item in current}
    for item in patch:
        key = identity(item)
        if item.get("$patch") == "delete":
            # A delete directive may leave out trailing keys: it removes every item it matches.
            given = [(i, k) for i, k in enumerate(keys) if k in item]
            for known in [k for k in merged if all(k[i] == item[name] for i, name in given)]:
                del merged[known]
        else:
            merged[key] = strategic(merged.get(key), item)
    return list(merged.values())


def json_patch(obj: Object, operations: Sequence[Object]) -> Object:
    """RFC 6902. A failed `test` or a missing path is `Invalid`, as the API server answers."""
    document: Any = obj
    for operation in operations:
        kind, path = operation.get("op"), _pointer(operation.get("path", ""))
        if kind == "test":
            if _lookup(document, path) != operation.get("value"):
                raise Invalid(f"testing value {operation.get('path')} failed: test failed")
        elif kind in ("add", "replace"):
            if kind == "replace":
                _lookup(document, path)
            document = _set(document, path, operation.get("value"), insert=kind == "add")
        elif kind == "remove":
            document = _remove(document, path)
        elif kind in ("move", "copy"):
            source = _pointer(operation["from"])
            value = _lookup(document, source)
            if kind == "move":
                document = _remove(document, source)
            document = _set(document, path, value, insert=True)
        else:
            raise BadRequest(f"Unexpected kind: {kind}")
    if not isinstance(document, dict):
        raise Invalid("the patch does not leave an object")
    return document


def _pointer(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise BadRequest(f"invalid JSON pointer {path!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _index(container: list[Any], part: str, *, insert: bool = False) -> int:
    if part == "-" and insert:
        return len(container)
    limit = len(container) + (1 if insert else 0)
    if not part.isdigit() or int(part) >= limit:
        raise Invalid(f"unable to access invalid index: {part}")
    return int(part)


def _lookup(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(document, part)]
        elif isinstance(document, Mapping) and part in document:
            document = document[part]
        else:
            raise Invalid(f"missing value at path /{'/'.join(path)}")
    return document


def _set(document: Any, path: Sequence[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(document, list):
        copy = list(document)
        if rest:
            index = _index(copy, head)
            copy[index] = _set(copy[index], rest, value, insert=insert)
        elif insert:
            copy.insert(_index(copy, head, insert=True), value)
        else:
            copy[_index(copy, head)] = value
        return copy
    if not isinstance(document, Mapping) or (rest and head not in document):
        raise Invalid(f"doc is missing path: /{'/'.join(path)}")
    return {**document, head: _set(document.get(head), rest, value, insert=insert)}


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise Invalid("cannot remove the whole document")
    head, rest = path[0], path[1:]
    if isinstance(document, list):
        index = _index(document, head)
        if rest:
            return [*document[:index], _remove(document[index], rest), *document[index + 1 :]]
        return [*document[:index], *document[index + 1 :]]
    if not isinstance(document, Mapping) or head not in document:
        raise Invalid(f"Unable to remove nonexistent key: {head}")
    if rest:
        return {**document, head: _remove(document[head], rest)}
    return {k: v for k, v in document.items() if k != head}
