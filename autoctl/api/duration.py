"""Durations as Go's `time.ParseDuration` reads and `Duration.String()` writes them.

The CRDs use them for `expireAfter`, `terminationGracePeriod`, `consolidateAfter` and budget
durations; `Never` stands for no limit.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache

NEVER = "Never"

DURATION_PATTERN = r"^([0-9]+(s|m|h))+$"
"""What the CRDs accept for a duration: whole seconds, minutes, hours."""

NILLABLE_DURATION_PATTERN = r"^(([0-9]+(s|m|h))+|Never)$"

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_MAX_NANOSECONDS = 2**63 - 1


class DurationError(ValueError):
    """A value that Go's `time.ParseDuration` refuses."""

    def __init__(self, value: object) -> None:
        super().__init__(
            f'duration {value!r} is not valid: expected numbers with units, such as "1h30m5s"'
        )
        self.value = value


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> timedelta:
    """The duration; parts below a microsecond are cut off.

    Raises:
        DurationError: not a duration, or longer than an int64 of nanoseconds (292 years).
    """
    sign, rest = 1, text
    if rest[:1] in {"+", "-"}:
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return timedelta(0)
    total, position = 0, 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or not (part[1] or part[2]):
            raise DurationError(text)
        unit = _NANOSECONDS[part[3]]
        fraction = part[2] or ""
        total += int(part[1] or 0) * unit
        total += int(fraction or 0) * unit // 10 ** len(fraction)
        position = part.end()
    if position == 0 or total > _MAX_NANOSECONDS:
        raise DurationError(text)
    return timedelta(microseconds=sign * (total // 1000))


def parse_nillable_duration(text: str | None) -> timedelta | None:
    """As `parse_duration`; `Never` and absence are None.

    Raises:
        DurationError: not a duration.
    """
    return None if text is None or text == NEVER else parse_duration(text)


def format_duration(duration: timedelta | None) -> str:
    """The duration as Go prints it: `336h0m0s`, `1m30s`, `1.5s`, `250ms`, `0s`; None is `Never`."""
    if duration is None:
        return NEVER
    microseconds = duration // timedelta(microseconds=1)
    if microseconds == 0:
        return "0s"
    sign, microseconds = ("-", -microseconds) if microseconds < 0 else ("", microseconds)
    if microseconds < 1000:
        return f"{sign}{microseconds}µs"
    if microseconds < 10**6:
        return f"{sign}{_decimal(microseconds, 3)}ms"
    minutes, microseconds = divmod(microseconds, 60 * 10**6)
    seconds = f"{_decimal(microseconds, 6)}s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(value: int, digits: int) -> str:
    """`value / 10**digits` without trailing zeros."""
    integer, fraction = divmod(value, 10**digits)
    return f"{integer}.{fraction:0{digits}d}".rstrip("0").rstrip(".")
