"""The checks of random worlds notice what they are there for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from harness import Play, budget, deployment, node_class, node_pool, playing

from autoctl.api.labels import TERMINATION_TIMESTAMP
from autoctl.controllers.disruption.marks import COMMAND, Mark
from autoctl.controllers.disruption.model import Reason
from autoctl.ports.kubernetes import (
    DAEMON_SETS,
    NODE_CLAIMS,
    NODE_POOLS,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
)
from autoctl.simulate.invariants import Invariants


@asynccontextmanager
async def watched(*objects: Any) -> AsyncIterator[tuple[Play, Invariants]]:
    """A world with six pods on nodes, and nobody leading any more."""
    async with playing(node_class(), node_pool(), *objects) as play:
        invariants = Invariants()
        invariants.attach(play.world)
        await play.until(lambda: play.running() == 6, 400)
        assert play.world.operator is not None
        await play.world.operator.kill()
        play.world.operator = None
        yield play, invariants


def rules(play: Play, invariants: Invariants) -> set[str]:
    invariants.finish(play.world)
    return {v.rule for v in invariants.violations}


async def test_a_leaked_instance_is_found() -> None:
    async with watched(deployment(replicas=6)) as (play, invariants):
        claim = play.claims()[0]["metadata"]["name"]
        await play.world.cluster.users.patch(NODE_CLAIMS, claim, {"metadata": {"finalizers": None}})
        await play.world.cluster.users.delete(NODE_CLAIMS, claim)
        assert "leak" in rules(play, invariants)


async def test_a_lost_pod_is_found() -> None:
    async with watched(deployment(replicas=6)) as (play, invariants):
        await play.world.cluster.users.delete(PODS, play.pods()[0]["metadata"]["name"], "default")
        assert "pod lost" in rules(play, invariants)


async def test_a_daemon_without_room_on_its_node_is_not_lost() -> None:
    async with watched(deployment(replicas=6)) as (play, invariants):
        daemon = deployment("agent", cpu="64")
        daemon["kind"] = "DaemonSet"
        del daemon["spec"]["replicas"]
        await play.world.cluster.users.create(DAEMON_SETS, daemon, "default")
        await play.until(lambda: len(play.pods()) > 6)
        assert "pod lost" not in rules(play, invariants)


async def test_a_static_pool_of_the_wrong_size_is_found() -> None:
    async with watched(deployment(replicas=6)) as (play, invariants):
        pool = node_pool("static", replicas=2)
        await play.world.cluster.users.create(NODE_POOLS, pool)
        assert "static pool" in rules(play, invariants)


async def test_a_static_pool_that_passes_its_limit_is_found() -> None:
    pool = node_pool("static", replicas=1, limits={"nodes": "1"})
    async with playing(node_class()) as play:
        invariants = Invariants()
        invariants.attach(play.world)
        await play.world.cluster.users.create(NODE_POOLS, pool)
        await play.until(lambda: len(play.nodes()) == 1)
        assert not invariants.violations
        claim = play.claims()[0]
        twin = {
            "apiVersion": claim["apiVersion"],
            "kind": "NodeClaim",
            "metadata": {"name": "twin", "labels": claim["metadata"]["labels"]},
            "spec": claim["spec"],
        }
        await play.api.create(NODE_CLAIMS, twin)
        assert [v.rule for v in invariants.violations] == ["static pool"]


async def test_a_taint_that_nobody_takes_off_is_found() -> None:
    async with watched(deployment(replicas=6)) as (play, invariants):
        taint = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
        name = play.nodes()[0]["metadata"]["name"]
        await play.api.patch(NODES, name, {"spec": {"taints": [taint]}})
        assert "left tainted" in rules(play, invariants)


async def test_more_marks_than_the_budget_allows_are_found() -> None:
    async with watched(deployment(replicas=6)) as (play, invariants):
        pool = play.pool()
        pool_budget = {"spec": {"disruption": {"budgets": [{"nodes": "0"}]}}}
        await play.api.patch(NODE_POOLS, pool["metadata"]["name"], pool_budget)
        await asyncio.sleep(60)
        claim = play.claims()[0]["metadata"]["name"]
        mark = Mark("x", Reason.UNDERUTILIZED, 0, play.world.clock.now()).encode()
        await play.api.patch(NODE_CLAIMS, claim, {"metadata": {"annotations": {COMMAND: mark}}})
        found = rules(play, invariants)
        assert {"budget", "left marked"} <= found


async def test_an_instance_with_two_owners_is_found() -> None:
    async with watched(deployment(replicas=6)) as (play, invariants):
        claim = play.claims()[0]
        twin = {
            "apiVersion": claim["apiVersion"],
            "kind": "NodeClaim",
            "metadata": {"name": "twin", "labels": claim["metadata"]["labels"]},
            "spec": claim["spec"],
        }
        await play.api.create(NODE_CLAIMS, twin)
        await play.api.patch(
            NODE_CLAIMS,
            "twin",
            {"status": {"providerID": claim["status"]["providerID"]}},
            subresource="status",
        )
        assert "two owners" in rules(play, invariants)


async def test_a_node_that_is_given_up_before_its_instance_is_found() -> None:
    """Its pods run on, and start anew elsewhere: a StatefulSet's would run twice."""
    async with watched(deployment(replicas=6)) as (play, invariants):
        name = play.nodes()[0]["metadata"]["name"]
        await play.api.delete(NODES, name)
        assert "two owners" not in {v.rule for v in invariants.violations}
        await play.api.patch(NODES, name, {"metadata": {"finalizers": None}})
        assert "two owners" in rules(play, invariants)


@pytest.mark.parametrize("first", ["critical", "web"])
async def test_a_drain_out_of_order_is_found(first: str) -> None:
    critical = deployment("critical", replicas=3, priorityClassName="system-cluster-critical")
    async with watched(deployment(replicas=3), critical) as (play, invariants):
        await asyncio.sleep(10)
        homes = [p["spec"]["nodeName"] for p in play.pods() if "web" in p["metadata"]["name"]]
        pod = next(
            p["metadata"]["name"]
            for p in play.pods()
            if p["metadata"]["name"].startswith(first) and p["spec"]["nodeName"] in homes
        )
        await play.api.evict(pod, "default")
        assert ("drain order" in rules(play, invariants)) is (first == "critical")


@pytest.mark.parametrize("annotations", [{}, {"karpenter.sh/do-not-disrupt": "true"}])
async def test_a_pod_that_is_forced_or_evicted_against_its_will_is_found(
    annotations: dict[str, str],
) -> None:
    web = deployment(replicas=6)
    web["spec"]["template"]["metadata"]["annotations"] = annotations
    async with watched(web) as (play, invariants):
        name = play.pods()[0]["metadata"]["name"]
        ask: Callable[..., Any] = play.api.evict if annotations else play.api.delete
        if annotations:
            await ask(name, "default")
        else:
            await ask(PODS, name, "default")
        expected = "do-not-disrupt" if annotations else "pod forced"
        assert expected in rules(play, invariants)


@pytest.mark.parametrize(("minutes", "found"), [(0, False), (10, True)])
async def test_a_node_that_is_not_registered_has_a_deadline_too(minutes: int, found: bool) -> None:
    """Its NodeClaim does not know the Node's name yet, but the instance (found by seed 139)."""
    async with watched(deployment(replicas=6)) as (play, invariants):
        pod = play.pods()[0]
        claim = next(c for c in play.claims() if c["status"]["nodeName"] == pod["spec"]["nodeName"])
        name = claim["metadata"]["name"]
        deadline = play.world.clock.now() + timedelta(minutes=minutes)
        annotations = {TERMINATION_TIMESTAMP: deadline.strftime("%Y-%m-%dT%H:%M:%SZ")}
        patch = {"metadata": {"annotations": annotations}}
        await play.world.cluster.users.patch(NODE_CLAIMS, name, patch)
        unknown = {"status": {"nodeName": None}}
        await play.world.cluster.users.patch(NODE_CLAIMS, name, unknown, subresource="status")
        await play.api.delete(PODS, pod["metadata"]["name"], "default")
        assert ("pod forced" in rules(play, invariants)) == found


@pytest.mark.parametrize(("seconds", "found"), [(0.0, False), (5.0, True)])
async def test_an_eviction_answers_for_what_budgets_may_know(seconds: float, found: bool) -> None:
    """A pod that others ended a moment ago is still counted by the API server (seed 121)."""
    guard = budget("web", minAvailable=5)
    async with watched(deployment(replicas=6), guard) as (play, invariants):
        other, pod = play.pods()[:2]
        await play.world.cluster.users.delete(PODS, other["metadata"]["name"], "default")
        await asyncio.sleep(seconds)
        if seconds:
            lie = {"status": {"disruptionsAllowed": 1}}
            users = play.world.cluster.users
            await users.patch(POD_DISRUPTION_BUDGETS, "web", lie, "default", subresource="status")
        await play.api.evict(pod["metadata"]["name"], "default")
        assert ("PodDisruptionBudget" in rules(play, invariants)) == found


async def test_nothing_is_found_where_nothing_is_wrong() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=6), budget("web")) as play:
        invariants = Invariants()
        invariants.attach(play.world)
        await play.until(lambda: play.running() == 6, 400)
        await asyncio.sleep(3000)
        # Launched within the hour that the world lasts: not at rest for long enough yet.
        assert rules(play, invariants) <= {"no rest"}


async def test_a_defect_of_a_controller_is_found() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=6)) as play:
        invariants = Invariants()
        invariants.attach(play.world)
        assert play.world.operator is not None
        await play.world.lose_leader()
        assert play.world.operator is not None
        play.world.operator.assembly.state.snapshot = lambda: 1 / 0  # type: ignore[assignment, method-assign]
        await asyncio.sleep(30)
        assert "defect" in rules(play, invariants)
