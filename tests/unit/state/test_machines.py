"""What is kept up to date change by change equals what is computed from all there is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoctl.api import core
from autoctl.api.labels import NODEPOOL
from autoctl.api.nodeclaim import NodeClaim
from autoctl.catalog.units import amount
from autoctl.ports.clock import FixedClock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, PODS, EventType, Resource
from autoctl.state.cluster import ClusterState
from autoctl.state.nodes import StateNode, join

NOW = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = ("a", "b", "c", "d", "e")
PROVIDERS = ("", *(f"aws:///z/i-{n}" for n in "123"))
POOLS = (None, "one", "two")


def make_node(rng: random.Random, name: str) -> core.Node:
    capacity = {"cpu": rng.choice(["2", "4"]), "hugepages-1Gi": "0"}
    if rng.random() < 0.3:
        capacity["nvidia.com/gpu"] = "1"
    return core.Node(
        metadata=core.ObjectMeta(name=name, uid=name),
        spec=core.NodeSpec(provider_id=rng.choice(PROVIDERS)),
        status=core.NodeStatus(capacity=rng.choice([None, capacity])),
    )


def make_claim(rng: random.Random, name: str) -> dict[str, Any]:
    pool = rng.choice(POOLS)
    return {
        "metadata": {
            "name": name,
            "uid": f"{name}-{rng.randrange(2)}",
            "labels": {} if pool is None else {NODEPOOL: pool},
        },
        "spec": {
            "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"},
            "requirements": [],
        },
        "status": {
            "providerID": rng.choice(PROVIDERS),
            "capacity": rng.choice([{}, {"cpu": "8", "memory": "1Gi"}]),
        },
    }


def make_pod(rng: random.Random, name: str) -> core.Pod:
    on = rng.choice([None, *NAMES])
    owner = core.OwnerReference(
        api_version="apps/v1", kind="ReplicaSet", name="r", uid="r", controller=True
    )
    return core.Pod(
        metadata=core.ObjectMeta(
            name=name,
            namespace=rng.choice(["x", "y"]),
            uid=name,
            owner_references=[owner],
            deletion_timestamp=rng.choice([None, NOW]),
        ),
        spec=core.PodSpec(node_name=on),
        status=core.PodStatus(
            phase=rng.choice(["Pending", "Running", "Succeeded", "Failed"]),
            nominated_node_name=rng.choice([None, *NAMES]),
        ),
    )


def shown(machines: Mapping[str, StateNode]) -> list[tuple[str, object, object, list[int]]]:
    return [
        (name, m.node, m.claim, [id(p) for p in (*m.pods, None, *m.nominated)])
        for name, m in machines.items()
    ]


def summed(state: ClusterState, pool: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for claim in state.node_claims.copy().values():
        if claim.node_pool == pool:
            nodes = state.nodes_of_claim(claim)
            capacity = (nodes[0].status.capacity if nodes else None) or claim.status.capacity
            found.update({"nodes": 1, **{k: amount(k, v) for k, v in capacity.items()}})
    return {"nodes": 0, **found}


class World:
    """A mirror, and the objects it was told of."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        api: Any = None
        self.state = ClusterState(api, FixedClock(NOW), rng=random.Random(1))

    def tell(self, resource: Resource, kind: EventType, obj: Any) -> None:
        self.state.reflectors()[resource]._apply(kind, obj)

    def change(self) -> None:
        """One object comes, changes or goes, or something is noted of a NodeClaim."""
        rng = self.rng
        resource = rng.choice((NODES, NODE_CLAIMS, PODS, None))
        name = rng.choice(NAMES)
        if resource is None:
            known = self.state.node_claims.copy()
            if rng.random() < 0.5:
                when = NOW + timedelta(seconds=rng.randrange(100))
                self.state.note_pod_event(name, when)
            elif name not in known:
                claim = make_claim(rng, name)
                claim["status"] = {}
                self.state.assume(NodeClaim.from_dict(claim))
            return
        make = {NODES: make_node, NODE_CLAIMS: make_claim, PODS: make_pod}[resource]
        obj = make(rng, name)
        store = self.state.reflectors()[resource].store
        if rng.random() < 0.3 and store:
            key = rng.choice(sorted(store))
            gone = store[key]
            if resource is NODE_CLAIMS:
                self.tell(resource, EventType.DELETED, gone.to_dict())
            else:
                self.tell(resource, EventType.DELETED, gone)
        else:
            self.tell(resource, EventType.MODIFIED, obj)


@pytest.mark.parametrize("seed", range(40))
def test_machines_and_totals_are_what_all_objects_come_to(seed: int) -> None:
    world = World(seed)
    before: Mapping[str, StateNode] = {}
    for _ in range(120):
        for _ in range(world.rng.choice((0, 1, 1, 3))):
            world.change()
        snapshot = world.state.snapshot()
        whole = join(snapshot.nodes.values(), snapshot.node_claims.values(), snapshot.pods.values())
        assert shown(snapshot.state_nodes) == shown(whole)
        for name, machine in snapshot.state_nodes.items():
            old = before.get(name)
            same = old is not None and shown({name: old}) == shown({name: machine})
            unchanged = same and old is not None and old.claim is machine.claim
            assert (old is machine) == (unchanged and old is not None and old.node is machine.node)
        before = snapshot.state_nodes
        for pool in ("one", "two"):
            assert dict(world.state.totals.of(pool)) == summed(world.state, pool)


@pytest.mark.parametrize("seed", range(10))
def test_copies_of_a_table_are_sorted_and_stay_as_they_are(seed: int) -> None:
    world = World(seed)
    for _ in range(60):
        world.change()
        copy = world.state.nodes.copy()
        store = dict(world.state.reflectors()[NODES].store)
        assert list(copy) == sorted(store)
        assert all(copy[k] is store[k] for k in store)
        world.change()
        assert list(copy) == sorted(store)
        assert all(copy[k] is store[k] for k in store)
