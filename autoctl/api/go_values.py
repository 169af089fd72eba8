"""Decoded JSON as Go has it: types, and values as the API server's messages print them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

INT64: Final = 2**63


def go_type(value: Any) -> str:
    """The Go type that a decoded JSON value has."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int64" if -INT64 <= value < INT64 else "float64"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case dict():
            return "map[string]interface {}"
        case _:
            return "<nil>"


def go_text(value: Any) -> str:
    """A decoded JSON value as Go prints it with `%v`."""
    match value:
        case str():
            return value
        case list():
            return f"[{' '.join(map(go_text, value))}]"
        case dict():
            return f"map[{' '.join(f'{k}:{go_text(v)}' for k, v in sorted(value.items()))}]"
        case None:
            return "<nil>"
        case bool():
            return shown(value)
        case float():
            return go_float(value)
        case _:
            return str(value) if go_type(value) == "int64" else go_float(value)


def go_float(value: float) -> str:
    """The shortest decimal form, with an exponent from a million on."""
    digits = Decimal(repr(float(value)))
    exponent = digits.adjusted()
    if value and not -4 <= exponent < 6:
        mantissa = digits.scaleb(-exponent).normalize()
        return f"{mantissa}e{exponent:+03d}"
    return f"{digits.normalize():f}"


def shown(value: Any) -> str:
    """A value as the API server prints it in an error."""
    if isinstance(value, int) and not -INT64 <= value < INT64:
        value = float(value)
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
