"""What a NodeClass or a pod asks of the machine itself, from manifest to node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from harness import Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import DEPLOYMENTS, NODE_CLASSES, Object
from autoctl.simulate.world import World

EFA = "vpc.amazonaws.com/efa"
PLACEMENT_GROUP = "eks.amazonaws.com/placement-group-id"


def declared(play: Play) -> Object:
    found: Object
    (found,) = play.world.cluster.objects(NODE_CLASSES)
    return found


def with_adapters(count: int) -> Object:
    """A Deployment whose pods ask for EFA."""
    train = deployment("train", replicas=1)
    resources = train["spec"]["template"]["spec"]["containers"][0]["resources"]
    resources["requests"][EFA] = str(count)
    resources["limits"] = {EFA: str(count)}
    return train


def of_families(*families: str) -> Object:
    """A NodePool of these families alone."""
    pool = node_pool()
    pool["spec"]["template"]["spec"]["requirements"] = [
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
        {"key": "eks.amazonaws.com/instance-family", "operator": "In", "values": list(families)},
    ]
    return pool


async def test_pods_that_ask_for_adapters_get_instances_with_them() -> None:
    objects = (node_class(), of_families("c5n", "p4d"), with_adapters(4))
    async with playing(*objects) as play:
        await play.until(lambda: play.running() == 1, 180)
        (instance,) = play.instances()
        assert instance.instance_type == "p4d.24xlarge", "c5n has one adapter"
        kinds = [(i.card_index, i.interface_type) for i in instance.interfaces]
        assert kinds == [(0, "efa"), (1, "efa-only"), (2, "efa-only"), (3, "efa-only")]
        (claim,) = play.claims()
        assert claim["status"]["capacity"][EFA] == "4"
        assert play.nodes()[0]["status"]["allocatable"][EFA] == "4"


async def test_others_get_plain_interfaces_and_promise_no_adapters() -> None:
    async with playing(node_class(), of_families("p4d"), deployment(replicas=1)) as play:
        await play.until(lambda: play.running() == 1, 180)
        (instance,) = play.instances()
        assert [i.interface_type for i in instance.interfaces] == ["interface"]
        (claim,) = play.claims()
        assert EFA not in claim["status"]["capacity"]
        # The room on that node is no room for a pod that wants adapters.
        await play.api.create(DEPLOYMENTS, with_adapters(1), "default")
        await play.until(lambda: play.running() == 2, 180)
        assert len(play.nodes()) == 2


def ipv6(world: World) -> None:
    world.cloud.eks.ipv6 = True
    for subnet in world.cloud.ec2.network.subnets.values():
        subnet.ipv6 = True


async def test_nodes_of_an_ipv6_cluster_have_ipv6_addresses() -> None:
    objects = (node_class(), node_pool(), deployment(replicas=1))
    async with playing(*objects, prepare=ipv6) as play:
        await play.until(lambda: play.running() == 1, 180)
        (instance,) = play.instances()
        assert [i.ipv6_addresses for i in instance.interfaces] == [1]
        assert instance.metadata_options["HttpProtocolIpv6"] == "enabled"


async def test_static_interfaces_are_refused_in_ipv6_clusters() -> None:
    interface = {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}
    static = node_class(advancedNetworking={"networkInterfaces": [interface]})
    async with playing(static, node_pool(), deployment(replicas=1), prepare=ipv6) as play:
        await asyncio.sleep(60)
        condition = play.condition(declared(play), "ValidationSucceeded")
        assert (condition["status"], condition["reason"]) == (
            "False",
            "NetworkInterfacesUnsupported",
        )
        assert not play.launched


def some_ipv6(world: World) -> None:
    """The cluster has IPv6, and of its subnets those of zone a alone."""
    world.cloud.eks.ipv6 = True
    for subnet in world.cloud.ec2.network.subnets.values():
        subnet.ipv6 = subnet.zone == "us-west-2a"


async def test_ipv6_nodes_are_nitro_instances_in_subnets_with_ipv6() -> None:
    """Pods have their addresses from IPv6 prefixes, which Xen instances do not take."""
    pool = of_families("m4", "m5")
    objects = (node_class(), pool, deployment(replicas=1))
    async with playing(*objects, prepare=some_ipv6) as play:
        await play.until(lambda: play.running() == 1, 180)
        (instance,) = play.instances()
        assert (instance.instance_type.partition(".")[0], instance.zone) == ("m5", "us-west-2a")
        status = declared(play)["status"]
        assert status["ipFamily"] == "ipv6"
        assert {subnet["zone"] for subnet in status["subnets"]} == {"us-west-2a"}


async def test_an_ipv6_cluster_without_ipv6_subnets_is_told() -> None:
    def prepare(world: World) -> None:
        world.cloud.eks.ipv6 = True

    async with playing(node_class(), node_pool(), prepare=prepare) as play:
        await asyncio.sleep(60)
        condition = play.condition(declared(play), "SubnetsReady")
        assert (condition["status"], condition["reason"]) == ("False", "SubnetsWithoutIPv6")


PODS = {
    "podSubnetSelectorTerms": [{"tags": {"Name": "pods"}}],
    "podSecurityGroupSelectorTerms": [{"tags": {"Name": "pods"}}],
}
STATIC = {
    "networkInterfaces": [
        {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
        {
            "networkCardIndex": 0,
            "deviceIndex": 1,
            "interfaceType": "interface",
            "secondaryIPv4PrefixCount": 2,
        },
    ]
}


def pod_subnets(*sizes: int) -> Callable[[World], None]:
    """A security group for pods, and subnets for them with prefixes of these lengths, by zone."""

    def make(world: World) -> None:
        network = world.cloud.ec2.network
        network.add_security_group("pods", tags={"Name": "pods"})
        zones = sorted({subnet.zone for subnet in network.subnets.values()})
        for number, zone in enumerate(zones):
            size = sizes[min(number, len(sizes) - 1)]
            network.add_subnet(zone, f"10.{100 + number}.0.0/{size}", tags={"Name": "pods"})

    return make


async def test_pods_interfaces_are_launched_in_the_subnets_and_groups_of_pods() -> None:
    static = node_class(**PODS, advancedNetworking=STATIC)
    objects = (static, node_pool(), deployment(replicas=3))
    async with playing(*objects, prepare=pod_subnets(20)) as play:
        await play.until(lambda: play.running() == 3, 180)
        network = play.world.cloud.ec2.network
        for instance in play.instances():
            primary, for_pods = instance.interfaces
            assert "pods" not in network.subnets[primary.subnet_id].tags.values()
            assert network.subnets[for_pods.subnet_id].tags["Name"] == "pods"
            assert network.subnets[for_pods.subnet_id].zone == instance.zone
            assert [network.groups[g].name for g in for_pods.group_ids] == ["pods"]
            assert "pods" not in [network.groups[g].name for g in primary.group_ids]
            assert len(for_pods.prefixes) == 2
            assert not primary.prefixes
        assert {n["status"]["capacity"]["pods"] for n in play.nodes()} == {"32"}
        condition = play.condition(declared(play), "PodNetworkingApplied")
        assert condition["status"] == "absent", "nothing is left to the CNI"


async def test_nodes_go_where_their_pods_have_addresses() -> None:
    """Nothing is launched into the subnets of pods here: a full one is seen by its count alone."""
    objects = (node_class(**PODS), node_pool(), deployment(replicas=1))

    def make(world: World) -> None:
        pod_subnets(20)(world)
        for subnet in world.cloud.ec2.network.subnets.values():
            while subnet.tags.get("Name") == "pods" and subnet.zone != "us-west-2c":
                if not subnet.pool.free:
                    break
                subnet.pool.take()

    async with playing(*objects, prepare=make) as play:
        await play.until(lambda: play.running() == 1, 180)
        assert {instance.zone for instance in play.instances()} == {"us-west-2c"}
        condition = play.condition(declared(play), "PodNetworkingApplied")
        assert (condition["status"], condition["reason"]) == ("False", "LeftToTheCNI")
        assert "ENIConfig" in condition["message"]
        assert play.condition(declared(play), "Ready")["status"] == "True"


async def test_networking_that_nothing_acts_on_is_told_while_it_is_asked_for() -> None:
    async with playing(node_class(networkPolicy="DefaultDeny"), node_pool()) as play:
        await asyncio.sleep(60)
        (event,) = play.events("PodNetworkingNotApplied")
        assert "NETWORK_POLICY_ENFORCING_MODE=strict" in str(event)
        condition = play.condition(declared(play), "PodNetworkingApplied")
        assert (condition["status"], condition["reason"]) == ("False", "LeftToTheCNI")
        assert play.condition(declared(play), "Ready")["status"] == "True"
        users = play.world.cluster.users
        changed = {"spec": {"networkPolicy": "DefaultAllow"}}
        await users.patch(NODE_CLASSES, "default", changed)
        await asyncio.sleep(60)
        assert play.condition(declared(play), "PodNetworkingApplied")["status"] == "absent"


async def test_a_reservation_that_is_taken_back_leaves_the_next_one() -> None:
    """Of two reservations of one type and zone the larger is tried first; its owner reclaims it."""
    terms = [{"tags": {"team": "a"}}]
    pool = node_pool(capacity_types=("reserved", "on-demand"))
    objects = (node_class(capacityReservationSelectorTerms=terms), pool)
    async with playing(*objects) as play:
        capacity = play.world.cloud.ec2.capacity
        larger, other = (
            capacity.add_reservation(
                "m5.xlarge",
                "us-west-2a",
                count,
                match="targeted",
                tags={"team": "a"},
                interruptible=True,
            )
            for count in (3, 1)
        )
        await asyncio.sleep(70)
        larger.state = "unavailable"
        await play.api.create(DEPLOYMENTS, deployment(replicas=1, cpu="3"), "default")
        await play.until(lambda: play.running() == 1, 240)
        (instance,) = play.instances()
        assert instance.reservation_id == other.reservation_id
        assert play.launched == 1


async def test_lent_capacity_is_launched_into_as_such() -> None:
    terms = [{"tags": {"team": "a"}}]
    pool = node_pool(capacity_types=("reserved", "on-demand"))
    async with playing(node_class(capacityReservationSelectorTerms=terms), pool) as play:
        made = play.world.cloud.ec2.capacity.add_reservation(
            "m5.xlarge",
            "us-west-2a",
            1,
            match="targeted",
            tags={"team": "a"},
            interruptible=True,
        )
        await asyncio.sleep(70)
        await play.api.create(DEPLOYMENTS, deployment(replicas=1, cpu="3"), "default")
        await play.until(lambda: play.running() == 1, 180)
        (instance,) = play.instances()
        assert instance.reservation_id == made.reservation_id
        assert instance.lifecycle == "interruptible-capacity-reservation"
        labels = play.nodes()[0]["metadata"]["labels"]
        assert labels["eks.amazonaws.com/capacity-reservation-interruptible"] == "true"
        assert labels["karpenter.sh/capacity-type"] == "reserved"


async def test_nodes_follow_their_class_into_and_out_of_placement_groups() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=1)) as play:
        await play.until(lambda: play.running() == 1, 180)
        group = play.world.cloud.ec2.placement.add("near", "cluster")
        users = play.world.cluster.users
        for selector, expected in (({"name": "near"}, group.group_id), (None, None)):
            changed = {"spec": {"placementGroupSelector": selector}}
            await users.patch(NODE_CLASSES, "default", changed)
            await play.until(
                lambda e=expected: [i.placement_group_id for i in play.instances()] == [e], 900
            )
            assert play.nodes()[-1]["metadata"]["labels"].get(PLACEMENT_GROUP) == expected


async def test_a_node_whose_group_is_gone_stays_although_it_drifted() -> None:
    grouped = node_class(placementGroupSelector={"name": "near"})

    def make(world: World) -> None:
        world.cloud.ec2.placement.add("near", "cluster")

    async with playing(grouped, node_pool(), deployment(replicas=1), prepare=make) as play:
        await play.until(lambda: play.running() == 1, 180)
        play.world.cloud.ec2.placement.groups.clear()
        await asyncio.sleep(900)
        (claim,) = play.claims()
        drifted = play.condition(claim, "Drifted")
        assert (drifted["status"], drifted["reason"]) == ("True", "PlacementGroupDrift")
        assert play.launched == 1
        assert play.running() == 1


async def test_a_full_spread_group_closes_no_offering_for_others() -> None:
    """Eight nodes of one zone: the group takes seven, a class without it has the eighth."""
    spread = node_class(placementGroupSelector={"name": "apart"})
    plain = node_class()
    plain["metadata"]["name"] = "plain"
    zone = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-west-2a"]}
    pools = [node_pool("apart"), node_pool("plain")]
    for pool, name in zip(pools, ("default", "plain"), strict=True):
        spec = pool["spec"]["template"]["spec"]
        spec["nodeClassRef"]["name"] = name
        spec["requirements"].append(zone)

    def make(world: World) -> None:
        world.cloud.ec2.placement.add("apart", "spread")

    def apart(replicas: int) -> Object:
        return deployment(
            "apart",
            replicas=replicas,
            nodeSelector={"karpenter.sh/nodepool": "apart"},
            affinity={
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": {"app": "apart"}},
                        }
                    ]
                }
            },
        )

    async with playing(spread, plain, *pools, apart(8), prepare=make) as play:
        await play.until(lambda: play.running() == 7, 300)
        await asyncio.sleep(60)
        assert play.running() == 7
        other = deployment("plain", 1, nodeSelector={"karpenter.sh/nodepool": "plain"})
        await play.api.create(DEPLOYMENTS, other, "default")
        took = await play.until(lambda: play.running() == 8, 180)
        assert took < 120, "the zone is not out for a class without the group"


@pytest.mark.parametrize(
    ("version", "told"),
    [("1.31", ["singleProcessOOMKill", "idsPerPod"]), ("1.32", ["idsPerPod"]), ("1.33", [])],
)
async def test_a_setting_that_the_cluster_is_too_old_for_is_told(
    version: str, told: list[str]
) -> None:
    compute = {
        "kubelet": {"singleProcessOOMKill": True, "idsPerPod": 65536},
        "kernel": {"sysctl": {"user.max_user_namespaces": 11255}},
    }

    def old(world: World) -> None:
        world.cloud.eks.version = version

    async with playing(node_class(advancedCompute=compute), prepare=old) as play:
        await asyncio.sleep(300)
        events = play.events("UnsupportedKubeletConfiguration")
        assert len(events) == len(told)
        for field in told:
            assert any(field in str(event) for event in events)
