"""The simulated scheduler against the rules that the Kubernetes documentation gives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from simkit import HOSTNAME, ZONE, add_node, by_node, deployment, message_of, pod, settle, where

from autoctl.ports import kubernetes as k8s
from autoctl.sim.cluster import SimCluster, Timings
from autoctl.sim.cluster.scheduler.podinfo import pod_requests

WEB = {"matchLabels": {"app": "web"}}


def spread(key: str = ZONE, **fields: Any) -> dict[str, Any]:
    return {
        "topologyKey": key,
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": WEB,
        **fields,
    }


def required(side: str, key: str = HOSTNAME, **fields: Any) -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": WEB, **fields}
    return {side: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def node_affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


TAINTED = [{"key": "team", "value": "x", "effect": "NoSchedule"}]
NODES: dict[str, dict[str, Any]] = {
    "plain": {"cpu": "1", "labels": {"size": "3"}},
    "tainted": {"cpu": "8", "taints": TAINTED, "labels": {"size": "9"}},
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, "plain", id="no demands"),
        pytest.param({"cpu": "2"}, "1 Insufficient cpu, 1 node(s) had untolerated taint {team: x}"),
        pytest.param(
            {"cpu": "2", "tolerations": [{"key": "team", "operator": "Exists"}]}, "tainted"
        ),
        pytest.param(
            {"cpu": "2", "tolerations": [{"key": "team", "value": "x", "effect": "NoSchedule"}]},
            "tainted",
        ),
        pytest.param(
            {"cpu": "2", "tolerations": [{"key": "team", "value": "y"}]},
            "1 Insufficient cpu, 1 node(s) had untolerated taint {team: x}",
        ),
        pytest.param(
            {"cpu": "2", "tolerations": [{"key": "team", "value": "x", "effect": "NoExecute"}]},
            "1 Insufficient cpu, 1 node(s) had untolerated taint {team: x}",
        ),
        pytest.param({"cpu": "2", "tolerations": [{"operator": "Exists"}]}, "tainted"),
        pytest.param({"nodeSelector": {"size": "3"}}, "plain"),
        pytest.param(
            {"nodeSelector": {"size": "4"}, "tolerations": [{"operator": "Exists"}]},
            "2 node(s) didn't match Pod's node affinity/selector",
        ),
        pytest.param(
            {
                "affinity": node_affinity(
                    {"matchExpressions": [expression("size", "Gt", "5")]},
                    {"matchExpressions": [expression("size", "In", "3")]},
                )
            },
            "plain",
            id="terms are alternatives",
        ),
        pytest.param(
            {
                "affinity": node_affinity({"matchExpressions": [expression("size", "Gt", "5")]}),
                "tolerations": [{"operator": "Exists"}],
            },
            "tainted",
        ),
        pytest.param(
            {
                "affinity": node_affinity(
                    {
                        "matchExpressions": [expression("size", "Lt", "5")],
                        "matchFields": [expression("metadata.name", "In", "plain")],
                    }
                )
            },
            "plain",
        ),
        pytest.param(
            {
                "affinity": node_affinity(
                    {"matchFields": [expression("metadata.name", "NotIn", "plain")]}
                )
            },
            "1 node(s) didn't match Pod's node affinity/selector, "
            "1 node(s) had untolerated taint {team: x}",
        ),
        pytest.param(
            {"affinity": node_affinity({"matchExpressions": [expression("none", "DoesNotExist")]})},
            "plain",
        ),
        pytest.param(
            {"overhead": {"cpu": "950m"}},
            "1 Insufficient cpu, 1 node(s) had untolerated taint {team: x}",
            id="overhead counts",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "2"}}},
            "1 Insufficient cpu, 1 node(s) had untolerated taint {team: x}",
            id="pod-level requests replace the containers'",
        ),
    ],
)
async def test_filters_of_nodes(cluster: SimCluster, spec: dict[str, Any], expected: str) -> None:
    for name, fields in NODES.items():
        add_node(cluster, name, **fields)
    await settle(2)
    await cluster.api.create(k8s.PODS, pod("p", **spec), "default")
    await settle(2)
    if expected in NODES:
        assert where(cluster) == {"p": expected}
    else:
        assert message_of(cluster, "p") == f"0/2 nodes are available: {expected}."


@pytest.mark.parametrize(
    ("containers", "initial", "cpu"),
    [
        (["100m", "200m"], [], 300),
        (["100m"], [("500m", "")], 500),
        (["100m"], [("50m", "Always")], 150),
        (["100m"], [("50m", "Always"), ("200m", "")], 250),
        (["100m"], [("200m", ""), ("150m", "Always")], 250),
        (["100m"], [("50m", "Always"), ("60m", "Always"), ("10m", "")], 210),
        (["0.1005"], [], 101),
    ],
)
def test_requests_of_init_containers_and_sidecars(
    containers: list[str], initial: list[tuple[str, str]], cpu: int
) -> None:
    def container(amount: str, policy: str = "") -> dict[str, Any]:
        made: dict[str, Any] = {"resources": {"requests": {"cpu": amount}}}
        return {**made, "restartPolicy": policy} if policy else made

    spec = {
        "containers": [container(amount) for amount in containers],
        "initContainers": [container(amount, policy) for amount, policy in initial],
    }
    assert pod_requests(spec) == {"cpu": cpu, "pods": 1}


async def test_cordoned_and_unready_nodes_take_no_pods(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await settle(2)
    await cluster.api.patch(k8s.NODES, "n", {"spec": {"unschedulable": True}})
    await cluster.api.create(k8s.PODS, pod("p"), "default")
    await settle(2)
    assert message_of(cluster, "p") == "0/1 nodes are available: 1 node(s) were unschedulable."
    await cluster.api.patch(k8s.NODES, "n", {"spec": {"unschedulable": None}})
    await settle(3)
    assert where(cluster) == {"p": "n"}


async def test_without_nodes(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.PODS, pod("p"), "default")
    await settle(1)
    assert message_of(cluster, "p") == "no nodes available to schedule pods"


async def test_pod_slots_and_extended_resources(cluster: SimCluster) -> None:
    add_node(cluster, "n", pods="2", **{"nvidia.com/gpu": "1"})
    await settle(2)
    gpu = pod("gpu")
    gpu["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    for body in (gpu, pod("small"), pod("third")):
        await cluster.api.create(k8s.PODS, body, "default")
    await settle(2)
    assert message_of(cluster, "third") == "0/1 nodes are available: 1 Too many pods."
    await cluster.api.delete(k8s.PODS, "small", "default")
    await settle(10)
    gpu["metadata"]["name"] = "gpu-2"
    await cluster.api.create(k8s.PODS, gpu, "default")
    await settle(2)
    assert where(cluster)["third"] == "n"
    assert message_of(cluster, "gpu-2") == (
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu, 1 Too many pods."
    )


async def test_host_ports_conflict_on_a_node(cluster: SimCluster) -> None:
    add_node(cluster, "n1")
    add_node(cluster, "n2")
    await settle(2)
    for name, port, address in (
        ("a", 80, None),
        ("b", 80, None),
        ("c", 80, "10.0.0.1"),
        ("d", 81, None),
    ):
        body = pod(name)
        declared: dict[str, Any] = {"containerPort": 1, "hostPort": port}
        if address:
            declared["hostIP"] = address
        body["spec"]["containers"][0]["ports"] = [declared]
        await cluster.api.create(k8s.PODS, body, "default")
        await settle(1)
    placed = where(cluster)
    assert {placed["a"], placed["b"]} == {"n1", "n2"}
    assert placed["c"] == ""
    assert "2 node(s) didn't have free ports" in message_of(cluster, "c")
    assert placed["d"] != ""


async def test_priority_goes_first(cluster: SimCluster) -> None:
    high = {"metadata": {"name": "high"}, "value": 1000}
    await cluster.api.create(k8s.PRIORITY_CLASSES, high)
    for number in range(4):
        await cluster.api.create(k8s.PODS, pod(f"low-{number}", cpu="1"), "default")
    await cluster.api.create(k8s.PODS, pod("vip", cpu="1", priorityClassName="high"), "default")
    add_node(cluster, "n", cpu="2")
    await settle(20)
    assert where(cluster)["vip"] == "n"
    assert where(cluster)["low-0"] == "n"
    assert where(cluster)["low-3"] == ""


async def test_gated_pods_wait(cluster: SimCluster) -> None:
    add_node(cluster, "n")
    await settle(2)
    await cluster.api.create(k8s.PODS, pod("p", schedulingGates=[{"name": "g"}]), "default")
    await settle(5)
    assert where(cluster) == {"p": ""}
    assert "non-empty scheduling gates" in message_of(cluster, "p")
    await cluster.api.patch(k8s.PODS, "p", {"spec": {"schedulingGates": None}}, "default")
    await settle(2)
    assert where(cluster) == {"p": "n"}


@pytest.mark.parametrize(
    ("constraint", "existing", "expected"),
    [
        pytest.param({}, ["a", "a", "b"], "c", id="emptiest zone"),
        pytest.param({"maxSkew": 2}, ["a", "b", "c"], "any", id="skew allows"),
        pytest.param({"labelSelector": {"matchLabels": {"app": "other"}}}, ["a"] * 5, "any"),
        pytest.param({"minDomains": 4}, ["a", "b", "c"], "", id="too few domains: minimum is 0"),
        pytest.param({"minDomains": 3}, ["a", "b"], "c"),
        pytest.param({"topologyKey": "absent"}, [], "label"),
    ],
)
async def test_topology_spread(
    cluster: SimCluster, constraint: dict[str, Any], existing: list[str], expected: str
) -> None:
    for zone in "abc":
        add_node(cluster, f"n-{zone}", zone=zone)
    await settle(2)
    for number, zone in enumerate(existing):
        body = pod(f"old-{number}", labels={"app": "web"}, nodeName=f"n-{zone}")
        await cluster.api.create(k8s.PODS, body, "default")
    await settle(2)
    body = pod("new", labels={"app": "web"}, topologySpreadConstraints=[spread(**constraint)])
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(2)
    node = where(cluster)["new"]
    if expected == "any":
        assert node
    elif expected == "label":
        assert message_of(cluster, "new").endswith(
            "3 node(s) didn't match pod topology spread constraints (missing required label)."
        )
    elif expected == "":
        assert message_of(cluster, "new").endswith(
            "3 node(s) didn't match pod topology spread constraints."
        )
    else:
        assert node == f"n-{expected}"


async def test_spread_policies_decide_which_nodes_make_domains(cluster: SimCluster) -> None:
    add_node(cluster, "a", zone="a", labels={"pool": "x"})
    add_node(cluster, "b", zone="b", labels={"pool": "y"})
    add_node(cluster, "c", zone="c", labels={"pool": "x"}, taints=TAINTED)
    await settle(2)
    demands: dict[str, Any] = {"labels": {"app": "web"}, "nodeSelector": {"pool": "x"}}

    async def place(name: str, **constraint: Any) -> str:
        body = pod(name, topologySpreadConstraints=[spread(**constraint)], **demands)
        await cluster.api.create(k8s.PODS, body, "default")
        await settle(2)
        return where(cluster)[name]

    # Zone c is a domain without pods, though the taint keeps this pod out of it.
    assert await place("one") == "a"
    assert await place("two") == ""
    # With both policies honoured zone a alone is left, and any number fits there.
    assert await place("three", nodeTaintsPolicy="Honor") == "a"
    # Ignoring the selector brings zone b back, where the pod cannot go.
    assert await place("four", nodeTaintsPolicy="Honor", nodeAffinityPolicy="Ignore") == ""


async def test_match_label_keys_separate_revisions(cluster: SimCluster) -> None:
    add_node(cluster, "a", zone="a")
    add_node(cluster, "b", zone="b")
    await settle(2)
    for number in range(3):
        labels = {"app": "web", "rev": "1"}
        body = pod(f"old-{number}", labels=labels, nodeName="a")
        await cluster.api.create(k8s.PODS, body, "default")
    for number in range(4):
        body = pod(
            f"new-{number}",
            labels={"app": "web", "rev": "2"},
            topologySpreadConstraints=[spread(matchLabelKeys=["rev"])],
        )
        await cluster.api.create(k8s.PODS, body, "default")
    await settle(5)
    placed = [node for name, node in where(cluster).items() if name.startswith("new")]
    assert sorted(placed) == ["a", "a", "b", "b"]


async def test_terminating_pods_do_not_count_in_spread(cluster: SimCluster) -> None:
    add_node(cluster, "a", zone="a")
    add_node(cluster, "b", zone="b", taints=TAINTED)
    await settle(2)
    old = pod("old", labels={"app": "web"}, nodeName="a", terminationGracePeriodSeconds=100)
    old["metadata"]["annotations"] = {"simulate.autoctl.io/termination-seconds": "100"}
    await cluster.api.create(k8s.PODS, old, "default")
    body = pod("new", labels={"app": "web"}, topologySpreadConstraints=[spread()])
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(5)
    assert where(cluster)["new"] == ""
    await cluster.api.delete(k8s.PODS, "old", "default")
    await settle(15)
    assert "old" in where(cluster)
    assert where(cluster)["new"] == "a"


async def test_affinity_follows_and_bootstraps(cluster: SimCluster) -> None:
    for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        add_node(cluster, name, zone=zone, cpu="1")
    await settle(2)
    follower = pod("follower", affinity=required("podAffinity", ZONE))
    await cluster.api.create(k8s.PODS, follower, "default")
    await settle(2)
    assert message_of(cluster, "follower").endswith("3 node(s) didn't match pod affinity rules.")
    leader = pod(
        "leader", cpu="950m", labels={"app": "web"}, affinity=required("podAffinity", ZONE)
    )
    await cluster.api.create(k8s.PODS, leader, "default")
    await settle(20)
    zones = {"a1": "a", "a2": "a", "b1": "b"}
    placed = where(cluster)
    assert placed["leader"] != ""
    assert zones[placed["leader"]] == zones.get(placed["follower"], "a")


async def test_anti_affinity_works_both_ways(cluster: SimCluster) -> None:
    add_node(cluster, "n1")
    add_node(cluster, "n2")
    await settle(2)
    loner = pod("loner", labels={"app": "db"}, affinity=required("podAntiAffinity"))
    await cluster.api.create(k8s.PODS, loner, "default")
    await settle(2)
    taken = where(cluster)["loner"]
    for number in range(3):
        await cluster.api.create(k8s.PODS, pod(f"web-{number}", labels={"app": "web"}), "default")
    await settle(2)
    assert {where(cluster)[f"web-{number}"] for number in range(3)} == {"n1", "n2"} - {taken}
    second = pod("second", affinity=required("podAntiAffinity"), nodeSelector={})
    await cluster.api.create(k8s.PODS, second, "default")
    await settle(2)
    assert where(cluster)["second"] == taken
    await cluster.api.patch(k8s.NODES, taken, {"spec": {"unschedulable": True}})
    third = pod("third", affinity=required("podAntiAffinity"))
    await cluster.api.create(k8s.PODS, third, "default")
    await settle(2)
    assert "1 node(s) didn't match pod anti-affinity rules" in message_of(cluster, "third")
    # And the pods that are there keep out whom their own terms repel.
    await cluster.api.create(
        k8s.PODS, pod("fourth", labels={"app": "web"}, nodeSelector={HOSTNAME: taken}), "default"
    )
    await cluster.api.patch(k8s.NODES, taken, {"spec": {"unschedulable": None}})
    await settle(20)
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in message_of(
        cluster, "fourth"
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "blocked-not"),
        ({"namespaces": ["other"]}, "blocked"),
        ({"namespaceSelector": {}}, "blocked"),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, "blocked"),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, "blocked-not"),
    ],
)
async def test_affinity_terms_name_namespaces(
    cluster: SimCluster, fields: dict[str, Any], expected: str
) -> None:
    namespace = {"metadata": {"name": "other", "labels": {"team": "x"}}}
    await cluster.api.create(k8s.NAMESPACES, namespace)
    add_node(cluster, "n")
    await cluster.api.create(k8s.PODS, pod("there", labels={"app": "web"}, nodeName="n"), "other")
    await settle(2)
    body = pod("p", affinity=required("podAntiAffinity", **fields))
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(2)
    assert where(cluster)["p"] == ("" if expected == "blocked" else "n")


async def test_namespace_labels_may_change(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.NAMESPACES, {"metadata": {"name": "other"}})
    add_node(cluster, "n")
    await cluster.api.create(k8s.PODS, pod("there", labels={"app": "web"}, nodeName="n"), "other")
    await settle(2)
    selector = {"namespaceSelector": {"matchLabels": {"team": "x"}}}
    await cluster.api.patch(k8s.NAMESPACES, "other", {"metadata": {"labels": {"team": "x"}}})
    await settle(1)
    body = pod("p", affinity=required("podAntiAffinity", **selector))
    await cluster.api.create(k8s.PODS, body, "default")
    await settle(2)
    assert where(cluster)["p"] == ""
    await cluster.api.patch(k8s.NAMESPACES, "other", {"metadata": {"labels": {"team": "y"}}})
    await cluster.api.create(k8s.PODS, pod("q", cpu="50m"), "default")
    await settle(20)
    assert where(cluster)["p"] == "n"


async def test_pods_are_spread_over_nodes_by_default(cluster: SimCluster) -> None:
    for zone in "abc":
        for number in range(2):
            add_node(cluster, f"{zone}{number}", zone=zone)
    await settle(2)
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 12), "default")
    await settle(5)
    assert set(by_node(cluster).values()) == {2}


async def test_soft_preferences_choose(cluster: SimCluster) -> None:
    add_node(cluster, "plain", cpu="8")
    add_node(cluster, "liked", cpu="4", labels={"disk": "ssd"})
    soft = [{"key": "old", "effect": "PreferNoSchedule"}]
    add_node(cluster, "disliked", cpu="16", taints=soft)
    await settle(2)
    await cluster.api.create(k8s.PODS, pod("simple"), "default")
    preference = {"matchExpressions": [expression("disk", "In", "ssd")]}
    affinity = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "preference": preference}
            ]
        }
    }
    await cluster.api.create(k8s.PODS, pod("choosy", affinity=affinity), "default")
    await settle(2)
    assert where(cluster) == {"simple": "plain", "choosy": "liked"}


async def test_preferred_anti_affinity_parts_pods(cluster: SimCluster) -> None:
    add_node(cluster, "big", cpu="64")
    add_node(cluster, "small", cpu="2")
    await settle(2)
    term = {"topologyKey": HOSTNAME, "labelSelector": WEB}
    affinity = {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": term}
            ]
        }
    }
    for name in ("one", "two"):
        body = pod(name, labels={"app": "web"}, affinity=affinity)
        await cluster.api.create(k8s.PODS, body, "default")
        await settle(1)
    assert set(where(cluster).values()) == {"big", "small"}


async def test_a_group_is_retried_when_a_node_that_helps_comes(cluster: SimCluster) -> None:
    add_node(cluster, "tiny", cpu="500m")
    await settle(2)
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 40, cpu="900m"), "default")
    await settle(30)
    assert cluster.scheduler.pending == 40
    for number in range(10):
        add_node(cluster, f"n{number}", zone="abc"[number % 3])
    await settle(20)
    assert cluster.scheduler.pending == 0
    assert set(by_node(cluster)) == {f"n{number}" for number in range(10)}


async def test_back_off_grows_to_ten_seconds(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.PODS, pod("p", cpu="2", labels={"app": "web"}), "default")
    for number in range(8):
        await settle(1)
        add_node(cluster, f"small-{number}", cpu="1")
    await settle(30)
    add_node(cluster, "big", cpu="4")
    start = asyncio.get_running_loop().time()
    while where(cluster)["p"] == "":
        await settle(0.1)
    # The last attempt is long past, so that nothing holds the next one back.
    assert asyncio.get_running_loop().time() - start < 2


async def test_the_rate_of_binding_is_limited(cluster: SimCluster) -> None:
    slow = SimCluster(cluster.clock, timings=Timings(scheduler_pods_per_second=50))
    await slow.start()
    for number in range(10):
        add_node(slow, f"n{number}", cpu="64")
    await settle(2)
    await slow.api.create(k8s.DEPLOYMENTS, deployment("web", 500), "default")
    await settle(5)
    bound = len([node for node in where(slow).values() if node])
    assert 150 <= bound <= 300
    await settle(7)
    assert all(where(slow).values())
    await slow.stop()


async def test_books_balance_after_everything_is_gone(cluster: SimCluster) -> None:
    for number in range(3):
        add_node(cluster, f"n{number}", zone="abc"[number], csi_drivers={"ebs": 5})
    await settle(2)
    spec = {"topologySpreadConstraints": [spread()], "affinity": required("podAntiAffinity")}
    await cluster.api.create(k8s.DEPLOYMENTS, deployment("web", 3, **spec), "default")
    await settle(20)
    assert set(by_node(cluster).values()) == {1}
    await cluster.api.delete(k8s.DEPLOYMENTS, "web", "default")
    await settle(20)
    for number in range(3):
        await cluster.api.delete(k8s.NODES, f"n{number}")
    await settle(5)
    # Removing a row asserts that nothing is charged to it.
    assert cluster.scheduler.pending == 0
    assert list(cluster.objects(k8s.NODES)) == []
