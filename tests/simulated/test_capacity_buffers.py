"""CapacityBuffers on the whole operator: room is bought, held, used and bought again."""

from __future__ import annotations

import asyncio
from typing import Any

from harness import Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import CAPACITY_BUFFERS, POD_TEMPLATES, Object

BOOT = 40


def template(cpu: str = "1") -> Object:
    requests = {"cpu": cpu, "memory": "256Mi"}
    container = {"name": "c", "image": "x", "resources": {"requests": requests}}
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "shape", "namespace": "default"},
        "template": {"spec": {"containers": [container]}},
    }


def buffer(**spec: Any) -> Object:
    return {
        "apiVersion": "autoscaling.x-k8s.io/v1beta1",
        "kind": "CapacityBuffer",
        "metadata": {"name": "room", "namespace": "default"},
        "spec": spec,
    }


def shaped(replicas: int) -> Object:
    return buffer(podTemplateRef={"name": "shape"}, replicas=replicas)


def consolidating() -> Object:
    return node_pool(
        disruption={
            "consolidationPolicy": "WhenEmptyOrUnderutilized",
            "consolidateAfter": "30s",
            "budgets": [{"nodes": "100%"}],
        }
    )


def status(play: Play) -> Object:
    (found,) = play.world.cluster.objects(CAPACITY_BUFFERS)
    return dict(found.get("status", {}))


def provisioned(play: Play) -> tuple[str, str]:
    (found,) = play.world.cluster.objects(CAPACITY_BUFFERS)
    condition = play.condition(found, "Provisioning")
    return condition["status"], condition["reason"]


def there(play: Play) -> bool:
    return provisioned(play) == ("True", "CapacityAvailable")


async def test_room_is_bought_held_used_and_bought_again() -> None:
    async with playing(node_class(), consolidating(), template(), shaped(3)) as play:
        await play.until(lambda: there(play))
        held = status(play)
        assert (held["replicas"], held["podTemplateRef"], held["podTemplateGeneration"]) == (
            3,
            {"name": "shape"},
            1,
        )
        assert held["provisioningStrategy"] == "buffer.x-k8s.io/active-capacity"
        (found,) = play.world.cluster.objects(CAPACITY_BUFFERS)
        assert play.condition(found, "ReadyForProvisioning")["reason"] == "Resolved"
        launched = play.launched
        await asyncio.sleep(900)
        assert (play.launched, len(play.nodes())) == (launched, 1), "empty, quiet, and still there"

        await play.api.create(*_created(deployment(replicas=3, cpu="1")))
        took = await play.until(lambda: play.running() == 3)
        assert took < BOOT, "the pods run before a node could have booted"
        await play.until(lambda: not there(play), 60)
        await play.until(lambda: there(play))
        assert play.launched == launched + 1
        await asyncio.sleep(900)
        assert play.launched <= launched + 2, "at most one move into a node that holds both"
        at_rest = play.launched
        await asyncio.sleep(1800)
        assert play.launched == at_rest, "no flapping"
        assert there(play)
        assert play.running() == 3

        await play.api.delete(CAPACITY_BUFFERS, "room", "default")
        await play.scale(0)
        await play.until(play.nothing_left)


async def test_a_buffer_that_is_made_or_changed_has_its_status_at_once() -> None:
    """Pods that come and go keep the look at the room busy, which rests between two looks."""
    async with playing(node_class(), consolidating(), template(), deployment(replicas=1)) as play:
        await play.until(lambda: play.running() == 1)
        for replicas in (2, 3, 4):
            # Some change that wakes the look, so that it has looked a moment ago.
            await play.scale(replicas)
            await asyncio.sleep(12.5)
            await play.scale(1)
            await asyncio.sleep(1)
            if replicas == 2:
                await play.api.create(CAPACITY_BUFFERS, shaped(replicas), "default")
            else:
                changed = {"spec": {"replicas": replicas}}
                await play.api.patch(CAPACITY_BUFFERS, "room", changed, "default")
            await play.until(lambda n=replicas: status(play).get("replicas") == n, 1)
            assert provisioned(play)[0] in ("True", "False")


async def test_a_percentage_follows_the_scale_of_a_workload() -> None:
    follows = {"apiGroup": "apps", "kind": "Deployment", "name": "web"}
    half = buffer(scalableRef=follows, percentage=50)
    async with playing(node_class(), consolidating(), deployment(replicas=4), half) as play:
        await play.until(lambda: play.running() == 4 and there(play))
        assert status(play)["replicas"] == 2
        await play.scale(12)
        await play.until(lambda: status(play)["replicas"] == 6, 60)
        await play.until(lambda: play.running() == 12 and there(play))
        await play.scale(0)
        await play.until(play.nothing_left, 900)
        assert status(play)["replicas"] == 0


async def test_a_buffer_without_a_shape_says_so_until_there_is_one() -> None:
    async with playing(node_class(), consolidating(), shaped(1)) as play:

        def ready() -> tuple[str, str]:
            (found,) = play.world.cluster.objects(CAPACITY_BUFFERS)
            told = play.condition(found, "ReadyForProvisioning")
            return told["status"], told["reason"]

        await play.until(lambda: ready() == ("False", "PodTemplateNotFound"))
        assert provisioned(play) == ("False", "PodTemplateNotFound")
        await play.api.create(*_created(template()))
        await play.until(lambda: ready() == ("True", "Resolved"), 60)
        await play.until(lambda: there(play))


async def test_a_new_leader_keeps_the_room() -> None:
    """It has to read the shape anew before it may take empty nodes away."""
    async with playing(node_class(), consolidating(), template(), shaped(2)) as play:
        await play.until(lambda: there(play))
        await asyncio.sleep(120)
        nodes = {n["metadata"]["name"] for n in play.nodes()}
        await play.world.lose_leader()
        await asyncio.sleep(300)
        assert {n["metadata"]["name"] for n in play.nodes()} == nodes


def _created(obj: Object) -> tuple[Any, Object, str]:
    from autoctl.ports.kubernetes import DEPLOYMENTS

    resource = POD_TEMPLATES if obj["kind"] == "PodTemplate" else DEPLOYMENTS
    return resource, obj, "default"
