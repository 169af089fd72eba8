"""Quantities are read, rounded and written as Kubernetes' `resource.Quantity` does it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoctl.api.quantity import (
    MAX,
    QUANTITY_PATTERN,
    WHOLE,
    QuantityError,
    canonical,
    format_quantity,
    milli,
    parse_quantity,
    whole,
)

NANO = 10**9


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("0", 0, "0"),
        ("00", 0, "0"),
        ("1", 1, "1"),
        ("+1", 1, "1"),
        ("-1", -1, "-1"),
        ("1.", 1, "1"),
        (".5", Fraction(1, 2), "500m"),
        ("0.5", Fraction(1, 2), "500m"),
        ("100m", Fraction(1, 10), "100m"),
        ("1500m", Fraction(3, 2), "1500m"),
        ("1000m", 1, "1"),
        ("1u", Fraction(1, 10**6), "1u"),
        ("1n", Fraction(1, 10**9), "1n"),
        ("1k", 1000, "1k"),
        ("1000", 1000, "1k"),
        ("1M", 10**6, "1M"),
        ("1.5G", 1_500_000_000, "1500M"),
        ("1T", 10**12, "1T"),
        ("1P", 10**15, "1P"),
        ("1E", 10**18, "1E"),
        ("1e3", 1000, "1e3"),
        ("1E3", 1000, "1e3"),
        ("1e+3", 1000, "1e3"),
        ("12e-1", Fraction(12, 10), "1200e-3"),
        ("1Ki", 1024, "1Ki"),
        ("1024Ki", 1024**2, "1Mi"),
        ("1.5Gi", 1536 * 1024**2, "1536Mi"),
        ("0.5Mi", 512 * 1024, "512Ki"),
        ("0.5Ki", 512, "512"),
        ("1Ti", 1024**4, "1Ti"),
        ("1Pi", 1024**5, "1Pi"),
        ("1Ei", 1024**6, "1Ei"),
    ],
)
def test_reads_and_writes(text: str, value: Fraction | int, written: str) -> None:
    assert parse_quantity(text) == value * NANO
    assert canonical(text) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        " 1",
        "m",
        ".",
        "+",
        "1x",
        "1K",
        "1ki",
        "1Mib",
        "1e",
        "1e1.5",
        "1.2.3",
        "--1",
        "1,5",
        "0x10",
        "١",
        "NaN",
        "1\n",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text)
    assert repr(text) in str(caught.value)
    assert caught.value.value == text


@pytest.mark.parametrize("value", [True, None, [1], float("nan"), float("inf")])
def test_refuses_what_is_no_number(value: object) -> None:
    with pytest.raises(QuantityError):
        parse_quantity(value)  # type: ignore[arg-type]


def test_takes_numbers() -> None:
    assert parse_quantity(2) == 2 * NANO
    assert parse_quantity(0.1) == NANO // 10
    assert parse_quantity(1e-7) == 100
    assert canonical(1.5) == "1500m"


@pytest.mark.parametrize(
    ("text", "thousandths", "units"),
    [
        ("1500m", 1500, 2),
        ("1u", 1, 1),
        ("0.1n", 1, 1),
        ("1000m", 1000, 1),
        ("-1500m", -1500, -2),
        ("0", 0, 0),
        ("1Gi", 1024**3 * 1000, 1024**3),
    ],
)
def test_rounds_away_from_zero(text: str, thousandths: int, units: int) -> None:
    assert milli(text) == thousandths
    assert whole(text) == units


def test_is_bounded_by_an_int64() -> None:
    assert parse_quantity("9223372036854775807") == MAX
    assert parse_quantity("9223372036854775808") == MAX
    assert parse_quantity("1e999999999") == MAX
    assert parse_quantity("-16Ei") == -MAX
    assert parse_quantity("1e-999999999") == 1


@given(st.integers(min_value=-MAX, max_value=MAX))
def test_what_is_written_reads_the_same(nano: int) -> None:
    assert parse_quantity(format_quantity(nano)) == nano
    assert parse_quantity(format_quantity(nano, "BinarySI")) == nano
    assert parse_quantity(format_quantity(nano, "DecimalExponent")) == nano


@given(
    st.from_regex(
        QUANTITY_PATTERN.replace("$", r"\Z"),
        fullmatch=True,
        alphabet=st.characters(max_codepoint=127),
    )
)
def test_reads_what_the_crds_accept_but_for_fractional_exponents(text: str) -> None:
    _, letter, exponent = text.replace("E", "e").partition("e")
    if letter and "." in exponent:
        with pytest.raises(QuantityError):
            parse_quantity(text)
    else:
        assert abs(parse_quantity(text)) <= MAX


def test_whole_units_are_exact() -> None:
    assert WHOLE == NANO
