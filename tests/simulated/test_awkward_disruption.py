"""Disruption when what it relies on is wrong or goes away: told, bounded, and cleaned up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness import Play, budget, deployment, node_class, node_pool, playing

from autoctl.controllers.disruption.marks import COMMAND
from autoctl.ports.kubernetes import NODE_CLASSES, NODE_POOLS, POD_DISRUPTION_BUDGETS, Object
from autoctl.sim.cloud.faults import Fault, FaultType
from autoctl.simulate.chaos_objects import TYPES

SETTINGS: dict[str, Any] = {"instanceTypes": list(TYPES), "operator": {"solver_budget": 0}}


def _tainted(play: Play) -> list[str]:
    return [
        n["metadata"]["name"]
        for n in play.nodes()
        if any(t["key"] == "karpenter.sh/disrupted" for t in n["spec"].get("taints") or ())
    ]


def _marked(play: Play) -> list[Object]:
    return [c for c in play.claims() if COMMAND in (c["metadata"].get("annotations") or {})]


async def test_a_schedule_that_cannot_be_read_closes_the_budget_and_is_told() -> None:
    """The CRD's pattern lets it through; the 61st minute does not exist.

    The pool's status tells it and the pool goes on launching, as Karpenter's would.
    """
    wrong = {"nodes": "100%", "schedule": "61 * * * *", "duration": "1h"}
    pool = node_pool(disruption={"consolidateAfter": "0s", "budgets": [wrong]})
    async with playing(node_class(), pool, deployment(replicas=3), **SETTINGS) as play:
        await play.until(lambda: play.running() == 3)
        verdict = play.condition(play.pool(), "DisruptionBudgetsValid")
        assert (verdict["status"], verdict["reason"]) == ("False", "InvalidSchedule")
        assert "spec.disruption.budgets[0].schedule: schedule '61 * * * *'" in verdict["message"]
        assert play.condition(play.pool(), "Ready")["status"] == "True"
        nodes = [n["metadata"]["name"] for n in play.nodes()]
        await play.scale(0)
        await asyncio.sleep(900)
        assert [n["metadata"]["name"] for n in play.nodes()] == nodes, "no window is known"
        told = [e.get("message") or e.get("note") for e in play.events("DisruptionBlocked")]
        assert any("spec.disruption.budgets[0].schedule" in t for t in told), told
        assert not _tainted(play)
        right = {"spec": {"disruption": {"budgets": [{"nodes": "100%"}]}}}
        await play.world.cluster.users.patch(NODE_POOLS, "general-purpose", right)
        await play.until(lambda: not play.nodes(), 900)
        assert play.condition(play.pool(), "DisruptionBudgetsValid")["status"] == "True"


async def test_a_pool_deleted_in_the_middle_of_a_command_leaves_nothing_behind() -> None:
    """A drifted node waits for its replacement, which never joins; then its pool goes."""
    async with playing(node_class(), node_pool(), deployment(replicas=2), **SETTINGS) as play:
        await play.until(lambda: play.running() == 2)
        play.world.cloud.inject(Fault(FaultType.NEVER_REGISTERS))
        play.world.cloud.inject(Fault(FaultType.AMI_RELEASE))
        await play.until(lambda: bool(_marked(play)), 1200)
        await play.until(lambda: len(play.claims()) == 2)
        await play.world.cluster.users.delete(NODE_POOLS, "general-purpose")
        await play.until(lambda: not play.claims(), 1800)
        await play.until(lambda: not play.nodes() and not play.instances(), 300)
        assert not play.world.cloud.ec2.instances.alive()
        play.world.cloud.faults.clear()
        await play.world.cluster.users.create(NODE_POOLS, node_pool())
        await play.until(lambda: play.running() == 2, 600)
        assert not _tainted(play)
        assert not _marked(play)


@pytest.mark.parametrize("leaderless", [False, True], ids=["", "leader-dies"])
@pytest.mark.parametrize("moment", ["marked", "bought", "ready", "moving"])
async def test_a_pool_deleted_at_any_moment_of_a_replacement_leaves_nothing_behind(
    moment: str, leaderless: bool
) -> None:
    """A node too large for what is left on it is replaced; its pool goes at one of the steps, and
    perhaps the leader with it."""
    pool = node_pool(
        disruption={
            "consolidationPolicy": "WhenEmptyOrUnderutilized",
            "consolidateAfter": "0s",
            "budgets": [{"nodes": "100%"}],
        }
    )
    large, small = deployment("large", 1, cpu="6"), deployment("small", 2, cpu="250m")
    async with playing(node_class(), pool, large, small, **SETTINGS) as play:
        await play.until(lambda: play.running() == 3)
        (old,) = play.nodes()
        await play.scale(0, "large")

        def there() -> bool:
            match moment:
                case "marked":
                    return bool(_marked(play))
                case "bought":
                    return len(play.instances()) == 2
                case "ready":
                    return (
                        sum(
                            play.condition(c, "Initialized")["status"] == "True"
                            for c in play.claims()
                        )
                        == 2
                    )
            return any(
                p["spec"].get("nodeName") not in (None, old["metadata"]["name"])
                for p in play.pods()
            )

        # Young nodes are replaced for half their price only: this one costs four times too much.
        await play.until(there, 1800)
        await play.world.cluster.users.delete(NODE_POOLS, "general-purpose")
        if leaderless:
            await play.world.lose_leader(cut_off=True)
        await play.until(lambda: not play.claims() and not play.nodes(), 1800)
        await play.until(lambda: not play.instances(), 300)
        await play.world.cluster.users.create(NODE_POOLS, node_pool())
        await play.until(lambda: play.running() == 2, 600)
        assert not _tainted(play)
        assert not _marked(play)


async def test_a_drifted_node_goes_at_its_grace_period_although_a_budget_holds_its_pods() -> None:
    """Drift of a node with a terminationGracePeriod passes over what pods forbid (found by seed 14:
    the decision was taken and dropped again every second)."""
    pool = node_pool(template={"terminationGracePeriod": "10m"})
    guard = budget("web", maxUnavailable=0)
    web = deployment(replicas=2)
    async with playing(node_class(), pool, web, guard, **SETTINGS) as play:
        await play.until(lambda: play.running() == 2)
        (old,) = play.instances()
        play.world.cloud.inject(Fault(FaultType.AMI_RELEASE))
        await play.until(lambda: not old.alive, 1800)
        await play.until(lambda: play.running() == 2, 600)
        assert not _tainted(play)
        assert list(play.world.cluster.objects(POD_DISRUPTION_BUDGETS))
        assert list(play.world.cluster.objects(NODE_CLASSES))


async def test_room_comes_before_a_drifted_node_goes_although_its_budget_is_used_up() -> None:
    """A pod that waits uses the PodDisruptionBudget up; it may end any moment, so that the others
    have their new room first, and keep it until they can go."""
    disruption = {"consolidateAfter": "0s", "budgets": [{"nodes": "100%"}]}
    pool = node_pool(disruption=disruption, template={"terminationGracePeriod": "24h"})
    web, stuck = deployment(replicas=2), deployment("stuck", 1, nodeSelector={"no-node": "has"})
    for each in (web, stuck):
        each["spec"]["template"]["metadata"]["labels"]["guarded"] = "yes"
    guard = budget("all", maxUnavailable=1, selector={"matchLabels": {"guarded": "yes"}})
    async with playing(node_class(), pool, web, stuck, guard, **SETTINGS) as play:
        await play.until(lambda: play.running() == 2)
        (old,) = play.instances()

        def allowed() -> int:
            (found,) = play.world.cluster.objects(POD_DISRUPTION_BUDGETS)
            return int(found["status"]["disruptionsAllowed"])

        def going() -> bool:
            return any(c["metadata"].get("deletionTimestamp") for c in play.claims())

        await play.until(lambda: allowed() == 0)
        play.world.cloud.inject(Fault(FaultType.AMI_RELEASE))
        await play.until(going, 1800)
        assert len(play.nodes()) == 2, "the new node is there when the old one begins to go"
        assert all(play.condition(c, "Initialized")["status"] == "True" for c in play.claims())
        await asyncio.sleep(1800)
        assert allowed() == 0
        assert play.running() == 2
        assert play.launched == 2, "the room is kept, and bought once"
        await play.scale(0, "stuck")
        await play.until(lambda: not old.alive, 600)
        await play.until(lambda: play.running() == 2 and len(play.nodes()) == 1, 120)
        assert play.launched == 2
        assert not _tainted(play)


async def test_a_node_goes_as_soon_as_a_promise_of_it_is_over() -> None:
    """The end of a promise that nobody kept is no change of the cluster, but an instant to wake."""
    pool = node_pool(disruption={"consolidateAfter": "0s", "budgets": [{"nodes": "100%"}]})
    elsewhere = deployment("elsewhere", replicas=1, nodeSelector={"no-node-has": "this"})
    async with playing(node_class(), pool, deployment(), elsewhere, **SETTINGS) as play:
        await play.until(lambda: play.running() == 3)
        (node,) = (n["metadata"]["name"] for n in play.nodes())
        (pod,) = (p for p in play.pods() if "nodeName" not in p["spec"])
        assert play.world.operator is not None
        state = play.world.operator.assembly.state
        promised = f"default/{pod['metadata']['name']}", pod["metadata"]["uid"]
        state.nominations.nominate([promised], node, state.snapshot().now)
        await play.scale(0)
        await asyncio.sleep(15)
        assert play.nodes(), "the room is promised"
        await play.until(lambda: not play.nodes(), 120)


@pytest.mark.parametrize("leaderless", [False, True], ids=["", "leader-dies"])
async def test_a_replacement_that_lost_its_reservation_replaces_nothing(leaderless: bool) -> None:
    """What was to save runs on demand, dearer than what it came for (found by seed 129)."""
    reserved = {"capacityReservationSelectorTerms": [{"tags": {"team": "a"}}]}
    pool = node_pool(
        capacity_types=("on-demand", "reserved"),
        disruption={
            "consolidationPolicy": "WhenEmptyOrUnderutilized",
            "consolidateAfter": "0s",
            "budgets": [{"nodes": "100%"}],
        },
    )
    slow: dict[str, Any] = {**SETTINGS, "bootSeconds": 150}
    async with playing(node_class(**reserved), pool, deployment(replicas=2), **slow) as play:
        await play.until(lambda: play.running() == 2, 600)
        (old,) = play.nodes()
        pods = [p["metadata"]["name"] for p in play.pods()]
        capacity = play.world.cloud.ec2.capacity
        facts: dict[str, Any] = {"match": "targeted", "tags": {"team": "a"}}
        reservation = capacity.add_reservation("c6i.2xlarge", "us-west-2a", 1, **facts)
        await play.until(lambda: len(play.instances()) == 2, 1800)
        assert reservation.used_by
        capacity.expire(reservation)
        if leaderless:
            await asyncio.sleep(5)
            await play.world.lose_leader(cut_off=True)
        await play.until(lambda: len(play.claims()) == 1, 600)
        await play.until(lambda: not _marked(play) and not _tainted(play), 60)
        assert play.nodes()[0]["metadata"]["name"] == old["metadata"]["name"]
        assert [p["metadata"]["name"] for p in play.pods()] == pods, "no pod has moved"
