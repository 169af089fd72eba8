"""Workload controllers, kubelets, budgets and garbage collection."""

from __future__ import annotations

from typing import Any

import pytest
from simkit import add_node, by_node, deployment, pod, settle, where

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import ApiError, NotFound, TooManyRequests
from autoctl.sim.cluster import SimCluster

PREFIX = "simulate.autoctl.io/"


def phases(cluster: SimCluster) -> dict[str, str]:
    return {p["metadata"]["name"]: p["status"]["phase"] for p in cluster.objects(k8s.PODS)}


def ready(cluster: SimCluster) -> int:
    return sum(
        1
        for p in cluster.objects(k8s.PODS)
        if not p["metadata"].get("deletionTimestamp")
        for c in p["status"].get("conditions") or ()
        if c["type"] == "Ready" and c["status"] == "True"
    )


def budget(name: str = "pdb", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


async def test_a_pod_starts_and_becomes_ready(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await settle(2)
    body = pod("p")
    body["metadata"]["annotations"] = {
        PREFIX + "start-seconds": "20",
        PREFIX + "ready-seconds": "30",
    }
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(19)
    assert phases(cluster) == {"p": "Pending"}
    await settle(3)
    assert phases(cluster) == {"p": "Running"}
    assert ready(cluster) == 0
    await settle(30)
    assert ready(cluster) == 1
    status = (await cluster.api.get(k8s.PODS, "p", "default"))["status"]
    assert status["podIP"]
    assert status["containerStatuses"][0]["ready"] is True


@pytest.mark.parametrize(
    ("own", "takes", "asked", "gone_after"),
    [
        (30, None, None, 3),
        (30, "20", None, 20),
        (10, "20", None, 10),
        (30, "20", 5, 5),
        (0, "9", None, 0),
    ],
)
async def test_termination_takes_the_smaller_of_grace_and_need(
    cluster: SimCluster, own: int, takes: str | None, asked: int | None, gone_after: int
) -> None:
    add_node(cluster, "n")
    body = pod("p", terminationGracePeriodSeconds=own)
    if takes:
        body["metadata"]["annotations"] = {PREFIX + "termination-seconds": takes}
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(20)
    await cluster.api.delete(k8s.PODS, "p", "default", grace_period_seconds=asked)
    if gone_after:
        await settle(gone_after - 0.5)
        assert phases(cluster) == {"p": "Running"}
        await settle(1)
    assert phases(cluster) == {}


async def test_a_second_delete_shortens_the_grace_period(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    body = pod("p", terminationGracePeriodSeconds=600)
    body["metadata"]["annotations"] = {PREFIX + "termination-seconds": "never"}
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(20)
    await cluster.api.delete(k8s.PODS, "p", "default")
    await settle(100)
    held = await cluster.api.get(k8s.PODS, "p", "default")
    assert held["metadata"]["deletionGracePeriodSeconds"] == 600
    await cluster.api.delete(k8s.PODS, "p", "default", grace_period_seconds=10)
    await settle(11)
    assert phases(cluster) == {}


async def test_unbound_pods_go_at_once(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.PODS, pod("p"), "default")
    await cluster.api.delete(k8s.PODS, "p", "default")
    assert phases(cluster) == {}


async def test_a_replica_set_replaces_a_terminating_pod_at_once(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    slow = {PREFIX + "termination-seconds": "25"}
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 2, annotations=slow), "default")
    await settle(20)
    victim = next(iter(where(cluster)))
    await cluster.api.evict(victim, "default")
    await settle(10)
    assert len(where(cluster)) == 3
    assert ready(cluster) == 2
    await settle(20)
    assert victim not in where(cluster)


async def test_scaling_down_deletes_pending_pods_first(cluster: SimCluster) -> None:
    add_node(cluster, "n", pods="3")
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 5), "default")
    await settle(20)
    kept = {name for name, node in where(cluster).items() if node}
    await cluster.api.patch(
        k8s.DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default", subresource="scale"
    )
    await settle(10)
    assert set(where(cluster)) == kept


async def test_a_rolling_update_keeps_its_bounds(cluster: SimCluster) -> None:
    for number in range(3):
        add_node(cluster, f"n{number}")
    body = deployment("web", 10)
    body["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}
    await cluster.api.create(k8s.DEPLOYMENTS, body, "default")
    await settle(20)
    old = set(where(cluster))
    change = {"spec": {"template": {"metadata": {"labels": {"rev": "2"}}}}}
    await cluster.api.patch(k8s.DEPLOYMENTS, "web", change, "default")
    for _ in range(600):
        await settle(0.1)
        active = [p for p in cluster.objects(k8s.PODS) if "deletionTimestamp" not in p["metadata"]]
        assert len(active) <= 12
        assert ready(cluster) >= 9
    assert not old & set(where(cluster))
    status = (await cluster.api.get(k8s.DEPLOYMENTS, "web", "default"))["status"]
    assert status["updatedReplicas"] == status["availableReplicas"] == 10


async def test_recreate_ends_all_before_it_begins(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    body = deployment("web", 3)
    body["spec"]["strategy"] = {"type": "Recreate"}
    await cluster.api.create(k8s.DEPLOYMENTS, body, "default")
    await settle(20)
    old = set(where(cluster))
    change = {"spec": {"template": {"metadata": {"labels": {"rev": "2"}}}}}
    await cluster.api.patch(k8s.DEPLOYMENTS, "web", change, "default")
    await settle(30)
    assert len(where(cluster)) == 3
    assert not old & set(where(cluster))


async def test_a_daemon_set_covers_the_nodes_it_fits(cluster: SimCluster) -> None:
    template = pod("unused", labels={"app": "agent"}, nodeSelector={"agent": "yes"})
    body = {
        "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template},
    }
    await cluster.api.create(k8s.DAEMON_SETS, body, "default")
    add_node(cluster, "yes", labels={"agent": "yes"})
    add_node(cluster, "no")
    add_node(
        cluster,
        "tainted",
        labels={"agent": "yes"},
        taints=[{"key": "x", "effect": "NoSchedule"}],
    )
    add_node(cluster, "full", labels={"agent": "yes"}, pods="0")
    await settle(20)
    pods = {p["spec"].get("nodeName", ""): p for p in cluster.objects(k8s.PODS)}
    # A pod is made for the full node too, and stays pending, pinned to it.
    assert set(pods) == {"yes", ""}
    pinned = pods[""]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert pinned["nodeSelectorTerms"][0]["matchFields"][0]["values"] == ["full"]
    status = (await cluster.api.get(k8s.DAEMON_SETS, "agent", "default"))["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (2, 1)
    await cluster.api.patch(k8s.NODES, "yes", {"metadata": {"labels": {"agent": "no"}}})
    await settle(20)
    assert by_node(cluster) == {"": 1}


async def test_cordon_keeps_daemon_pods_and_lets_new_ones_in(cluster: SimCluster) -> None:
    template = pod("unused", labels={"app": "agent"})
    body = {
        "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template},
    }
    add_node(cluster, "n")
    await settle(2)
    await cluster.api.patch(k8s.NODES, "n", {"spec": {"unschedulable": True}})
    await cluster.api.create(k8s.DAEMON_SETS, body, "default")
    await settle(20)
    assert by_node(cluster) == {"n": 1}


async def test_a_stateful_set_goes_in_order_with_its_claims(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    storage_class = {
        "metadata": {
            "name": "gp3",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "ebs.csi.eks.amazonaws.com",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    await cluster.api.create(k8s.STORAGE_CLASSES, storage_class)
    claim = {
        "metadata": {"name": "data"},
        "spec": {"resources": {"requests": {"storage": "10Gi"}}},
    }
    template = pod("unused", labels={"app": "db"})
    body = {
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "db"}},
            "template": template,
            "volumeClaimTemplates": [claim],
        },
    }
    await cluster.api.create(k8s.STATEFUL_SETS, body, "default")
    seen: list[int] = []
    for _ in range(120):
        await settle(0.5)
        seen.append(len(where(cluster)) - ready(cluster))
    assert max(seen) == 1
    assert sorted(where(cluster)) == ["db-0", "db-1", "db-2"]
    claims = {c["metadata"]["name"]: c for c in cluster.objects(k8s.PERSISTENT_VOLUME_CLAIMS)}
    assert sorted(claims) == ["data-db-0", "data-db-1", "data-db-2"]
    assert all(c["status"]["phase"] == "Bound" for c in claims.values())
    scale = {"spec": {"replicas": 1}}
    await cluster.api.patch(k8s.STATEFUL_SETS, "db", scale, "default", subresource="scale")
    await settle(20)
    assert sorted(where(cluster)) == ["db-0"]
    assert len(list(cluster.objects(k8s.PERSISTENT_VOLUME_CLAIMS))) == 3


async def test_jobs_complete_and_retry(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    template = pod("unused", restartPolicy="Never")
    template["metadata"] = {"annotations": {PREFIX + "run-seconds": "10"}}
    job = {
        "metadata": {"name": "batch"},
        "spec": {"parallelism": 2, "completions": 5, "template": template},
    }
    await cluster.api.create(k8s.JOBS, job, "default")
    await settle(20)
    assert len([p for p in phases(cluster).values() if p == "Succeeded"]) == 2
    running = [name for name, phase in phases(cluster).items() if phase != "Succeeded"]
    assert len(running) == 2
    await cluster.api.delete(k8s.PODS, running[0], "default")
    await settle(120)
    status = (await cluster.api.get(k8s.JOBS, "batch", "default"))["status"]
    assert (status["succeeded"], status["failed"], status["active"]) == (5, 1, 0)
    assert status["conditions"][0]["type"] == "Complete"


async def test_a_job_gives_up_after_its_back_off_limit(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    template = pod("unused", restartPolicy="Never")
    annotations = {PREFIX + "run-seconds": "1", PREFIX + "exit-code": "1"}
    template["metadata"] = {"annotations": annotations}
    job = {"metadata": {"name": "bad"}, "spec": {"backoffLimit": 2, "template": template}}
    await cluster.api.create(k8s.JOBS, job, "default")
    await settle(120)
    status = (await cluster.api.get(k8s.JOBS, "bad", "default"))["status"]
    assert status["failed"] == 3
    assert status["conditions"][0]["type"] == "Failed"


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"maxUnavailable": 1}, 1),
        ({"maxUnavailable": 0}, 0),
        ({"maxUnavailable": "25%"}, 2),
        ({"maxUnavailable": "30%"}, 2),
        ({"maxUnavailable": "100%"}, 5),
        ({"minAvailable": 4}, 1),
        ({"minAvailable": 9}, 0),
        ({"minAvailable": "50%"}, 2),
        ({"minAvailable": "51%"}, 2),
        ({"minAvailable": "61%"}, 1),
    ],
)
async def test_budgets_count_allowed_disruptions(
    cluster: SimCluster, spec: dict[str, Any], allowed: int
) -> None:
    add_node(cluster, "n")
    await cluster.api.create(k8s.POD_DISRUPTION_BUDGETS, budget(**spec), "default")
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 5), "default")
    await settle(20)
    status = (await cluster.api.get(k8s.POD_DISRUPTION_BUDGETS, "pdb", "default"))["status"]
    assert status["disruptionsAllowed"] == allowed
    assert status["currentHealthy"] == 5


async def test_evictions_use_the_budget_up(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await cluster.api.create(k8s.POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1), "default")
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 3), "default")
    await settle(20)
    first, second, third = sorted(where(cluster))
    await cluster.api.evict(first, "default")
    with pytest.raises(TooManyRequests) as refused:
        await cluster.api.evict(second, "default")
    assert refused.value.message == (
        "Cannot evict pod as it would violate the pod's disruption budget."
    )
    await settle(1)
    with pytest.raises(TooManyRequests) as refused:
        await cluster.api.evict(second, "default")
    assert refused.value.details["causes"][0]["message"] == (
        "The disruption budget pdb needs 2 healthy pods and has 2 currently"
    )
    await settle(20)
    await cluster.api.evict(second, "default")
    evicted = await cluster.api.get(k8s.PODS, second, "default")
    assert evicted["status"]["conditions"][-1]["reason"] == "EvictionByEvictionAPI"
    await settle(20)
    assert ready(cluster) == 3
    assert third in where(cluster)
    assert sum(cluster.stats.evictions.values()) == 2
    assert cluster.stats.disruptions["EvictionByEvictionAPI"] == 2


async def test_two_budgets_are_an_error(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    for name in ("one", "two"):
        await cluster.api.create(k8s.POD_DISRUPTION_BUDGETS, budget(name), "default")
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 1), "default")
    await settle(20)
    with pytest.raises(ApiError, match="more than one PodDisruptionBudget") as refused:
        await cluster.api.evict(next(iter(where(cluster))), "default")
    assert refused.value.code == 500


@pytest.mark.parametrize(
    ("policy", "healthy_enough", "goes"),
    [
        (None, True, True),
        (None, False, False),
        ("IfHealthyBudget", False, False),
        ("AlwaysAllow", False, True),
    ],
)
async def test_unhealthy_pods_go_by_the_budgets_policy(
    cluster: SimCluster, policy: str | None, healthy_enough: bool, goes: bool
) -> None:
    add_node(cluster, "n")
    spec: dict[str, Any] = {"minAvailable": 1 if healthy_enough else 2}
    if policy:
        spec["unhealthyPodEvictionPolicy"] = policy
    await cluster.api.create(k8s.POD_DISRUPTION_BUDGETS, budget(**spec), "default")
    await cluster.api.create(k8s.PODS, pod("well", labels={"app": "web"}), "default")
    ill = pod("ill", labels={"app": "web"})
    ill["metadata"]["annotations"] = {PREFIX + "ready-seconds": "never"}
    await cluster.api.create(k8s.PODS, ill, "default")
    await settle(20)
    if goes:
        await cluster.api.evict("ill", "default")
        with pytest.raises(TooManyRequests):
            await cluster.api.evict("well", "default")
    else:
        with pytest.raises(TooManyRequests):
            await cluster.api.evict("ill", "default")


async def test_pending_pods_pass_their_budget(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.POD_DISRUPTION_BUDGETS, budget(maxUnavailable=0), "default")
    await cluster.api.create(k8s.PODS, pod("p", labels={"app": "web"}), "default")
    await settle(1)
    await cluster.api.evict("p", "default")
    with pytest.raises(NotFound):
        await cluster.api.evict("p", "default")


async def test_background_deletion_takes_dependents(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 3), "default")
    await settle(5)
    await cluster.api.delete(k8s.DEPLOYMENTS, "web", "default")
    await settle(5)
    assert list(cluster.objects(k8s.REPLICA_SETS)) == []
    assert list(cluster.objects(k8s.PODS)) == []


async def test_foreground_deletion_waits_for_dependents(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    slow = {PREFIX + "termination-seconds": "20"}
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 2, annotations=slow), "default")
    await settle(20)
    replica_set = next(iter(cluster.objects(k8s.REPLICA_SETS)))["metadata"]["name"]
    await cluster.api.delete(k8s.DEPLOYMENTS, "web", "default", propagation="Orphan")
    await settle(2)
    assert (
        "ownerReferences"
        not in (await cluster.api.get(k8s.REPLICA_SETS, replica_set, "default"))["metadata"]
    )
    await cluster.api.delete(k8s.REPLICA_SETS, replica_set, "default", propagation="Foreground")
    await settle(10)
    held = await cluster.api.get(k8s.REPLICA_SETS, replica_set, "default")
    assert held["metadata"]["finalizers"] == ["foregroundDeletion"]
    await settle(20)
    assert list(cluster.objects(k8s.REPLICA_SETS)) == []
    assert list(cluster.objects(k8s.PODS)) == []


async def test_an_object_of_two_owners_stays_with_the_second(cluster: SimCluster) -> None:
    owners = [
        (await cluster.api.create(k8s.NODE_POOLS, {"metadata": {"name": name}, "spec": {}}))
        for name in ("one", "two")
    ]
    references = [
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        for owner in owners
    ]
    claim = {"metadata": {"name": "c", "ownerReferences": references}, "spec": {}}
    await cluster.api.create(k8s.NODE_CLAIMS, claim)
    await cluster.api.delete(k8s.NODE_POOLS, "one")
    await settle(2)
    left = (await cluster.api.get(k8s.NODE_CLAIMS, "c"))["metadata"]["ownerReferences"]
    assert [reference["name"] for reference in left] == ["two"]
    await cluster.api.delete(k8s.NODE_POOLS, "two")
    await settle(2)
    with pytest.raises(NotFound):
        await cluster.api.get(k8s.NODE_CLAIMS, "c")


async def test_a_namespace_is_emptied_before_it_goes(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.NAMESPACES, {"metadata": {"name": "team"}})
    held = {"metadata": {"name": "held", "finalizers": ["x/y"]}}
    await cluster.api.create(k8s.CONFIGMAPS, held, "team")
    await cluster.api.create(k8s.CONFIGMAPS, {"metadata": {"name": "free"}}, "team")
    await cluster.api.delete(k8s.NAMESPACES, "team")
    await settle(2)
    assert (await cluster.api.get(k8s.NAMESPACES, "team"))["status"]["phase"] == "Terminating"
    with pytest.raises(NotFound):
        await cluster.api.get(k8s.CONFIGMAPS, "free", "team")
    with pytest.raises(ApiError, match="being terminated"):
        await cluster.api.create(k8s.CONFIGMAPS, {"metadata": {"name": "late"}}, "team")
    await cluster.api.patch(k8s.CONFIGMAPS, "held", {"metadata": {"finalizers": None}}, "team")
    await settle(2)
    with pytest.raises(NotFound):
        await cluster.api.get(k8s.NAMESPACES, "team")


async def test_a_dump_is_restored_as_it_was(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 3), "default")
    await settle(20)
    dump = [
        obj
        for resource in (k8s.NODES, k8s.DEPLOYMENTS, k8s.REPLICA_SETS, k8s.PODS)
        for obj in (await cluster.api.list(resource)).items
    ]
    before = where(cluster)
    restored = SimCluster(cluster.clock)
    restored.load(dump)
    await restored.start()
    await settle(60)
    assert where(restored) == before
    assert ready(restored) == 3
    assert len(list(restored.objects(k8s.REPLICA_SETS))) == 1
    await restored.stop()
