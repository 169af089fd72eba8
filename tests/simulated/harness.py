"""A world to play with: manifests as the user guide writes them, and what came of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from autoctl.ports.kubernetes import (
    DEPLOYMENTS,
    EVENTS,
    NODE_CLAIMS,
    NODE_POOLS,
    NODES,
    PODS,
    Object,
)
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.simulate.scenario import Scenario
from autoctl.simulate.world import World

START = datetime(2026, 1, 5, tzinfo=UTC)
AWS_WRITES = ("Create", "Delete", "Terminate", "Add", "Remove", "Run", "Associate")


def node_class(**spec: Any) -> Object:
    """The NodeClass `default`."""
    tags = {"tags": {"kubernetes.io/cluster/autoctl": "*"}}
    return {
        "apiVersion": "eks.amazonaws.com/v1",
        "kind": "NodeClass",
        "metadata": {"name": "default"},
        "spec": {
            "role": "autoctl-node",
            "subnetSelectorTerms": [tags],
            "securityGroupSelectorTerms": [tags],
        }
        | spec,
    }


def node_pool(
    name: str = "general-purpose",
    *,
    capacity_types: Iterable[str] = ("on-demand",),
    template: dict[str, Any] | None = None,
    **spec: Any,
) -> Object:
    """A NodePool as Auto Mode's general-purpose one; consolidation only of empty nodes."""
    requirements = [
        {
            "key": "karpenter.sh/capacity-type",
            "operator": "In",
            "values": list(capacity_types),
        },
        {
            "key": "eks.amazonaws.com/instance-category",
            "operator": "In",
            "values": ["c", "m", "r"],
        },
        {"key": "eks.amazonaws.com/instance-generation", "operator": "Gt", "values": ["4"]},
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
    ]
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "disruption": {
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": "30s",
                "budgets": [{"nodes": "100%"}],
            },
            "template": {
                "spec": {
                    "nodeClassRef": {
                        "group": "eks.amazonaws.com",
                        "kind": "NodeClass",
                        "name": "default",
                    },
                    "requirements": requirements,
                }
                | (template or {})
            },
        }
        | spec,
    }


def deployment(name: str = "web", replicas: int = 3, cpu: str = "500m", **pod: Any) -> Object:
    """A Deployment; `pod` goes into the pods' spec."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [
                        {
                            "name": "c",
                            "image": "x",
                            "resources": {"requests": {"cpu": cpu, "memory": "256Mi"}},
                        }
                    ]
                }
                | pod,
            },
        },
    }


def budget(name: str, **spec: Any) -> Object:
    """A PodDisruptionBudget over the pods of Deployment `name`."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}} | spec,
    }


class Play:
    """A running world with the questions that tests ask."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.api = world.cluster.api

    async def until(self, holds: Callable[[], bool], seconds: float = 300) -> float:
        """Let time pass until `holds`; return how long it took. Fails after `seconds`."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not holds():
            if loop.time() - begun > seconds:
                raise AssertionError(f"did not come about in {seconds} s: {self.describe()}")
            await asyncio.sleep(1)
            self.world.check()
        return loop.time() - begun

    async def scale(self, replicas: int, name: str = "web") -> None:
        await self.api.patch(DEPLOYMENTS, name, {"spec": {"replicas": replicas}}, "default")

    def claims(self) -> list[Object]:
        return list(self.world.cluster.objects(NODE_CLAIMS))

    def nodes(self) -> list[Object]:
        return list(self.world.cluster.objects(NODES))

    def pods(self) -> list[Object]:
        return list(self.world.cluster.objects(PODS))

    def running(self) -> int:
        """Pods that run."""
        return sum(p.get("status", {}).get("phase") == "Running" for p in self.pods())

    def instances(self) -> list[InstanceRecord]:
        """Instances that have not ended."""
        return self.world.cloud.ec2.instances.alive()

    @property
    def launched(self) -> int:
        """Instances that ever were."""
        return len(self.world.cloud.ec2.instances.records)

    def templates(self) -> list[str]:
        return [t.name for t in self.world.cloud.ec2.templates.templates.values()]

    def events(self, reason: str) -> list[Object]:
        return [e for e in self.world.cluster.objects(EVENTS) if e["reason"] == reason]

    def every_event(self) -> list[Object]:
        return list(self.world.cluster.objects(EVENTS))

    def condition(self, obj: Object, kind: str) -> Object:
        found = [c for c in obj.get("status", {}).get("conditions", []) if c["type"] == kind]
        return found[0] if found else {"status": "absent", "reason": "", "message": ""}

    def pool(self, name: str = "general-purpose") -> Object:
        return next(
            p for p in self.world.cluster.objects(NODE_POOLS) if p["metadata"]["name"] == name
        )

    def nothing_left(self) -> bool:
        """No node, NodeClaim, living instance or launch template."""
        return not (self.claims() or self.nodes() or self.instances() or self.templates())

    def describe(self) -> str:
        claims = [
            (
                c["metadata"]["name"],
                [
                    x["type"]
                    for x in c.get("status", {}).get("conditions", [])
                    if x["status"] == "True"
                ],
                c["metadata"].get("deletionTimestamp"),
            )
            for c in self.claims()
        ]
        phases = Counter(p.get("status", {}).get("phase") for p in self.pods())
        states = Counter(i.state for i in self.world.cloud.ec2.instances.records.values())
        return f"pods {dict(phases)}, claims {claims}, nodes {len(self.nodes())}, {dict(states)}"


@asynccontextmanager
async def playing(
    *objects: Object,
    seed: int = 1,
    prepare: Callable[[World], None] = lambda _: None,
    **settings: Any,
) -> AsyncIterator[Play]:
    """A started world; `settings` are the scenario's, `prepare` comes before the operator."""
    scenario = Scenario.model_validate(
        {
            "apiVersion": "simulate.autoctl.io/v1",
            "kind": "Scenario",
            "region": "us-west-2",
            "start": START,
            "duration": "1h",
        }
        | ({"settings": settings} if settings else {})
    )
    world = World(scenario, seed)
    prepare(world)
    await world.start(objects)
    try:
        yield Play(world)
        world.check()
    finally:
        await world.stop()
