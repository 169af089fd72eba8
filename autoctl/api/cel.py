"""Evaluates the CRDs' CEL rules in Python, as the API server does.

The `cel` package implements the language; the functions that Kubernetes adds to it and our rules
use are registered here: `find`, `replace`, `quantity` and its comparisons.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final

import cel

from autoctl.api.meta import JsonSchema, cel_name
from autoctl.api.quantity import parse_quantity


class CelError(Exception):
    """A rule could not be evaluated; the API server refuses the object then."""


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


def _quantity(text: str) -> str:
    """The quantity itself, checked; comparisons parse it again (cached)."""
    parse_quantity(text)
    return text


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "find": _find,
    "replace": lambda text, old, new: text.replace(old, new),
    "quantity": _quantity,
    "isGreaterThan": lambda left, right: parse_quantity(left) > parse_quantity(right),
    "isLessThan": lambda left, right: parse_quantity(left) < parse_quantity(right),
}

_NO_OLD: Final = object()


@cache
def _program(rule: str) -> Any:
    return cel.compile(rule)


@cache
def uses_old_self(rule: str) -> bool:
    """Whether the rule compares with the object before the change (a transition rule)."""
    return re.search(r"\boldSelf\b", rule) is not None


def holds(rule: str, value: Any, old: Any = _NO_OLD) -> bool:
    """Whether `value` (from `cel_value`) obeys the rule.

    Raises:
        CelError: the rule has no boolean value for it.
    """
    if isinstance(value, str) and old is _NO_OLD:
        return _text_holds(rule, value)
    variables = {"self": value}
    if old is not _NO_OLD:
        variables["oldSelf"] = old
    return _evaluate(rule, variables)


@lru_cache(maxsize=16384)
def _text_holds(rule: str, text: str) -> bool:
    """As `holds`; the label keys of a cluster's NodeClaims are few and come again and again."""
    return _evaluate(rule, {"self": text})


def _evaluate(rule: str, variables: dict[str, Any]) -> bool:
    try:
        result = _program(rule).execute(cel.Context(variables, FUNCTIONS))
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise CelError(str(error)) from error
    if not isinstance(result, bool):
        raise CelError(f"rule {rule!r} gave {result!r}, not a boolean")
    return result


def cel_value(value: Any, schema: JsonSchema) -> Any:
    """`value` as rules see it: property names escaped as Kubernetes escapes them."""
    if isinstance(value, dict):
        properties = schema.get("properties")
        if properties is not None:
            return {
                cel_name(name): cel_value(item, properties[name])
                for name, item in value.items()
                if name in properties
            }
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            return {name: cel_value(item, extra) for name, item in value.items()}
        return value
    if isinstance(value, list):
        return [cel_value(item, schema.get("items", {})) for item in value]
    return value
