"""Successors of moved pods go to the replacements bought for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import Object, node, node_pool, pod

from autoctl.controllers.disruption import steering as steering_module
from autoctl.controllers.disruption.marks import REPLACES
from autoctl.controllers.disruption.model import Command, Reason
from autoctl.controllers.disruption.steering import Steering, assign, homes, plan_of, stranded


def moved(**homes: str) -> Command:
    return replace(
        Command(reason=Reason.UNDERUTILIZED, nodes=("old",)),
        moves={f"default/{name}": home for name, home in homes.items()},
    )


def before(*pods: Object) -> list[Object | list[Object]]:
    return [node_pool(), node("old"), *pods]


def after(*pods: Object) -> list[Object | list[Object]]:
    new = [node(n, annotations={REPLACES: "old"}) for n in ("new-0", "new-1")]
    return [node_pool(), *new, *pods]


def sent(steering: Steering) -> dict[int, list[str]]:
    return {i: [p.metadata.name for p in pods] for i, pods in sorted(steering.assigned.items())}


def test_each_slot_is_used_once_and_in_order() -> None:
    snapshot = snapshot_of_objects(*before(*(pod(n, node="old") for n in "abc")))
    command = moved(a="replacement:0", b="replacement:1", c="elsewhere")
    steering = plan_of(command, ("new-0", "new-1"), snapshot)
    steering.begin_wave(snapshot, 8.0)
    later = snapshot_of_objects(*after(*(pod(n) for n in "xyz")))
    assign(steering, later)
    assert sent(steering) == {0: ["x"], 1: ["y"]}
    assert steering.ready == [0, 1]
    assign(steering, later)
    assert sent(steering) == {0: ["x"], 1: ["y"]}


def test_a_replacement_is_ready_when_its_own_pods_are_there() -> None:
    snapshot = snapshot_of_objects(*before(*(pod(n, node="old") for n in "abc")))
    command = moved(a="replacement:0", b="replacement:0", c="replacement:1")
    steering = plan_of(command, ("new-0", "new-1"), snapshot)
    steering.begin_wave(snapshot, 8.0)
    x, y = pod("x"), pod("y")
    assign(steering, snapshot_of_objects(*after(x)))
    assert steering.ready == []
    assign(steering, snapshot_of_objects(*after(x, y)))
    assert steering.ready == [0]
    for owner in list(steering.slots):
        steering.give_up(owner)
    assert steering.ready == [0, 1]


def test_a_successor_that_found_room_elsewhere_is_not_waited_for() -> None:
    snapshot = snapshot_of_objects(*before(*(pod(n, node="old") for n in "ab")))
    steering = plan_of(moved(a="replacement:0", b="replacement:0"), ("new-0",), snapshot)
    steering.begin_wave(snapshot, 8.0)
    assign(steering, snapshot_of_objects(*after(pod("x"), pod("y", node="new-1"))))
    assert sent(steering) == {0: ["x"]}
    assert steering.ready == [0]


def test_pods_come_in_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replacements of a later wave are neither filled nor opened before it begins."""
    monkeypatch.setattr(steering_module, "WAVE_PODS", 2)
    snapshot = snapshot_of_objects(*before(*(pod(n, node="old") for n in "abcd")))
    homes_of = {"a": 0, "b": 0, "c": 1, "d": 1}
    command = moved(**{name: f"replacement:{i}" for name, i in homes_of.items()})
    steering = plan_of(command, ("new-0", "new-1"), snapshot)
    assert [w.keys for w in steering.waves] == [
        {"default/a", "default/b"},
        {"default/c", "default/d"},
    ]
    steering.begin_wave(snapshot, 8.0)
    early = [pod(n) for n in "wxyz"]
    assign(steering, snapshot_of_objects(*after(*early)))
    assert sent(steering) == {0: ["w", "x"]}
    assert steering.ready == [0]
    steering.begin_wave(snapshot, 8.0)
    assign(steering, snapshot_of_objects(*after(*early)))
    assert sent(steering) == {0: ["w", "x"], 1: ["y", "z"]}


def test_a_pod_that_may_not_go_is_not_waited_for() -> None:
    a = pod("a", node="old")
    snapshot = snapshot_of_objects(*before(a))
    steering = plan_of(moved(a="replacement:0"), ("new-0",), snapshot)
    wave = steering.begin_wave(snapshot, 8.0)
    assert steering.under_way(snapshot, 1.0)
    wave.refused(snapshot.pods["default/a"])
    assert not steering.under_way(snapshot, 1.0)
    assign(steering, snapshot)
    assert steering.ready == [0]


def test_pods_for_nodes_that_are_there_settle_first() -> None:
    home = node("home")
    a, b, c = (pod(n, node="old") for n in "abc")
    snapshot = snapshot_of_objects(*before(home, a, b, c))
    command = moved(a="home", b="home", c="replacement:0")
    ahead = plan_of(command, ("new-0",), snapshot).ahead
    assert ahead.keys == {"default/a", "default/b"}
    assert not ahead.settling(snapshot, 0.0), "nobody has asked them to go yet"
    ahead.begin(snapshot, 10.0)
    assert ahead.settling(snapshot, 0.0), "the mirror may not show it yet"
    x, y = pod("x", node="home"), pod("y")
    one = snapshot_of_objects(*after(home, node("old"), c, x, y))
    assert ahead.settling(one, 1.0)
    assert not ahead.settling(one, 10.0), "patience has an end"
    z = pod("z", node="home")
    both = snapshot_of_objects(*after(home, node("old"), c, x, z))
    assert not ahead.settling(both, 1.0)


def test_pods_of_other_controllers_are_left_alone() -> None:
    snapshot = snapshot_of_objects(*before(pod("a", node="old")))
    steering = plan_of(moved(a="replacement:0"), ("new-0",), snapshot)
    steering.begin_wave(snapshot, 8.0)
    strangers = [
        pod("job", owner="Job"),
        pod("bare", owner=None),
        pod("other", namespace="other"),
    ]
    assign(steering, snapshot_of_objects(*after(*strangers)))
    assert not steering.assigned
    assert steering.ready == []


def test_pods_without_a_controller_have_no_successor() -> None:
    snapshot = snapshot_of_objects(*before(pod("a", node="old", owner=None)))
    steering = plan_of(moved(a="replacement:0"), ("new-0",), snapshot)
    steering.begin_wave(snapshot, 8.0)
    assert steering.ready == [0]
    assert not steering.under_way(snapshot, 1.0)


def test_a_replacement_that_is_gone_has_no_node() -> None:
    snapshot = snapshot_of_objects(*before(pod("a", node="old")))
    steering = plan_of(moved(a="replacement:0", b="replacement:1"), ("gone", "new-1"), snapshot)
    assert homes(steering, snapshot_of_objects(*after())) == {1: "new-1"}


def test_nominations_that_nobody_minds_are_stranded() -> None:
    waiting = pod("x")
    waiting["status"]["nominatedNodeName"] = "new-0"
    elsewhere = pod("y")
    elsewhere["status"]["nominatedNodeName"] = "old"
    snapshot = snapshot_of_objects(*after(waiting, elsewhere), node("old"))
    assert [p.metadata.name for p in stranded(snapshot, frozenset())] == ["x"]
    assert stranded(snapshot, {"new-0"}) == []
