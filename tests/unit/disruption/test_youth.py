"""Nodes that consolidation made stay young the longer, the more of it led to them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import NOW, node, node_pool

from autoctl.controllers.disruption.youth import IN_A_ROW, next_in_a_row, young_until
from autoctl.state.nodes import StateNode

QUARTER = timedelta(minutes=15)
NOW_AT = datetime.fromisoformat(NOW)


def made(in_a_row: str | None, age: timedelta) -> StateNode:
    created = (NOW_AT - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {} if in_a_row is None else {IN_A_ROW: in_a_row}
    found = snapshot_of_objects(node_pool(), node("a", annotations=annotations, created=created))
    return found.state_nodes["a"]


@pytest.mark.parametrize(
    ("in_a_row", "minutes"),
    [(None, 15), ("1", 15), ("2", 60), ("3", 240), ("4", 960), ("99", 960), ("-1", 15), ("x", 15)],
)
def test_each_makes_them_young_for_longer(in_a_row: str | None, minutes: int) -> None:
    node = made(in_a_row, timedelta(0))
    assert young_until(node, QUARTER) == NOW_AT + timedelta(minutes=minutes)


def test_a_consolidation_follows_those_that_made_its_nodes() -> None:
    bought, first, third = made(None, QUARTER), made("1", QUARTER), made("3", QUARTER)
    assert next_in_a_row([bought], NOW_AT, QUARTER) == 1
    assert next_in_a_row([bought, first], NOW_AT, QUARTER) == 2
    assert next_in_a_row([first, third, bought], NOW_AT, QUARTER) == 4


def test_a_node_that_has_stayed_long_enough_begins_anew() -> None:
    assert next_in_a_row([made("2", timedelta(minutes=239))], NOW_AT, QUARTER) == 3
    assert next_in_a_row([made("2", timedelta(minutes=240))], NOW_AT, QUARTER) == 1
