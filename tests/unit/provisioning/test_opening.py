"""The order in which new nodes open to the pods they were bought for."""

from __future__ import annotations

import pytest

from autoctl.controllers.provisioning.opening import TURNS, Closed, next_to_open


def closed(name: str, *exposed_to: str, zone: str = "a", overdue: bool = False) -> Closed:
    return Closed(name, zone, frozenset(exposed_to), overdue)


@pytest.mark.parametrize(
    ("nodes", "opened", "chosen"),
    [
        pytest.param([], (), [], id="none"),
        pytest.param([closed("1"), closed("2")], (), ["1"], id="one after the other"),
        pytest.param([closed("1", "2"), closed("2")], (), ["2"], id="whom it fears comes first"),
        pytest.param([closed("1", "2"), closed("3")], (), ["3"], id="waits for one still booting"),
        pytest.param([closed("1", "2")], (), [], id="waits alone"),
        pytest.param([closed("1", "2")], ("2",), ["1"], id="not for those at home"),
        pytest.param(
            [closed("1", "2"), closed("2", "1")], (), ["1", "2"], id="each waits for the other"
        ),
        pytest.param(
            [closed("1", "2", "9"), closed("2", "1")], (), [], id="the other waits for a third"
        ),
        pytest.param([closed("1", "9", overdue=True), closed("2")], (), ["1"], id="long enough"),
        pytest.param(
            [closed("1", "9", overdue=True), closed("2", "9", overdue=True)],
            (),
            ["1", "2"],
            id="all that waited long enough",
        ),
    ],
)
def test_whose_turn_it_is(nodes: list[Closed], opened: tuple[str, ...], chosen: list[str]) -> None:
    assert next_to_open(nodes, opened, (), len(nodes)) == chosen


def test_zones_take_turns() -> None:
    nodes = [closed(f"{zone}{i}", zone=zone) for zone in "abc" for i in range(2)]
    opened: list[str] = []
    while nodes:
        (chosen,) = next_to_open(nodes, opened, [name[0] for name in opened], 6)
        opened.append(chosen)
        nodes = [node for node in nodes if node.claim != chosen]
    assert opened == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_many_nodes_do_not_take_many_turns() -> None:
    nodes = [closed(f"{i:03}") for i in range(100)]
    turns = 0
    opened: set[str] = set()
    while nodes:
        chosen = next_to_open(nodes, opened, ["a"] * len(opened), 100)
        assert chosen
        opened.update(chosen)
        nodes = [node for node in nodes if node.claim not in chosen]
        turns += 1
    assert turns <= TURNS
