"""Registration, node conditions and taints, lost machines, volumes on nodes."""

from __future__ import annotations

from typing import Any

import pytest
from simkit import ZONE, add_node, by_node, deployment, pod, settle, where

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import NotFound
from autoctl.sim.cluster import SimCluster
from autoctl.sim.cluster.nodes import tolerates

UNREGISTERED = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}
DRIVER = "ebs.csi.eks.amazonaws.com"


async def node_taints(cluster: SimCluster, name: str) -> set[tuple[str, str]]:
    node = await cluster.api.get(k8s.NODES, name)
    return {(t["key"], t["effect"]) for t in node["spec"].get("taints") or ()}


async def condition(cluster: SimCluster, name: str, type_: str) -> str:
    node = await cluster.api.get(k8s.NODES, name)
    return next(str(c["status"]) for c in node["status"]["conditions"] if c["type"] == type_)


async def test_a_node_registers_as_a_kubelet_would(cluster: SimCluster) -> None:
    cluster.nodes.register(
        "n",
        provider_id="aws:///us-west-2a/i-1",
        capacity={"cpu": "4"},
        allocatable={"cpu": "3920m"},
        labels={"karpenter.sh/nodepool": "default"},
        taints=[UNREGISTERED],
        csi_drivers={DRIVER: 25},
        architecture="arm64",
        ready_after=10,
    )
    node = await cluster.api.get(k8s.NODES, "n")
    assert node["spec"]["providerID"] == "aws:///us-west-2a/i-1"
    assert node["metadata"]["labels"] == {
        "kubernetes.io/hostname": "n",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "arm64",
        "karpenter.sh/nodepool": "default",
    }
    unregistered = ("karpenter.sh/unregistered", "NoExecute")
    not_ready = ("node.kubernetes.io/not-ready", "NoSchedule")
    assert {unregistered, not_ready} <= await node_taints(cluster, "n")
    assert await condition(cluster, "n", "Ready") == "False"
    await settle(11)
    assert await condition(cluster, "n", "Ready") == "True"
    assert await node_taints(cluster, "n") == {unregistered}
    assert await cluster.api.get(k8s.LEASES, "n", "kube-node-lease")
    drivers = (await cluster.api.get(k8s.CSI_NODES, "n"))["spec"]["drivers"]
    assert drivers[0]["allocatable"] == {"count": 25}
    await cluster.api.delete(k8s.NODES, "n")
    await settle(2)
    with pytest.raises(NotFound):
        await cluster.api.get(k8s.LEASES, "n", "kube-node-lease")
    with pytest.raises(NotFound):
        await cluster.api.get(k8s.CSI_NODES, "n")


async def test_a_node_that_never_becomes_ready(cluster: SimCluster) -> None:
    cluster.nodes.register(
        "n",
        provider_id="x",
        capacity={},
        allocatable={},
        labels={},
        ready_after=float("inf"),
    )
    await settle(3600)
    assert await condition(cluster, "n", "Ready") == "False"
    assert ("node.kubernetes.io/not-ready", "NoExecute") in await node_taints(cluster, "n")


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"}, True),
        ({"key": "k", "value": "v", "effect": "NoSchedule"}, False),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k"}, False),
        ({"operator": "Exists", "effect": "NoSchedule"}, False),
    ],
)
def test_toleration_table(toleration: dict[str, Any], expected: bool) -> None:
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    assert tolerates(toleration, taint) is expected


async def test_conditions_become_taints(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await settle(2)
    cluster.nodes.set_condition("n", "DiskPressure", "True")
    await settle(1)
    assert await node_taints(cluster, "n") == {("node.kubernetes.io/disk-pressure", "NoSchedule")}
    cluster.nodes.set_condition("n", "DiskPressure", "False")
    cluster.nodes.set_condition("n", "KernelReady", "False", reason="ForkFailed")
    await settle(1)
    assert await node_taints(cluster, "n") == set()
    assert await condition(cluster, "n", "KernelReady") == "False"


async def test_a_lost_node_becomes_unknown_and_loses_its_pods(cluster: SimCluster) -> None:
    add_node(cluster, "lost")
    await settle(2)
    stay = pod("stays", tolerations=[{"operator": "Exists"}])
    await cluster.api.create(k8s.PODS, stay, "default")
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 2), "default")
    await settle(20)
    add_node(cluster, "spare")
    cluster.lifecycle.lose("lost")
    await settle(38)
    assert await condition(cluster, "lost", "Ready") == "True"
    await settle(4)
    assert await condition(cluster, "lost", "Ready") == "Unknown"
    assert ("node.kubernetes.io/unreachable", "NoExecute") in await node_taints(cluster, "lost")
    ready = [
        c["status"]
        for p in cluster.objects(k8s.PODS)
        for c in p["status"]["conditions"]
        if c["type"] == "Ready"
    ]
    assert ready == ["False"] * 3
    await settle(290)
    assert by_node(cluster) == {"lost": 3}
    await settle(20)
    # The pods are to be deleted, and nobody is there to end them; their successors run elsewhere.
    assert by_node(cluster) == {"lost": 3, "spare": 2}
    await cluster.api.delete(k8s.NODES, "lost")
    await settle(120)
    assert by_node(cluster) == {"spare": 2}
    assert cluster.stats.disruptions["DeletionByTaintManager"] == 2
    assert cluster.stats.disruptions["DeletionByPodGC"] == 1


async def test_a_node_that_comes_back_keeps_its_pods(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 2), "default")
    await settle(20)
    before = where(cluster)
    cluster.lifecycle.lose("n")
    await settle(100)
    cluster.lifecycle.recover("n")
    await settle(600)
    assert where(cluster) == before
    assert await node_taints(cluster, "n") == set()


async def test_the_cloud_controller_deletes_nodes_without_instance(cluster: SimCluster) -> None:
    alive = {"aws:///a/i-gone", "aws:///a/i-here"}
    cluster.instance_exists = alive.__contains__
    add_node(cluster, "gone")
    add_node(cluster, "here")
    await settle(2)
    await cluster.api.patch(k8s.NODES, "gone", {"metadata": {"finalizers": ["karpenter.sh/x"]}})
    alive.discard("aws:///a/i-gone")
    cluster.lifecycle.lose("gone")
    cluster.lifecycle.lose("here")
    await settle(30)
    assert "deletionTimestamp" not in (await cluster.api.get(k8s.NODES, "gone"))["metadata"]
    await settle(25)
    assert "deletionTimestamp" in (await cluster.api.get(k8s.NODES, "gone"))["metadata"]
    assert "deletionTimestamp" not in (await cluster.api.get(k8s.NODES, "here"))["metadata"]


async def test_a_no_execute_taint_evicts_at_once_or_after_its_seconds(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    bounded = {"key": "out", "operator": "Exists", "tolerationSeconds": 60}
    forever = {"key": "out", "operator": "Exists"}
    for name, tolerations in (("none", []), ("minute", [bounded]), ("ever", [forever])):
        body = pod(name, tolerations=tolerations)
        await cluster.api.create(k8s.PODS, body, "default")
    await settle(20)
    taint = {"key": "out", "effect": "NoExecute"}
    await cluster.api.patch(k8s.NODES, "n", {"spec": {"taints": [taint]}})
    await settle(10)
    assert sorted(where(cluster)) == ["ever", "minute"]
    await settle(40)
    assert sorted(where(cluster)) == ["ever", "minute"]
    await settle(20)
    assert sorted(where(cluster)) == ["ever"]


async def test_lifting_the_taint_in_time_saves_the_pod(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    bounded = {"key": "out", "operator": "Exists", "tolerationSeconds": 60}
    await cluster.api.create(k8s.PODS, pod("p", tolerations=[bounded]), "default")
    await settle(20)
    taint = {"key": "out", "effect": "NoExecute"}
    await cluster.api.patch(k8s.NODES, "n", {"spec": {"taints": [taint]}})
    await settle(30)
    await cluster.api.patch(k8s.NODES, "n", {"spec": {"taints": None}})
    await settle(100)
    assert sorted(where(cluster)) == ["p"]


def storage_class(name: str = "gp3", **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
        **fields,
    }


def claim(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "gp3",
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def mounting(name: str, claim_name: str, **spec: Any) -> dict[str, Any]:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}
    return pod(name, volumes=[volume], **spec)


async def test_a_volume_is_made_attached_and_detached(cluster: SimCluster) -> None:
    for zone in "ab":
        add_node(cluster, f"n-{zone}", zone=zone, csi_drivers={DRIVER: 25})
    await cluster.api.create(k8s.STORAGE_CLASSES, storage_class())
    await cluster.api.create(k8s.PERSISTENT_VOLUME_CLAIMS, claim("data"), "default")
    await settle(10)
    made = await cluster.api.get(k8s.PERSISTENT_VOLUME_CLAIMS, "data", "default")
    assert made["status"]["phase"] == "Pending"
    body = mounting("p", "data", nodeSelector={ZONE: "b"})
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(4.5)
    assert where(cluster) == {"p": "n-b"}
    await settle(20)
    (volume,) = cluster.objects(k8s.PERSISTENT_VOLUMES)
    expression = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]
    assert expression["matchExpressions"][0]["values"] == ["b"]
    (attachment,) = cluster.objects(k8s.VOLUME_ATTACHMENTS)
    assert attachment["spec"]["nodeName"] == "n-b"
    assert attachment["status"]["attached"] is True
    assert (await cluster.api.get(k8s.PODS, "p", "default"))["status"]["phase"] == "Running"
    await cluster.api.delete(k8s.PODS, "p", "default")
    await settle(4)
    assert where(cluster) == {}
    assert len(list(cluster.objects(k8s.VOLUME_ATTACHMENTS))) == 1
    await settle(6)
    assert list(cluster.objects(k8s.VOLUME_ATTACHMENTS)) == []
    # The next pod must follow the volume to its zone.
    await cluster.api.patch(k8s.NODES, "n-b", {"spec": {"unschedulable": True}})
    await cluster.api.create(k8s.PODS, mounting("q", "data"), "default")
    await settle(5)
    assert where(cluster) == {"q": ""}
    await cluster.api.delete(k8s.PERSISTENT_VOLUME_CLAIMS, "data", "default")
    await settle(2)
    assert list(cluster.objects(k8s.PERSISTENT_VOLUMES)) == []


async def test_a_volume_waits_to_be_detached_elsewhere(cluster: SimCluster) -> None:
    add_node(cluster, "one")
    await cluster.api.create(k8s.STORAGE_CLASSES, storage_class())
    await cluster.api.create(k8s.PERSISTENT_VOLUME_CLAIMS, claim("data"), "default")
    await cluster.api.create(k8s.PODS, mounting("first", "data"), "default")
    await settle(20)
    await cluster.api.patch(k8s.NODES, "one", {"spec": {"unschedulable": True}})
    add_node(cluster, "two")
    await cluster.api.create(k8s.PODS, mounting("second", "data"), "default")
    await settle(60)
    second = await cluster.api.get(k8s.PODS, "second", "default")
    assert (second["spec"]["nodeName"], second["status"]["phase"]) == ("two", "Pending")
    await cluster.api.delete(k8s.PODS, "first", "default")
    await settle(30)
    second = await cluster.api.get(k8s.PODS, "second", "default")
    assert second["status"]["phase"] == "Running"


async def test_volumes_of_a_silent_node_are_detached_by_force(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await cluster.api.create(k8s.STORAGE_CLASSES, storage_class())
    await cluster.api.create(k8s.PERSISTENT_VOLUME_CLAIMS, claim("data"), "default")
    await cluster.api.create(k8s.PODS, mounting("p", "data"), "default")
    await settle(20)
    cluster.lifecycle.lose("n")
    await cluster.api.delete(k8s.PODS, "p", "default", grace_period_seconds=0)
    await settle(300)
    assert len(list(cluster.objects(k8s.VOLUME_ATTACHMENTS))) == 1
    await settle(70)
    assert list(cluster.objects(k8s.VOLUME_ATTACHMENTS)) == []


async def test_attach_limits_and_allowed_topologies(cluster: SimCluster) -> None:
    for zone in "ab":
        add_node(cluster, f"n-{zone}", zone=zone, csi_drivers={DRIVER: 2})
    topology = {"matchLabelExpressions": [{"key": ZONE, "values": ["a"]}]}
    await cluster.api.create(k8s.STORAGE_CLASSES, storage_class(allowedTopologies=[topology]))
    for number in range(3):
        name = f"data-{number}"
        await cluster.api.create(k8s.PERSISTENT_VOLUME_CLAIMS, claim(name), "default")
        await cluster.api.create(k8s.PODS, mounting(f"p{number}", name), "default")
        await settle(20)
    assert where(cluster) == {"p0": "n-a", "p1": "n-a", "p2": ""}
    p2 = await cluster.api.get(k8s.PODS, "p2", "default")
    assert p2["status"]["conditions"][0]["message"] == (
        "0/2 nodes are available: 1 node(s) didn't find available persistent volumes to bind, "
        "1 node(s) exceed max volume count."
    )


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        ([claim("data", storageClassName="slow")], "pod has unbound immediate"),
    ],
)
async def test_claims_that_keep_a_pod_pending(
    cluster: SimCluster, claims: list[dict[str, Any]], message: str
) -> None:
    add_node(cluster, "n")
    for body in claims:
        await cluster.api.create(k8s.PERSISTENT_VOLUME_CLAIMS, body, "default")
    await cluster.api.create(k8s.PODS, mounting("p", "data"), "default")
    await settle(3)
    p = await cluster.api.get(k8s.PODS, "p", "default")
    assert message in p["status"]["conditions"][0]["message"]
    await cluster.api.create(
        k8s.STORAGE_CLASSES, storage_class("slow", volumeBindingMode="Immediate")
    )
    if not claims:
        await cluster.api.create(
            k8s.PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName="slow"), "default"
        )
    await settle(30)
    assert where(cluster) == {"p": "n"}


async def test_provisioning_begins_anew_when_the_node_went_away(cluster: SimCluster) -> None:
    add_node(cluster, "first", zone="a")
    await cluster.api.create(k8s.STORAGE_CLASSES, storage_class())
    await cluster.api.create(k8s.PERSISTENT_VOLUME_CLAIMS, claim("data"), "default")
    await settle(1)
    await cluster.api.create(k8s.PODS, mounting("p", "data"), "default")
    await settle(0.5)
    await cluster.api.delete(k8s.NODES, "first")
    add_node(cluster, "second", zone="b")
    await settle(30)
    assert where(cluster) == {"p": "second"}


async def test_ephemeral_volumes_live_and_die_with_their_pod(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await cluster.api.create(k8s.STORAGE_CLASSES, storage_class())
    template = {"spec": claim("unused")["spec"]}
    body = pod("p", volumes=[{"name": "tmp", "ephemeral": {"volumeClaimTemplate": template}}])
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(30)
    assert (await cluster.api.get(k8s.PODS, "p", "default"))["status"]["phase"] == "Running"
    assert [c["metadata"]["name"] for c in cluster.objects(k8s.PERSISTENT_VOLUME_CLAIMS)] == [
        "p-tmp"
    ]
    await cluster.api.delete(k8s.PODS, "p", "default")
    await settle(20)
    assert list(cluster.objects(k8s.PERSISTENT_VOLUME_CLAIMS)) == []
    assert list(cluster.objects(k8s.PERSISTENT_VOLUMES)) == []
