"""What pods request, what nodes have room for, and what a NodePool's limits and taints allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    ARCH,
    FAKE6,
    ON_DEMAND,
    TYPE,
    Z1,
    Z2,
    ZONE,
    Object,
    Planned,
    daemon_set,
    instance_type,
    is_in,
    node,
    node_pool,
    offering,
    pod,
    pods,
    requirement,
)
from plan_cases import (
    Case,
    Check,
    all_of,
    apart,
    nodes,
    on,
    pending,
    require,
    run,
    together,
    types,
    why,
)

AMD64 = {"nodeSelector": {ARCH: "amd64"}}
LADDER = [
    instance_type(f"c{n}", cpu=str(n), memory=f"{2 * n}Gi", pods="50", overhead={"cpu": "0"})
    for n in (1, 2, 3, 4, 5, 6, 8, 16)
]
"""A type for every size: which one is taken tells what was asked for."""


def asked(*containers: Object, **spec: Any) -> Object:
    """A pod of these containers."""
    body = pod(**spec)
    body["spec"]["containers"] = [{"name": f"c{i}", **c} for i, c in enumerate(containers)]
    return body


def cpu(requests: str | None = None, *, limits: str | None = None, **more: Any) -> Object:
    resources: Object = {}
    if requests:
        resources["requests"] = {"cpu": requests}
    if limits:
        resources["limits"] = {"cpu": limits}
    return {"resources": resources, **more}


def init(requests: str, **more: Any) -> Object:
    return {"name": f"i{requests}", **cpu(requests), **more}


def sidecar(requests: str) -> Object:
    return init(requests, restartPolicy="Always")


def takes(size: int, body: Object, name: str) -> Case:
    return Case(name, [body], types(f"c{size}"), catalog=LADDER)


REQUESTS = [
    takes(3, asked(cpu("1"), cpu("2")), "containers add up"),
    takes(3, asked(cpu(limits="3")), "a limit stands for a missing request"),
    takes(1, asked(cpu("1", limits="3")), "a request counts, not its limit"),
    takes(3, asked(cpu("1"), initContainers=[init("3")]), "the largest init container"),
    takes(3, asked(cpu("3"), initContainers=[init("2")]), "containers beyond init containers"),
    takes(
        3,
        asked(cpu("1"), initContainers=[init("3"), init("2")]),
        "init containers run one after the other",
    ),
    takes(3, asked(cpu("1"), initContainers=[sidecar("2")]), "a sidecar runs beside containers"),
    takes(
        5,
        asked(cpu("1"), initContainers=[sidecar("2"), init("3")]),
        "an init container runs beside the sidecars before it",
    ),
    takes(
        3,
        asked(cpu("1"), initContainers=[init("3"), sidecar("2")]),
        "an init container before a sidecar runs alone",
    ),
    takes(
        6,
        asked(cpu("1"), initContainers=[sidecar("1"), init("2"), sidecar("1"), init("4")]),
        "the peak of a chain of sidecars and init containers",
    ),
    takes(
        4,
        asked(cpu("2"), initContainers=[sidecar("1"), init("2"), sidecar("1")]),
        "containers with all sidecars against the peak before them",
    ),
    takes(
        4,
        asked(cpu("1"), resources={"requests": {"cpu": "4"}}),
        "a pod-level request takes the containers' place",
    ),
    takes(
        5,
        asked(cpu("1"), resources={"requests": {"cpu": "4"}}, overhead={"cpu": "1"}),
        "overhead comes on top of a pod-level request",
    ),
    takes(
        4,
        asked({}, resources={"limits": {"cpu": "4"}}),
        "a pod-level limit stands for a missing request",
    ),
    takes(
        3,
        asked(cpu("1"), initContainers=[init("2")], overhead={"cpu": "1"}),
        "overhead comes on top of init containers",
    ),
    takes(2, asked(cpu("1.5")), "a request with a decimal point"),
    takes(2, asked(cpu("1500m")), "a request in millicores"),
    takes(1, pod(requests={"cpu": 1}), "a request as a number"),
    takes(1, asked({}), "a pod that requests nothing"),
    Case(
        "memory in decimal and binary units",
        [pod("a", memory="2G"), pod("b", memory="2Gi")],
        nodes(1),
        catalog=[instance_type("m", cpu="8", memory="4Gi", overhead={"cpu": "0"})],
    ),
    Case(
        "memory: a byte too many",
        [pod("a", memory="2Gi"), pod("b", memory="2147483649")],
        nodes(2),
        catalog=[instance_type("m", cpu="8", memory="4Gi", overhead={"cpu": "0"})],
    ),
    Case("memory with an exponent", [pod(memory="1e9")], nodes(1)),
    Case("memory in thousandths", [pod(memory="128974848000m")], nodes(1)),
    Case(
        "overhead is taken off",
        [pod("p", cpu="4")],
        pending("p"),
        catalog=[instance_type("m", cpu="4", overhead={"cpu": "100m"})],
    ),
    Case(
        "without overhead it fits",
        [pod("p", cpu="4")],
        nodes(1),
        catalog=[instance_type("m", cpu="4", overhead={"cpu": "0"})],
    ),
    Case(
        "ephemeral storage",
        [pod(requests={"ephemeral-storage": "20Gi"})],
        types("disk"),
        catalog=[
            instance_type("none"),
            instance_type("disk", cpu="8", **{"ephemeral-storage": "40Gi"}),
        ],
    ),
    Case(
        "ephemeral storage nobody has",
        [pod("p", requests={"ephemeral-storage": "20Gi"})],
        pending("p"),
    ),
    Case(
        "huge pages",
        [pod(requests={"hugepages-2Mi": "64Mi"})],
        types("huge"),
        catalog=[instance_type("none"), instance_type("huge", cpu="8", **{"hugepages-2Mi": "1Gi"})],
    ),
    Case(
        "accelerators by limit alone",
        [pod(container={"resources": {"limits": {"vendor-a.com/gpu": "1"}}})],
        types("gpu-vendor"),
    ),
    Case(
        "two kinds of accelerator no type has at once",
        [pod("p", requests={"vendor-a.com/gpu": "1", "vendor-b.com/gpu": "1"})],
        pending("p"),
    ),
    Case(
        "two pods with one kind each take two nodes",
        [
            pod("a", requests={"vendor-a.com/gpu": "1"}),
            pod("b", requests={"vendor-b.com/gpu": "1"}),
        ],
        all_of(types("gpu-vendor", "gpu-vendor-b"), apart("a", "b")),
    ),
    Case(
        "accelerators fill a node",
        [pod(requests={"vendor-a.com/gpu": "1"}) for _ in range(3)],
        nodes(2),
    ),
    Case(
        "zero of a resource nobody has", [pod(requests={"foo.com/x": "0"}, container={})], nodes(1)
    ),
    Case("more than any type has", [pod("p", cpu="512")], pending("p")),
    Case(
        "ordinary pods go where no accelerator is",
        [pod(cpu="3", **AMD64)],
        types("default"),
        catalog=[
            instance_type("default"),
            instance_type("gpu", price=0.1, **{"nvidia.com/gpu": "1"}),
        ],
    ),
    Case(
        "ordinary pods take an accelerated type when nothing else is left",
        [pod(cpu="3")],
        types("gpu"),
        catalog=[instance_type("small", cpu="2"), instance_type("gpu", **{"nvidia.com/gpu": "1"})],
    ),
    Case(
        "the pod limit of a type",
        [*pods(3, cpu="10m")],
        nodes(3),
        catalog=[instance_type("single", pods="1")],
    ),
    Case(
        "a small pod is not packed to a node that it fills",
        [pod("large", cpu="4.5"), pod("small", cpu="1")],
        all_of(nodes(2), lambda p: p.types[0] != p.types[1]),
        catalog=LADDER[:5],
    ),
    Case(
        "three alike on one node", [*pods(3, cpu="2500m", memory="4Gi")], nodes(1), catalog=LADDER
    ),
]


def tainted(effect: str = "NoSchedule", value: str | None = "a", key: str = "team") -> list[Object]:
    taint = {"key": key, "effect": effect, **({"value": value} if value is not None else {})}
    return [node_pool(taints=[taint])]


def with_startup_taint(key: str) -> Object:
    pool = node_pool()
    pool["spec"]["template"]["spec"]["startupTaints"] = [{"key": key, "effect": "NoSchedule"}]
    return pool


def tolerating(**toleration: Any) -> Object:
    return pod("p", tolerations=[toleration])


TAINTS = [
    Case("NoSchedule keeps away", [pod("p")], pending("p"), pools=tainted()),
    Case("NoExecute keeps away", [pod("p")], pending("p"), pools=tainted("NoExecute")),
    Case("PreferNoSchedule does not", [pod("p")], nodes(1), pools=tainted("PreferNoSchedule")),
    Case(
        "PreferNoSchedule is avoided where another pool is",
        [pod("p")],
        lambda p: [c["nodePool"] for c in p.claims] == ["b"],
        pools=[
            node_pool("a", taints=[{"key": "x", "effect": "PreferNoSchedule"}]),
            node_pool("b", requirements=[ON_DEMAND]),
        ],
    ),
    *(
        Case(f"tolerated: {name}", [tolerating(**toleration)], nodes(1), pools=tainted())
        for name, toleration in (
            ("key and value", {"key": "team", "operator": "Equal", "value": "a"}),
            ("Equal is the default", {"key": "team", "value": "a"}),
            ("key exists", {"key": "team", "operator": "Exists"}),
            ("everything", {"operator": "Exists"}),
            ("key, value and effect", {"key": "team", "value": "a", "effect": "NoSchedule"}),
            ("every taint of an effect", {"operator": "Exists", "effect": "NoSchedule"}),
        )
    ),
    *(
        Case(f"not tolerated: {name}", [tolerating(**toleration)], pending("p"), pools=tainted())
        for name, toleration in (
            ("another value", {"key": "team", "operator": "Equal", "value": "b"}),
            ("no value", {"key": "team", "operator": "Equal"}),
            ("another key", {"key": "tribe", "operator": "Exists"}),
            ("another effect", {"key": "team", "operator": "Exists", "effect": "NoExecute"}),
        )
    ),
    Case(
        "a taint without value, tolerated without",
        [tolerating(key="team", operator="Equal")],
        nodes(1),
        pools=tainted(value=None),
    ),
    Case(
        "every taint must be tolerated",
        [tolerating(key="team", operator="Exists")],
        pending("p"),
        pools=[
            node_pool(
                taints=[
                    {"key": "team", "effect": "NoSchedule"},
                    {"key": "gpu", "effect": "NoSchedule"},
                ]
            )
        ],
    ),
    Case(
        "startup taints do not keep away", [pod("p")], nodes(1), pools=[with_startup_taint("cni")]
    ),
    Case(
        "pods of different tolerations share the node that both may use",
        [
            pod("a", tolerations=[{"operator": "Exists"}], cpu="1"),
            pod("b", tolerations=[{"key": "team", "operator": "Exists"}], cpu="1"),
        ],
        all_of(nodes(1), together("a", "b")),
        pools=tainted(),
    ),
    Case("the reason names the taint", [pod("p")], why("p", "team=a:NoSchedule"), pools=tainted()),
]


def from_pool(*names: str) -> Check:
    def check(p: Planned) -> bool:
        return sorted(c["nodePool"] for c in p.claims) == sorted(names) and not p.unschedulable

    return check


POOLS = [
    Case(
        "the heavier pool first, whatever it costs",
        [pod(cpu="1")],
        from_pool("b"),
        pools=[node_pool("a"), node_pool("b", weight=1, requirements=[is_in(TYPE, "arm")])],
    ),
    Case(
        "an unset weight is the lowest",
        [pod(cpu="1")],
        from_pool("b"),
        pools=[node_pool("a"), node_pool("b", weight=1)],
    ),
    Case(
        "a lighter pool where the heavier cannot",
        [pod(nodeSelector={ARCH: "arm64"})],
        from_pool("light"),
        pools=[
            node_pool("heavy", weight=50, requirements=[is_in(ARCH, "amd64")]),
            node_pool("light", weight=1),
        ],
    ),
    Case(
        "a lighter pool where the heavier is at its limit",
        [pod("a", cpu="3", **AMD64), pod("b", cpu="3", **AMD64)],
        from_pool("heavy", "light"),
        pools=[node_pool("heavy", weight=50, limits={"cpu": "4"}), node_pool("light")],
    ),
    Case(
        "a pod that names the lighter pool",
        [pod(nodeSelector={"karpenter.sh/nodepool": "light"})],
        from_pool("light"),
        pools=[node_pool("heavy", weight=50), node_pool("light")],
    ),
    Case(
        "a lighter pool whose taint is the only one tolerated",
        [pod("p", tolerations=[{"key": "t", "operator": "Exists"}])],
        from_pool("light"),
        pools=[
            node_pool("heavy", weight=5, taints=[{"key": "u", "effect": "NoSchedule"}]),
            node_pool("light", taints=[{"key": "t", "effect": "NoSchedule"}]),
        ],
    ),
    Case(
        "of two pools of one weight the cheaper",
        [pod(cpu="1")],
        from_pool("b"),
        pools=[
            node_pool("a", requirements=[is_in(TYPE, "default")]),
            node_pool("b", requirements=[is_in(TYPE, "small")]),
        ],
    ),
    Case(
        "room that is there comes before a heavier pool",
        [node("n1"), pod("p", cpu="1")],
        on(p="n1"),
        pools=[node_pool(), node_pool("heavy", weight=100)],
    ),
    Case(
        "a static pool launches nothing for pods",
        [pod("p")],
        pending("p"),
        pools=[node_pool("static", replicas=2)],
    ),
    Case(
        "a static pool's room is used",
        [node("n1", pool="static"), pod("p", cpu="1")],
        on(p="n1"),
        pools=[node_pool("static", replicas=1)],
    ),
    Case(
        "a pod goes past a static pool to a dynamic one",
        [pod("p")],
        from_pool("default"),
        pools=[node_pool("static", replicas=0), node_pool()],
    ),
]

LIMITS = [
    Case(
        "a limit no type keeps",
        [pod("p", cpu="1")],
        pending("p"),
        pools=[node_pool(limits={"cpu": "1"})],
    ),
    Case(
        "a limit that a small type keeps",
        [pod(cpu="1", **AMD64)],
        types("small"),
        pools=[node_pool(limits={"cpu": "2"})],
    ),
    Case(
        "a limit counts the machine, not the pod",
        [pod("p", cpu="1900m", **AMD64)],
        pending("p"),
        pools=[node_pool(limits={"cpu": "1900m"})],
    ),
    Case(
        "a limit on memory",
        [pod("a", memory="3Gi", **AMD64), pod("b", memory="3Gi", **AMD64)],
        lambda p: len(p.claims) == 1 and len(p.unschedulable) == 1,
        pools=[node_pool(limits={"memory": "5Gi"})],
    ),
    Case(
        "a limit on an accelerator",
        [pod(requests={"vendor-a.com/gpu": "2"}), pod(requests={"vendor-a.com/gpu": "2"})],
        lambda p: len(p.claims) == 1 and len(p.unschedulable) == 1,
        pools=[node_pool(limits={"vendor-a.com/gpu": "2"})],
    ),
    Case(
        "a limit of zero on an accelerator keeps such types out",
        [pod("p", requests={"vendor-a.com/gpu": "1"}), pod("q", **AMD64)],
        pending("p"),
        pools=[node_pool(limits={"vendor-a.com/gpu": "0"})],
    ),
    Case(
        "a limit on nothing the types have",
        [pod("p")],
        nodes(1),
        pools=[node_pool(limits={"foo.com/x": "0"})],
    ),
    Case("a limit of zero", [pod("p")], pending("p"), pools=[node_pool(limits={"cpu": "0"})]),
    Case(
        "no limit on nodes above zero",
        [pod("p")],
        pending("p"),
        pools=[node_pool(limits={"nodes": "0"})],
    ),
    Case(
        "limits count every node of the pool",
        [
            node("n1"),
            node("n2"),
            pod(node="n1", cpu="3500m"),
            pod(node="n2", cpu="3500m"),
            pod("p", cpu="3", **AMD64),
        ],
        pending("p"),
        pools=[node_pool(limits={"cpu": "10"})],
    ),
    Case(
        "limits do not count other pools' nodes",
        [node("n1", pool="other"), pod(node="n1", cpu="3500m"), pod("p", cpu="3", **AMD64)],
        nodes(1),
        pools=[node_pool(limits={"cpu": "4"}), node_pool("other", limits={"cpu": "0"})],
    ),
    Case(
        "limits count nodes that are on their way",
        [node("n1", initialized=False), pod(node="n1", cpu="3500m"), pod("p", cpu="3", **AMD64)],
        pending("p"),
        pools=[node_pool(limits={"cpu": "4"})],
    ),
    Case(
        "limits count nodes that are leaving",
        [
            [
                {**o, "metadata": {**o["metadata"], "deletionTimestamp": "2026-01-01T23:59:00Z"}}
                for o in node("n1")
            ],
            pod("p", cpu="3", **AMD64),
        ],
        pending("p"),
        pools=[node_pool(limits={"cpu": "4"})],
    ),
    Case(
        "the reason names the limit",
        [node("n1"), pod(node="n1", cpu="3500m"), pod("p", cpu="3", **AMD64)],
        why("p", "cpu", "limit"),
        pools=[node_pool(limits={"cpu": "4"})],
    ),
    Case(
        "many pods under a limit: as many as fit",
        [*pods(10, cpu="3500m", **AMD64)],
        lambda p: len(p.claims) == 5 and len(p.unschedulable) == 5,
        pools=[node_pool(limits={"cpu": "20"})],
    ),
    Case(
        "alternatives keep the limits too",
        [pod(cpu="1", **AMD64)],
        lambda p: p.types == ["small"] and not p.claims[0]["alternatives"],
        pools=[node_pool(limits={"cpu": "2"})],
    ),
    Case(
        "high priority is served first under a limit",
        [
            pod("a", cpu="3", priority=-5, **AMD64),
            pod("b", cpu="3", priority=0, **AMD64),
            pod("c", cpu="3", priority=7, **AMD64),
        ],
        pending("a", "b"),
        pools=[node_pool(limits={"nodes": "1"})],
    ),
    Case(
        "a PriorityClass gives the priority",
        [
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "high"},
                "value": 1000,
            },
            pod("a", cpu="3", **AMD64),
            pod("b", cpu="3", priorityClassName="high", **AMD64),
        ],
        pending("a"),
        pools=[node_pool(limits={"nodes": "1"})],
    ),
    Case(
        "system classes come before all others",
        [
            pod("a", cpu="3", priority=1_000_000, **AMD64),
            pod("b", cpu="3", priorityClassName="system-node-critical", **AMD64),
        ],
        pending("a"),
        pools=[node_pool(limits={"nodes": "1"})],
    ),
    Case(
        "a globally default PriorityClass",
        [
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "usual"},
                "value": 10,
                "globalDefault": True,
            },
            pod("a", cpu="3", priority=5, **AMD64),
            pod("b", cpu="3", **AMD64),
        ],
        pending("a"),
        pools=[node_pool(limits={"nodes": "1"})],
    ),
]


def agent(name: str = "agent", **spec: Any) -> Object:
    """A DaemonSet; `spec` is its pods'."""
    found = daemon_set(**spec)
    return {**found, "metadata": {**found["metadata"], "name": name, "uid": name}}


def going(body: Object) -> Object:
    """The object with its deletion under way."""
    body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}
    return body


DAEMONS = [
    Case(
        "two daemons add up",
        [agent("a", cpu="1"), agent("b", cpu="1"), pod(cpu="1")],
        types("c3"),
        catalog=LADDER,
    ),
    Case(
        "a daemon larger than any type",
        [agent(cpu="50"), pod("p", cpu="1")],
        pending("p"),
        catalog=LADDER,
    ),
    Case(
        "a daemon's request is in the node's requests",
        [agent(cpu="1"), pod(cpu="1")],
        lambda p: p.claims[0]["requests"]["cpu"] == "2",
        catalog=LADDER,
    ),
    Case(
        "a daemon that selects other nodes",
        [agent(cpu="50", nodeSelector={"x": "y"}), pod(cpu="1")],
        types("c1"),
        catalog=LADDER,
    ),
    Case(
        "a daemon that selects one type",
        [agent(cpu="1", nodeSelector={TYPE: "c1"}), pod(cpu="1")],
        types("c2"),
        catalog=LADDER,
    ),
    Case(
        "a daemon of one architecture",
        [agent(cpu="15", nodeSelector={ARCH: "arm64"}), pod(cpu="1")],
        nodes(1),
    ),
    Case(
        "a daemon with required affinity to a zone",
        [agent(cpu="15", affinity=require(is_in(ZONE, Z1))), pod(cpu="2")],
        lambda p: p.claims[0]["offer"]["zone"] != Z1,
        catalog=LADDER,
    ),
    Case(
        "a daemon whose affinity has two terms",
        [
            agent(
                cpu="2",
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [is_in("x", "y")]},
                                {"matchExpressions": [is_in("kubernetes.io/os", "linux")]},
                            ]
                        }
                    }
                },
            ),
            pod(cpu="1"),
        ],
        types("c3"),
        catalog=LADDER,
    ),
    Case(
        "a daemon keeps off by NotIn of a type",
        [agent(cpu="2", affinity=require(requirement(TYPE, "NotIn", "c1"))), pod(cpu="1")],
        types("c1"),
        catalog=LADDER,
    ),
    Case(
        "a daemon prefers in vain",
        [
            agent(
                cpu="2",
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "preference": {"matchExpressions": [is_in("x", "y")]}}
                        ]
                    }
                },
            ),
            pod(cpu="1"),
        ],
        types("c3"),
        catalog=LADDER,
    ),
    Case(
        "a daemon goes where PreferNoSchedule is",
        [agent(cpu="2"), pod(cpu="1")],
        types("c3"),
        catalog=LADDER,
        pools=[node_pool(taints=[{"key": "x", "effect": "PreferNoSchedule"}])],
    ),
    Case(
        "a daemon tolerates what its pool needs",
        [
            agent(cpu="2", tolerations=[{"key": "x", "operator": "Exists"}]),
            pod(cpu="1", tolerations=[{"operator": "Exists"}]),
        ],
        types("c3"),
        catalog=LADDER,
        pools=[node_pool(taints=[{"key": "x", "effect": "NoSchedule"}])],
    ),
    Case(
        "a daemon of one pool only",
        [
            agent(cpu="2", nodeSelector={"team": "a"}),
            pod("a", cpu="1", nodeSelector={"karpenter.sh/nodepool": "a"}),
            pod("b", cpu="1", nodeSelector={"karpenter.sh/nodepool": "b"}),
        ],
        types("c1", "c3"),
        catalog=LADDER,
        pools=[node_pool("a", labels={"team": "a"}), node_pool("b", labels={"team": "b"})],
    ),
    Case(
        "a daemon that waits for registration's label",
        [agent(cpu="2", nodeSelector={"karpenter.sh/registered": "true"}), pod(cpu="1")],
        types("c3"),
        catalog=LADDER,
    ),
    Case(
        "a daemon still to come takes room on a node that is there",
        [agent(cpu="2"), node("n1"), pod("p", cpu="2")],
        lambda p: not p.placements and len(p.claims) == 1,
    ),
    Case(
        "a daemon that is there is not counted twice",
        [
            agent(cpu="2"),
            node("n1"),
            pod(
                node="n1",
                cpu="2",
                metadata={
                    "ownerReferences": [
                        {"kind": "DaemonSet", "name": "agent", "uid": "agent", "controller": True}
                    ]
                },
            ),
            pod("p", cpu="1500m"),
        ],
        on(p="n1"),
    ),
    Case(
        "a daemon that came unexpectedly does not give room",
        [
            agent(cpu="1", nodeSelector={"x": "y"}),
            agent("other", cpu="100m"),
            node("n1"),
            pod(
                node="n1",
                cpu="1",
                metadata={
                    "ownerReferences": [
                        {"kind": "DaemonSet", "name": "agent", "uid": "agent", "controller": True}
                    ]
                },
            ),
            pod("p", cpu="2900m"),
        ],
        lambda p: not p.placements and len(p.claims) == 1,
    ),
    Case(
        "a daemon that a node's taint keeps off takes no room there",
        [
            agent(cpu="3"),
            node("n1", taints=[{"key": "x", "effect": "NoSchedule"}]),
            pod("p", cpu="3", tolerations=[{"operator": "Exists"}]),
        ],
        on(p="n1"),
    ),
    Case(
        "a daemon that goes takes no room",
        [going(agent(cpu="3")), pod(cpu="1")],
        types("c1"),
        catalog=LADDER,
    ),
    Case(
        "a daemon's host port keeps pods off",
        [
            agent(cpu="1"),
            agent(
                "ports",
                containers=[{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}],
            ),
            pod("p", container={"ports": [{"containerPort": 80, "hostPort": 80}]}),
            pod("q"),
        ],
        pending("p"),
    ),
    Case(
        "a daemon without requests takes one of the node's pods",
        [agent(containers=[{"name": "c"}]), pod("p")],
        pending("p"),
        catalog=[instance_type("one", pods="1")],
    ),
    Case(
        "init containers of daemons count",
        [
            agent(
                cpu="100m", initContainers=[{"name": "i", "resources": {"requests": {"cpu": "2"}}}]
            ),
            pod(cpu="1"),
        ],
        types("c3"),
        catalog=LADDER,
    ),
]


EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - a hostPort in a manifest, never bound to


def port(number: int = 80, **more: Any) -> Object:
    return {"ports": [{"containerPort": number, "hostPort": number, **more}]}


PORTS = [
    Case(
        "one port, two protocols",
        [pod("a", container=port(protocol="TCP")), pod("b", container=port(protocol="UDP"))],
        nodes(1),
    ),
    Case("two ports", [pod("a", container=port(80)), pod("b", container=port(81))], nodes(1)),
    Case(
        "one port, a wildcard and an address",
        [pod("a", container=port()), pod("b", container=port(hostIP="10.0.0.1"))],
        nodes(2),
    ),
    Case(
        "one port, 0.0.0.0 and an address",
        [
            pod("a", container=port(hostIP=EVERY_ADDRESS)),
            pod("b", container=port(hostIP="10.0.0.1")),
        ],
        nodes(2),
    ),
    Case(
        "one port, the wildcard of IPv6 and an address",
        [pod("a", container=port(hostIP="::")), pod("b", container=port(hostIP="10.0.0.1"))],
        nodes(2),
    ),
    Case("one port of one address twice", [*pods(2, container=port(hostIP="10.0.0.1"))], nodes(2)),
    Case(
        "one port on a node that is there",
        [node("n1"), pod(node="n1", container=port()), pod("p", container=port())],
        lambda p: not p.placements and len(p.claims) == 1,
    ),
    Case(
        "container ports alone do not clash",
        [*pods(2, container={"ports": [{"containerPort": 80}]})],
        nodes(1),
    ),
    Case(
        "container ports clash on the host's network",
        [*pods(2, hostNetwork=True, container={"ports": [{"containerPort": 80}]})],
        nodes(2),
    ),
    Case(
        "a sidecar's port counts",
        [
            *(
                pod(initContainers=[{"name": "s", "restartPolicy": "Always", **port()}])
                for _ in range(2)
            )
        ],
        nodes(2),
    ),
    Case(
        "an init container's port does not",
        [*(pod(initContainers=[{"name": "s", **port()}]) for _ in range(2))],
        nodes(1),
    ),
    Case(
        "the port of a pod that ended is free",
        [
            node("n1"),
            pod(node="n1", container=port(), phase="Succeeded"),
            pod("p", container=port()),
        ],
        on(p="n1"),
    ),
]

PRICES = [
    Case(
        "the cheapest zone",
        [pod()],
        lambda p: p.claims[0]["offer"]["zone"] == Z2,
        catalog=[
            instance_type(
                "t", offerings=[offering(Z1, "on-demand", 2), offering(Z2, "on-demand", 1)]
            )
        ],
    ),
    Case(
        "a large node at less than two small ones",
        [*pods(2, cpu="1500m")],
        types("large"),
        catalog=[instance_type("small", cpu="2", price=1.0), instance_type("large", price=1.5)],
    ),
    Case(
        "two small nodes at less than a large one",
        [*pods(2, cpu="1500m")],
        types("small", "small"),
        catalog=[instance_type("small", cpu="2", price=1.0), instance_type("large", price=2.5)],
    ),
    Case(
        "nothing is available",
        [pod("p")],
        all_of(pending("p"), why("p", "no capacity")),
        catalog=[instance_type("t", offerings=[offering(Z1, "on-demand", 1, available=False)])],
    ),
    Case(
        "alternatives by price",
        [pod(cpu="1")],
        lambda p: (
            [p.claims[0]["offer"]["instanceType"], *p.claims[0]["alternatives"]] == ["b", "c", "a"]
        ),
        catalog=[
            instance_type("a", price=3.0),
            instance_type("b", price=1.0),
            instance_type("c", price=2.0),
        ],
    ),
    Case(
        "alternatives must hold the pods",
        [pod(cpu="3")],
        lambda p: "small" not in p.claims[0]["alternatives"],
        catalog=FAKE6,
    ),
    Case(
        "sixty types at most",
        [pod(cpu="1")],
        lambda p: len(p.claims[0]["alternatives"]) == 59,
        catalog=[instance_type(f"t{i:02d}", price=1 + i / 100) for i in range(80)],
    ),
]

RESERVED = instance_type(
    "r",
    offerings=[
        offering(Z1, "on-demand", 1.0),
        {**offering(Z1, "reserved", 0.001), "reservationId": "cr-1", "reservationCapacity": 2},
    ],
)
OPEN = [node_pool(requirements=[requirement("karpenter.sh/capacity-type", "Exists")])]


def kinds(*expected: str) -> Check:
    return lambda p: (
        sorted(c["offer"]["capacityType"] for c in p.claims) == sorted(expected)
        and not p.unschedulable
    )


RESERVATIONS = [
    Case(
        "reserved capacity comes first",
        [pod(cpu="3")],
        kinds("reserved"),
        catalog=[RESERVED],
        pools=OPEN,
    ),
    Case(
        "reserved capacity is counted",
        [*pods(3, cpu="3")],
        kinds("reserved", "reserved", "on-demand"),
        catalog=[RESERVED],
        pools=OPEN,
    ),
    Case(
        "a pool that does not allow it",
        [pod(cpu="3")],
        kinds("on-demand"),
        catalog=[RESERVED],
        pools=[node_pool(requirements=[ON_DEMAND])],
    ),
    Case(
        "a pool that allows nothing else",
        [pod("a", cpu="3"), pod("b", cpu="3"), pod("c", cpu="3")],
        lambda p: len(p.claims) == 2 and len(p.unschedulable) == 1,
        catalog=[RESERVED],
        pools=[node_pool(requirements=[is_in("karpenter.sh/capacity-type", "reserved")])],
    ),
    Case(
        "the claim names the reservation",
        [pod(cpu="3")],
        lambda p: ["cr-1"] in [r.get("values") for r in p.claims[0]["requirements"]],
        catalog=[RESERVED],
        pools=OPEN,
    ),
    Case(
        "a reservation without room",
        [pod(cpu="3")],
        kinds("on-demand"),
        pools=OPEN,
        catalog=[
            {
                **RESERVED,
                "offerings": [
                    RESERVED["offerings"][0],
                    {**RESERVED["offerings"][1], "reservationCapacity": 0},
                ],
            }
        ],
    ),
]

CASES = [
    *REQUESTS,
    *TAINTS,
    *POOLS,
    *LIMITS,
    *DAEMONS,
    *PORTS,
    *PRICES,
    *RESERVATIONS,
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
