"""`resource.Quantity` as Kubernetes parses, rounds and prints it.

A quantity is kept as an exact integer of *nano-units* (10^-9), the finest step Kubernetes
represents. Rounding is away from zero everywhere, as `Quantity.Value()` and
`Quantity.MilliValue()` do it: asking for any part of a unit asks for the whole unit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, TypeAlias

QuantityValue: TypeAlias = str | int | float
"""What a manifest may hold: `"500m"`, `"1.5Gi"`, `2`, `0.5`."""

Format: TypeAlias = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

NANO = 1
MICRO = 10**3
MILLI = 10**6
WHOLE = 10**9

MAX = (2**63 - 1) * WHOLE
"""The largest quantity; anything above is cut to it (`resource.ParseQuantity`)."""

QUANTITY_PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
"""The pattern that generated CRDs carry for quantities."""

_DECIMAL_EXPONENTS = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY_EXPONENTS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?P<suffix>[KMGTPE]i|[eE][+-]?[0-9]+|[numkMGTPE]?)"
)
_EXPONENT_LIMIT = 64
"""Beyond 10^±64 a value is the maximum or the smallest step whatever its digits are, up to the
length of digits that a manifest can hold."""


class QuantityError(ValueError):
    """A value that Kubernetes would not accept as a quantity."""

    def __init__(self, value: object) -> None:
        super().__init__(
            f"quantity {value!r} is not valid: expected a number with an optional suffix "
            "n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent such as e3"
        )
        self.value = value


def parse_quantity(value: QuantityValue) -> int:
    """The quantity in nano-units.

    Raises:
        QuantityError: not a quantity.
    """
    if isinstance(value, str):
        return _parse(value)[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(value)
    return _parse(repr(value))[0]


def milli(value: QuantityValue) -> int:
    """The quantity in thousandths, rounded away from zero: `"1.5"` is 1500, `"1u"` is 1."""
    return _divide_up(parse_quantity(value), MILLI)


def whole(value: QuantityValue) -> int:
    """The quantity in units, rounded away from zero: `"1500m"` is 2, `"1Ki"` is 1024."""
    return _divide_up(parse_quantity(value), WHOLE)


def canonical(value: QuantityValue) -> str:
    """The value as the API server writes it back: `"0.5"` is `"500m"`, `"2048Mi"` is `"2Gi"`.

    Raises:
        QuantityError: not a quantity.
    """
    nano, form = _parse(value if isinstance(value, str) else repr(value))
    return format_quantity(nano, form)


def format_quantity(nano: int, form: Format = "DecimalSI") -> str:
    """Nano-units in canonical form: no fraction, no lost precision, the largest suffix.

    Binary form falls back to decimal for values below 1024 or with a fraction, as Kubernetes does.
    """
    if nano == 0:
        return "0"
    if form == "BinarySI" and abs(nano) >= 1024 * WHOLE and nano % WHOLE == 0:
        number, suffix = nano // WHOLE, ""
        for name in _BINARY_EXPONENTS:
            if number % 1024:
                break
            number, suffix = number // 1024, name
        return f"{number}{suffix}"
    number, exponent = nano, -9
    while number % 1000 == 0 and exponent < 18:
        number, exponent = number // 1000, exponent + 3
    if form == "DecimalExponent":
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIXES[exponent]}"


_DECIMAL_SUFFIXES = {exponent: suffix for suffix, exponent in _DECIMAL_EXPONENTS.items()}


def _divide_up(nano: int, unit: int) -> int:
    return -(-nano // unit) if nano >= 0 else nano // unit


@lru_cache(maxsize=65536)
def _parse(text: str) -> tuple[int, Format]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise QuantityError(text)
    fraction = match["fraction"] or ""
    digits = match["whole"] + fraction
    if not digits:
        raise QuantityError(text)
    suffix = match["suffix"]
    form: Format
    binary = 0
    if suffix in _BINARY_EXPONENTS:
        exponent, binary, form = 0, _BINARY_EXPONENTS[suffix], "BinarySI"
    elif suffix in _DECIMAL_EXPONENTS:
        exponent, form = _DECIMAL_EXPONENTS[suffix], "DecimalSI"
    else:
        exponent, form = int(suffix[1:]), "DecimalExponent"
    mantissa = int(digits)
    nano = _scale(mantissa << binary, exponent - len(fraction) + 9, len(digits))
    nano = min(nano, MAX)
    return (-nano if match["sign"] == "-" else nano), form


def _scale(mantissa: int, power: int, digits: int) -> int:
    """`mantissa * 10**power`, rounded up."""
    if mantissa == 0:
        return 0
    limit = _EXPONENT_LIMIT + digits
    if power > limit:
        return MAX
    if power < -limit:
        return 1
    if power >= 0:
        return mantissa * int(10**power)
    return -(-mantissa // int(10**-power))
