"""Successors of moved pods go to the replacements bought for them."""

from __future__ import annotations

from dataclasses import replace

from disruption_snapshots import snapshot_of_objects
from plan_builders import Object, node, node_pool, pod

from autoctl.controllers.disruption.marks import REPLACES
from autoctl.controllers.disruption.model import Command, Reason
from autoctl.controllers.disruption.steering import assign, plan_of, stranded


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


def test_each_slot_is_used_once_and_in_order() -> None:
    snapshot = snapshot_of_objects(*before(*(pod(n, node="old") for n in "abc")))
    command = moved(a="replacement:0", b="replacement:1", c="elsewhere")
    steering = plan_of(command, ("new-0", "new-1"), snapshot)
    later = snapshot_of_objects(*after(*(pod(n) for n in "xyz")))
    sent = assign(steering, later)
    assert sorted(home for _, home in sent) == ["new-0", "new-1"]
    assert len({p.metadata.uid for p, _ in sent}) == 2
    assert steering.done
    assert assign(steering, later) == []


def test_pods_of_other_controllers_are_left_alone() -> None:
    snapshot = snapshot_of_objects(*before(pod("a", node="old")))
    steering = plan_of(moved(a="replacement:0"), ("new-0",), snapshot)
    strangers = [
        pod("job", owner="Job"),
        pod("bare", owner=None),
        pod("other", namespace="other"),
        pod("bound", node="new-1"),
    ]
    assert assign(steering, snapshot_of_objects(*after(*strangers))) == []
    assert not steering.done


def test_pods_without_a_controller_have_no_successor() -> None:
    snapshot = snapshot_of_objects(*before(pod("a", node="old", owner=None)))
    assert plan_of(moved(a="replacement:0"), ("new-0",), snapshot).done


def test_nobody_is_sent_to_a_replacement_that_is_gone() -> None:
    snapshot = snapshot_of_objects(*before(pod("a", node="old")))
    steering = plan_of(moved(a="replacement:0"), ("never-came",), snapshot)
    assert assign(steering, snapshot_of_objects(*after(pod("x")))) == []


def test_nominations_that_nobody_minds_are_stranded() -> None:
    waiting = pod("x")
    waiting["status"]["nominatedNodeName"] = "new-0"
    elsewhere = pod("y")
    elsewhere["status"]["nominatedNodeName"] = "old"
    snapshot = snapshot_of_objects(*after(waiting, elsewhere), node("old"))
    assert [p.metadata.name for p in stranded(snapshot, frozenset())] == ["x"]
    assert stranded(snapshot, {"new-0"}) == []
