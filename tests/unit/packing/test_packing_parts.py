"""Large exchanges of nodes in parts: nothing is lost, every part is complete and saves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoctl.scheduling.packing.parts import Part, divide


def contents(*rows: tuple[int, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.array(rows, np.int64)


def test_independent_exchanges_come_apart() -> None:
    """Four times: two nodes with one pod of each of two shapes become one node with both twice."""
    parts = divide(
        contents(*[(1, 1)] * 8),
        contents(*[(2, 2)] * 4),
        np.full(8, 1.0),
        np.full(4, 1.5),
        least_saving=0.05,
        most_coming=1,
    )
    assert [(len(p.going), len(p.coming)) for p in parts] == [(2, 1)] * 4


def test_what_holds_together_stays_together() -> None:
    """Every old node has both shapes, every new one a single shape: no fewer than all four fit."""
    parts = divide(
        contents(*[(1, 1)] * 2),
        contents((2, 0), (0, 2)),
        np.full(2, 1.0),
        np.full(2, 0.5),
        least_saving=0.05,
        most_coming=1,
    )
    assert parts == (Part((0, 1), (0, 1)),)


def test_a_part_that_would_not_save_is_not_split_off() -> None:
    """The pod of the cheap old node costs more where it goes; only both together save."""
    parts = divide(
        contents((1, 0), (0, 1)),
        contents((1, 0), (0, 1)),
        np.array([1.0, 3.0]),
        np.array([1.2, 1.2]),
        least_saving=0.05,
        most_coming=1,
    )
    assert parts == (Part((0, 1), (0, 1)),)


@pytest.mark.parametrize("most_coming", [1, 3])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_parts_are_a_partition_that_moves_the_same_pods(
    most_coming: int, data: st.DataObject
) -> None:
    shapes = data.draw(st.integers(1, 4))
    pods = data.draw(st.lists(st.integers(0, shapes - 1), min_size=1, max_size=40))
    old = data.draw(st.lists(st.integers(0, 11), min_size=len(pods), max_size=len(pods)))
    new = data.draw(st.lists(st.integers(0, 5), min_size=len(pods), max_size=len(pods)))
    before, after = np.zeros((12, shapes), np.int64), np.zeros((6, shapes), np.int64)
    for shape, source, target in zip(pods, old, new, strict=True):
        before[source, shape] += 1
        after[target, shape] += 1
    before, after = before[before.any(axis=1)], after[after.any(axis=1)]
    price = np.array(data.draw(_prices(len(before), 1.0)))
    cost = np.array(data.draw(_prices(len(after), 0.2)))
    parts = divide(before, after, price, cost, least_saving=0.05, most_coming=most_coming)
    assert sorted(row for p in parts for row in p.going) == list(range(len(before)))
    assert sorted(row for p in parts for row in p.coming) == list(range(len(after)))
    for part in parts:
        moved = before[list(part.going)].sum(axis=0)
        assert (moved == after[list(part.coming)].sum(axis=0)).all()
    assert all(len(p.coming) <= most_coming for p in parts[:-1])


def _prices(count: int, least: float) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(least, 2.0), min_size=count, max_size=count)
