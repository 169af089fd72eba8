"""Axes, gaps and marks of the report's plots."""

from __future__ import annotations

import re

import pytest

from autoctl.simulate.plots import Line, Mark, line_plot


def _plot(*values: float | None, seconds: float = 60.0, whole: bool = False) -> str:
    at = [seconds * i / max(1, len(values) - 1) for i in range(len(values))]
    return line_plot("Nodes", "count", at, [Line("nodes", values)], whole=whole)


def _labels(svg: str, axis: str) -> list[str]:
    return re.findall(rf'class="{axis}">([^<]+)</text>', svg)


def _values(labels: list[str]) -> list[float]:
    return [float(v[:-1]) * 1000 if v.endswith("k") else float(v) for v in labels]


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 5, 7, 9, 10, 11, 26, 99, 105, 340, 4999])
def test_counts_have_no_fractions_and_little_air_above(highest: int) -> None:
    values = _values(_labels(_plot(0, highest, whole=True), "y"))
    assert values == sorted(set(values))
    assert all(v == int(v) for v in values)
    assert 2 <= len(values) <= 6
    assert highest <= values[-1] <= max(1, 1.5 * highest)


def test_other_axes_may_have_fractions() -> None:
    assert _labels(_plot(0, 0.9), "y") == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert _labels(_plot(0, 110.0), "y") == ["0", "25", "50", "75", "100", "125"]


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (45, ["0 s", "10 s", "20 s", "30 s", "40 s"]),
        (600, ["0 min", "2 min", "4 min", "6 min", "8 min", "10 min"]),
        (12 * 3600, ["0 h", "2 h", "4 h", "6 h", "8 h", "10 h", "12 h"]),
        (2 * 86400, ["0 h", "6 h", "12 h", "18 h", "24 h", "30 h", "36 h", "42 h", "48 h"]),
        (149 * 86400, ["0 d", "20 d", "40 d", "60 d", "80 d", "100 d", "120 d", "140 d"]),
    ],
)
def test_ticks_of_time_are_round(seconds: float, labels: list[str]) -> None:
    assert _labels(_plot(0, 1, seconds=seconds), "x") == labels


def test_a_gap_in_the_values_is_one_in_the_line_and_a_single_value_shows() -> None:
    assert len(re.findall(r'class="line c0"', _plot(1, 2, None, 3, 4))) == 2
    single = re.search(r'<path d="([^"]+)" class="line c0"', _plot(None, 2, None))
    assert single is not None
    assert single[1].endswith("h2")


def test_no_peak_is_lost_among_many_samples() -> None:
    values = [1.0] * 10_000
    values[7777] = 5.0
    top = re.findall(r"V([\d.]+)", _plot(*values).rpartition('<path d="M70')[2])
    assert min(map(float, top)) == pytest.approx(16.0), "the top of the plot"


def test_the_plot_tells_what_it_shows_to_who_does_not_see_it() -> None:
    assert 'aria-label="Nodes: nodes 1 to 4, 2 at the end"' in _plot(1, 4, None, 2)
    assert 'aria-label="Nodes: no values"' in _plot(None, None)


def test_marks_and_notes_are_escaped() -> None:
    svg = line_plot(
        "<b>", "u", [0.0, 60.0], [Line("l", [1, 1])], marks=[Mark(30.0, "1", "<i>")], note="a & b"
    )
    assert "<title>&lt;i&gt;</title>" in svg
    assert "<b>&lt;b&gt;</b>" in svg
    assert "a &amp; b" in svg
