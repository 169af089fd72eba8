"""Axes of the report's plots."""

from __future__ import annotations

import re

import pytest

from autoctl.simulate.plots import Line, line_plot


def _labels(highest: float, *, whole: bool) -> list[str]:
    svg = line_plot("Nodes", "count", [0.0, 60.0], [Line("nodes", [0, highest])], whole=whole)
    return re.findall(r'text-anchor="end">([^<]+)</text>', svg)[:5]


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 5, 7, 9, 10, 11, 26, 99, 105, 340, 4999])
def test_counts_have_no_fractions(highest: int) -> None:
    labels = _labels(highest, whole=True)
    values = [float(v[:-1]) * 1000 if v.endswith("k") else float(v) for v in labels]
    assert values == sorted(set(values))
    assert all(v == int(v) for v in values)
    assert highest <= values[-1] <= max(4, 2 * highest)


def test_other_axes_may() -> None:
    assert _labels(0.9, whole=False) == ["0", "0.25", "0.5", "0.75", "1"]
