"""Between Kubernetes quantities and the integers decisions compute with.

CPU is counted in millicores, everything else in whole units (bytes, or pieces). Requests and
capacities are rounded up, as `Quantity.MilliValue()` and `Quantity.Value()` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from autoctl.api.quantity import MILLI, WHOLE, QuantityValue, format_quantity, milli, whole

_MOST = 1 << 60
_BYTES = ("memory", "ephemeral-storage")


@lru_cache(maxsize=1 << 16)
def amount(resource: str, quantity: QuantityValue) -> int:
    """The quantity of `resource` in its base unit, as far as 64 bits can add it up.

    Raises `QuantityError`.
    """
    return min(milli(quantity) if resource == "cpu" else whole(quantity), _MOST)


def amounts(quantities: Mapping[str, QuantityValue] | None) -> dict[str, int]:
    """All quantities of a resource list in base units. Raises `QuantityError`."""
    return {name: amount(name, quantity) for name, quantity in (quantities or {}).items()}


def format_amount(resource: str, value: int) -> str:
    """The amount as a Kubernetes quantity in canonical form."""
    if resource == "cpu":
        return format_quantity(value * MILLI)
    binary = resource in _BYTES or resource.startswith("hugepages-")
    return format_quantity(value * WHOLE, "BinarySI" if binary else "DecimalSI")
