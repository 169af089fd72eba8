"""Pods of one kind that kube-scheduler puts in each other's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import Object, node_pool, pod

from autoctl.api import core
from autoctl.controllers.provisioning.seats import Seats

HOMES = {"default/a1": "A", "default/a2": "A", "default/b1": "B"}


def parsed(*pods: Object) -> list[core.Pod]:
    return list(snapshot_of_objects(node_pool(), *pods).pods.values())


def trades(
    pods: Sequence[core.Pod], landed: Mapping[str, str], homes: Mapping[str, str] = HOMES
) -> list[tuple[str, str]]:
    """All wait; then those `landed` are bound: who gets which home."""
    seats = Seats()
    assert seats.trades(pods, homes, lambda _: None) == []
    left = [p for p in pods if p.metadata.name not in landed]
    found = seats.trades(left, homes, lambda key: landed.get(key.removeprefix("default/")))
    # What was traded is remembered.
    assert seats.trades(left, {**homes, **{p.key: h for p, h in found}}, lambda _: None) == []
    return [(p.metadata.name, home) for p, home in found]


def alike(*names: str) -> list[core.Pod]:
    return parsed(*(pod(name, cpu="1") for name in names))


@pytest.mark.parametrize(
    ("landed", "expected"),
    [
        pytest.param({"b1": "B"}, [], id="at home"),
        pytest.param({"b1": "A"}, [("a1", "B")], id="in the place of another"),
        pytest.param({"b1": "elsewhere"}, [], id="where nobody is displaced"),
        pytest.param({"a1": "B", "b1": "A"}, [], id="in each other's place"),
        pytest.param({"a1": "B"}, [("b1", "A")], id="the only one of its home"),
    ],
)
def test_who_finds_its_room_taken_goes_to_the_room_left(
    landed: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    assert trades(alike("a1", "a2", "b1"), landed) == expected


def test_pods_of_another_kind_do_not_trade() -> None:
    pods = parsed(pod("a1", cpu="2"), pod("a2", cpu="2"), pod("b1", cpu="1"))
    assert trades(pods, {"b1": "A"}) == []


def test_who_is_not_nominated_goes_first() -> None:
    first, *others = alike("a1", "a2", "b1")
    raw = pod("a1", cpu="1")
    raw["status"]["nominatedNodeName"] = "node-of-a"
    (nominated,) = parsed(raw)
    assert nominated.key == first.key
    assert trades([nominated, *others], {"b1": "A"}) == [("a2", "B")]


def test_a_pod_that_is_gone_leaves_no_trace() -> None:
    seats = Seats()
    pods = alike("a1", "b1")
    assert seats.trades(pods, HOMES, lambda _: None) == []
    assert seats.trades(pods[:1], HOMES, lambda _: None) == []
    assert seats.trades(pods[:1], HOMES, lambda _: "A") == []
