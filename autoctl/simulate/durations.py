"""Durations as scenarios write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from autoctl.api.duration import DurationError, parse_duration


def duration_of(value: Any) -> timedelta:
    """A duration as scenarios write it: Go's units, and days. Raises `ValueError`."""
    if isinstance(value, timedelta):
        return value
    text = str(value)
    days, _, rest = text.rpartition("d")
    try:
        total = timedelta(days=float(days)) if days else timedelta(0)
        return total + parse_duration(rest) if rest or not days else total
    except (ValueError, OverflowError, DurationError) as error:
        raise ValueError(
            f"expected a duration such as 90s, 10m, 6h or 30d, got {text!r}"
        ) from error


def not_negative(value: timedelta) -> timedelta:
    """The duration, which must not be less than zero. Raises `ValueError`."""
    if value < timedelta(0):
        raise ValueError(f"expected 0s or more, got -{-value}")
    return value
