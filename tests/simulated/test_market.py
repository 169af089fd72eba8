"""Reserved capacity and placement groups from selector to node; how much EC2 is asked at rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from harness import Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import DEPLOYMENTS, NODE_CLASSES, Object
from autoctl.sim.cloud.faults import Fault, FaultType
from autoctl.simulate.world import World

RESERVED = ("reserved", "on-demand")
TERMS = [{"tags": {"team": "a"}}]


def _reserve(world: World, total: int, **facts: object) -> str:
    made = world.cloud.ec2.capacity.add_reservation(
        "m5.xlarge", "us-west-2a", total, match="targeted", tags={"team": "a"}, **facts
    )
    return made.reservation_id


def _capacity_types(play: Play) -> Counter[str]:
    return Counter(n["metadata"]["labels"]["karpenter.sh/capacity-type"] for n in play.nodes())


def _class(play: Play) -> Object:
    found: Object
    (found,) = play.world.cluster.objects(NODE_CLASSES)
    return found


async def test_reserved_capacity_is_used_first_and_on_demand_for_the_rest() -> None:
    declared = node_class(capacityReservationSelectorTerms=TERMS)
    async with playing(declared, node_pool(capacity_types=RESERVED)) as play:
        name = _reserve(play.world, 1)
        await play.until(
            lambda: bool(_class(play).get("status", {}).get("capacityReservations")), 70
        )
        assert play.condition(_class(play), "CapacityReservationsReady")["status"] == "True"
        await play.api.create(DEPLOYMENTS, deployment(replicas=3, cpu="3"), "default")
        await play.until(lambda: play.running() == 3, 600)
        assert _capacity_types(play)["reserved"] == 1
        (node,) = [
            n
            for n in play.nodes()
            if n["metadata"]["labels"]["karpenter.sh/capacity-type"] == "reserved"
        ]
        labels = node["metadata"]["labels"]
        assert labels["eks.amazonaws.com/capacity-reservation-id"] == name
        assert labels["eks.amazonaws.com/capacity-reservation-type"] == "default"
        assert labels["node.kubernetes.io/instance-type"] == "m5.xlarge"


async def test_one_class_with_terms_keeps_all_out_of_open_reservations() -> None:
    """EC2's own matching is off for the whole cluster then, and on again without such a class."""
    plain = node_class()
    plain["metadata"]["name"] = "plain"
    pool = node_pool()
    pool["spec"]["template"]["spec"]["nodeClassRef"]["name"] = "plain"
    requirements = pool["spec"]["template"]["spec"]["requirements"]
    requirements.append(
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m5.xlarge"]}
    )
    requirements.append(
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-west-2a"]}
    )
    selecting = node_class(capacityReservationSelectorTerms=TERMS)
    async with playing(plain, selecting, pool) as play:
        made = play.world.cloud.ec2.capacity.add_reservation(
            "m5.xlarge", "us-west-2a", 2, match="open"
        )
        await play.api.create(DEPLOYMENTS, deployment(replicas=1, cpu="3"), "default")
        await play.until(lambda: play.running() == 1, 180)
        assert not made.used_by
        await play.api.delete(NODE_CLASSES, "default")
        await asyncio.sleep(70)
        await play.api.create(DEPLOYMENTS, deployment("more", 1, cpu="3"), "default")
        await play.until(lambda: play.running() == 2, 180)
        assert len(made.used_by) == 1, "matched by EC2 itself"
        assert _capacity_types(play) == {"on-demand": 2}


async def test_a_node_whose_reservation_ended_is_on_demand_from_then_on() -> None:
    declared = node_class(capacityReservationSelectorTerms=TERMS)
    async with playing(declared, node_pool(capacity_types=RESERVED)) as play:
        ends = play.world.clock.now() + timedelta(minutes=20)
        _reserve(play.world, 1, ends_at=ends)
        await asyncio.sleep(70)
        await play.api.create(DEPLOYMENTS, deployment(replicas=1, cpu="3"), "default")
        await play.until(lambda: _capacity_types(play) == {"reserved": 1}, 120)
        await play.until(lambda: _capacity_types(play) == {"on-demand": 1}, 1300)
        # The Node is written first, then the NodeClaim.
        await asyncio.sleep(1)
        assert play.launched == 1
        labels = play.claims()[0]["metadata"]["labels"]
        assert labels["karpenter.sh/capacity-type"] == "on-demand"
        assert "eks.amazonaws.com/capacity-reservation-id" not in labels


async def test_a_capacity_blocks_nodes_are_empty_before_it_ends() -> None:
    declared = node_class(capacityReservationSelectorTerms=TERMS)
    async with playing(declared, node_pool(capacity_types=("reserved",))) as play:
        ends = play.world.clock.now() + timedelta(hours=2)
        _reserve(play.world, 1, ends_at=ends, kind="capacity-block")
        await asyncio.sleep(70)
        await play.api.create(DEPLOYMENTS, deployment(replicas=1, cpu="3"), "default")
        await play.until(lambda: _capacity_types(play) == {"reserved": 1}, 120)
        await asyncio.sleep((ends - timedelta(minutes=41) - play.world.clock.now()).total_seconds())
        assert len(play.claims()) == 1
        await play.until(lambda: not play.instances(), 11 * 60)
        assert play.world.clock.now() <= ends - timedelta(minutes=30)


async def test_without_its_placement_group_a_class_launches_nothing() -> None:
    declared = node_class(placementGroupSelector={"name": "near"})
    async with playing(declared, node_pool(), deployment(replicas=1)) as play:
        await asyncio.sleep(90)
        condition = play.condition(_class(play), "PlacementGroupReady")
        assert (condition["status"], condition["reason"]) == ("False", "PlacementGroupNotFound")
        assert "near" in condition["message"]
        assert not play.launched
        group = play.world.cloud.ec2.placement.add("near", "cluster")
        await play.until(lambda: play.running() == 1, 180)
        (instance,) = play.instances()
        assert instance.placement_group_id == group.group_id
        labels = play.nodes()[0]["metadata"]["labels"]
        assert labels["eks.amazonaws.com/placement-group-id"] == group.group_id


async def test_at_rest_ec2_is_asked_less_than_thirty_times_a_minute() -> None:
    pods = [deployment(f"d{i}", replicas=10, cpu="1700m") for i in range(6)]
    async with playing(node_class(), node_pool(), *pods) as play:
        await play.until(lambda: play.running() == 60, 300)
        await asyncio.sleep(1800)
        log = play.world.cloud.log
        log.clear()
        await asyncio.sleep(1800)
        asked = Counter(
            int((r.at - play.world.scenario.start).total_seconds()) // 60
            for r in log.select(service="ec2")
        )
        assert asked, "the log records nothing"
        assert max(asked.values()) < 30, log.counts()


async def test_nodes_stay_with_the_release_that_their_class_pins() -> None:
    """A weekly release is drift; a pinned one is not, and going back to it is."""
    pin = {"autoctl.io/bottlerocket-version": "1.50.0"}
    declared = node_class()
    declared["metadata"]["annotations"] = pin
    async with playing(declared, node_pool(), deployment(replicas=1)) as play:
        await play.until(lambda: play.running() == 1)
        (first,) = play.instances()
        play.world.cloud.inject(Fault(FaultType.AMI_RELEASE, version="1.51.0"))
        await asyncio.sleep(1200)
        assert [i.instance_id for i in play.instances()] == [first.instance_id]
        users = play.world.cluster.users
        for key, version in ((None, "1.51.0"), ("1.50.0", "1.50.0")):
            changed = {"metadata": {"annotations": {"autoctl.io/bottlerocket-version": key}}}
            await users.patch(NODE_CLASSES, "default", changed)
            await play.until(lambda v=version: _images(play) == [v] and play.running() == 1, 1200)
        await users.patch(
            NODE_CLASSES,
            "default",
            {"metadata": {"annotations": {"autoctl.io/bottlerocket-version": "1.49.0"}}},
        )
        await asyncio.sleep(120)
        condition = play.condition(_class(play), "AMIsReady")
        assert condition["reason"] == "AMINotFound"
        assert "'1.49.0'" in condition["message"]
        assert _images(play) == ["1.50.0"], "a node is not replaced for want of an image"


def _images(play: Play) -> list[str]:
    """The releases that run."""
    images = play.world.cloud.ec2.images
    return [images.get(i.image_id).name.rpartition("-v")[2] for i in play.instances()]
