"""Nominated nodes in the simulated scheduler, as kube-scheduler honours them."""

from __future__ import annotations

import pytest
from simkit import add_node, message_of, pod, settle, where

from autoctl.ports import kubernetes as k8s
from autoctl.sim.cluster import SimCluster

HOLD = [{"key": "hold", "effect": "NoSchedule"}]
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "x"}},
            }
        ]
    }
}


async def nominate(cluster: SimCluster, name: str, node: str | None) -> None:
    body = {"status": {"nominatedNodeName": node}}
    await cluster.api.patch(k8s.PODS, name, body, "default", subresource="status")


async def release(cluster: SimCluster, node: str) -> None:
    await cluster.api.patch(k8s.NODES, node, {"spec": {"taints": None}})


def nominated(cluster: SimCluster, name: str) -> str | None:
    found = cluster.store.get(k8s.PODS, name, "default")
    assert found is not None
    node: str | None = found["status"].get("nominatedNodeName")
    return node


async def test_the_nominated_node_is_tried_first(cluster: SimCluster) -> None:
    for name in ("n1", "n2"):
        add_node(cluster, name, taints=HOLD)
    add_node(cluster, "n3", cpu="100", taints=HOLD)
    await settle(2)
    await cluster.api.create(k8s.PODS, pod("a", cpu="1"), "default")
    await settle(1)
    await nominate(cluster, "a", "n2")
    for name in ("n3", "n1", "n2"):
        await release(cluster, name)
    await settle(5)
    assert where(cluster) == {"a": "n2"}


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        pytest.param({}, {"late": "", "early": "n1"}, id="as important"),
        pytest.param(
            {"priorityClassName": "high"}, {"late": "n1", "early": ""}, id="more important"
        ),
    ],
)
async def test_room_of_a_nominated_pod_is_kept_from_others(
    cluster: SimCluster, rank: dict[str, str], expected: dict[str, str]
) -> None:
    high = {"metadata": {"name": "high"}, "value": 1000}
    await cluster.api.create(k8s.PRIORITY_CLASSES, high)
    add_node(cluster, "n1", cpu="3", taints=HOLD)
    await settle(2)
    await cluster.api.create(k8s.PODS, pod("early", cpu="2"), "default")
    await settle(0.3)
    await nominate(cluster, "early", "n1")
    await release(cluster, "n1")
    # Its attempt comes first, as the early one has to wait for the end of its back-off.
    await cluster.api.create(k8s.PODS, pod("late", cpu="2", **rank), "default")
    await settle(15)
    assert where(cluster) == expected
    if not rank:
        assert "Insufficient cpu" in message_of(cluster, "late")


async def test_rules_between_pods_count_nominated_ones(cluster: SimCluster) -> None:
    add_node(cluster, "n1", taints=HOLD)
    await settle(2)
    await cluster.api.create(k8s.PODS, pod("early", affinity=APART), "default")
    await settle(2)
    await nominate(cluster, "early", "n1")
    await cluster.api.create(k8s.PODS, pod("rival", labels={"app": "x"}), "default")
    await cluster.api.create(k8s.PODS, pod("other", labels={"app": "y"}), "default")
    await release(cluster, "n1")
    await settle(15)
    assert where(cluster) == {"early": "n1", "rival": "", "other": "n1"}


async def test_a_failed_attempt_clears_the_nomination(cluster: SimCluster) -> None:
    add_node(cluster, "n1", cpu="3", taints=HOLD)
    await settle(2)
    await cluster.api.create(k8s.PODS, pod("early", affinity=APART), "default")
    await settle(2)
    await nominate(cluster, "early", "n1")
    await settle(30)
    assert nominated(cluster, "early") == "n1", "a nomination is no reason to try again"
    add_node(cluster, "n2", taints=HOLD)
    await settle(15)
    assert where(cluster) == {"early": ""}
    assert nominated(cluster, "early") is None


async def test_room_is_free_again_when_the_nomination_is_taken_back(cluster: SimCluster) -> None:
    add_node(cluster, "n1", cpu="3")
    await settle(2)
    await cluster.api.create(
        k8s.PODS, pod("never", cpu="2", nodeSelector={"no": "where"}), "default"
    )
    await nominate(cluster, "never", "n1")
    await cluster.api.create(k8s.PODS, pod("a", cpu="2"), "default")
    await settle(15)
    await nominate(cluster, "never", None)
    await settle(15)
    assert where(cluster)["a"] == "n1"


async def test_refusals_of_a_foreign_plugin(cluster: SimCluster) -> None:
    add_node(cluster, "n1")
    lift = cluster.scheduler.refuse(
        lambda pod, node: pod["metadata"]["name"] == "a" and node["metadata"]["name"] == "n1"
    )
    for name in ("a", "b"):
        await cluster.api.create(k8s.PODS, pod(name), "default")
    await settle(15)
    assert where(cluster) == {"a": "", "b": "n1"}
    assert "refused by another plugin" in message_of(cluster, "a")
    lift()
    await settle(15)
    assert where(cluster)["a"] == "n1"
