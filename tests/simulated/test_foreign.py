"""Karpenter's own objects beside ours: NodePools and NodeClaims of other node classes."""

from __future__ import annotations

import asyncio
from typing import Any

from harness import Object, Play, deployment, node_class, node_pool, playing

from autoctl.aws.instances import provider_id
from autoctl.aws.tags import resource_tags
from autoctl.ports.kubernetes import EVENTS, NODE_CLAIMS, NODE_CLASSES, NODE_POOLS, NODES

THEIRS = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
"""Of the same name as our NodeClass."""
FINALIZER = "karpenter.sh/termination"
ZONE = "us-west-2a"
HOURS = 3600.0


def foreign_pool(**spec: Any) -> Object:
    pool = node_pool("theirs", **spec)
    pool["spec"]["template"]["spec"]["nodeClassRef"] = THEIRS
    return pool


async def foreign_node(play: Play) -> str:
    """An instance with NodeClaim and Node as Karpenter leaves them; its provider id."""
    ec2 = play.world.cloud.client("ec2")
    tags = resource_tags("autoctl", "default", "theirs", {})
    subnet = next(s for s in play.world.cloud.ec2.network.subnets.values() if s.zone == ZONE)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    (machine,) = ec2.run_instances(
        ImageId=image,
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet.subnet_id,
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [{"Key": k, "Value": v} for k, v in tags.items()],
            }
        ],
    )["Instances"]
    found = provider_id(ZONE, machine["InstanceId"])
    users = play.world.cluster.users
    labels = {
        "karpenter.sh/nodepool": "theirs",
        "karpenter.sh/capacity-type": "on-demand",
        "karpenter.sh/registered": "true",
        "karpenter.sh/initialized": "true",
        "node.kubernetes.io/instance-type": "m5.large",
        "topology.kubernetes.io/zone": ZONE,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }
    capacity = {"cpu": "2", "memory": "8Gi", "pods": "29"}
    metadata = {"name": "theirs-1", "labels": labels, "finalizers": [FINALIZER]}
    await users.create(
        NODE_CLAIMS,
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": metadata,
            "spec": {"nodeClassRef": THEIRS, "requirements": [], "expireAfter": "4h"},
        },
    )
    now = play.world.cloud.now().isoformat()
    conditions = [
        {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": now}
        for kind in ("Launched", "Registered", "Initialized", "Drifted", "Ready")
    ]
    status = {"providerID": found, "nodeName": "theirs-1", "conditions": conditions}
    await users.patch(NODE_CLAIMS, "theirs-1", {"status": status}, subresource="status")
    await users.create(
        NODES,
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": metadata,
            "spec": {"providerID": found},
        },
    )
    ready = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
    status = {"capacity": capacity, "allocatable": capacity, "conditions": ready}
    await users.patch(NODES, "theirs-1", {"status": status}, subresource="status")
    return found


def theirs(play: Play) -> dict[str, Object]:
    return {
        str(resource): obj
        for resource in (NODE_POOLS, NODE_CLAIMS, NODES)
        for obj in play.world.cluster.objects(resource)
        if obj["metadata"]["name"].startswith("theirs")
    }


def without_versions(objects: dict[str, Object]) -> dict[str, Object]:
    return {
        kind: {**obj, "metadata": {**obj["metadata"], "resourceVersion": ""}}
        for kind, obj in objects.items()
    }


async def test_what_another_controller_made_is_left_alone() -> None:
    """Empty, expired, drifted and tagged as ours: it is Karpenter's all the same.

    Nothing is launched from its NodePool either.
    """
    waiting = deployment("waits", nodeSelector={"karpenter.sh/nodepool": "theirs-too"})
    static = foreign_pool(replicas=3)
    static["metadata"]["name"] = "theirs-too"
    async with playing(node_class(), foreign_pool(), static, waiting) as play:
        await foreign_node(play)
        await asyncio.sleep(60)
        before = without_versions(theirs(play))
        await asyncio.sleep(600)
        await play.scale(0, "waits")
        await asyncio.sleep(8 * HOURS)
        assert without_versions(theirs(play)) == before
        assert [i.state for i in play.instances()] == ["running"], "theirs"
        about = {e["regarding"]["name"] for e in play.world.cluster.objects(EVENTS)}
        assert not {name for name in about if name.startswith("theirs")}


async def test_a_node_of_another_controller_is_neither_drained_nor_freed() -> None:
    async with playing(node_class(), foreign_pool(), deployment(replicas=2)) as play:
        await foreign_node(play)
        await play.until(lambda: play.running() == 2)
        assert {p["spec"]["nodeName"] for p in play.pods()} == {"theirs-1"}, "its room is used"
        await play.world.cluster.users.delete(NODES, "theirs-1")
        await asyncio.sleep(600)
        node = theirs(play)["nodes"]
        assert node["metadata"]["finalizers"] == [FINALIZER]
        assert "taints" not in node["spec"]
        assert play.running() == 2
        assert play.launched == 1, "theirs"


async def test_our_node_class_is_not_in_use_by_theirs() -> None:
    async with playing(node_class(), foreign_pool()) as play:
        await foreign_node(play)
        await asyncio.sleep(60)
        await play.world.cluster.users.delete(NODE_CLASSES, "default")
        await play.until(lambda: not play.world.cluster.objects(NODE_CLASSES))
