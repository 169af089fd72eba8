"""Faults of the simulated cluster and of the operator itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from autoctl.ports.kubernetes import NODES, RESOURCES
from autoctl.sim.cluster.faults import ErrorRule
from autoctl.simulate.scenario import duration_of
from autoctl.simulate.world import World


async def play_cluster_fault(world: World, fault: dict[str, Any]) -> None:
    """Let the fault begin, last `for` its duration, and end."""
    if fault["type"] == "leader-loss":
        await world.lose_leader()
        return
    lift = _begin(world, fault)
    if "for" in fault:
        await asyncio.sleep(duration_of(fault["for"]).total_seconds())
        lift()


def _begin(world: World, fault: dict[str, Any]) -> Callable[[], None]:
    match fault["type"]:
        case "kube-error":
            wanted = set(fault.get("resources", ()))
            return world.cluster.faults.fail(
                ErrorRule(
                    verbs=frozenset(fault.get("verbs", ())),
                    resources=frozenset(r for r in RESOURCES if r.plural in wanted),
                    count=fault.get("count"),
                    probability=float(fault.get("share", 1.0)),
                )
            )
        case "eviction-blocked":
            namespace, names = fault.get("namespace"), frozenset(fault.get("names", ()))
            return world.cluster.faults.block_evictions(
                lambda ns, name: (
                    (namespace is None or ns == namespace) and (not names or name in names)
                )
            )
        case "node-condition":
            return _set_conditions(world, fault)
    raise ValueError(f"fault {fault['type']!r} is not one of the cluster's")


def _set_conditions(world: World, fault: dict[str, Any]) -> Callable[[], None]:
    """Report a condition on some nodes: the named ones, or the first `count` by name."""
    names = fault.get("nodes") or sorted(
        n["metadata"]["name"] for n in world.cluster.objects(NODES)
    )
    chosen = names[: fault.get("count", len(names))]
    condition, status = str(fault.get("condition", "Ready")), str(fault.get("status", "False"))
    healthy = "False" if condition.endswith("Pressure") else "True"
    for name in chosen:
        world.cluster.nodes.set_condition(
            name, condition, status, reason="Simulated", message="a fault of the scenario"
        )

    def lift() -> None:
        for name in chosen:
            if world.cluster.store.get(NODES, name) is not None:
                world.cluster.nodes.set_condition(name, condition, healthy)

    return lift
