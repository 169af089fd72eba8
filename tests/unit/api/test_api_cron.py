"""Schedules mean what robfig/cron's standard parser makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoctl.api.cron import CronError, is_active, parse_schedule


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("after", "schedule", "expected"),
    [
        # Minutes, hours, steps, ranges.
        ("2012-07-09T14:45:00Z", "0/15 * * * *", "2012-07-09T15:00:00Z"),
        ("2012-07-09T14:59:59Z", "0/15 * * * *", "2012-07-09T15:00:00Z"),
        ("2012-07-09T15:45:00Z", "20-35/15 * * * *", "2012-07-09T16:20:00Z"),
        ("2012-07-09T23:46:00Z", "*/15 * * * *", "2012-07-10T00:00:00Z"),
        ("2012-07-09T23:45:00Z", "20-35/15 1/2 * * *", "2012-07-10T01:20:00Z"),
        ("2012-07-09T23:35:51Z", "15,30 10-12 * * *", "2012-07-10T10:15:00Z"),
        # Days, months, names, years.
        ("2012-07-09T23:35:00Z", "0 0 9 Apr-Oct ?", "2012-08-09T00:00:00Z"),
        ("2012-07-09T23:35:00Z", "0 0 */5 Apr,Aug,Oct Mon", "2012-08-01T00:00:00Z"),
        ("2012-07-09T23:35:00Z", "0 0 * feb mon", "2013-02-04T00:00:00Z"),
        ("2012-07-09T23:35:00Z", "0 0 29 2 ?", "2016-02-29T00:00:00Z"),
        ("2012-12-31T23:59:45Z", "* * * * *", "2013-01-01T00:00:00Z"),
        # Either day matches when neither is a star, both must when one is.
        ("2012-07-15T00:00:00Z", "0 0 1,15 * 0", "2012-07-22T00:00:00Z"),
        ("2012-07-02T00:00:00Z", "0 0 1,15 * 0", "2012-07-08T00:00:00Z"),
        ("2012-07-02T00:00:00Z", "0 0 1,15 * *", "2012-07-15T00:00:00Z"),
        ("2012-07-02T00:00:00Z", "0 0 */10 * Sun", "2012-07-08T00:00:00Z"),
        # Descriptors.
        ("2012-07-09T14:45:00Z", "@hourly", "2012-07-09T15:00:00Z"),
        ("2012-07-09T14:45:00Z", "@daily", "2012-07-10T00:00:00Z"),
        ("2012-07-09T14:45:00Z", "@midnight", "2012-07-10T00:00:00Z"),
        ("2012-07-09T14:45:00Z", "@weekly", "2012-07-15T00:00:00Z"),
        ("2012-07-09T14:45:00Z", "@monthly", "2012-08-01T00:00:00Z"),
        ("2012-07-09T14:45:00Z", "@yearly", "2013-01-01T00:00:00Z"),
        ("2012-07-09T14:45:00Z", "@annually", "2013-01-01T00:00:00Z"),
        ("2012-07-09T14:45:00.5Z", "@every 1h30m", "2012-07-09T16:15:00Z"),
        # Zones, and clocks that change: the lost hour is skipped, the gained one counts twice.
        ("2012-07-09T14:45:00Z", "TZ=Asia/Tokyo 0 9 * * *", "2012-07-10T00:00:00Z"),
        ("2012-07-09T14:45:00Z", "CRON_TZ=Asia/Tokyo 0 9 * * *", "2012-07-10T00:00:00Z"),
        (
            "2012-03-11T00:00:00-05:00",
            "TZ=America/New_York 30 2 11 Mar ?",
            "2013-03-11T02:30:00-04:00",
        ),
        ("2012-03-11T01:00:00-05:00", "TZ=America/New_York 0 * * * ?", "2012-03-11T03:00:00-04:00"),
        (
            "2012-11-04T00:00:00-04:00",
            "TZ=America/New_York 30 2 04 Nov ?",
            "2012-11-04T02:30:00-05:00",
        ),
        (
            "2012-11-04T01:45:00-04:00",
            "TZ=America/New_York 30 1 04 Nov ?",
            "2012-11-04T01:30:00-05:00",
        ),
        ("2012-11-04T01:00:00-04:00", "TZ=America/New_York 0 * * * ?", "2012-11-04T01:00:00-05:00"),
        ("2018-10-31T12:00:00Z", "TZ=America/Sao_Paulo 0 0 * * *", "2018-11-01T03:00:00Z"),
        ("2024-04-06T14:20:00Z", "TZ=Australia/Lord_Howe 45 1 * * *", "2024-04-06T14:45:00Z"),
    ],
)
def test_next(after: str, schedule: str, expected: str) -> None:
    assert parse_schedule(schedule).next(instant(after)) == instant(expected)


@pytest.mark.parametrize("schedule", ["0 0 30 2 *", "0 0 31 4,6 *", ", * * * *", "0 0 , * ,"])
def test_some_schedules_never_come(schedule: str) -> None:
    assert parse_schedule(schedule).next(instant("2012-07-09T23:35:00Z")) is None


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("", "expected exactly 5 fields, found 0"),
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("* * * * * *", "expected exactly 5 fields, found 6"),
        ("60 * * * *", "60 in '60' is above the maximum of 59"),
        ("* 24 * * *", "above the maximum"),
        ("* * 0 * *", "0 in '0' is below the minimum of 1"),
        ("* * * 13 *", "above the maximum"),
        ("* * * * 7", "7 in '7' is above the maximum of 6"),
        ("5-3 * * * *", "begins beyond its end"),
        ("*/0 * * * *", "the step of '*/0' must be positive"),
        ("1-2-3 * * * *", "too many hyphens"),
        ("1/2/3 * * * *", "too many slashes"),
        ("x * * * *", "'x' is not a number"),
        ("-1 * * * *", "'' is not a number"),
        ("* * * foo *", "'foo' is not a number"),
        ("@fortnightly", "unrecognized descriptor"),
        ("@every x", "is not valid"),
        ("TZ=Mars/Base 0 0 * * *", "unknown time zone 'Mars/Base'"),
    ],
)
def test_refuses(schedule: str, why: str) -> None:
    with pytest.raises(CronError) as caught:
        parse_schedule(schedule)
    assert why in str(caught.value)
    assert caught.value.schedule == schedule


def test_a_zone_given_beside_the_schedule_wins() -> None:
    schedule = parse_schedule("TZ=Asia/Tokyo 0 9 * * *", "Europe/Berlin")
    assert schedule.next(instant("2024-01-01T00:00:00Z")) == instant("2024-01-01T08:00:00Z")
    with pytest.raises(CronError, match="unknown time zone"):
        parse_schedule("@daily", "../../etc/passwd")


@pytest.mark.parametrize(
    ("schedule", "hours", "now", "active"),
    [
        ("@daily", 48, "2000-06-15T12:30:30Z", True),
        ("@daily", 12, "2000-06-15T12:30:30Z", False),
        ("@daily", 13, "2000-06-15T12:30:30Z", True),
        ("30 6 * * SUN", 6, "2000-06-18T00:00:00Z", False),
        ("30 6 * * SUN", 6, "2000-06-18T06:30:00Z", True),
        ("30 6 * * SUN", 6, "2000-06-18T12:29:59Z", True),
        ("30 6 * * SUN", 6, "2000-06-18T12:30:00Z", False),
        # What never comes counts as open: a budget of nothing then blocks, as upstream.
        ("0 0 30 2 *", 1000, "2000-06-18T12:30:00Z", True),
    ],
)
def test_windows(schedule: str, hours: int, now: str, active: bool) -> None:
    assert is_active(schedule, timedelta(hours=hours), instant(now), None) is active


def test_windows_in_a_zone() -> None:
    noon = instant("2024-07-01T10:30:00Z")
    assert is_active("0 12 * * *", timedelta(hours=1), noon, "Europe/Berlin")
    assert not is_active("0 12 * * *", timedelta(hours=1), noon, None)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone-aware"):
        parse_schedule("@daily").next(datetime(2024, 1, 1))  # noqa: DTZ001 -- what is tested


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2030, 1, 1)),  # noqa: DTZ001
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
    st.sets(st.integers(0, 23), min_size=1, max_size=3),
)
def test_next_is_the_first_that_matches(
    after: datetime, minutes: set[int], hours: set[int]
) -> None:
    start = after.replace(tzinfo=UTC)
    schedule = ",".join(map(str, minutes)) + " " + ",".join(map(str, hours)) + " * * *"
    found = parse_schedule(schedule).next(start)
    assert found is not None
    candidate = (start + timedelta(minutes=1)).replace(second=0, microsecond=0)
    while candidate.minute not in minutes or candidate.hour not in hours:
        candidate += timedelta(minutes=1)
    assert found == candidate
