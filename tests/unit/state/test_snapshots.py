"""Snapshots that cost nothing where nothing changed, and tell nothing old where it did."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.catalog.model import InstanceType
from autoctl.ports.clock import FixedClock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_CLASSES, NODES, PODS, EventType, Resource
from autoctl.state.cluster import ClusterState
from autoctl.state.nodes import StateNode, join, kept
from autoctl.state.reflector import Change, Extent
from autoctl.state.snapshot import _COMPUTED_FROM, Snapshot

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def node(name: str) -> core.Node:
    return core.Node(
        metadata=core.ObjectMeta(name=name, uid=name),
        spec=core.NodeSpec(provider_id=f"aws:///a/i-{name}"),
        status=core.NodeStatus(),
    )


def pod(name: str, on: str) -> core.Pod:
    return core.Pod(
        metadata=core.ObjectMeta(name=name, namespace="default", uid=name),
        spec=core.PodSpec(node_name=on),
        status=core.PodStatus(phase="Running"),
    )


def claim(name: str, **metadata: Any) -> NodeClaim:
    reference = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}
    return NodeClaim.from_dict(
        {
            "metadata": {"name": name, "uid": name, "generation": 1, **metadata},
            "spec": {"nodeClassRef": reference, "requirements": []},
            "status": {"providerID": f"aws:///a/i-{name}"},
        }
    )


class Types:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.changes = 0

    def launchable(self, node_class: NodeClass) -> tuple[InstanceType, ...]:
        self.asked += 1
        return ()

    def revision(self) -> int:
        return self.changes


class Mirror:
    """A state whose reflectors are told by hand."""

    def __init__(self) -> None:
        self.clock = FixedClock(NOW)
        self.types = Types()
        api: Any = None
        self.state = ClusterState(api, self.clock, rng=random.Random(1), instance_types=self.types)
        self.heard: list[tuple[str, str, Extent]] = []
        self.state.listen(lambda r, _, name, extent: self.heard.append((r.kind, name, extent)))

    def tell(self, resource: Resource, kind: EventType, obj: Any) -> None:
        self.state.reflectors()[resource]._apply(kind, obj)


def as_dict(obj: NodeClaim) -> dict[str, Any]:
    return obj.to_dict()


def test_where_nothing_changed_types_are_not_asked_for_again() -> None:
    mirror = Mirror()
    spec = {"role": "r", "subnetSelectorTerms": [{"id": "subnet-1"}]}
    mirror.tell(
        NODE_CLASSES,
        EventType.ADDED,
        {"metadata": {"name": "default"}, "spec": {**spec, "securityGroupSelectorTerms": []}},
    )
    first = mirror.state.snapshot()
    mirror.clock.instant = NOW + timedelta(hours=1)
    second = mirror.state.snapshot()
    assert mirror.types.asked == 1
    assert second.now == NOW + timedelta(hours=1)
    assert second.state_nodes is first.state_nodes
    mirror.types.changes += 1
    mirror.state.snapshot()
    assert mirror.types.asked == 2


def test_a_snapshot_has_what_decisions_told_each_other_since_the_last() -> None:
    mirror = Mirror()
    mirror.tell(NODE_CLAIMS, EventType.ADDED, as_dict(claim("a")))
    assert not mirror.state.snapshot().disrupting
    mirror.state.set_disrupting(["a"])
    assert mirror.state.snapshot().disrupting == {"a"}
    mirror.state.note_pod_event("a", NOW)
    found = mirror.state.snapshot().node_claims["a"]
    assert found.status.last_pod_event_time == NOW


def test_only_machines_that_changed_are_new_objects() -> None:
    mirror = Mirror()
    for name in ("a", "b"):
        mirror.tell(NODES, EventType.ADDED, node(name))
        mirror.tell(NODE_CLAIMS, EventType.ADDED, as_dict(claim(name)))
        mirror.tell(PODS, EventType.ADDED, pod(f"p-{name}", name))
    before = mirror.state.snapshot().state_nodes
    mirror.tell(PODS, EventType.ADDED, pod("new", "a"))
    after = mirror.state.snapshot().state_nodes
    assert after["b"] is before["b"]
    assert [p.metadata.name for p in after["a"].pods] == ["new", "p-a"]
    mirror.tell(PODS, EventType.DELETED, pod("new", "a"))
    again = mirror.state.snapshot().state_nodes
    assert [p.metadata.name for p in again["a"].pods] == ["p-a"]
    mirror.tell(PODS, EventType.MODIFIED, pod("p-b", "b"))
    assert mirror.state.snapshot().state_nodes["b"] is not again["b"], "the pod is another object"


def test_every_field_of_a_machine_is_compared() -> None:
    coming = pod("coming", "")
    base = StateNode(node("a"), claim("a"), (pod("p", "a"),), (coming,))
    assert {f.name for f in dataclasses.fields(StateNode)} == {"node", "claim", "pods", "nominated"}
    waiting = core.Pod(
        metadata=coming.metadata,
        spec=coming.spec,
        status=core.PodStatus(phase="Pending", nominated_node_name="a"),
    )
    assert base.node is not None
    assert base.claim is not None
    with_it = join([base.node], [base.claim], [*base.pods, waiting])["a"]
    without = join([base.node], [base.claim], base.pods)["a"]
    assert with_it.nominated == (waiting,)
    assert kept(with_it, without) is without
    assert kept(without, join([base.node], [base.claim], base.pods)["a"]) is without
    other = join([base.node], [claim("a")], base.pods)["a"]
    assert kept(without, other) is other


@pytest.mark.parametrize("field", sorted(set().union(*_COMPUTED_FROM.values())))
def test_what_was_computed_from_a_changed_field_is_computed_again(field: str) -> None:
    snapshot = Snapshot(now=NOW)
    for name in _COMPUTED_FROM:
        getattr(snapshot, name)
    changed = snapshot.but(**{field: {}})
    for name, inputs in _COMPUTED_FROM.items():
        assert (name in changed.__dict__) == (field not in inputs)
    later = snapshot.but(now=NOW + timedelta(seconds=1))
    assert all(later.__dict__[name] is snapshot.__dict__[name] for name in _COMPUTED_FROM)


@pytest.mark.parametrize(
    ("metadata", "extent"),
    [
        ({}, Extent.STATUS),
        ({"resourceVersion": "7"}, Extent.STATUS),
        ({"generation": 2}, Extent.SPEC),
        ({"labels": {"a": "b"}}, Extent.SPEC),
        ({"annotations": {"a": "b"}}, Extent.SPEC),
        ({"finalizers": ["a"]}, Extent.SPEC),
        ({"deletionTimestamp": "2026-01-05T00:00:00Z"}, Extent.SPEC),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "b"}]},
            Extent.SPEC,
        ),
    ],
)
def test_changes_of_status_are_told_from_others(metadata: dict[str, Any], extent: Extent) -> None:
    change = Change(EventType.MODIFIED, "a", claim("a", **metadata), claim("a"))
    assert change.extent is extent


def test_what_is_new_or_gone_is_the_widest_change_and_kinds_without_generations_tell_nothing() -> (
    None
):
    one = claim("a")
    assert Change(EventType.ADDED, "a", one, None).extent is Extent.EXISTENCE
    assert Change(EventType.DELETED, "a", one, one).extent is Extent.EXISTENCE
    assert Change(EventType.MODIFIED, "n", node("n"), node("n")).extent is Extent.SPEC


def test_listeners_hear_how_much_changed() -> None:
    mirror = Mirror()
    mirror.tell(NODE_CLAIMS, EventType.ADDED, as_dict(claim("a")))
    mirror.tell(NODE_CLAIMS, EventType.MODIFIED, as_dict(claim("a", resourceVersion="2")))
    mirror.tell(NODE_CLAIMS, EventType.MODIFIED, as_dict(claim("a", generation=2)))
    assert mirror.heard == [
        ("NodeClaim", "a", Extent.EXISTENCE),
        ("NodeClaim", "a", Extent.STATUS),
        ("NodeClaim", "a", Extent.SPEC),
    ]
