"""Nodes that leave: by hand, by EC2, against budgets, in time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from harness import Play, budget, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, POD_DISRUPTION_BUDGETS, Forbidden
from autoctl.sim.cloud.faults import Fault, FaultType


async def _one_node(play: Play, pods: int = 3) -> tuple[str, str]:
    """The names of the only Node and NodeClaim, once all pods run."""
    await play.until(lambda: play.running() == pods)
    (node,), (claim,) = play.nodes(), play.claims()
    return node["metadata"]["name"], claim["metadata"]["name"]


async def test_node_deleted_by_hand_is_drained_and_replaced() -> None:
    async with playing(node_class(), node_pool(), deployment()) as play:
        node, claim = await _one_node(play)
        await play.api.delete(NODES, node)
        await asyncio.sleep(2)
        leaving = await play.api.get(NODES, node)
        keys = {t["key"] for t in leaving["spec"].get("taints", [])}
        assert "karpenter.sh/disrupted" in keys
        labels = leaving["metadata"]["labels"]
        assert labels["node.kubernetes.io/exclude-from-external-load-balancers"] == "karpenter"
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()])
        await play.until(lambda: claim not in [c["metadata"]["name"] for c in play.claims()], 5)
        await play.until(lambda: play.running() == 3)
        assert play.launched == 2
        assert len(play.instances()) == 1
        assert play.events("Evicted")


async def test_instance_ended_by_hand_leaves_no_trace() -> None:
    async with playing(node_class(), node_pool(), deployment()) as play:
        node, _ = await _one_node(play)
        play.world.cloud.inject(Fault(FaultType.INSTANCE_TERMINATED))
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 400)
        await play.until(lambda: play.running() == 3)
        assert len(play.claims()) == len(play.instances()) == 1


async def test_orphaned_instance_is_collected() -> None:
    async with playing(node_class(), node_pool(), deployment()) as play:
        _, claim = await _one_node(play)
        store = play.world.cluster
        await play.api.patch(NODE_CLAIMS, claim, {"metadata": {"finalizers": None}})
        await play.api.delete(NODE_CLAIMS, claim)
        await play.scale(0)
        await play.until(play.nothing_left, 400)
        assert not list(store.objects(NODES))


async def test_budget_holds_the_drain_until_it_allows() -> None:
    guard = budget("web", minAvailable=3)
    async with playing(node_class(), node_pool(), deployment(), guard) as play:
        node, _ = await _one_node(play)
        await play.api.delete(NODES, node)
        await asyncio.sleep(120)
        assert play.events("FailedDraining")
        assert play.running() == 3, "nothing was evicted"
        assert play.launched == 1, "no node was bought for pods that cannot move"
        await play.api.patch(
            POD_DISRUPTION_BUDGETS, "web", {"spec": {"minAvailable": 1}}, "default"
        )
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 600)
        await play.until(lambda: play.running() == 3)


async def test_grace_period_of_the_node_outweighs_the_budget() -> None:
    guard = budget("web", minAvailable=3)
    pool = node_pool(template={"terminationGracePeriod": "10m"})
    pods = deployment(terminationGracePeriodSeconds=60)
    async with playing(node_class(), pool, pods, guard) as play:
        node, _ = await _one_node(play)
        begun = play.world.clock.now()
        await play.api.delete(NODES, node)
        await play.until(lambda: bool(play.events("Disrupted")), 700)
        waited = play.world.clock.now() - begun
        assert timedelta(minutes=8, seconds=55) <= waited <= timedelta(minutes=9, seconds=10)
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 300)
        assert play.world.clock.now() - begun <= timedelta(minutes=11)
        assert play.events("TerminationGracePeriodExpiring")


@pytest.mark.parametrize("written", ["soon", "2026-01-05T00:00:00"])
async def test_a_deadline_that_cannot_be_read_is_written_anew(written: str) -> None:
    """Somebody annotated the NodeClaim by hand; the second text is of no time zone."""
    guard = budget("web", minAvailable=3)
    pool = node_pool(template={"terminationGracePeriod": "5m"})
    async with playing(node_class(), pool, deployment(), guard) as play:
        node, claim = await _one_node(play)
        mark = {"karpenter.sh/nodeclaim-termination-timestamp": written}
        await play.api.patch(NODE_CLAIMS, claim, {"metadata": {"annotations": mark}})
        await play.api.delete(NODE_CLAIMS, claim)
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 420)


async def test_taints_of_others_stay_as_they_are_while_a_node_is_drained() -> None:
    """The kubelet's and the node controller's say since when, which evictions by taint go by."""
    guard = budget("web", minAvailable=3)
    async with playing(node_class(), node_pool(), deployment(), guard) as play:
        node, _ = await _one_node(play)
        since = "2026-01-05T00:00:00Z"
        theirs = {"key": "example.com/x", "effect": "NoExecute", "value": "y", "timeAdded": since}
        await play.api.patch(NODES, node, {"spec": {"taints": [theirs]}})
        await play.api.delete(NODES, node)
        await asyncio.sleep(5)
        found = (await play.api.get(NODES, node))["spec"]["taints"]
        assert found == [theirs, {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]


async def test_one_pod_that_a_webhook_protects_holds_no_other_up() -> None:
    async with playing(node_class(), node_pool(), deployment()) as play:
        node, _ = await _one_node(play)
        denied = min(p["metadata"]["name"] for p in play.pods())
        told = 'admission webhook "guard" denied the request: not this one'
        evict = play.world.cluster.api.evict

        async def guarded(name: str, namespace: str, **more: Any) -> None:
            if name == denied:
                raise Forbidden(told)
            await evict(name, namespace, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(play.world.cluster.api, "evict", guarded)
            await play.api.delete(NODES, node)
            await asyncio.sleep(90)
            left = [p["metadata"]["name"] for p in play.pods() if p["spec"]["nodeName"] == node]
            assert left == [denied]
            messages = [e.get("message") or e.get("note") for e in play.events("FailedDraining")]
            assert any(told in m for m in messages), messages
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 300)


async def test_do_not_disrupt_waits_for_the_deadline_too() -> None:
    pool = node_pool(template={"terminationGracePeriod": "5m"})
    web = deployment()
    web["spec"]["template"]["metadata"]["annotations"] = {"karpenter.sh/do-not-disrupt": "true"}
    async with playing(node_class(), pool, web) as play:
        node, _ = await _one_node(play)
        await play.api.delete(NODES, node)
        await asyncio.sleep(200)
        assert play.running() == 3
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 300)


async def test_spot_interruption_drains_in_time_and_avoids_the_offering() -> None:
    pool = node_pool(capacity_types=("spot",))
    async with playing(node_class(), pool, deployment()) as play:
        node, _ = await _one_node(play)
        first = play.instances()[0]
        play.world.cloud.inject(Fault(FaultType.SPOT_INTERRUPTION))
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 150)
        await play.until(lambda: play.running() == 3)
        (second,) = play.instances()
        offering = (first.instance_type, first.zone)
        assert (second.instance_type, second.zone) != offering
        assert play.events("SpotInterrupted")


async def test_impaired_instance_is_replaced_whatever_protects_its_pods() -> None:
    guard = budget("web", minAvailable=3)
    async with playing(node_class(), node_pool(), deployment(), guard) as play:
        node, _ = await _one_node(play)
        play.world.cloud.inject(Fault(FaultType.INSTANCE_IMPAIRED))
        await play.until(lambda: node not in [n["metadata"]["name"] for n in play.nodes()], 600)
        await play.until(lambda: play.running() == 3)


def _conditions(node: dict[str, Any], since: datetime) -> list[dict[str, Any]]:
    kept = [c for c in node["status"]["conditions"] if c["type"] != "KernelReady"]
    stamp = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [*kept, {"type": "KernelReady", "status": "False", "lastTransitionTime": stamp}]


async def test_unwell_node_is_repaired_after_its_wait() -> None:
    # Five nodes: one of them is a fifth, which is still within the bound.
    pool = node_pool("static", replicas=5)
    async with playing(node_class(), pool) as play:
        await play.until(lambda: len(play.nodes()) == 5)
        node = play.nodes()[0]
        name = node["metadata"]["name"]
        status = {"status": {"conditions": _conditions(node, play.world.clock.now())}}
        await play.api.patch(NODES, name, status, subresource="status")
        await asyncio.sleep(29 * 60)
        assert name in [n["metadata"]["name"] for n in play.nodes()]
        await play.until(lambda: name not in [n["metadata"]["name"] for n in play.nodes()], 400)


async def test_repair_stops_when_too_many_are_unwell() -> None:
    pool = node_pool("static", replicas=5)
    async with playing(node_class(), pool) as play:
        await play.until(lambda: len(play.nodes()) == 5)
        names = sorted(n["metadata"]["name"] for n in play.nodes())
        for node in play.nodes()[:2]:
            status = {"status": {"conditions": _conditions(node, play.world.clock.now())}}
            await play.api.patch(NODES, node["metadata"]["name"], status, subresource="status")
        await asyncio.sleep(40 * 60)
        assert sorted(n["metadata"]["name"] for n in play.nodes()) == names
        assert play.events("NodeRepairBlocked")
