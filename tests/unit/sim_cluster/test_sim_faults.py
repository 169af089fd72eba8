"""Faults, crash points, failures of the simulator itself, and reproducibility."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import looptime
import msgspec
import pytest
from simkit import add_node, deployment, pod, settle

from autoctl.ports import kubernetes as k8s
from autoctl.ports.clock import LoopClock
from autoctl.ports.kubernetes import (
    ApiError,
    Conflict,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from autoctl.sim.cluster import ErrorRule, Point, Request, SimCluster, crd_defaults, crd_errors


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


async def test_the_next_requests_fail(cluster: SimCluster) -> None:
    rule = ErrorRule(verbs=frozenset({"create"}), resources=frozenset({k8s.CONFIGMAPS}), count=2)
    cluster.faults.fail(rule)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await cluster.api.create(k8s.CONFIGMAPS, config_map("a"), "default")
    await cluster.api.create(k8s.CONFIGMAPS, config_map("a"), "default")
    assert rule.matched == 2


async def test_an_answer_gets_lost_after_the_write(cluster: SimCluster) -> None:
    rule = ErrorRule(count=1, after_commit=True, error=lambda: ApiError("reset", code=0))
    cluster.faults.fail(rule)
    with pytest.raises(ApiError, match="reset"):
        await cluster.api.create(k8s.CONFIGMAPS, config_map("a"), "default")
    assert await cluster.api.get(k8s.CONFIGMAPS, "a", "default")


async def test_probability_is_seeded_and_rules_can_be_lifted(cluster: SimCluster) -> None:
    async def outcomes(seed: int) -> list[bool]:
        sim = SimCluster(cluster.clock, seed)
        lift = sim.faults.fail(
            ErrorRule(probability=0.3, error=lambda: Conflict("injected", reason="Conflict"))
        )
        result = []
        for _ in range(100):
            try:
                await sim.api.get(k8s.NAMESPACES, "default")
                result.append(True)
            except Conflict:
                result.append(False)
        lift()
        assert await sim.api.get(k8s.NAMESPACES, "default")
        return result

    first = await outcomes(1)
    assert 50 <= sum(first) <= 90
    assert first == await outcomes(1)
    assert first != await outcomes(2)


async def test_slow_requests(cluster: SimCluster) -> None:
    lift = cluster.faults.slow_down(7, frozenset({"get"}))
    loop = asyncio.get_running_loop()
    start = loop.time()
    await cluster.api.get(k8s.NAMESPACES, "default")
    assert loop.time() - start == pytest.approx(7 + cluster.timings.request_latency)
    lift()
    start = loop.time()
    await cluster.api.get(k8s.NAMESPACES, "default")
    assert loop.time() - start == pytest.approx(cluster.timings.request_latency)


async def test_evictions_can_be_blocked(cluster: SimCluster) -> None:
    for name in ("a", "b"):
        await cluster.api.create(k8s.PODS, pod(name), "default")
    lift = cluster.faults.block_evictions(lambda _namespace, name: name == "a")
    await cluster.api.evict("b", "default")
    with pytest.raises(TooManyRequests):
        await cluster.api.evict("a", "default")
    lift()
    await cluster.api.evict("a", "default")


async def test_missing_definitions_answer_not_found(cluster: SimCluster) -> None:
    cluster.api.missing.add(k8s.NODE_POOLS)
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await cluster.api.list(k8s.NODE_POOLS)


@pytest.mark.parametrize(("point", "written"), [(Point.BEFORE, False), (Point.AFTER, True)])
async def test_a_client_can_be_killed_at_a_request(
    cluster: SimCluster, point: Point, written: bool
) -> None:
    seen: list[tuple[Request, Point]] = []
    went_on = False

    async def client() -> None:
        nonlocal went_on
        await cluster.api.get(k8s.NAMESPACES, "default")
        await cluster.api.create(k8s.CONFIGMAPS, config_map("a"), "default")
        went_on = True

    task = asyncio.ensure_future(client())

    def observe(request: Request, at: Point) -> None:
        seen.append((request, at))
        if at is point:
            task.cancel()

    end = cluster.faults.observe(observe)
    with pytest.raises(asyncio.CancelledError):
        await task
    end()
    assert not went_on
    assert seen[0] == (Request("create", k8s.CONFIGMAPS, "a", "default"), Point.BEFORE)
    assert (cluster.store.get(k8s.CONFIGMAPS, "a", "default") is not None) is written


async def test_a_defect_inside_is_raised_by_the_next_request(cluster: SimCluster) -> None:
    broken = SimCluster(cluster.clock)
    await broken.start()

    def fail(_before: object, _after: object) -> None:
        raise ValueError("defect")

    broken.store.subscribe(k8s.CONFIGMAPS, fail)
    await broken.api.create(k8s.CONFIGMAPS, config_map("a"), "default")
    with pytest.raises(RuntimeError, match="the simulated cluster failed"):
        await broken.api.get(k8s.NAMESPACES, "default")
    with pytest.raises(RuntimeError, match="the simulated cluster failed"):
        await broken.stop()


async def test_our_custom_resources_are_defaulted_and_validated(cluster: SimCluster) -> None:
    strict = SimCluster(cluster.clock, admission=crd_errors, defaulting=crd_defaults)
    reference = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}
    template = {"spec": {"nodeClassRef": reference, "requirements": []}}
    pool = {"metadata": {"name": "p"}, "spec": {"template": template, "unknown": 1}}
    made = await strict.api.create(k8s.NODE_POOLS, pool)
    assert "unknown" not in made["spec"]
    assert made["spec"]["disruption"]["consolidateAfter"]
    with pytest.raises(ApiError) as refused:
        await strict.api.patch(k8s.NODE_POOLS, "p", {"spec": {"weight": 1000}})
    assert refused.value.code == 422
    assert 'NodePool.karpenter.sh "p" is invalid: spec.weight' in refused.value.message


def play(seed: int) -> bytes:
    """A cluster's whole state after some minutes with faults, scaling and a lost node."""

    async def run() -> bytes:
        cluster = SimCluster(LoopClock(datetime(2026, 1, 5, tzinfo=UTC)), seed)
        await cluster.start()
        cluster.faults.fail(ErrorRule(probability=0.2, verbs=frozenset({"patch"})))
        for number in range(6):
            add_node(cluster, f"n{number}", zone="abc"[number % 3])
        for name in ("web", "api", "db"):
            await cluster.api.create(k8s.DEPLOYMENTS, deployment(name, 9), "default")
        await settle(30)
        for replicas in (3, 12, 6):
            try:
                patch = {"spec": {"replicas": replicas}}
                await cluster.api.patch(k8s.DEPLOYMENTS, "web", patch, "default")
            except Unavailable:
                await settle(1)
            await settle(20)
        cluster.lifecycle.lose("n2")
        await settle(500)
        state = {
            str(resource): list(cluster.objects(resource)) for resource in cluster.store.resources()
        }
        await cluster.stop()
        return msgspec.json.encode(state)

    loop = looptime.new_event_loop()
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def test_one_seed_gives_one_history() -> None:
    first = play(7)
    assert first == play(7)
    assert first != play(8)


def test_the_history_does_not_depend_on_hash_randomisation() -> None:
    program = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_sim_faults as t; "
        "print(hashlib.sha256(t.play(7)).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


async def test_events_expire(cluster: SimCluster) -> None:
    event = {"metadata": {"name": "e"}, "reason": "Launched", "involvedObject": {"kind": "Node"}}
    await cluster.api.create(k8s.EVENTS, event, "default")
    await settle(3500)
    found = await cluster.api.list(k8s.EVENTS, field_selector="reason=Launched")
    assert len(found.items) == 1
    await settle(200)
    assert (await cluster.api.list(k8s.EVENTS)).items == []


async def test_controllers_keep_trying_what_users_got_wrong(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await cluster.api.create(k8s.PODS, pod("db-0"), "default")
    template = pod("unused", labels={"app": "db"})
    stateful_set = {
        "metadata": {"name": "db"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}, "template": template},
    }
    await cluster.api.create(k8s.STATEFUL_SETS, stateful_set, "default")
    await settle(20)
    await cluster.api.delete(k8s.PODS, "db-0", "default")
    await settle(20)
    made = await cluster.api.get(k8s.PODS, "db-0", "default")
    assert made["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"


async def test_nodes_of_a_dump_without_conditions_are_ready(cluster: SimCluster) -> None:
    restored = SimCluster(cluster.clock)
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n"},
        "status": {"allocatable": allocatable},
    }
    restored.load([node, deployment("web", 2)])
    await restored.start()
    await settle(20)
    assert [p["status"]["phase"] for p in restored.objects(k8s.PODS)] == ["Running"] * 2
    await restored.stop()
