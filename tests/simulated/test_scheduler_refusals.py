"""kube-scheduler refuses nodes for reasons that nobody else knows.

No node is promised for ever then, and there is an end of new nodes as well.
"""

from __future__ import annotations

import asyncio
from random import Random

from harness import Object, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import DEPLOYMENTS
from autoctl.simulate.chaos_extras import stateful_workload, storage_class
from autoctl.simulate.world import World

REASON = "SchedulerRefusedNode"


def app(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get("app"))


async def test_a_node_that_kube_scheduler_refuses_is_left_out() -> None:
    roomy = deployment("roomy", replicas=1, cpu="100m")
    async with playing(node_class(), node_pool(), roomy) as play:
        await play.until(lambda: play.running() == 1)
        (old,) = (n["metadata"]["name"] for n in play.nodes())
        play.world.cluster.scheduler.refuse(
            lambda pod, node: app(pod) == "web" and node["metadata"]["name"] == old
        )
        await play.api.create(DEPLOYMENTS, deployment(replicas=1, cpu="100m"), "default")
        await play.until(lambda: play.running() == 2, 900)
        assert play.launched == 2
        (event,) = play.events(REASON)
        told = str(event.get("note") or event.get("message"))
        assert f"{old} is left out" in told
        assert "refused by another plugin" in told, "what kube-scheduler says"
        assert event["type"] == "Warning"


async def test_nodes_are_not_bought_for_ever_for_a_pod_that_is_refused_everywhere() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=1)) as play:
        lift = play.world.cluster.scheduler.refuse(lambda pod, _node: app(pod) == "web")
        await asyncio.sleep(900)
        first = play.launched
        assert first == 2, "one more try than the first, then a rest"
        assert len(play.instances()) == 0, "what stays empty goes again"
        await asyncio.sleep(3600)
        assert first < play.launched <= 8, "tried again now and then, less and less"
        lift()
        await play.until(lambda: play.running() == 1, 7200)


async def test_other_pods_of_a_refused_one_are_served() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=1)) as play:
        play.world.cluster.scheduler.refuse(lambda pod, _node: app(pod) == "web")
        await asyncio.sleep(300)
        await play.api.create(DEPLOYMENTS, deployment("other", replicas=3), "default")
        took = await play.until(lambda: play.running() == 3)
        assert took < 75


async def test_a_pod_whose_volume_is_being_made_is_at_home_already() -> None:
    """kube-scheduler has chosen a node and waits for the provisioner, for minutes if need be."""
    database = stateful_workload(Random(1))
    database["metadata"]["namespace"] = "default"
    database["spec"]["replicas"] = 1

    def slowly(world: World) -> None:
        # Frozen for all but a test: every part of the cluster has this one object.
        object.__setattr__(world.cluster.timings, "volume_provision", 400.0)

    async with playing(
        node_class(), node_pool(), storage_class(), database, prepare=slowly
    ) as play:
        took = await play.until(lambda: play.running() == 1, 900)
        assert took > 400
        assert play.launched == 1, "its node is neither given up nor ended as empty"
        assert not play.events(REASON)
