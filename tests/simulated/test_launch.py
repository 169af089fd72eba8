"""From nothing to running pods and back to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from harness import Object, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_CLASSES, NODE_POOLS, NODES
from autoctl.sim.cloud.ec2.addresses import AddressPool
from autoctl.sim.cloud.faults import Fault, FaultType

FAILED = "FailedScheduling"


async def test_scale_from_zero_and_to_zero_leaves_nothing() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=40)) as play:
        took = await play.until(lambda: play.running() == 40)
        assert took < 75, "batch, launch and a boot of 40 s"
        assert play.launched == len(play.claims()) == len(play.nodes())
        await play.scale(0)
        await play.until(play.nothing_left)


async def test_node_is_registered_with_what_its_claim_says() -> None:
    taint = {"key": "team", "value": "a", "effect": "NoSchedule"}
    startup = {"key": "agent", "effect": "NoSchedule"}
    pool = node_pool(template={"taints": [taint], "startupTaints": [startup]})
    pool["spec"]["template"]["metadata"] = {"labels": {"team": "a"}, "annotations": {"note": "x"}}
    toleration = [{"key": "team", "operator": "Exists"}]
    async with playing(node_class(), pool, deployment(replicas=2, tolerations=toleration)) as play:
        await play.until(
            lambda: (
                bool(play.claims())
                and play.condition(play.claims()[0], "Initialized")["reason"]
                == "StartupTaintsExist"
            )
        )
        node, claim = play.nodes()[0], play.claims()[0]
        assert node["metadata"]["name"] == claim["status"]["nodeName"]
        assert claim["status"]["providerID"] == node["spec"]["providerID"]
        labels = node["metadata"]["labels"]
        assert labels["team"] == "a"
        assert labels["karpenter.sh/nodepool"] == "general-purpose"
        assert labels["karpenter.sh/registered"] == "true"
        assert labels["eks.amazonaws.com/nodeclass"] == "default"
        assert labels["eks.amazonaws.com/compute-type"] == "auto"
        assert "karpenter.sh/initialized" not in labels
        assert node["metadata"]["annotations"]["note"] == "x"
        assert "karpenter.sh/termination" in node["metadata"]["finalizers"]
        assert [o["kind"] for o in node["metadata"]["ownerReferences"]] == ["NodeClaim"]
        taints = {t["key"] for t in node["spec"]["taints"]}
        assert {"team", "agent"} <= taints
        assert "karpenter.sh/unregistered" not in taints
        assert play.running() == 0, "the startup taint keeps pods away"
        kept = [t for t in node["spec"]["taints"] if t["key"] != "agent"]
        await play.api.patch(NODES, node["metadata"]["name"], {"spec": {"taints": kept}})
        await play.until(lambda: play.running() == 2)
        assert play.condition(play.claims()[0], "Ready")["status"] == "True"


async def test_instances_are_tagged_and_locked_down() -> None:
    async with playing(node_class(tags={"cost": "42"}), node_pool(), deployment()) as play:
        await play.until(lambda: play.running() == 3)
        await asyncio.sleep(5)
        (instance,) = play.instances()
        claim = play.claims()[0]["metadata"]["name"]
        assert instance.tags["eks:eks-cluster-name"] == "autoctl"
        assert instance.tags["eks:kubernetes-node-class-name"] == "default"
        assert instance.tags["eks:kubernetes-node-pool-name"] == "general-purpose"
        assert instance.tags["karpenter.sh/nodepool"] == "general-purpose"
        assert instance.tags["karpenter.sh/nodeclaim"] == claim
        assert instance.tags["cost"] == "42"
        for template in play.world.cloud.ec2.templates.templates.values():
            data = template.versions[0]
            assert data["MetadataOptions"]["HttpTokens"] == "required"
            assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
            assert all(m["Ebs"]["Encrypted"] for m in data["BlockDeviceMappings"])


async def test_pods_that_come_while_nodes_boot_join_them() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=4, cpu="1")) as play:
        await play.until(lambda: bool(play.instances()))
        first = play.launched
        await play.scale(5)
        await play.until(lambda: play.running() == 5)
        assert play.launched <= first + 1
        assert len(play.world.cloud.log.counts()) > 0


async def test_an_offering_without_capacity_is_left_for_another() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=3)) as play:
        fault = Fault(
            FaultType.INSUFFICIENT_CAPACITY,
            zones=("us-west-2a", "us-west-2b"),
            instance_types=("c*",),
        )
        play.world.cloud.inject(fault)
        await play.until(lambda: play.running() == 3)
        (instance,) = play.instances()
        assert not (
            instance.instance_type.startswith("c") and instance.zone in ("us-west-2a", "us-west-2b")
        )


async def test_without_any_capacity_pods_wait_and_are_told_why() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=3)) as play:
        play.world.cloud.inject(Fault(FaultType.INSUFFICIENT_CAPACITY))
        await asyncio.sleep(120)
        assert play.events("InsufficientCapacityError")
        assert play.events("FailedScheduling")
        fleets = play.world.cloud.log.counts()["CreateFleet"]
        assert fleets < 60, "an offering that failed is not asked for again at once"
        play.world.cloud.faults.clear()
        await play.until(lambda: play.running() == 3, 600)


async def test_throttling_delays_and_loses_nothing() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=10)) as play:
        play.world.cloud.inject(Fault(FaultType.API_THROTTLE, operations=("ec2:*",), share=0.5))
        await play.until(lambda: play.running() == 10, 600)
        play.world.cloud.faults.clear()
        await play.scale(0)
        await play.until(play.nothing_left, 600)


async def test_missing_rights_are_named_and_healed() -> None:
    """Rights that go after the dry runs went well; `test_validation` has the others."""
    async with playing(node_class(), node_pool(), deployment(replicas=0)) as play:
        await play.until(lambda: play.condition(play.pool(), "Ready")["status"] == "True")
        play.world.cloud.denied.add("ec2:CreateFleet")
        await play.scale(1)
        await play.until(
            lambda: (
                bool(play.claims())
                and play.condition(play.claims()[0], "Launched")["reason"] == "Unauthorized"
            )
        )
        assert "ec2:CreateFleet" in play.condition(play.claims()[0], "Launched")["message"]
        play.world.cloud.denied.clear()
        await play.until(lambda: play.running() == 1)
        assert play.launched == 1


async def test_a_node_that_never_joins_is_given_up() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=1)) as play:
        play.world.cloud.inject(Fault(FaultType.NEVER_REGISTERS))
        await play.until(lambda: bool(play.instances()))
        play.world.cloud.faults.clear()
        lost = play.instances()[0]
        await play.until(lambda: lost.terminated_at is not None, 1200)
        await play.until(lambda: play.running() == 1)
        health = play.condition(play.pool(), "NodeRegistrationHealthy")
        assert health["status"] == "True"


async def test_limits_hold() -> None:
    pool = node_pool(limits={"cpu": "20"})
    async with playing(node_class(), pool, deployment(replicas=6, cpu="6")) as play:
        await asyncio.sleep(120)
        assert play.running() == 2
        used = play.pool()["status"]["resources"]["cpu"]
        assert int(used) <= 20
        assert play.events("FailedScheduling")


async def test_static_pool_keeps_its_number() -> None:
    pool = node_pool("static", replicas=3)
    async with playing(node_class(), pool) as play:
        await play.until(lambda: len(play.nodes()) == 3)
        name = play.claims()[0]["metadata"]["name"]
        await play.api.delete(NODE_CLAIMS, name)
        await play.until(lambda: name not in [c["metadata"]["name"] for c in play.claims()])
        await play.until(lambda: len(play.nodes()) == 3)
        assert play.launched == 4


async def test_nothing_is_launched_while_the_class_is_not_ready() -> None:
    async with playing(node_class(), node_pool(), deployment()) as play:
        subnets = dict(play.world.cloud.ec2.network.subnets)
        play.world.cloud.ec2.network.subnets.clear()
        await asyncio.sleep(60)
        assert play.launched == 0
        (found,) = play.world.cluster.objects(NODE_CLASSES)
        assert play.condition(found, "SubnetsReady")["reason"] == "SubnetsNotFound"
        assert play.condition(play.pool(), "Ready")["status"] == "False"
        play.world.cloud.ec2.network.subnets.update(subnets)
        await play.until(lambda: play.running() == 3)


async def test_a_static_pool_that_its_limit_keeps_from_its_replicas_says_so() -> None:
    pool = node_pool("static", replicas=2, limits={"nodes": "2"})
    async with playing(node_class(), pool) as play:
        await play.until(lambda: len(play.nodes()) == 2)
        await asyncio.sleep(120)
        assert not play.events("StaticPoolLimited")
        await play.api.patch(NODE_POOLS, "static", {"spec": {"replicas": 3}})
        await asyncio.sleep(120)
        (event,) = play.events("StaticPoolLimited")
        told = str(event.get("note") or event.get("message"))
        assert told == "The pool is full: limits.nodes 2 keeps it from its 3 replicas"
        assert play.launched == 2


async def test_launches_take_turns_in_a_zone_s_subnets_before_they_are_counted_again() -> None:
    pool = node_pool("static", replicas=1)
    zone = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-west-2a"]}
    pool["spec"]["template"]["spec"]["requirements"] = [zone]
    async with playing(node_class()) as play:
        network = play.world.cloud.ec2.network
        (first,) = (s for s in network.subnets.values() if s.zone == "us-west-2a")
        addresses = AddressPool("10.9.0.0/19")
        network.subnets["subnet-2"] = replace(first, subnet_id="subnet-2", pool=addresses)
        await asyncio.sleep(70)
        await play.world.cluster.users.create(NODE_POOLS, pool)
        for replicas in (2, 3, 4):
            await asyncio.sleep(8)
            await play.api.patch(NODE_POOLS, "static", {"spec": {"replicas": replicas}})
        await play.until(lambda: play.launched == 4)
        used = Counter(i.subnet_id for i in play.instances())
        assert used == {first.subnet_id: 2, "subnet-2": 2}


async def test_a_static_pool_without_capacity_is_filled_with_patience() -> None:
    pool = node_pool("static", replicas=2)
    async with playing(node_class()) as play:
        play.world.cloud.inject(Fault(FaultType.INSUFFICIENT_CAPACITY))
        await play.world.cluster.users.create(NODE_POOLS, pool)
        await asyncio.sleep(600)
        made = play.world.cluster.api.requests["create", "nodeclaims"]
        assert 10 <= made <= 40, "tried again, at longer and longer intervals"
        play.world.cloud.faults.clear()
        await play.until(lambda: len(play.nodes()) == 2)


async def test_a_class_waits_for_its_nodes() -> None:
    async with playing(node_class(), node_pool(), deployment()) as play:
        await play.until(lambda: play.running() == 3)
        await play.api.delete(NODE_CLASSES, "default")
        await asyncio.sleep(30)
        assert play.events("WaitingOnNodeClaimTermination")
        await play.scale(0)
        await play.until(lambda: not list(play.world.cluster.objects(NODE_CLASSES)), 400)
        assert play.nothing_left()
        assert not play.world.cloud.iam.profiles


def _told(event: Object) -> str:
    return str(event.get("note") or event.get("message"))


async def test_a_pool_no_node_can_come_from_is_not_ready_and_says_why() -> None:
    """The schema lets one taint through twice; a node cannot have it twice."""
    twice = [{"key": "team", "effect": "NoSchedule", "value": v} for v in ("a", "b")]
    toleration = [{"key": "team", "operator": "Exists"}]
    pool = node_pool(template={"taints": twice})
    async with playing(node_class(), pool, deployment(tolerations=toleration)) as play:
        await play.until(lambda: any("duplicate taint" in _told(e) for e in play.events(FAILED)))
        assert not play.claims()
        found = await play.api.get(NODE_POOLS, "general-purpose")
        told = {c["type"]: (c["status"], c["message"]) for c in found["status"]["conditions"]}
        assert told["ValidationSucceeded"] == (
            "False",
            "duplicate taint Key/Effect pair team=NoSchedule",
        )
        assert told["Ready"][0] == "False"
        right = {"spec": {"template": {"spec": {"taints": twice[:1]}}}}
        await play.world.cluster.users.patch(NODE_POOLS, "general-purpose", right)
        await play.until(lambda: play.running() == 3)


async def test_nodes_need_not_look_like_auto_modes() -> None:
    """Without Auto Mode's label AWS's add-on DaemonSets run on them; pods that want it do not."""
    marked = deployment("marked", nodeSelector={"eks.amazonaws.com/compute-type": "auto"})
    operator = {"compute_type_label": False}
    async with playing(
        node_class(), node_pool(), deployment(replicas=2), marked, operator=operator
    ) as play:
        await play.until(lambda: play.running() == 2)
        await asyncio.sleep(60)
        assert play.running() == 2
        assert len(play.nodes()) == 1, "no node is bought for a label that it would not have"
        for labelled in (*play.nodes(), *play.claims()):
            assert "eks.amazonaws.com/compute-type" not in labelled["metadata"]["labels"]
