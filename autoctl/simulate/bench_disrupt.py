"""One pass of disruption measured: a large cluster as a snapshot, and what is decided of it.

Every node holds a few pods of mixed sizes, up to nine tenths of it. Nothing is carried out: the
figures are those of the decision alone.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from autoctl.api import core
from autoctl.api.labels import (
    CAPACITY_TYPE,
    HOSTNAME,
    INITIALIZED,
    NODEPOOL,
    REGISTERED,
    ZONE,
)
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool
from autoctl.catalog.embedded import load_catalog
from autoctl.catalog.model import ON_DEMAND, InstanceType
from autoctl.catalog.units import format_amount
from autoctl.controllers.disruption.decide import decide
from autoctl.ports.kubernetes import Object
from autoctl.simulate.bench_cluster import (
    REGION,
    class_reference,
    node_class,
    node_pool,
    types_on_sale,
)
from autoctl.state.snapshot import Snapshot

_NOW: Final = datetime(2026, 1, 5, tzinfo=UTC)
_CREATED: Final = "2026-01-04T00:00:00Z"
_MILLICORES: Final = (100, 250, 500, 1000)
_GIB_A_CORE: Final = (1, 2, 4, 8)
_FULL: Final = 0.9
_CONDITIONS: Final = ("Launched", "Registered", "Initialized", "Ready")


def bench_disrupt(
    nodes: int,
    pods_per_node: int = 10,
    budget: str = "10%",
    seed: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Make a cluster, decide one pass twice, and report the second.

    The first pass reads what later ones find in caches, as in a process that has run for a while.
    Seconds are those of the pass alone; peak memory (MiB) is the process's, snapshot included.

    Raises:
        ValueError: fewer than one node or pod.
    """
    if nodes < 1 or pods_per_node < 1:
        raise ValueError(f"a cluster has nodes and pods, got {nodes} and {pods_per_node} a node")
    progress("making the cluster")
    snapshot = make_snapshot(nodes, pods_per_node, budget, seed)
    progress("deciding")
    first = time.process_time()
    decide(snapshot)
    begin, used = time.perf_counter(), time.process_time()
    decision = decide(snapshot)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - used
    progress("done")
    return {
        "nodes": nodes,
        "pods": len(snapshot.pods),
        "budget": budget,
        "seed": seed,
        "seconds": round(seconds, 3),
        "cpuSeconds": round(cpu_seconds, 3),
        "firstCpuSeconds": round(used - first, 3),
        "commands": len(decision.commands),
        "nodesGoing": sum(len(c.nodes) for c in decision.commands),
        "nodesComing": sum(len(c.replacements) for c in decision.commands),
        "evictions": sum(c.evictions for c in decision.commands),
        "savings": round(sum(c.savings for c in decision.commands), 4),
        "peakMemoryMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def make_snapshot(nodes: int, pods_per_node: int, budget: str, seed: int) -> Snapshot:
    """The cluster, the same for the same arguments; nodes have been quiet for a day."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    pool = node_pool(budget)
    pool["spec"]["disruption"]["consolidateAfter"] = "0s"
    pool["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    types = types_on_sale()
    made = [Machine.choose(rng, index, types) for index in range(nodes)]
    return Snapshot(
        now=_NOW,
        pods={p.key: p for m in made for p in m.pods(rng, pods_per_node)},
        nodes={m.name: m.node() for m in made},
        node_claims={m.name: m.claim() for m in made},
        node_pools={"default": NodePool.from_dict(pool)},
        node_classes={"default": NodeClass.from_dict(node_class())},
        instance_types={"default": tuple(load_catalog(REGION).instance_types.values())},
    )


@dataclass(frozen=True)
class Machine:
    """One node."""

    name: str
    zone: str
    type: InstanceType
    capacity_type: str = ON_DEMAND

    @classmethod
    def choose(cls, rng: random.Random, index: int, types: list[InstanceType]) -> Machine:
        chosen = rng.choice(types)
        zones = [o.zone for o in chosen.offerings if o.capacity_type == ON_DEMAND]
        return cls(f"node-{index:05d}", rng.choice(zones), chosen)

    @property
    def labels(self) -> dict[str, str]:
        return {
            **self.type.labels,
            NODEPOOL: "default",
            CAPACITY_TYPE: self.capacity_type,
            ZONE: self.zone,
            REGISTERED: "true",
            INITIALIZED: "true",
            HOSTNAME: self.name,
        }

    @property
    def resources(self) -> Object:
        return {
            "capacity": {k: format_amount(k, v) for k, v in self.type.capacity.items()},
            "allocatable": {k: format_amount(k, v) for k, v in self.type.allocatable.items()},
        }

    def node(self) -> core.Node:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        return msgspec.convert(
            {
                "metadata": {"name": self.name, "uid": self.name, "labels": self.labels},
                "spec": {"providerID": f"aws:///{self.zone}/{self.name}"},
                "status": {**self.resources, **ready},
            },
            core.Node,
        )

    def claim(self) -> NodeClaim:
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": _CREATED} for kind in _CONDITIONS
        ]
        return NodeClaim.from_dict(
            {
                "metadata": {
                    "name": self.name,
                    "uid": self.name,
                    "labels": self.labels,
                    "creationTimestamp": _CREATED,
                },
                "spec": {"nodeClassRef": class_reference(), "requirements": []},
                "status": {
                    "providerID": f"aws:///{self.zone}/{self.name}",
                    "nodeName": self.name,
                    **self.resources,
                    "conditions": conditions,
                },
            }
        )

    def pods(self, rng: random.Random, most: int) -> Iterator[core.Pod]:
        """Up to `most` pods, as many as fit into nine tenths of the node."""
        cpu = int(self.type.allocatable["cpu"] * _FULL)
        memory = int(self.type.allocatable["memory"] * _FULL)
        for index in range(most):
            millicores = rng.choice(_MILLICORES)
            mebibytes = millicores * rng.choice(_GIB_A_CORE) * 1024 // 1000
            if millicores > cpu or mebibytes * 2**20 > memory:
                continue
            cpu -= millicores
            memory -= mebibytes * 2**20
            yield _pod(f"{self.name}-{index}", self.name, millicores, mebibytes)


def _pod(name: str, node: str, millicores: int, mebibytes: int) -> core.Pod:
    app = f"app-{millicores}-{mebibytes}"
    owner = {"kind": "ReplicaSet", "name": app, "uid": app, "controller": True}
    requests = {"cpu": f"{millicores}m", "memory": f"{mebibytes}Mi"}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": name,
                "labels": {"app": app},
                "ownerReferences": [owner],
            },
            "spec": {
                "nodeName": node,
                "containers": [{"name": "load", "resources": {"requests": requests}}],
            },
            "status": {"phase": "Running"},
        },
        core.Pod,
    )
