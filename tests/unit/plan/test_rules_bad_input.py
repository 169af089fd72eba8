"""Pods that cannot be used: each is told with the field and the value, and stops no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from plan_builders import (
    CAPACITY,
    FAKE6,
    HOSTNAME,
    NOW,
    TYPE,
    ZONE,
    Object,
    exists,
    is_in,
    node,
    node_pool,
    plan,
    pod,
    requirement,
    spread,
)
from plan_cases import (
    Case,
    all_of,
    expressions,
    near,
    on,
    pending,
    prefer,
    prefer_away,
    require,
    require_any,
    run,
    term,
    why,
)

from autoctl.cli.main import cli

WEB = {"app": "web"}


def bad(name: str, *told: str, **spec: Any) -> Case:
    """A pod with this spec waits for a reason that says this; another is placed."""
    return Case(
        name,
        [pod("bad", **spec), pod("good", cpu="1")],
        all_of(pending("bad"), why("bad", *told), lambda p: len(p.claims) == 1),
    )


def container(**resources: Any) -> Object:
    return {"container": {"resources": resources}}


PODS = [
    bad(
        "a request with a wrong unit", "spec.containers[0].resources.requests[cpu]", "1x", cpu="1x"
    ),
    bad("a request that is no number", "requests[memory]", "much", memory="much"),
    bad("a request that is empty", "requests[memory]", requests={"memory": ""}),
    bad("a request below zero", "requests[cpu]", "-1", cpu="-1"),
    bad("a request of not a number", "requests[cpu]", requests={"cpu": "NaN"}),
    bad(
        "a limit that is no number", "limits[memory]", "4GB", **container(limits={"memory": "4GB"})
    ),
    bad(
        "an init container's request",
        "spec.initContainers[0].resources.requests[cpu]",
        "two",
        initContainers=[{"name": "i", "resources": {"requests": {"cpu": "two"}}}],
    ),
    bad("an overhead", "spec.overhead[cpu]", "1x", overhead={"cpu": "1x"}),
    bad(
        "a pod-level request",
        "spec.resources.requests[cpu]",
        "1x",
        resources={"requests": {"cpu": "1x"}},
    ),
    bad("an accelerator's share", "nvidia.com/gpu", requests={"nvidia.com/gpu": "x"}),
    bad(
        "a request beyond all measure",
        "requests[cpu]",
        "1e30",
        "more than any node has",
        cpu="1e30",
    ),
    bad("memory beyond all measure", "requests[memory]", "9999999Ei", memory="9999999Ei"),
    bad("a millionfold CPU request", "cpu", "millicores", cpu="5000000"),
    bad(
        "an unknown operator",
        "matchExpressions[0]",
        "Near",
        affinity=require(requirement(ZONE, "Near", "x")),
    ),
    bad(
        "In without values", "matchExpressions[0].values", affinity=require(requirement(ZONE, "In"))
    ),
    bad(
        "NotIn without values",
        "matchExpressions[0].values",
        affinity=require(requirement(ZONE, "NotIn")),
    ),
    bad("Gt without value", "matchExpressions[0]", affinity=require(requirement(ZONE, "Gt"))),
    bad(
        "Gt of two values",
        "matchExpressions[0]",
        "1",
        "2",
        affinity=require(requirement(ZONE, "Gt", "1", "2")),
    ),
    bad(
        "Gt of a word",
        "matchExpressions[0]",
        "many",
        affinity=require(requirement(ZONE, "Gt", "many")),
    ),
    bad(
        "the second expression of the second term",
        "nodeSelectorTerms[1].matchExpressions[1]",
        affinity=require_any(
            expressions(is_in("x", "y")), expressions(exists(ZONE), requirement(ZONE, "Lt", "x"))
        ),
    ),
    bad("an affinity without terms", "nodeSelectorTerms", affinity=require_any()),
    bad("an empty term alone", "nodeSelectorTerms[0]", affinity=require_any({})),
    bad(
        "a selector against the affinity",
        "nodeSelectorTerms[0]",
        ZONE,
        nodeSelector={ZONE: "a"},
        affinity=require(is_in(ZONE, "b")),
    ),
    bad(
        "expressions against each other",
        "contradict",
        ZONE,
        affinity=require(is_in(ZONE, "a"), is_in(ZONE, "b")),
    ),
    bad(
        "bounds against each other",
        "contradict",
        affinity=require(requirement("x", "Gt", "5"), requirement("x", "Lt", "5")),
    ),
    bad(
        "In against DoesNotExist",
        ZONE,
        affinity=require(is_in(ZONE, "a"), requirement(ZONE, "DoesNotExist")),
    ),
    bad(
        "matchFields",
        "matchFields",
        affinity=require_any({"matchFields": [is_in("metadata.name", "n1")]}),
    ),
    bad("a restricted label", "karpenter.sh/x", "restricted", nodeSelector={"karpenter.sh/x": "y"}),
    bad(
        "a restricted label in a preference",
        "karpenter.sh/x",
        affinity=prefer((1, is_in("karpenter.sh/x", "y"))),
    ),
    bad(
        "a topology key nobody has",
        "spec.topologySpreadConstraints",
        "rack",
        labels=WEB,
        topologySpreadConstraints=[spread("rack", labels=WEB)],
    ),
    bad(
        "a topology key that looks like another",
        "topologySpreadConstraints",
        ZONE,
        labels=WEB,
        topologySpreadConstraints=[spread("zone", labels=WEB)],
    ),
    bad(
        "a skew of zero",
        "maxSkew",
        "0",
        labels=WEB,
        topologySpreadConstraints=[spread(ZONE, labels=WEB, skew=0)],
    ),
    bad(
        "a skew below zero",
        "maxSkew",
        "-1",
        labels=WEB,
        topologySpreadConstraints=[spread(ZONE, labels=WEB, skew=-1)],
    ),
    bad(
        "no minDomains",
        "minDomains",
        "0",
        labels=WEB,
        topologySpreadConstraints=[spread(ZONE, labels=WEB, minDomains=0)],
    ),
    bad(
        "a spread without key",
        "topologyKey",
        labels=WEB,
        topologySpreadConstraints=[spread("", labels=WEB)],
    ),
    bad(
        "an unknown whenUnsatisfiable",
        "whenUnsatisfiable",
        "Perhaps",
        labels=WEB,
        topologySpreadConstraints=[{**spread(ZONE, labels=WEB), "whenUnsatisfiable": "Perhaps"}],
    ),
    bad(
        "an unknown policy",
        "nodeTaintsPolicy",
        "Maybe",
        labels=WEB,
        topologySpreadConstraints=[spread(ZONE, labels=WEB, nodeTaintsPolicy="Maybe")],
    ),
    bad(
        "an unknown operator of a spread's selector",
        "labelSelector",
        "Like",
        labels=WEB,
        topologySpreadConstraints=[
            {
                **spread(ZONE, labels=WEB),
                "labelSelector": {
                    "matchExpressions": [{"key": "app", "operator": "Like", "values": ["w"]}]
                },
            }
        ],
    ),
    bad(
        "an unknown operator of an affinity's selector",
        "podAffinity",
        "Like",
        labels=WEB,
        affinity=near(
            {
                "topologyKey": ZONE,
                "labelSelector": {
                    "matchExpressions": [{"key": "app", "operator": "Like", "values": ["w"]}]
                },
            }
        ),
    ),
    bad("an affinity without key", "topologyKey", labels=WEB, affinity=near(term("", WEB))),
    bad(
        "an affinity over a key nobody has",
        "podAffinity",
        "rack",
        labels=WEB,
        affinity=near(term("rack", WEB)),
    ),
    bad("a resource claim", "spec.resourceClaims", "gpu", resourceClaims=[{"name": "gpu"}]),
    bad(
        "In of a selector without values",
        "podAffinity.required",
        "labelSelector",
        "values",
        labels=WEB,
        affinity=near(
            {
                "topologyKey": ZONE,
                "labelSelector": {"matchExpressions": [{"key": "app", "operator": "In"}]},
            }
        ),
    ),
    bad(
        "an unknown operator of a namespaceSelector",
        "namespaceSelector",
        "Like",
        labels=WEB,
        affinity=near(
            term(
                ZONE,
                WEB,
                namespaceSelector={
                    "matchExpressions": [{"key": "app", "operator": "Like", "values": ["w"]}]
                },
            )
        ),
    ),
    bad(
        "a preferred term's key",
        "podAntiAffinity.preferred",
        "topologyKey",
        labels=WEB,
        affinity=prefer_away((1, term("a b", WEB))),
    ),
    bad(
        "a claim that is not there",
        'persistentvolumeclaim "data" not found',
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
    ),
    bad(
        "a PriorityClass that is not there",
        "spec.priorityClassName: no PriorityClass with name high was found; expected one of "
        "system-cluster-critical, system-node-critical",
        priorityClassName="high",
    ),
    bad("a selector value that no type has", TYPE, "m99.large", nodeSelector={TYPE: "m99.large"}),
    bad("a host that is not there", HOSTNAME, nodeSelector={HOSTNAME: "gone"}),
]


@pytest.mark.parametrize("case", PODS, ids=lambda c: c.name)
def test_bad_pod(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)


def _priority_class(name: str) -> Object:
    version = "scheduling.k8s.io/v1"
    return {"apiVersion": version, "kind": "PriorityClass", "metadata": {"name": name}, "value": 7}


PRIORITIES = [
    Case(
        "a class among the files, one that always exists, and one that admission has seen",
        [
            _priority_class("high"),
            pod("given", cpu="1", priorityClassName="high"),
            pod("system", cpu="1", priorityClassName="system-cluster-critical"),
            pod("admitted", cpu="1", priorityClassName="low", priority=5),
        ],
        lambda p: not p.unschedulable,
    ),
    Case(
        "a class beside which others are given",
        [_priority_class("high"), pod("p", cpu="1", priorityClassName="hihg")],
        all_of(pending("p"), why("p", "no PriorityClass with name hihg", "expected one of high, ")),
    ),
    Case(
        "a pod that runs takes its room, whatever its class",
        [
            node("n1", allocatable={"cpu": "2", "memory": "4Gi", "pods": "9"}),
            pod("there", cpu="1500m", node="n1", priorityClassName="gone"),
            pod("p", cpu="1"),
        ],
        lambda p: len(p.claims) == 1,
    ),
]


@pytest.mark.parametrize("case", PRIORITIES, ids=lambda c: c.name)
def test_priority_classes(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)


def test_a_pool_that_can_launch_nothing_says_why(tmp_path: Path) -> None:
    case = Case(
        "an unknown capacity type",
        [pod("p")],
        all_of(pending("p"), why("p", CAPACITY, "rented")),
        pools=[node_pool(requirements=[is_in(CAPACITY, "rented")])],
    )
    run(case, tmp_path)


def test_amounts_beyond_all_measure_elsewhere_stop_nothing(tmp_path: Path) -> None:
    case = Case(
        "limits and nodes",
        [
            node("n1", allocatable={"cpu": "1e30", "memory": "1e30", "pods": "1e30"}),
            pod("p", cpu="1"),
        ],
        on(p="n1"),
        pools=[node_pool(limits={"cpu": "1e30", "memory": "9e18"})],
    )
    run(case, tmp_path)


def refused(tmp_path: Path, *objects: Object) -> str:
    """The one line on stderr with which the plan ends."""
    manifests, types = tmp_path / "objects.json", tmp_path / "catalog.json"
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    types.write_text(json.dumps({"instanceTypes": FAKE6}))
    outcome = CliRunner().invoke(
        cli, ["plan", "-f", str(manifests), "--catalog", str(types), "--now", NOW, "-o", "json"]
    )
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stdout == ""
    return outcome.stderr


def pool_with(**template: Any) -> Object:
    pool = node_pool()
    pool["spec"]["template"]["spec"] |= template
    return pool


def taint(**fields: Any) -> Object:
    return pool_with(taints=[fields])


POOLS = [
    (
        "an unknown operator",
        pool_with(requirements=[requirement(ZONE, "Near", "x")]),
        ("requirements[0].operator", "Near"),
    ),
    (
        "In without values",
        pool_with(requirements=[requirement(ZONE, "In")]),
        ("requirements", "must have a value defined"),
    ),
    ("Gt of a word", pool_with(requirements=[requirement("x", "Gt", "many")]), ("requirements",)),
    (
        "Gt below zero",
        pool_with(requirements=[requirement("x", "Gt", "-1")]),
        ("requirements", "must have a single positive integer value"),
    ),
    (
        "more minValues than values",
        pool_with(requirements=[requirement(TYPE, "In", "a", minValues=2)]),
        ("requirements", "minValues"),
    ),
    (
        "minValues of zero",
        pool_with(requirements=[requirement(TYPE, "Exists", minValues=0)]),
        ("requirements[0].minValues", "0"),
    ),
    (
        "minValues of 51",
        pool_with(requirements=[requirement(TYPE, "Exists", minValues=51)]),
        ("requirements[0].minValues", "51"),
    ),
    (
        "a restricted key",
        pool_with(requirements=[is_in("karpenter.sh/x", "y")]),
        ("requirements[0].key", "karpenter.sh"),
    ),
    ("the hostname", pool_with(requirements=[is_in(HOSTNAME, "y")]), ("requirements[0].key",)),
    (
        "the pool's own name",
        pool_with(requirements=[is_in("karpenter.sh/nodepool", "y")]),
        ("requirements[0].key",),
    ),
    ("an unknown taint effect", taint(key="x", effect="Never"), ("taints[0].effect", "Never")),
    ("a taint without key", taint(effect="NoSchedule"), ("taints[0].key",)),
    ("an unreadable limit", node_pool(limits={"cpu": "x"}), ("spec.limits", "x")),
    ("a weight of zero", node_pool(weight=0), ("spec.weight", "0")),
    ("a weight of 101", node_pool(weight=101), ("spec.weight", "101")),
    ("a weight of a static pool", node_pool(weight=1, replicas=1), ("'weight' is not supported",)),
    (
        "a limit of a static pool",
        node_pool(limits={"cpu": "1"}, replicas=1),
        ("only 'limits.nodes' is supported",),
    ),
    ("replicas below zero", node_pool(replicas=-1), ("spec.replicas", "-1")),
    (
        "an unknown policy",
        node_pool(disruption={"consolidationPolicy": "WhenUnderutilized"}),
        ("consolidationPolicy", "WhenUnderutilized"),
    ),
    (
        "a budget above 100 %",
        node_pool(disruption={"budgets": [{"nodes": "101%"}]}),
        ("budgets[0].nodes", "101%"),
    ),
    (
        "a budget below zero",
        node_pool(disruption={"budgets": [{"nodes": "-1"}]}),
        ("budgets[0].nodes", "-1"),
    ),
    (
        "a schedule without duration",
        node_pool(disruption={"budgets": [{"nodes": "1", "schedule": "@daily"}]}),
        ("'schedule' must be set with 'duration'",),
    ),
    (
        "a duration without schedule",
        node_pool(disruption={"budgets": [{"nodes": "1", "duration": "1h"}]}),
        ("'schedule' must be set with 'duration'",),
    ),
    (
        "a duration of seconds",
        node_pool(
            disruption={"budgets": [{"nodes": "1", "schedule": "@daily", "duration": "30s"}]}
        ),
        ("budgets[0].duration", "30s"),
    ),
    (
        "an unknown reason",
        node_pool(disruption={"budgets": [{"nodes": "1", "reasons": ["Bored"]}]}),
        ("reasons[0]", "Bored"),
    ),
    (
        "a negative consolidateAfter",
        node_pool(disruption={"consolidateAfter": "-1s"}),
        ("consolidateAfter", "-1s"),
    ),
    ("an unreadable expireAfter", pool_with(expireAfter="1 week"), ("expireAfter", "1 week")),
    (
        "a termination grace period of Never",
        pool_with(terminationGracePeriod="Never"),
        ("terminationGracePeriod", "Never"),
    ),
    ("a pool of the wrong shape", {**node_pool(), "spec": {"template": "x"}}, ("spec.template",)),
    (
        "a label of a restricted domain",
        node_pool(labels={"karpenter.sh/x": "y"}),
        ("labels", "karpenter.sh"),
    ),
    ("a label value with a space", node_pool(labels={"x": "a b"}), ("labels", "a b")),
]


@pytest.mark.parametrize(("name", "pool", "told"), POOLS, ids=[p[0] for p in POOLS])
def test_refused_pool(name: str, pool: Object, told: tuple[str, ...], tmp_path: Path) -> None:
    line = refused(tmp_path, pool, pod())
    assert line.startswith("Error: ")
    assert line.count("\n") == 1
    assert all(words in line for words in told), line


def pod_with(**fields: Any) -> Object:
    return {**pod(), **fields}


WRONG_TYPES = [
    *(
        (
            f"a version that is not known: {version} {kind}",
            {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}},
            (f'apiVersion: {kind} x: no matches for kind "{kind}" in version "{version}"', known),
        )
        for version, kind, known in (
            ("karpenter.sh/v1beta1", "NodePool", "karpenter.sh/v1"),
            ("eks.amazonaws.com/v2", "NodeClass", "eks.amazonaws.com/v1"),
            ("autoscaling.x-k8s.io/v1alpha1", "CapacityBuffer", "autoscaling.x-k8s.io/v1beta1"),
            ("policy/v1beta1", "PodDisruptionBudget", "policy/v1"),
            ("apps/v1beta2", "Deployment", "apps/v1"),
            ("v2", "Pod", "v1"),
        )
    ),
    ("a pod's spec that is a list", pod_with(spec=["a"]), ("spec", "got `array`")),
    ("a container that is no object", pod_with(spec={"containers": ["a"]}), ("spec.containers",)),
    (
        "a label that is a number",
        pod("p", labels={"ok": "yes", "version": 3}),  # type: ignore[dict-item]
        ("metadata.labels[version]", "got `int`"),
    ),
    (
        "a quantity beyond 64 bits",
        pod("p", requests={"cpu": "1", "example.com/x": 10**30}),
        ("spec.containers[0].resources.requests[example.com/x]", "9223372036854775807"),
    ),
    (
        "a skew beyond 32 bits",
        pod("p", topologySpreadConstraints=[spread(ZONE, labels={}, skew=2**31)]),
        ("spec.topologySpreadConstraints[0].maxSkew", "2147483647"),
    ),
    (
        "a PriorityClass's name that is an object",
        pod("p", priorityClassName={"a": "b"}),
        ("spec.priorityClassName", "got `object`"),
    ),
    (
        "a port that is a word",
        pod("p", container={"ports": [{"containerPort": "80"}]}),
        ("spec.containers[0].ports[0].containerPort", "got `str`"),
    ),
    (
        "a skew that is a word",
        pod("p", topologySpreadConstraints=[{**spread(ZONE, labels={}), "maxSkew": "1"}]),
        ("spec.topologySpreadConstraints[0].maxSkew", "got `str`"),
    ),
    (
        "a node selector that is a number",
        pod("p", nodeSelector={"example.com/disk.kind": 7}),
        ("spec.nodeSelector[example.com/disk.kind]", "got `int`"),
    ),
    (
        "a namespace that is a list",
        pod_with(metadata={"name": "p", "namespace": ["a"]}),
        ("metadata.namespace", "expected a string"),
    ),
    (
        "a template's container that is nothing",
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [None]}},
            },
        },
        ("spec.containers",),
    ),
    (
        "an operator that is a list",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "pv"},
            "spec": {
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "a", "operator": ["In"], "values": ["b"]}
                                ]
                            }
                        ]
                    }
                }
            },
        },
        ("matchExpressions[0].operator",),
    ),
    (
        "a class's name that is an object",
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": {}},
            "value": 1,
        },
        ("metadata.name", "expected a string"),
    ),
    (
        "tolerations of a RuntimeClass that are an object",
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "r"},
            "handler": "r",
            "scheduling": {"tolerations": {"key": "a"}},
        },
        ("scheduling.tolerations", "expected a list"),
    ),
    (
        "an overhead that is a word",
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "r"},
            "handler": "r",
            "overhead": "much",
        },
        ("overhead", "expected an object"),
    ),
]


@pytest.mark.parametrize(("name", "body", "told"), WRONG_TYPES, ids=[w[0] for w in WRONG_TYPES])
def test_wrong_type(name: str, body: Object, told: tuple[str, ...], tmp_path: Path) -> None:
    line = refused(tmp_path, node_pool(), body)
    assert line.startswith("Error: ")
    assert line.count("\n") == 1
    assert all(words in line for words in told), line


@pytest.mark.parametrize(
    "body",
    [
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "p"}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": None},
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": "n"},
            "spec": None,
        },
    ],
    ids=lambda body: body["kind"],
)
def test_what_the_api_server_does_without(body: Object, tmp_path: Path) -> None:
    answer = plan(tmp_path, [node_pool(), body, pod("p")])
    assert not answer.unschedulable
