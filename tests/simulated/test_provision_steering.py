"""New nodes take the pods they were bought for first: as many nodes as planned, and no deadlock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness import Object, Play, deployment, node_class, node_pool, playing

from autoctl.controllers.provisioning import steering
from autoctl.ports.kubernetes import NODES
from autoctl.sim.cloud.faults import Fault, FaultType
from autoctl.sim.cluster.faults import Point, Request

CPU = "eks.amazonaws.com/instance-cpu"
AWAITING = "autoctl.io/awaiting-pods"
STEERED = "autoctl.io/steered"
JITTER = 0.3
"""Nodes come up to 12 seconds after one another."""


def spread(name: str) -> dict[str, Any]:
    return {
        "topologySpreadConstraints": [
            {
                "topologyKey": "topology.kubernetes.io/zone",
                "maxSkew": 1,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": name}},
            }
        ]
    }


MIXES: dict[str, tuple[Object, ...]] = {
    "sizes": (
        deployment("large", replicas=5, cpu="2600m"),
        deployment("middle", replicas=4, cpu="1700m"),
        deployment("small", replicas=9, cpu="500m"),
    ),
    "spread": (
        deployment("spread", replicas=9, cpu="1700m", **spread("spread")),
        deployment("other", replicas=3, cpu="2600m"),
    ),
    "ranks": (
        deployment("low", replicas=6, cpu="1700m"),
        deployment("high", replicas=3, cpu="2600m", priorityClassName="system-cluster-critical"),
    ),
}


def pool(**template: Any) -> Object:
    found = node_pool(template=template)
    found["spec"]["template"]["spec"]["requirements"].append(
        {"key": CPU, "operator": "In", "values": ["4", "8"]}
    )
    return found


def left_behind(play: Play) -> list[str]:
    """Nodes with the taint or the mark, and pods that are still nominated."""
    nodes = [
        node["metadata"]["name"]
        for node in play.nodes()
        if any(t["key"] == AWAITING for t in node["spec"].get("taints", ()))
        or STEERED in node["metadata"].get("annotations", {})
    ]
    return nodes + [
        pod["metadata"]["name"]
        for pod in play.pods()
        if not pod["spec"].get("nodeName") and pod["status"].get("nominatedNodeName")
    ]


def replicas(objects: tuple[Object, ...]) -> int:
    return sum(o["spec"]["replicas"] for o in objects)


async def bought(objects: tuple[Object, ...], seed: int, limit: float = 120) -> tuple[int, int]:
    """Nodes of the first decision, and nodes in the end."""
    async with playing(node_class(), pool(), *objects, seed=seed, boot_jitter=JITTER) as play:
        await play.until(lambda: bool(play.claims()))
        await asyncio.sleep(3)
        planned = len(play.claims())
        await play.until(lambda: play.running() == replicas(objects), limit)
        await asyncio.sleep(60)
        assert left_behind(play) == []
        return planned, play.launched


@pytest.mark.parametrize("mix", MIXES)
async def test_as_many_nodes_come_as_were_planned(mix: str) -> None:
    for seed in range(2):
        planned, launched = await bought(MIXES[mix], seed)
        assert launched == planned > 1, seed


async def test_without_steering_more_would_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the worlds above are hard enough to tell."""
    monkeypatch.setattr(steering.ProvisionSteering, "steers", lambda *_: False)
    for objects in MIXES.values():
        planned, launched = await bought(objects, 0, 400)
        if launched > planned:
            return
    raise AssertionError("none of them needed another node")


async def test_nodes_that_are_ready_together_open_one_after_the_other() -> None:
    """Side by side they would lose nominations: kube-scheduler tries all pods when one opens."""
    objects = MIXES["sizes"]
    async with playing(node_class(), pool(), *objects) as play:
        opened: dict[str, float] = {}
        held: set[str] = set()

        def note(_: Object | None, node: Object | None) -> None:
            if node is None:
                return
            name = node["metadata"]["name"]
            if any(t["key"] == AWAITING for t in node["spec"].get("taints") or ()):
                held.add(name)
            elif name in held:
                opened.setdefault(name, asyncio.get_running_loop().time())

        play.world.cluster.store.subscribe(NODES, note)
        await play.until(lambda: play.running() == replicas(objects))
        assert len(held) == play.launched > 2
        assert opened.keys() == held
        assert len(set(opened.values())) == len(opened)
        assert max(opened.values()) - min(opened.values()) < len(opened)


async def test_nodes_that_wait_for_each_other_open_together() -> None:
    """Each has room, not kept by nominations, that pods of the others would take meanwhile."""
    objects = MIXES["spread"]
    async with playing(node_class(), pool(), *objects) as play:
        await play.until(lambda: bool(play.claims()))
        await asyncio.sleep(3)
        planned = len(play.claims())
        await play.until(lambda: play.running() == replicas(objects))
        assert play.launched == planned


async def test_pods_that_are_alike_are_not_steered() -> None:
    objects = (deployment(replicas=30, cpu="1700m"),)
    async with playing(node_class(), pool(), *objects, boot_jitter=JITTER) as play:
        written: list[str] = []

        def observe(request: Request, point: Point) -> None:
            if point is Point.AFTER and request.resource.plural == "pods":
                written.append(request.name)

        play.world.cluster.faults.observe(observe)
        await play.until(lambda: play.running() == 30)
        assert written == [], "every steered pod costs a write"


async def test_a_node_that_never_comes_keeps_nobody_waiting() -> None:
    objects = MIXES["spread"]
    async with playing(node_class(), pool(), *objects, boot_jitter=JITTER) as play:
        await play.until(lambda: bool(play.instances()))
        await asyncio.sleep(5)
        zone = play.instances()[-1].zone
        play.world.cloud.inject(Fault(FaultType.NEVER_REGISTERS, zones=(zone,)))
        others = sum(i.zone != zone for i in play.instances())
        assert others
        await asyncio.sleep(40 * (1 + JITTER) + 40)
        assert left_behind(play) == []
        assert play.running() > 0
        play.world.cloud.faults.clear()
        await play.until(lambda: play.running() == replicas(objects), 1500)
        assert left_behind(play) == []


async def test_startup_taints_are_not_joined_by_another() -> None:
    """Who takes them off may not tolerate it."""
    startup = {"key": "agent", "effect": "NoSchedule"}
    objects = MIXES["sizes"]
    async with playing(
        node_class(), pool(startupTaints=[startup]), *objects, boot_jitter=JITTER
    ) as play:
        await play.until(lambda: bool(play.claims()))
        await asyncio.sleep(3)
        planned = len(play.claims())
        done: set[str] = set()

        def freed() -> bool:
            return len(done) == planned

        while not freed():
            await asyncio.sleep(1)
            for node in play.nodes():
                keys = {t["key"] for t in node["spec"].get("taints", ())}
                name = node["metadata"]["name"]
                assert AWAITING not in keys
                if keys == {"agent"} and name not in done:
                    await asyncio.sleep(3)
                    done.add(name)
                    await play.api.patch(NODES, name, {"spec": {"taints": None}})
        await play.until(lambda: play.running() == replicas(objects))
        await asyncio.sleep(60)
        assert left_behind(play) == []


@pytest.mark.parametrize("nth", [1, 3, 8])
async def test_an_operator_that_dies_while_it_steers_leaves_nothing_behind(nth: int) -> None:
    """It dies at the n-th nomination or opening; the next one ends what was begun."""
    objects = MIXES["sizes"]
    async with playing(node_class(), pool(), *objects, boot_jitter=JITTER) as play:
        seen: list[str] = []
        tasks: list[asyncio.Task[None]] = []

        async def restart() -> None:
            operator, play.world.operator = play.world.operator, None
            assert operator is not None
            await operator.kill()
            await asyncio.sleep(3)
            play.world.start_operator()

        def observe(request: Request, point: Point) -> None:
            steers = request.resource.plural == "pods" and request.subresource == "status"
            if point is Point.AFTER and steers and play.world.operator is not None:
                seen.append(request.name)
                if len(seen) == nth:
                    tasks.append(asyncio.get_running_loop().create_task(restart()))
                    raise asyncio.CancelledError("killed")

        play.world.cluster.faults.observe(observe)
        await play.until(lambda: play.running() == replicas(objects), 600)
        assert tasks, "nobody was steered"
        await asyncio.sleep(60)
        assert left_behind(play) == []
