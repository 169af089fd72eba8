"""Clocks that jump: nothing is evicted for it, people are told, and deadlines hold all the same."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from harness import START, Play, deployment, node_class, node_pool, playing

from autoctl.controllers.disruption.marks import COMMAND
from autoctl.ports.kubernetes import NODES, PODS
from autoctl.simulate.chaos_objects import TYPES
from autoctl.simulate.cluster_faults import play_cluster_fault

SETTINGS: dict[str, Any] = {"instanceTypes": list(TYPES), "operator": {"solver_budget": 0}}


def _spread(name: str = "web", replicas: int = 5, **pod: Any) -> dict[str, Any]:
    """A Deployment with a node for each pod."""
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return deployment(name, replicas, affinity=anti, **pod)


async def _jump(play: Play, by: str) -> None:
    await play_cluster_fault(play.world, {"type": "clock-jump", "by": by})


def _told(play: Play) -> list[str]:
    return [str(e.get("message") or e.get("note")) for e in play.events("ClockJumped")]


def _evictions(play: Play) -> int:
    return play.world.cluster.api.requests["evict", PODS.plural]


def _untouched(play: Play) -> bool:
    """No node is tainted, no command is under way."""
    tainted = any(
        t["key"] == "karpenter.sh/disrupted"
        for n in play.nodes()
        for t in n["spec"].get("taints") or ()
    )
    marked = any(COMMAND in (c["metadata"].get("annotations") or {}) for c in play.claims())
    return not (tainted or marked)


@pytest.mark.parametrize("by", ["30d", "-1d"])
async def test_a_jump_of_the_operators_clock_takes_no_node_and_is_told(by: str) -> None:
    """The fleet is young; by the clock of the operator's machine all of it is past its cap."""
    pool = node_pool(template={"expireAfter": "336h", "terminationGracePeriod": "10m"})
    async with playing(node_class(), pool, _spread(), **SETTINGS) as play:
        await play.until(lambda: play.running() == 5, 400)
        before = sorted(c["metadata"]["name"] for c in play.claims())
        await _jump(play, by)
        await asyncio.sleep(1800)
        assert sorted(c["metadata"]["name"] for c in play.claims()) == before
        assert _evictions(play) == 0
        assert _untouched(play)
        assert play.launched == 5
        direction = "back" if by.startswith("-") else "forward"
        assert any(direction in text for text in _told(play)), _told(play)
        # And work goes on: a pod that is new gets a node, nodes without pods go.
        await play.scale(6)
        await play.until(lambda: play.running() == 6, 400)
        await play.scale(0)
        await play.until(play.nothing_left, 900)


@pytest.mark.parametrize("by", ["30d", "-30d"])
async def test_nodes_expire_by_the_servers_time_whatever_the_operators_clock_says(by: str) -> None:
    pool = node_pool(template={"expireAfter": "2h", "terminationGracePeriod": "5m"})
    async with playing(node_class(), pool, deployment(replicas=2), **SETTINGS) as play:
        await play.until(lambda: play.running() == 2)
        (old,) = play.instances()
        await _jump(play, by)
        await asyncio.sleep(7200 - (play.world.clock.now() - old.launched_at).total_seconds() - 60)
        assert old.alive
        await play.until(lambda: not old.alive, 900)
        await play.until(lambda: play.running() == 2, 400)


async def test_an_operator_that_starts_with_a_wrong_clock_learns_the_right_time() -> None:
    pool = node_pool(template={"expireAfter": "336h", "terminationGracePeriod": "10m"})
    async with playing(node_class(), pool, _spread(replicas=3), **SETTINGS) as play:
        await play.until(lambda: play.running() == 3, 400)
        before = sorted(c["metadata"]["name"] for c in play.claims())
        play.world.machine.offset = timedelta(days=60)
        await play.world.lose_leader()
        await asyncio.sleep(900)
        assert sorted(c["metadata"]["name"] for c in play.claims()) == before
        assert _evictions(play) == 0
        assert any("forward" in text for text in _told(play))


@pytest.mark.parametrize("by", ["6h", "-6h"])
async def test_a_drains_deadline_is_the_same_when_the_clock_jumps_meanwhile(by: str) -> None:
    """A pod that may not be evicted has its node's whole grace period, and no more."""
    pool = node_pool(template={"terminationGracePeriod": "30m"})
    web = deployment(replicas=1, terminationGracePeriodSeconds=60)
    web["spec"]["template"]["metadata"]["annotations"] = {"karpenter.sh/do-not-disrupt": "true"}
    async with playing(node_class(), pool, web, **SETTINGS) as play:
        await play.until(lambda: play.running() == 1)
        (node,) = play.nodes()
        (pod,) = play.pods()
        await play.world.cluster.users.delete(NODES, node["metadata"]["name"])
        deleted = play.world.clock.now()
        await asyncio.sleep(60)
        await _jump(play, by)

        def gone() -> bool:
            return all(p["metadata"]["uid"] != pod["metadata"]["uid"] for p in play.pods())

        await asyncio.sleep(28 * 60 - 60)
        assert not gone()
        await play.until(gone, 240)
        assert timedelta(minutes=28) <= play.world.clock.now() - deleted <= timedelta(minutes=31)
        assert play.world.clock.now() > START
