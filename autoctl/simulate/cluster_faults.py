"""Faults of the simulated cluster and of the operator itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from autoctl.ports.kubernetes import EVENTS, NODES, RESOURCES
from autoctl.sim.cluster.faults import ErrorRule, Point, Request
from autoctl.simulate.durations import duration_of
from autoctl.simulate.world import World

_AWS_READS = ("Describe", "Get", "List", "Receive")


async def play_cluster_fault(world: World, fault: dict[str, Any]) -> None:
    """Let the fault begin, last `for` its duration, and end."""
    if fault["type"] == "leader-loss":
        cut_off = bool(fault.get("cutOff", False))
        if "write" in fault:
            await _after_write(world, int(fault["write"]), cancel=not cut_off)
        await world.lose_leader(cut_off=cut_off)
        return
    lift = _begin(world, fault)
    if "for" in fault:
        await asyncio.sleep(duration_of(fault["for"]).total_seconds())
        lift()


async def _after_write(world: World, number: int, *, cancel: bool) -> None:
    """Wait for the operator's `number`-th write, in the cluster or in AWS.

    With `cancel` it is stopped there: the write took effect, and the reconcile that made it never
    hears of it.
    """
    reached = asyncio.get_running_loop().create_future()
    left = number

    def wrote() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            reached.set_result(None)
            if not cancel:
                return
            raise asyncio.CancelledError("the leader dies")

    def in_cluster(request: Request, point: Point) -> None:
        if point is Point.AFTER and request.resource is not EVENTS:
            wrote()

    def in_aws(service: str, operation: str) -> None:
        if service != "sqs" and not operation.startswith(_AWS_READS):
            wrote()

    forget = world.cluster.faults.observe(in_cluster)
    world.cloud.observers.append(in_aws)
    try:
        await reached
    finally:
        forget()
        world.cloud.observers.remove(in_aws)


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
                    after_commit=bool(fault.get("answerLost", False)),
                )
            )
        case "eviction-blocked":
            namespace, names = fault.get("namespace"), frozenset(fault.get("names", ()))
            return world.cluster.faults.block_evictions(
                lambda ns, name: (
                    (namespace is None or ns == namespace) and (not names or name in names)
                )
            )
        case "clock-jump":
            return _set_clock(world, duration_of(fault["by"]))
        case "node-condition":
            return _set_conditions(world, fault)
    raise ValueError(f"fault {fault['type']!r} is not one of the cluster's")


def _set_clock(world: World, by: timedelta) -> Callable[[], None]:
    """Set the clock of the operators' machine wrong by so much (more)."""
    world.machine.offset += by

    def lift() -> None:
        world.machine.offset -= by

    return lift


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
