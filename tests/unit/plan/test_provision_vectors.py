"""Scheduling as `autoctl plan` tells it: the compatibility vectors, in one table.

Each row: what is in the cluster, and what must come out. Numbers are those of the reference's list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    ARCH,
    CAPACITY,
    HOSTNAME,
    ON_DEMAND,
    Z1,
    Z2,
    Z3,
    ZONE,
    Object,
    Planned,
    daemon_set,
    exists,
    instance_type,
    is_in,
    node,
    node_pool,
    offering,
    plan,
    pod,
    pods,
    requirement,
    spread,
)

AMD64 = {"nodeSelector": {ARCH: "amd64"}}
WEB = {"app": "web"}


@dataclass(frozen=True)
class Vector:
    """One row; `check` returns whether the answer is right (or asserts in its own words)."""

    name: str
    objects: list[Object | list[Object]]
    check: Callable[[Planned], bool]
    catalog: list[Object] | None = None
    pool: bool = True
    arguments: tuple[str, ...] = field(default=("--only", "provision"))


def new_types(*expected: str) -> Callable[[Planned], bool]:
    return lambda p: p.types == sorted(expected) and not p.unschedulable


def new_nodes(number: int) -> Callable[[Planned], bool]:
    return lambda p: len(p.claims) == number and not p.unschedulable


def pending(number: int) -> Callable[[Planned], bool]:
    return lambda p: len(p.unschedulable) == number


def skewed(key: str, *expected: int) -> Callable[[Planned], bool]:
    return lambda p: p.skew(key) == sorted(expected)


def ladder() -> list[Object]:
    """The largest type is the cheapest."""

    def rung(name: str, cpu: str, price: float) -> Object:
        return instance_type(name, cpu=cpu, offerings=[offering(Z1, "on-demand", price)])

    return [rung("medium", "2", 3), rung("small", "1", 2), rung("large", "4", 1)]


def spot_cheaper_elsewhere() -> list[Object]:
    def both(name: str, on_demand: float, spot: float) -> Object:
        return instance_type(
            name, offerings=[offering(Z1, "on-demand", on_demand), offering(Z1, "spot", spot)]
        )

    return [both("A", 1.0, 0.2), both("B", 1.3, 0.1)]


def zonal(count: int, *, labels: dict[str, str] = WEB, **extra: Any) -> list[Object]:
    extra.setdefault("cpu", "1")
    constraint = extra.pop("constraint", {})
    return pods(
        count,
        labels=labels,
        topologySpreadConstraints=[spread(ZONE, labels=labels, **constraint)],
        **extra,
    )


def by_host(
    count: int, *, skew: int = 1, labels: dict[str, str] = WEB, **extra: Any
) -> list[Object]:
    constraint = spread(HOSTNAME, skew=skew, labels=labels)
    return pods(count, labels=labels, cpu="10m", topologySpreadConstraints=[constraint], **extra)


def anti_affinity(key: str, labels: dict[str, str]) -> Object:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def pod_affinity(key: str, labels: dict[str, str]) -> Object:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def claim_of(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", **spec.pop("metadata", {})},
        "spec": {"storageClassName": "waits", **spec.pop("spec", {})},
        "status": {"phase": "Pending", **spec.pop("status", {})},
    }


def storage_class(mode: str = "WaitForFirstConsumer", **extra: Any) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "waits"},
        "provisioner": "ebs.csi.eks.amazonaws.com",
        "volumeBindingMode": mode,
        **extra,
    }


def volume(zone: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pv"},
        "spec": {
            "csi": {"driver": "ebs.csi.eks.amazonaws.com", "volumeHandle": "vol-1"},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
                    ]
                }
            },
        },
    }


def uses(*claims: str) -> list[Object]:
    return [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]


BOUND = {"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}}

VECTORS = [
    # Resources and instance types: 10-15.
    Vector("10 a small pod gets a small node", [pod(memory="100M", **AMD64)], new_types("small")),
    Vector("10 a larger one too", [pod(memory="2000M", **AMD64)], new_types("small")),
    Vector(
        "10 overhead counts",
        [
            {
                "apiVersion": "node.k8s.io/v1",
                "kind": "RuntimeClass",
                "metadata": {"name": "kata"},
                "handler": "kata",
                "overhead": {"podFixed": {"cpu": "2"}},
            },
            pod(cpu="1", runtimeClassName="kata", **AMD64),
        ],
        new_types("default"),
    ),
    Vector(
        "10 init containers count by their highest",
        [
            pod(
                cpu="1",
                initContainers=[{"name": "i", "resources": {"requests": {"cpu": "2"}}}],
                **AMD64,
            )
        ],
        new_types("default"),
    ),
    Vector(
        "sidecars run beside the containers",
        [
            pod(
                cpu="1",
                initContainers=[
                    {
                        "name": "s",
                        "restartPolicy": "Always",
                        "resources": {"requests": {"cpu": "1"}},
                    }
                ],
                **AMD64,
            )
        ],
        new_types("default"),
    ),
    Vector("11 five pods share a node", pods(5, memory="10M", **AMD64), new_types("small")),
    Vector(
        "11 the pod limit opens more nodes",
        pods(25, cpu="1m", memory="1M", **AMD64),
        new_types(*["small"] * 5),
    ),
    Vector("12 pods fill nodes", pods(40, memory="1800M", **AMD64), new_types(*["default"] * 20)),
    Vector(
        "12 smaller ones fill the gaps",
        [*pods(40, memory="1800M", **AMD64), *pods(20, memory="400M", **AMD64)],
        new_types(*["default"] * 20),
    ),
    Vector("13 too large a pod", [pod(memory="2Ti")], pending(1)),
    Vector(
        "13 too large an init container",
        [pod(initContainers=[{"name": "i", "resources": {"requests": {"memory": "1Ti"}}}])],
        pending(1),
    ),
    Vector("13 a request of nothing", [pod(requests={"foo.com/x": "0"})], new_nodes(1)),
    Vector("an unknown resource", [pod(requests={"foo.com/x": "1"})], pending(1)),
    Vector(
        "an accelerator",
        [pod(requests={"vendor-a.com/gpu": "1"}), pod(requests={"vendor-b.com/gpu": "2"})],
        new_types("gpu-vendor", "gpu-vendor-b"),
    ),
    Vector(
        "14 the cheapest is taken, the others stay possible",
        [pod(cpu="500m", memory="10Mi")],
        lambda p: p.types == ["large"] and p.claims[0]["alternatives"] == ["small", "medium"],
        catalog=ladder(),
    ),
    Vector(
        "15 prices of capacity that is not allowed do not count",
        [node_pool(requirements=[ON_DEMAND]), pod(cpu="1")],
        new_types("A"),
        catalog=spot_cheaper_elsewhere(),
        pool=False,
    ),
    Vector(
        "spot is taken where it is cheaper",
        [pod(cpu="1")],
        lambda p: p.types == ["B"] and p.claims[0]["offer"]["capacityType"] == "spot",
        catalog=spot_cheaper_elsewhere(),
    ),
    Vector(
        "an offering without capacity is passed over",
        [node_pool(requirements=[ON_DEMAND]), pod(cpu="1")],
        lambda p: p.claims[0]["offer"]["zone"] == Z2,
        catalog=[
            instance_type(
                "A",
                offerings=[
                    offering(Z1, "on-demand", 1, available=False),
                    offering(Z2, "on-demand", 2),
                ],
            )
        ],
        pool=False,
    ),
    # Labels and requirements
    *(
        Vector(f"16 {name}", [node_pool(labels={"test": "value"}), pod(**spec)], check, pool=False)
        for name, spec, check in (
            ("the pool's label", {"nodeSelector": {"test": "value"}}, new_nodes(1)),
            ("another value", {"nodeSelector": {"test": "other"}}, pending(1)),
        )
    ),
    *(
        Vector(
            f"16 an undefined key, {operator}",
            [
                pod(
                    affinity={
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": {
                                "nodeSelectorTerms": [
                                    {"matchExpressions": [requirement("custom", operator, *values)]}
                                ]
                            }
                        }
                    }
                )
            ],
            check,
        )
        for operator, values, check in (
            ("In", ("x",), pending(1)),
            ("NotIn", ("x",), new_nodes(1)),
            ("Exists", (), pending(1)),
            ("DoesNotExist", (), new_nodes(1)),
        )
    ),
    Vector(
        "8 deprecated keys mean the same",
        [
            pod(
                nodeSelector={
                    "beta.kubernetes.io/arch": "arm64",
                    "failure-domain.beta.kubernetes.io/zone": Z3,
                }
            )
        ],
        lambda p: p.types == ["arm"] and p.claims[0]["offer"]["zone"] == Z3,
    ),
    Vector(
        "9 a typo is told",
        [pod(nodeSelector={"zone": Z1})],
        lambda p: (
            'label "zone" does not have known values '
            '(typo of "topology.kubernetes.io/zone"?)' in str(p.json["unschedulable"])
        ),
    ),
    Vector(
        "OR-ed terms: any of them will do",
        [
            pod(
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [is_in(ZONE, "nowhere")]},
                                {"matchExpressions": [is_in(ZONE, Z2)]},
                            ]
                        }
                    }
                }
            )
        ],
        lambda p: p.claims[0]["offer"]["zone"] == Z2,
    ),
    Vector(
        "20 incompatible selectors",
        [pod(nodeSelector={ARCH: "amd64"}), pod(nodeSelector={ARCH: "arm64"})],
        new_nodes(2),
    ),
    Vector("20 equal selectors", pods(2, nodeSelector={ARCH: "amd64"}), new_nodes(1)),
    Vector(
        "20 room that is there is used",
        [node("n1"), pod("p", cpu="1")],
        lambda p: p.placements == {"default/p": "n1"} and not p.claims,
    ),
    Vector(
        "20 but not on a node that goes",
        [
            [
                {**o, "metadata": {**o["metadata"], "deletionTimestamp": "2026-01-01T23:59:00Z"}}
                for o in node("n1")
            ],
            pod("p", cpu="1"),
        ],
        new_nodes(1),
    ),
    Vector(
        "a heavier pool comes first, dear or not",
        [
            node_pool("cheap", requirements=[is_in(CAPACITY, "spot")]),
            node_pool("heavy", requirements=[ON_DEMAND], weight=10),
            pod(cpu="1"),
        ],
        lambda p: p.claims[0]["nodePool"] == "heavy",
        catalog=spot_cheaper_elsewhere(),
        pool=False,
    ),
    Vector(
        "limits end a pool",
        [node_pool(limits={"cpu": "4"}), *pods(3, cpu="3", **AMD64)],
        lambda p: len(p.claims) == 1 and len(p.unschedulable) == 2,
        pool=False,
    ),
    Vector(
        "limits count what is there",
        [node_pool(limits={"cpu": "4"}), node("n1"), *pods(2, cpu="3")],
        lambda p: not p.claims and len(p.placements) == 1 and len(p.unschedulable) == 1,
        pool=False,
    ),
    Vector(
        "the limit on nodes",
        [node_pool(limits={"nodes": "2"}), *pods(3, cpu="3", **AMD64)],
        lambda p: len(p.claims) == 2 and len(p.unschedulable) == 1,
        pool=False,
    ),
    Vector(
        "higher priority first where limits bind",
        [
            node_pool(limits={"nodes": "1"}),
            pod("low", cpu="3", priority=1, **AMD64),
            pod("high", cpu="3", priority=100, **AMD64),
        ],
        lambda p: list(p.unschedulable) == ["default/low"],
        pool=False,
    ),
    Vector(
        "taints keep pods away",
        [
            node_pool(taints=[{"key": "team", "value": "a", "effect": "NoSchedule"}]),
            pod("no"),
            pod("yes", tolerations=[{"key": "team", "operator": "Equal", "value": "a"}]),
        ],
        lambda p: list(p.unschedulable) == ["default/no"] and len(p.claims) == 1,
        pool=False,
    ),
    Vector(
        "21 one host port twice",
        pods(2, container={"ports": [{"containerPort": 80, "hostPort": 80}]}),
        new_nodes(2),
    ),
    Vector(
        "21 different addresses do not clash",
        [
            pod(container={"ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]})
            for ip in ("10.0.0.1", "10.0.0.2")
        ],
        new_nodes(1),
    ),
    # Volumes, as 22 has them
    Vector(
        "22 a bound volume pins the zone",
        [
            storage_class(),
            volume(Z2),
            claim_of("data", spec={"volumeName": "pv"}, status={"phase": "Bound"}, **BOUND),
            pod(volumes=uses("data")),
        ],
        lambda p: p.claims[0]["offer"]["zone"] == Z2,
    ),
    Vector(
        "22 allowed topologies bind an unbound one",
        [
            storage_class(
                allowedTopologies=[{"matchLabelExpressions": [{"key": ZONE, "values": [Z3]}]}]
            ),
            claim_of("data"),
            pod(volumes=uses("data")),
        ],
        lambda p: p.claims[0]["offer"]["zone"] == Z3,
    ),
    *(
        Vector(f"22 {name}", [*objects, pod(volumes=uses("data"))], pending(1))
        for name, objects in (
            ("immediate binding, unbound", [storage_class("Immediate"), claim_of("data")]),
            ("a lost claim", [storage_class(), claim_of("data", status={"phase": "Lost"})]),
            (
                "a claim that goes",
                [
                    storage_class(),
                    claim_of("data", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
                ],
            ),
            ("a missing claim", [storage_class()]),
            ("a missing class", [claim_of("data")]),
        )
    ),
    Vector(
        "22 attach limits of a node",
        [
            storage_class(),
            node("n1", of=instance_type("default", pods="110")),
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "CSINode",
                "metadata": {"name": "n1"},
                "spec": {
                    "drivers": [
                        {
                            "name": "ebs.csi.eks.amazonaws.com",
                            "nodeID": "i",
                            "allocatable": {"count": 10},
                        }
                    ]
                },
            },
            *(claim_of(f"c{i}") for i in range(12)),
            *(pod(volumes=uses(f"c{2 * i}", f"c{2 * i + 1}"), cpu="10m") for i in range(6)),
        ],
        lambda p: len(p.placements) == 5 and len(p.claims) == 1,
    ),
    # Daemons, as 23 has them
    Vector(
        "23 daemons take room on new nodes",
        [daemon_set("2"), pod(cpu="1", **AMD64)],
        new_types("default"),
    ),
    Vector(
        "23 a daemon that does not tolerate the pool",
        [
            node_pool(taints=[{"key": "team", "effect": "NoSchedule"}]),
            daemon_set("2"),
            pod(cpu="1", tolerations=[{"operator": "Exists"}], **AMD64),
        ],
        new_types("small"),
        pool=False,
    ),
    Vector(
        "23 a daemon that runs already is not counted again",
        [
            daemon_set("1"),
            node("n1"),
            pod(
                "agent-x",
                cpu="1",
                node="n1",
                labels={"app": "agent"},
                metadata={
                    "ownerReferences": [
                        {"kind": "DaemonSet", "name": "agent", "uid": "ds", "controller": True}
                    ]
                },
            ),
            pod("p", cpu="2500m"),
        ],
        lambda p: p.placements == {"default/p": "n1"},
    ),
    # Topology spread: 27-33.
    Vector("27 four pods over three zones", zonal(4), skewed(ZONE, 1, 1, 2)),
    Vector(
        "27 four pods over two capacity types",
        pods(4, labels=WEB, cpu="1", topologySpreadConstraints=[spread(CAPACITY, labels=WEB)]),
        skewed(CAPACITY, 2, 2),
    ),
    Vector("27 four on one host with skew 4", by_host(4, skew=4), new_nodes(1)),
    Vector(
        "27 two apps, two pods each, one of each a host",
        [*by_host(2, labels={"app": "a"}), *by_host(2, labels={"app": "b"})],
        new_nodes(2),
    ),
    Vector(
        "27 with different architectures",
        [
            *by_host(2, labels={"app": "a"}, nodeSelector={ARCH: "amd64"}),
            *by_host(2, labels={"app": "b"}, nodeSelector={ARCH: "arm64"}),
        ],
        new_nodes(4),
    ),
    Vector(
        "28 a zone the pool does not reach holds the others back",
        [
            node_pool(requirements=[exists(CAPACITY), is_in(ZONE, Z1, Z2)]),
            node("n3", zone=Z3),
            pod(node="n3", labels=WEB, cpu="3500m"),
            *zonal(6, cpu="1100m"),
        ],
        lambda p: p.skew(ZONE) == [2, 2] and len(p.unschedulable) == 2,
        pool=False,
    ),
    Vector(
        "29 only one zone left",
        [
            node_pool(requirements=[exists(CAPACITY), is_in(ZONE, Z3)]),
            node("n1", zone=Z1),
            node("n2", zone=Z2),
            pod(node="n1", labels=WEB, cpu="3500m"),
            pod(node="n2", labels=WEB, cpu="3500m"),
            *zonal(10, cpu="1100m", constraint={"skew": 5}),
        ],
        lambda p: p.skew(ZONE) == [6] and len(p.unschedulable) == 4,
        pool=False,
    ),
    Vector(
        "30 what does not count",
        [
            node("n1", zone=Z1),
            pod(node="n1", cpu="10m"),  # without the label
            pod(labels=WEB, cpu="10m", phase="Failed", node="n1"),
            pod(labels=WEB, cpu="10m", phase="Succeeded", node="n1"),
            pod(labels=WEB, cpu="10m", node="n1", namespace="other"),
            pod(
                labels=WEB,
                cpu="10m",
                node="n1",
                metadata={"deletionTimestamp": "2026-01-01T23:59:59Z"},
            ),
            *zonal(2, cpu="1100m", nodeSelector={CAPACITY: "spot"}),
        ],
        lambda p: p.skew(ZONE) == [1, 1],
    ),
    Vector(
        "31 minDomains that are not there",
        [
            node_pool(requirements=[exists(CAPACITY), is_in(ZONE, Z1, Z2)]),
            *zonal(3, constraint={"minDomains": 3}),
        ],
        lambda p: p.skew(ZONE) == [1, 1] and len(p.unschedulable) == 1,
        pool=False,
    ),
    Vector(
        "31 minDomains that are",
        zonal(11, cpu="10m", constraint={"minDomains": 3}),
        skewed(ZONE, 3, 4, 4),
    ),
    Vector(
        "31 fewer minDomains than zones",
        zonal(11, cpu="10m", constraint={"minDomains": 2}),
        skewed(ZONE, 3, 4, 4),
    ),
    Vector(
        "31 without a selector nothing is spread",
        pods(
            5,
            cpu="10m",
            topologySpreadConstraints=[
                {"maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule"}
            ],
        ),
        new_nodes(1),
    ),
    Vector(
        "31 an owner its selector does not match",
        pods(
            5,
            cpu="10m",
            labels={"app": "other"},
            topologySpreadConstraints=[spread(HOSTNAME, labels=WEB)],
        ),
        new_nodes(1),
    ),
    Vector(
        "32 nodeTaintsPolicy Honor: pools of which each is for pods of its own",
        [
            node_pool(
                name,
                taints=[{"key": "for", "value": name, "effect": "NoSchedule"}],
                requirements=[exists(CAPACITY), is_in("example.com/row", "foo", own)],
            )
            for name, own in (("two", "bar"), ("four", "baz"))
        ]
        + [
            p
            for name, count in (("two", 2), ("four", 4))
            for p in pods(
                count,
                cpu="10m",
                labels=WEB,
                tolerations=[{"key": "for", "value": name, "effect": "NoSchedule"}],
                topologySpreadConstraints=[
                    spread("example.com/row", labels=WEB, nodeTaintsPolicy="Honor")
                ],
            )
        ],
        skewed("example.com/row", 1, 2, 3),
        pool=False,
    ),
    Vector(
        "32 matchLabelKeys spreads each revision alone",
        [
            p
            for revision in ("a", "b")
            for p in pods(
                2,
                cpu="10m",
                labels={**WEB, "pod-template-hash": revision},
                topologySpreadConstraints=[
                    spread(HOSTNAME, labels=WEB, matchLabelKeys=["pod-template-hash"])
                ],
            )
        ],
        new_nodes(2),
    ),
    Vector(
        "33 ScheduleAnyway gives way",
        [
            node_pool(requirements=[exists(CAPACITY), is_in(ZONE, Z1)]),
            node("n2", zone=Z2),
            *pods(
                4,
                labels=WEB,
                cpu="3",
                nodeSelector={ZONE: Z1},
                topologySpreadConstraints=[
                    {**spread(ZONE, labels=WEB), "whenUnsatisfiable": "ScheduleAnyway"}
                ],
            ),
        ],
        new_nodes(4),
        pool=False,
    ),
    Vector(
        "33 hostname and zone together",
        pods(
            6,
            labels=WEB,
            cpu="10m",
            topologySpreadConstraints=[
                spread(ZONE, labels=WEB),
                spread(HOSTNAME, skew=2, labels=WEB),
            ],
        ),
        lambda p: p.skew(ZONE) == [2, 2, 2] and max(p.skew(HOSTNAME)) <= 2,
    ),
    # Pod affinity.
    Vector(
        "anti-affinity opens a node for each",
        pods(3, labels=WEB, cpu="10m", affinity=anti_affinity(HOSTNAME, WEB)),
        new_nodes(3),
    ),
    Vector(
        "zonal anti-affinity uses every zone and no more",
        pods(4, labels=WEB, cpu="10m", affinity=anti_affinity(ZONE, WEB)),
        lambda p: p.skew(ZONE) == [1, 1, 1] and len(p.unschedulable) == 1,
    ),
    Vector(
        "running pods' anti-affinity holds for newcomers",
        [
            node("n1"),
            pod(node="n1", cpu="10m", affinity=anti_affinity(HOSTNAME, WEB)),
            pod("p", labels=WEB, cpu="10m"),
        ],
        lambda p: not p.placements and len(p.claims) == 1,
    ),
    Vector(
        "affinity gathers pods in one zone",
        pods(4, labels=WEB, cpu="3", affinity=pod_affinity(ZONE, WEB)),
        lambda p: len(p.skew(ZONE)) == 1 and len(p.claims) == 4,
    ),
    Vector(
        "affinity follows what runs",
        [
            node("n2", zone=Z2),
            pod(node="n2", cpu="3500m", labels=WEB),
            pod(cpu="1", affinity=pod_affinity(ZONE, WEB)),
        ],
        lambda p: p.claims[0]["offer"]["zone"] == Z2,
    ),
    Vector(
        "affinity to nothing waits",
        [pod(affinity=pod_affinity(ZONE, {"app": "nowhere"}))],
        pending(1),
    ),
    Vector(
        "preferences give way",
        [
            pod(
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "preference": {"matchExpressions": [is_in(ZONE, "no")]}}
                        ]
                    }
                }
            )
        ],
        new_nodes(1),
    ),
    Vector(
        "preferences count where they can",
        [
            pod(
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "preference": {"matchExpressions": [is_in(ZONE, Z3)]}}
                        ]
                    }
                }
            )
        ],
        lambda p: p.claims[0]["offer"]["zone"] == Z3,
    ),
    # Minvalues, gates, bad input.
    Vector(
        "minValues keeps a choice",
        [
            node_pool(
                requirements=[
                    exists(CAPACITY),
                    {
                        "key": "node.kubernetes.io/instance-type",
                        "operator": "Exists",
                        "minValues": 3,
                    },
                ]
            ),
            pod(cpu="1", **AMD64),
        ],
        lambda p: len(p.claims[0]["alternatives"]) >= 2,
        pool=False,
    ),
    Vector(
        "minValues larger than the choice",
        [
            node_pool(
                requirements=[
                    exists(CAPACITY),
                    {
                        "key": "node.kubernetes.io/instance-type",
                        "operator": "Exists",
                        "minValues": 9,
                    },
                ]
            ),
            pod(cpu="1"),
        ],
        pending(1),
        pool=False,
    ),
    Vector(
        "gated and foreign pods are left alone",
        [pod(schedulingGates=[{"name": "wait"}]), pod(schedulerName="other")],
        lambda p: not p.claims and not p.unschedulable,
    ),
    Vector(
        "a bad quantity stops only its pod",
        [pod("bad", cpu="1x"), pod("good", cpu="1")],
        lambda p: (
            len(p.claims) == 1
            and "spec.containers[0].resources.requests" in p.unschedulable["default/bad"]
        ),
    ),
    Vector(
        "a requirement that contradicts itself",
        [
            pod(
                "bad",
                nodeSelector={ZONE: Z1},
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchExpressions": [is_in(ZONE, Z2)]}]
                        }
                    }
                },
            ),
            pod("good"),
        ],
        lambda p: list(p.unschedulable) == ["default/bad"] and len(p.claims) == 1,
    ),
    Vector(
        "resource claims are out of reach and stop nobody",
        [pod("dra", resourceClaims=[{"name": "gpu"}]), pod("good")],
        lambda p: (
            list(p.unschedulable) == ["default/dra"]
            and "resourceClaims" in p.unschedulable["default/dra"]
        ),
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
def test_vector(vector: Vector, tmp_path: Path) -> None:
    objects = [node_pool(), *vector.objects] if vector.pool else vector.objects
    answer = plan(tmp_path, objects, *vector.arguments, catalog=vector.catalog)
    assert vector.check(answer), answer.json
