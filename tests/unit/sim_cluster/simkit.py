"""Objects and waits that the tests of the simulated cluster share."""

from __future__ import annotations

import asyncio
from typing import Any

from autoctl.ports import kubernetes as k8s
from autoctl.sim.cluster import SimCluster

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"


def pod(
    name: str, *, cpu: str = "100m", labels: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": "64Mi"}}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}], **spec},
    }


def deployment(
    name: str, replicas: int, *, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    template = pod("unused", labels={"app": name}, **spec)
    template["metadata"] = {"labels": {"app": name}, "annotations": annotations or {}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
        },
    }


def add_node(
    cluster: SimCluster,
    name: str,
    *,
    zone: str = "a",
    cpu: str = "4",
    pods: str = "110",
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    csi_drivers: dict[str, int] | None = None,
    **resources: str,
) -> None:
    """A node that is Ready within a second."""
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": pods, **resources}
    cluster.nodes.register(
        name,
        provider_id=f"aws:///{zone}/i-{name}",
        capacity=allocatable,
        allocatable=allocatable,
        labels={ZONE: zone, **(labels or {})},
        taints=taints or [],
        csi_drivers=csi_drivers,
        ready_after=0.2,
    )


async def settle(seconds: float = 30) -> None:
    """Let the cluster come to rest."""
    await asyncio.sleep(seconds)


def where(cluster: SimCluster) -> dict[str, str]:
    """Pod names to node names ("" while pending)."""
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in cluster.objects(k8s.PODS)}


def by_node(cluster: SimCluster) -> dict[str, int]:
    """How many pods each node has."""
    counts: dict[str, int] = {}
    for node in where(cluster).values():
        counts[node] = counts.get(node, 0) + 1
    return counts


def message_of(cluster: SimCluster, name: str) -> str:
    """Why a pod is unschedulable, by its condition."""
    found = cluster.store.get(k8s.PODS, name, "default")
    assert found is not None
    for condition in found["status"].get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition["message"])
    return ""
