"""Durations are read and written as Go does it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoctl.api.duration import (
    DurationError,
    format_duration,
    parse_duration,
    parse_nillable_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("1h30m5s", 5405),
        ("720h", 2_592_000),
        ("24h0m0s", 86_400),
        ("1.5h", 5400),
        (".5m", 30),
        ("-2m", -120),
        ("+2m", 120),
        ("300ms", 0.3),
        ("5us", 0.000005),
        ("5µs", 0.000005),
        ("1500ns", 0.000001),
        ("1m1h", 3660),
    ],
)
def test_reads(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "1hr", "Never", "h", ".s", "1 h", "1d", "--1s", "1h-1m", "9999999999h"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(DurationError, match="is not valid"):
        parse_duration(text)


def test_never_is_none() -> None:
    assert parse_nillable_duration("Never") is None
    assert parse_nillable_duration(None) is None
    assert parse_nillable_duration("1h") == timedelta(hours=1)
    assert format_duration(None) == "Never"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1.5, "1.5s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (1_209_600, "336h0m0s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (0.000003, "3µs"),
        (-90, "-1m30s"),
    ],
)
def test_writes(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.timedeltas(min_value=timedelta(days=-90000), max_value=timedelta(days=90000)))
def test_what_is_written_reads_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
