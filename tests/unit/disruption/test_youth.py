"""Nodes that consolidation made have to save the more, the more of it led to them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import NOW, node, node_pool

from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.youth import IN_A_ROW, changes, least_saving, next_in_a_row
from autoctl.state.nodes import StateNode

QUARTER = timedelta(minutes=15)
NOW_AT = datetime.fromisoformat(NOW)


def made(in_a_row: str | None, age: timedelta) -> StateNode:
    created = (NOW_AT - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {} if in_a_row is None else {IN_A_ROW: in_a_row}
    found = snapshot_of_objects(node_pool(), node("a", annotations=annotations, created=created))
    return found.state_nodes["a"]


OPTIONS = DisruptionOptions(young=QUARTER, savings_threshold=0.05, young_threshold=0.5)


@pytest.mark.parametrize(
    ("in_a_row", "minutes", "expected"),
    [
        (None, 14, 0.5),
        (None, 15, 0.05),
        ("1", 14, 0.5),
        ("1", 15, 0.1),
        ("1", 60, 0.05),
        ("2", 60, 0.2),
        ("2", 239, 0.2),
        ("2", 240, 0.05),
        ("3", 240, 0.4),
        ("4", 960, 0.5),
        ("99", 3839, 0.5),
        ("99", 3840, 0.05),
        ("-1", 15, 0.05),
        ("x", 15, 0.05),
    ],
)
def test_each_has_to_save_more_for_longer(
    in_a_row: str | None, minutes: int, expected: float
) -> None:
    node = made(in_a_row, timedelta(minutes=minutes))
    assert least_saving(node, NOW_AT, OPTIONS) == pytest.approx(expected)


def test_what_has_to_be_saved_changes_when_it_is_told_to() -> None:
    node = made("2", timedelta(0))
    instants = list(changes(node, QUARTER))
    assert instants == [NOW_AT + timedelta(minutes=m) for m in (15, 240)]
    for instant in instants:
        before = least_saving(node, instant - timedelta(seconds=1), OPTIONS)
        assert before != least_saving(node, instant, OPTIONS)
    assert list(changes(made(None, timedelta(0)), QUARTER)) == instants[:1]


def test_a_consolidation_follows_those_that_made_its_nodes() -> None:
    bought, first, third = made(None, QUARTER), made("1", QUARTER), made("3", QUARTER)
    assert next_in_a_row([bought], NOW_AT, QUARTER) == 1
    assert next_in_a_row([bought, first], NOW_AT, QUARTER) == 2
    assert next_in_a_row([first, third, bought], NOW_AT, QUARTER) == 4


def test_a_node_that_has_stayed_long_enough_begins_anew() -> None:
    assert next_in_a_row([made("2", timedelta(minutes=239))], NOW_AT, QUARTER) == 3
    assert next_in_a_row([made("2", timedelta(minutes=240))], NOW_AT, QUARTER) == 1
