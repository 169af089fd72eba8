"""Cron schedules as `robfig/cron`'s standard parser reads them, which Karpenter's budgets use.

Five fields (minute, hour, day of month, month, day of week), names, ranges, steps, `?` for `*`,
the `@` descriptors, `@every` and a leading `TZ=` or `CRON_TZ=`. Sunday is 0; 7 is refused. When
neither day field starts from `*`, a day matches if either matches, else both must.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autoctl.api.duration import DurationError, parse_duration

_HORIZON_YEARS: Final = 5
"""robfig/cron gives up when no year until the fifth from now matches (30 February)."""

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_DAYS = {
    name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
}
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "


class CronError(ValueError):
    """A schedule or time zone that cannot be read."""

    def __init__(self, schedule: str, why: str) -> None:
        super().__init__(f"schedule {schedule!r} is not valid: {why}")
        self.schedule = schedule


@dataclass(frozen=True, slots=True)
class _Range:
    low: int
    high: int
    names: dict[str, int]


_MINUTE = _Range(0, 59, {})
_HOUR = _Range(0, 23, {})
_DAY_OF_MONTH = _Range(1, 31, {})
_MONTH = _Range(1, 12, _MONTHS)
_DAY_OF_WEEK = _Range(0, 6, _DAYS)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule. Fields are sets of the values that match."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days_of_month: frozenset[int]
    months: frozenset[int]
    days_of_week: frozenset[int]
    any_day: bool
    """Whether a day field is `*`, so that both day fields must match."""
    zone: tzinfo
    every: timedelta | None = None
    """For `@every`: the interval; the fields above are then empty."""

    def next(self, after: datetime) -> datetime | None:
        """The first time strictly after `after` (timezone-aware); in UTC.

        None when none comes within five years.
        """
        if after.tzinfo is None:
            raise ValueError(f"a timezone-aware instant is needed, got {after!r}")
        if self.every is not None:
            return (after.astimezone(UTC) + self.every).replace(microsecond=0)
        if not (self.minutes and self.hours and self.months):
            return None
        start = after.astimezone(self.zone)
        instant = (after.astimezone(UTC) + timedelta(minutes=1)).replace(second=0, microsecond=0)
        while True:
            local = instant.astimezone(self.zone)
            if local.year > start.year + _HORIZON_YEARS:
                return None
            if local.month not in self.months:
                instant = self._midnight(local.replace(day=1) + timedelta(days=32), first=True)
            elif not self._day_matches(local):
                instant = self._midnight(local + timedelta(days=1))
            elif local.hour not in self.hours:
                # Whole hours pass in absolute time, so that a clock set back repeats its hour and
                # one set forward skips it, as robfig/cron does.
                instant += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                instant += timedelta(minutes=1)
            else:
                return instant

    def _midnight(self, local: datetime, *, first: bool = False) -> datetime:
        """The start of that local day (of its month's first day), as an instant."""
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        return (midnight.replace(day=1) if first else midnight).astimezone(UTC)

    def _day_matches(self, local: datetime) -> bool:
        of_month = local.day in self.days_of_month
        of_week = local.isoweekday() % 7 in self.days_of_week
        return (of_month and of_week) if self.any_day else (of_month or of_week)


@lru_cache(maxsize=1024)
def parse_schedule(text: str, time_zone: str | None = None) -> Schedule:
    """The schedule, read in `time_zone` (IANA name), else in its own `TZ=` prefix, else in UTC.

    Raises:
        CronError: neither a standard cron expression nor a descriptor; or an unknown zone.
    """
    spec = text
    zone: tzinfo = UTC
    if spec.startswith(("TZ=", "CRON_TZ=")):
        prefix, _, spec = spec.partition(" ")
        zone = _zone(text, prefix.partition("=")[2])
    if time_zone is not None:
        zone = _zone(text, time_zone)
    spec = spec.strip()
    if spec.startswith("@"):
        if spec.startswith(_EVERY):
            return _every(text, spec.removeprefix(_EVERY), zone)
        if spec not in _DESCRIPTORS:
            raise CronError(text, f"unrecognized descriptor {spec!r}")
        spec = _DESCRIPTORS[spec]
    fields = spec.split()
    if len(fields) != 5:
        raise CronError(text, f"expected exactly 5 fields, found {len(fields)}")
    minutes, _ = _field(text, fields[0], _MINUTE)
    hours, _ = _field(text, fields[1], _HOUR)
    days_of_month, any_day_of_month = _field(text, fields[2], _DAY_OF_MONTH)
    months, _ = _field(text, fields[3], _MONTH)
    days_of_week, any_day_of_week = _field(text, fields[4], _DAY_OF_WEEK)
    return Schedule(
        minutes=minutes,
        hours=hours,
        days_of_month=days_of_month,
        months=months,
        days_of_week=days_of_week,
        any_day=any_day_of_month or any_day_of_week,
        zone=zone,
    )


def is_active(schedule: str, duration: timedelta, now: datetime, time_zone: str | None) -> bool:
    """Whether a window that opens at each time of `schedule` for `duration` is open at `now`.

    A schedule without any time within reach counts as open, as in Karpenter, where the zero time
    that robfig/cron then answers lies before every `now`.

    Raises:
        CronError: the schedule or time zone cannot be read.
    """
    opening = parse_schedule(schedule, time_zone).next(now - duration)
    return opening is None or opening <= now


def _zone(text: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CronError(text, f"unknown time zone {name!r}") from error


def _every(text: str, interval: str, zone: tzinfo) -> Schedule:
    try:
        every = parse_duration(interval)
    except DurationError as error:
        raise CronError(text, str(error)) from error
    empty: frozenset[int] = frozenset()
    every = max(timedelta(seconds=1), every - timedelta(microseconds=every.microseconds))
    return Schedule(empty, empty, empty, empty, empty, any_day=True, zone=zone, every=every)


def _field(text: str, field: str, bounds: _Range) -> tuple[frozenset[int], bool]:
    """The values a field matches, and whether it starts from `*` without a step."""
    values: set[int] = set()
    star = False
    for part in field.split(","):
        if not part:
            continue
        matched, is_star = _part(text, part, bounds)
        values.update(matched)
        star = star or is_star
    return frozenset(values), star


def _part(text: str, part: str, bounds: _Range) -> tuple[range, bool]:
    extent, *steps = part.split("/")
    low_text, *high_texts = extent.split("-")
    star = False
    if low_text in {"*", "?"}:
        low, high = bounds.low, bounds.high
        star = True
    else:
        low = _value(text, low_text, bounds)
        if len(high_texts) > 1:
            raise CronError(text, f"too many hyphens in {part!r}")
        high = _value(text, high_texts[0], bounds) if high_texts else low
    step = 1
    if len(steps) > 1:
        raise CronError(text, f"too many slashes in {part!r}")
    if steps:
        step = _number(text, steps[0])
        if not high_texts and not star:
            high = bounds.high
        star = star and step == 1
    if low < bounds.low:
        raise CronError(text, f"{low} in {part!r} is below the minimum of {bounds.low}")
    if high > bounds.high:
        raise CronError(text, f"{high} in {part!r} is above the maximum of {bounds.high}")
    if low > high:
        raise CronError(text, f"{part!r} begins beyond its end")
    if step == 0:
        raise CronError(text, f"the step of {part!r} must be positive")
    return range(low, high + 1, step), star


def _value(text: str, value: str, bounds: _Range) -> int:
    named = bounds.names.get(value.lower())
    return _number(text, value) if named is None else named


def _number(text: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise CronError(text, f"{value!r} is not a number")
    return int(value)
