"""Judges and completes objects by a structural schema, in the API server's order and words.

Messages are those of `k8s.io/kube-openapi` and `k8s.io/apiextensions-apiserver`: what
`kubectl apply` would print for the field.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, Final

from autoctl.api.cel import CelError, cel_value, holds, uses_old_self
from autoctl.api.go_values import INT64, go_float, shown
from autoctl.api.meta import JsonSchema

MISSING: Final = object()
_EXACT: Final = 2**53 - 1
"""Whole numbers that JSON's floating point holds exactly; greater ones are no integers there."""

_TIME: Final = re.compile(
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})"
)
_BLOCKED = (
    "some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation"
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with an object.

    `message` is the body of the API server's cause, such as
    `Invalid value: 101: spec.weight in body should be less than or equal to 100`.
    """

    field: str
    message: str
    value: Any = None
    blocks_rules: bool = False
    """Whether the API server leaves CEL rules out because of it."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def unknown_fields(value: Any, schema: JsonSchema, path: str = "") -> Iterator[str]:
    """The paths of fields that the schema doesn't have and pruning would drop."""
    if isinstance(value, dict):
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        for name, item in value.items():
            place = f"{path}.{name}" if path else name
            if name in properties:
                yield from unknown_fields(item, properties[name], place)
            elif isinstance(extra, dict):
                yield from unknown_fields(item, extra, place)
            elif not extra:
                yield place
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema.get("items", {}), f"{path}[{index}]")


def with_defaults(value: Any, schema: JsonSchema) -> Any:
    """A copy of `value` with the schema's defaults filled in and unknown fields pruned."""
    if isinstance(value, dict):
        properties: JsonSchema | None = schema.get("properties")
        extra = schema.get("additionalProperties")
        if properties is None:
            if not isinstance(extra, dict):
                return copy.deepcopy(value)
            return {
                name: with_defaults(item, extra)
                for name, item in value.items()
                if not _absent(item, extra)
            }
        result = {}
        for name, item in value.items():
            if name in properties and not _absent(item, properties[name]):
                result[name] = with_defaults(item, properties[name])
        for name, inner in properties.items():
            if name not in result and "default" in inner:
                result[name] = with_defaults(inner["default"], inner)
        return result
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def _absent(value: Any, schema: JsonSchema) -> bool:
    """Whether the API server takes a field for absent: null where the schema does not allow it."""
    return value is None and not schema.get("nullable")


def validate(
    value: Any, schema: JsonSchema, old: Any = MISSING, known: Sequence[FieldError] = ()
) -> list[FieldError]:
    """What the API server would find wrong with `value`, complete with defaults.

    `known` is what is wrong beside it (with the object's metadata), which comes first.

    `old` is the object before an update: transition rules compare with it, and what was wrong
    already and is unchanged is let pass (ratcheting).
    """
    errors = [*known, *_check(value, schema, "", old)]
    if any(error.blocks_rules for error in errors):
        return [*errors, FieldError("<nil>", f"Invalid value: null: {_BLOCKED}")]
    errors += _check_rules(value, schema, "", old)
    return errors


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer" if -INT64 <= value < INT64 else "number"
        case float():
            return "integer" if value.is_integer() and abs(value) <= _EXACT else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _type_matches(value: Any, expected: str) -> bool:
    actual = _type_of(value)
    return actual == expected or (expected == "number" and actual == "integer")


def _invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, f"Invalid value: {shown(value)}: {detail}", value)


def _check(value: Any, schema: JsonSchema, path: str, old: Any) -> Iterator[FieldError]:
    if old is not MISSING and old == value:
        return
    yield from _check_enum(value, schema, path)
    if schema.get("x-kubernetes-int-or-string"):
        if _type_of(value) not in {"integer", "string"}:
            yield _wrong_type(value, "integer,string", path)
            yield _wrong_type(value, "integer", path)
            yield FieldError(
                "<nil>",
                f'Invalid value: "": "{path}" must validate at least one schema (anyOf)',
                value,
            )
            return
    elif not _type_matches(value, schema["type"]):
        yield _wrong_type(value, schema["type"], path)
        if schema["type"] == "integer" and _type_of(value) == "number":
            yield from _check_number(value, schema, path)
        return
    if isinstance(value, str):
        yield from _check_string(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_object(value, schema, path, old)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path, old)
    elif not isinstance(value, bool):
        yield from _check_number(value, schema, path)


def _check_enum(value: Any, schema: JsonSchema, path: str) -> Iterator[FieldError]:
    if "enum" not in schema or value in schema["enum"]:
        return
    supported = ", ".join(shown(choice) for choice in schema["enum"])
    yield FieldError(
        path,
        f"Unsupported value: {shown(value)}: supported values: {supported}",
        value,
        blocks_rules=True,
    )


def _wrong_type(value: Any, expected: str, path: str) -> FieldError:
    actual = _type_of(value)
    detail = f'{path} in body must be of type {expected}: "{actual}"'
    return FieldError(path, f'Invalid value: "{actual}": {detail}', value, blocks_rules=True)


def _check_string(value: str, schema: JsonSchema, path: str) -> Iterator[FieldError]:
    """The first thing wrong with a string; the API server stops there too."""
    limit, least = schema.get("maxLength"), schema.get("minLength")
    pattern = schema.get("pattern")
    if limit is not None and len(value) > limit:
        yield FieldError(
            path, f"Too long: may not be more than {limit} bytes", value, blocks_rules=True
        )
    elif least is not None and len(value) < least:
        yield _invalid(path, value, f"{path} in body should be at least {least} chars long")
    elif pattern is not None and not _regex(pattern).search(value):
        yield _invalid(path, value, f"{path} in body should match '{pattern}'")
    elif schema.get("format") == "date-time" and not _is_date_time(value):
        detail = f"{path} in body must be of type date-time: {shown(value)}"
        yield FieldError(path, f"Invalid value: {shown(value)}: {detail}", value, blocks_rules=True)


def _is_date_time(value: str) -> bool:
    """As `k8s.io/kube-openapi` `strfmt.IsDateTime` reads the format."""
    day, _, time = value.lower().partition("t")
    found = _TIME.fullmatch(time)
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    if len(day) != len("2006-01-02") or found is None:
        return False
    hour, minute, second = (int(found[part]) for part in (1, 2, 3))
    return hour <= 23 and minute <= 59 and second <= 59


def _check_number(value: float, schema: JsonSchema, path: str) -> Iterator[FieldError]:
    text = str if _type_of(value) == "integer" else go_float
    if value < schema.get("minimum", value):
        least = text(schema["minimum"])
        yield _invalid(path, value, f"{path} in body should be greater than or equal to {least}")
    if value > schema.get("maximum", value):
        most = text(schema["maximum"])
        yield _invalid(path, value, f"{path} in body should be less than or equal to {most}")
    divisor = schema.get("multipleOf")
    if divisor is not None and value % divisor:
        yield _invalid(path, value, f"{path} in body should be a multiple of {divisor}")


def _check_object(
    value: dict[str, Any], schema: JsonSchema, path: str, old: Any
) -> Iterator[FieldError]:
    if len(value) > schema.get("maxProperties", len(value)):
        limit = schema["maxProperties"]
        yield FieldError(
            path,
            f"Too many: {len(value)}: must have at most {limit} items",
            value,
            blocks_rules=True,
        )
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield FieldError(_join(path, name), "Required value", blocks_rules=True)
    extra = schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            place, inner = _join(path, name), properties[name]
        elif isinstance(extra, dict):
            place, inner = _join(path, name), extra
        else:
            continue
        yield from _check(item, inner, place, _old_item(old, name))


def _check_list(value: list[Any], schema: JsonSchema, path: str, old: Any) -> Iterator[FieldError]:
    if len(value) > schema.get("maxItems", len(value)):
        limit = schema["maxItems"]
        yield FieldError(
            path,
            f"Too many: {len(value)}: must have at most {limit} items",
            value,
            blocks_rules=True,
        )
    if len(value) < schema.get("minItems", 0):
        least = schema["minItems"]
        # The API server names the length there, not the value.
        yield _invalid(path, len(value), f"{path} in body should have at least {least} items")
    items = schema.get("items", {})
    before = _correlated(schema, old)
    for index, item in enumerate(value):
        yield from _check(item, items, f"{path}[{index}]", before(item))
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map":
        for index, item in enumerate(value):
            if item is not None and not isinstance(item, dict):
                detail = "must be an object for an array of list-type map"
                yield _invalid(f"{path}[{index}]", item, detail)
                return
    if kind in {"set", "map"}:
        seen: list[Any] = []
        for index, item in enumerate(value):
            identity = item if kind == "set" else _identity(item, schema)
            if identity in seen:
                yield FieldError(f"{path}[{index}]", f"Duplicate value: {shown(identity)}", item)
            seen.append(identity)


def _identity(item: Any, schema: JsonSchema) -> Any:
    if not isinstance(item, dict):
        return item
    return {key: item[key] for key in schema["x-kubernetes-list-map-keys"] if key in item}


def _correlated(schema: JsonSchema, old: Any) -> Any:
    """A function from an item to its old self: by key in map lists, by equality otherwise."""
    if not isinstance(old, list):
        return lambda _item: MISSING
    if schema.get("x-kubernetes-list-type") == "map":
        before = [(_identity(item, schema), item) for item in old]
        return lambda item: next(
            (entry for key, entry in before if key == _identity(item, schema)), MISSING
        )
    return lambda item: item if item in old else MISSING


def _old_item(old: Any, name: str) -> Any:
    return old.get(name, MISSING) if isinstance(old, dict) else MISSING


def _check_rules(value: Any, schema: JsonSchema, path: str, old: Any) -> Iterator[FieldError]:
    if not _has_rules(schema):
        return
    entries = schema.get("x-kubernetes-validations", ())
    if entries and (old is MISSING or old != value):
        yield from _check_own_rules(value, entries, schema, path, old)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        for name, item in value.items():
            inner = properties.get(name, extra)
            if isinstance(inner, dict):
                yield from _check_rules(item, inner, _join(path, name), _old_item(old, name))
    elif isinstance(value, list):
        before = _correlated(schema, old)
        for index, item in enumerate(value):
            yield from _check_rules(item, schema.get("items", {}), f"{path}[{index}]", before(item))


def _check_own_rules(
    value: Any, entries: list[JsonSchema], schema: JsonSchema, path: str, old: Any
) -> Iterator[FieldError]:
    seen = cel_value(value, schema)
    for entry in entries:
        rule, message = entry["rule"], entry["message"]
        transition = uses_old_self(rule)
        if transition and old is MISSING:
            continue
        try:
            obeyed = holds(rule, seen, cel_value(old, schema)) if transition else holds(rule, seen)
        except CelError as error:
            obeyed, message = False, f"{error} evaluating rule: {message}"
        if not obeyed:
            yield FieldError(
                path or "<nil>", f'Invalid value: "{schema["type"]}": {message}', value
            )


_RULED: Final[dict[int, tuple[JsonSchema, bool]]] = {}
"""Schema's identity -> the schema, held so that the identity stays its own, and whether rules are
in it or below."""


def _has_rules(schema: JsonSchema) -> bool:
    known = _RULED.get(id(schema))
    if known is None:
        below = [*schema.get("properties", {}).values(), schema.get("items", {})]
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            below.append(extra)
        ruled = "x-kubernetes-validations" in schema or any(
            _has_rules(inner) for inner in below if inner
        )
        known = _RULED[id(schema)] = (schema, ruled)
    return known[1]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    """The pattern with Go's meaning of `$`: the end of the text, not before a last newline."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))
