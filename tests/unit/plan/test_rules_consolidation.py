"""Consolidation: which moves are made, which are not worth it, which would break a rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    CAPACITY,
    DEFAULT_TYPE,
    HOSTNAME,
    ON_DEMAND,
    TYPE,
    Z1,
    Z2,
    Z3,
    ZONE,
    Object,
    Planned,
    budget,
    daemon_set,
    exists,
    instance_type,
    is_in,
    node,
    node_pool,
    offering,
    pod,
    pods,
    requirement,
    spread,
)
from plan_cases import Case, Check, Objects, all_of, away, near, run, term

WEB = {"app": "web"}
PROTECTED = {"karpenter.sh/do-not-disrupt": "true"}
ONE_TYPE = [DEFAULT_TYPE]
SPOT = is_in(CAPACITY, "spot")


def none(p: Planned) -> bool:
    return not p.disruptions


def command(*names: str, replacements: int = 0) -> Check:
    """Exactly one command: it takes these nodes and buys so many."""
    return lambda p: (
        len(p.disruptions) == 1
        and sorted(p.disruptions[0]["nodes"]) == sorted(names)
        and len(p.disruptions[0]["replacements"]) == replacements
    )


def replaced_by(*names: str) -> Check:
    """What is bought, over all commands."""
    return lambda p: (
        sorted(r["offer"]["instanceType"] for d in p.disruptions for r in d["replacements"])
        == sorted(names)
    )


def cost_after(most: float) -> Check:
    return lambda p: p.json["cost"]["after"] <= most + 1e-6


def told(name: str, *words: str) -> Check:
    return lambda p: not p.disruptions and all(w in p.blocked.get(name, "") for w in words)


def case(
    name: str,
    objects: Objects,
    check: Check,
    *,
    catalog: list[Object] | None = None,
    pools: Objects | None = None,
    **pool: Any,
) -> Case:
    return Case(
        name,
        objects,
        check,
        catalog=catalog or ONE_TYPE,
        only="disrupt",
        pools=pools or [node_pool(**pool)],
    )


def sold(name: str, *offers: Object, cpu: str = "4", **more: Any) -> Object:
    return instance_type(
        name,
        cpu=cpu,
        memory="16Gi",
        pods="50",
        overhead={"cpu": "0"},
        offerings=list(offers),
        **more,
    )


def at(price: float, zone: str = Z1, kind: str = "on-demand", **more: Any) -> Object:
    return offering(zone, kind, price, **more)


def spot(price: float, zone: str = Z1) -> Object:
    return offering(zone, "spot", price)


WIDE = sold("wide", at(1.0), spot(0.9), cpu="8")
NARROW = sold("narrow", at(0.6), spot(0.3), cpu="5")
NOW = sold("now", at(1.0), cpu="8")
"""What runs, at a dollar."""

PRICES = [
    case(
        "a cheaper type that suffices",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        all_of(command("n1", replacements=1), replaced_by("cheap"), cost_after(0.5)),
        catalog=[NOW, sold("cheap", at(0.5))],
        requirements=[ON_DEMAND],
    ),
    case(
        "a cheaper type that does not suffice",
        [node("n1", of=NOW), pod(node="n1", cpu="5")],
        told("n1", "cheaper"),
        catalog=[NOW, sold("cheap", at(0.5))],
    ),
    case(
        "a dearer type",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        told("n1", "cheaper"),
        catalog=[NOW, sold("dear", at(1.5))],
    ),
    case(
        "a type of the same price",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("same", at(1.0))],
    ),
    case(
        "a type that is cheaper by less than the threshold",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("close", at(0.97))],
    ),
    case(
        "cheaper on spot, where spot is not allowed",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("t", at(1.5), spot(0.2))],
        requirements=[ON_DEMAND],
    ),
    case(
        "cheaper without capacity now",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("cheap", at(0.5, available=False))],
    ),
    case(
        "cheaper in another zone, but the launch might end in this one",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        none,
        catalog=[sold("now", at(1.0), at(0.5, Z2), cpu="8")],
    ),
    case(
        "cheaper in the only zone of another pool",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        command("n1", replacements=1),
        catalog=[NOW, sold("cheap", at(2.0), at(0.5, Z2))],
        pools=[
            node_pool(requirements=[is_in(TYPE, "now")]),
            node_pool("b", requirements=[is_in(ZONE, Z2)]),
        ],
    ),
    case(
        "cheaper in another zone than the pod's",
        [node("n1", of=NOW), pod(node="n1", cpu="1", nodeSelector={ZONE: Z1})],
        none,
        catalog=[sold("now", at(1.0), at(0.5, Z2), cpu="8")],
    ),
    case(
        "cheaper in a pool of its own",
        [node("n1", of=NOW, pool="a"), pod(node="n1", cpu="1")],
        lambda p: [r["nodePool"] for r in p.disruptions[0]["replacements"]] == ["b"],
        catalog=[NOW, sold("cheap", at(0.5))],
        pools=[
            node_pool("a", requirements=[is_in(TYPE, "now")]),
            node_pool("b", requirements=[is_in(TYPE, "cheap")]),
        ],
    ),
    case(
        "a pool's limit does not count what goes",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        command("n1", replacements=1),
        catalog=[NOW, sold("cheap", at(0.5))],
        limits={"cpu": "8"},
    ),
    case(
        "a pool's limit that the replacement would pass",
        [node("n1", of=NOW, pool="a"), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("cheap", at(0.5))],
        pools=[
            node_pool("a", requirements=[is_in(TYPE, "now")]),
            node_pool("b", requirements=[is_in(TYPE, "cheap")], limits={"cpu": "2"}),
        ],
    ),
    case(
        "the replacement has room for daemons",
        [daemon_set("2"), node("n1", of=NOW), pod(node="n1", cpu="3")],
        none,
        catalog=[NOW, sold("cheap", at(0.5))],
    ),
    case(
        "alternatives are cheaper too",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        lambda p: p.disruptions[0]["replacements"][0]["alternatives"] == ["b"],
        catalog=[NOW, sold("a", at(0.5)), sold("b", at(0.6)), sold("c", at(1.2))],
        requirements=[ON_DEMAND],
    ),
    case(
        "a node whose price nobody knows is not bought away",
        [
            node("n1", of=NOW, capacity_type="spot", created="2026-01-01T23:30:00Z"),
            pod(node="n1", cpu="1"),
        ],
        none,
        catalog=[NOW, sold("cheap", at(0.5))],
    ),
]

BOTH = [exists(CAPACITY)]
SPOTS = [
    case(
        "on demand becomes spot, and spot alone",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        lambda p: (
            command("n1", replacements=1)(p)
            and [
                r["values"]
                for r in p.disruptions[0]["replacements"][0]["requirements"]
                if r["key"] == CAPACITY
            ]
            == [["spot"]]
        ),
        catalog=[NOW, sold("t", at(0.9), spot(0.3))],
        requirements=BOTH,
    ),
    case(
        "on demand stays where spot is dearer",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("t", at(1.2), spot(1.1))],
        requirements=BOTH,
    ),
    case(
        "on demand stays where the launch may end with dearer spot",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("t", at(1.2), spot(0.4), spot(0.2, Z2), spot(3.0, Z3))],
        requirements=BOTH,
    ),
    case(
        "but not where the pod rules that zone out",
        [
            node("n1", of=NOW),
            pod(
                node="n1",
                cpu="1",
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchExpressions": [is_in(ZONE, Z1, Z2)]}]
                        }
                    }
                },
            ),
        ],
        command("n1", replacements=1),
        catalog=[NOW, sold("t", at(1.2), spot(0.4), spot(0.2, Z2), spot(3.0, Z3))],
        requirements=BOTH,
    ),
    case(
        "spot becomes cheaper on demand",
        [node("n1", of=sold("now", spot(1.0)), capacity_type="spot"), pod(node="n1", cpu="1")],
        command("n1", replacements=1),
        catalog=[sold("now", spot(1.0)), sold("t", at(0.5))],
        requirements=BOTH,
    ),
    *(
        case(
            f"spot to spot with {number} cheaper types",
            [node("n1", of=sold("now", spot(5.0)), capacity_type="spot"), pod(node="n1", cpu="1")],
            check,
            catalog=[
                sold("now", spot(5.0)),
                *(sold(f"t{i:02d}", spot(1 + i / 100)) for i in range(number)),
            ],
            requirements=[SPOT],
        )
        for number, check in (
            (14, told("n1", "SpotToSpotConsolidation requires 15", "got 14")),
            (15, command("n1", replacements=1)),
            (30, lambda p: len(p.disruptions[0]["replacements"][0]["alternatives"]) == 14),
        )
    ),
    case(
        "spot to spot with enough types, of which minValues wants more",
        [node("n1", of=sold("now", spot(5.0)), capacity_type="spot"), pod(node="n1", cpu="1")],
        lambda p: len(p.disruptions[0]["replacements"][0]["alternatives"]) == 19,
        catalog=[
            sold("now", spot(5.0)),
            *(sold(f"t{i:02d}", spot(1 + i / 100)) for i in range(30)),
        ],
        requirements=[SPOT, requirement(TYPE, "Exists", minValues=20)],
    ),
    case(
        "a spot node is deleted whatever is sold",
        [
            *(node(f"n{i}", capacity_type="spot") for i in (1, 2)),
            *pods(2, node="n1", cpu="1"),
            pod(node="n2", cpu="1"),
        ],
        command("n2"),
        requirements=[SPOT],
    ),
    case(
        "two spot nodes become one without fifteen types",
        [
            *(node(f"n{i}", of=sold("now", spot(2.0)), capacity_type="spot") for i in (1, 2)),
            *(pod(node=f"n{i}", cpu="3") for i in (1, 2)),
        ],
        command("n1", "n2", replacements=1),
        catalog=[sold("now", spot(2.0)), sold("wide", spot(2.5), cpu="6")],
        requirements=[SPOT],
    ),
]


def room(name: str, cpu: str = "100m", **arguments: Any) -> list[Object]:
    """A node that stays, with this much used."""
    return [*node(name, annotations=PROTECTED, **arguments), pod(node=name, cpu=cpu)]


DELETE = [
    case(
        "pods fit on another node",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1")],
        command("n1"),
    ),
    case(
        "pods fit on two others",
        [*room("s1", "2"), *room("s2", "2"), node("n1"), *pods(2, node="n1", cpu="1500m")],
        command("n1"),
    ),
    case(
        "pods fit on a node of nobody",
        [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "f"},
                "status": {
                    "allocatable": {"cpu": "9", "memory": "9Gi", "pods": "9"},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            },
            node("n1"),
            pod(node="n1", cpu="1"),
        ],
        command("n1"),
    ),
    case(
        "one pod does not fit",
        [*room("stay", "3"), node("n1"), *pods(2, node="n1", cpu="600m")],
        none,
    ),
    case(
        "not on a cordoned node",
        [*room("stay", spec={"unschedulable": True}), node("n1"), pod(node="n1", cpu="1")],
        none,
    ),
    case(
        "not on a node that goes",
        [
            [
                {**o, "metadata": {**o["metadata"], "deletionTimestamp": "2026-01-01T23:59:00Z"}}
                for o in node("going")
            ],
            node("n1"),
            pod(node="n1", cpu="1"),
        ],
        none,
    ),
    case(
        "not on a node that is not initialized",
        [
            node("new", initialized=False),
            pod(node="new", cpu="100m"),
            node("n1"),
            pod(node="n1", cpu="1"),
        ],
        none,
    ),
    case(
        "not past a taint",
        [
            *room("stay", taints=[{"key": "x", "effect": "NoSchedule"}]),
            node("n1"),
            pod(node="n1", cpu="1"),
        ],
        none,
    ),
    case(
        "past a taint that is tolerated",
        [
            *room("stay", taints=[{"key": "x", "effect": "NoSchedule"}]),
            node("n1"),
            pod(node="n1", cpu="1", tolerations=[{"operator": "Exists"}]),
        ],
        command("n1"),
    ),
    case(
        "not past a selector",
        [
            *room("stay", zone=Z2),
            node("n1", zone=Z1),
            pod(node="n1", cpu="1", nodeSelector={ZONE: Z1}),
        ],
        none,
    ),
    case(
        "daemons do not have to move",
        [
            daemon_set("1"),
            *room("stay"),
            node("n1"),
            pod(node="n1", cpu="1"),
            pod(node="n1", cpu="1", owner="DaemonSet"),
            pod(node="stay", cpu="1", owner="DaemonSet"),
        ],
        command("n1"),
    ),
    case(
        "daemons still to come keep their room",
        [daemon_set("2"), *room("stay", "1500m"), node("n1"), pod(node="n1", cpu="1")],
        none,
    ),
    case(
        "a host port is taken",
        [
            *room("stay"),
            pod(node="stay", container={"ports": [{"containerPort": 80, "hostPort": 80}]}),
            node("n1"),
            pod(node="n1", container={"ports": [{"containerPort": 80, "hostPort": 80}]}),
        ],
        none,
    ),
    case(
        "several nodes go to the room of one",
        [
            *room("stay"),
            *(o for i in range(3) for o in node(f"n{i}")),
            *(pod(node=f"n{i}", cpu="1") for i in range(3)),
        ],
        command("n0", "n1", "n2"),
    ),
    case(
        "of equal nodes the one with the fewest pods goes",
        [node("n1"), node("n2"), *pods(2, node="n1", cpu="500m"), pod(node="n2", cpu="1")],
        command("n2"),
    ),
    case(
        "of equal pods the dearest node goes",
        [
            node("n1", of=NOW),
            node("n2", of=sold("cheap", at(0.5), cpu="8")),
            pod(node="n1", cpu="1"),
            pod(node="n2", cpu="1"),
        ],
        command("n1"),
        catalog=[NOW, sold("cheap", at(0.5), cpu="8")],
    ),
    case(
        "the pod that is cheap to move goes",
        [
            node("n1"),
            node("n2"),
            pod(node="n1", cpu="1", priority=100_000_000),
            pod(node="n2", cpu="1"),
        ],
        command("n2"),
    ),
    case(
        "the pod whose deletion costs more stays",
        [
            node("n1"),
            node("n2"),
            pod(
                node="n2",
                cpu="1",
                annotations={"controller.kubernetes.io/pod-deletion-cost": "2000000000"},
            ),
            pod(node="n1", cpu="1"),
        ],
        command("n1"),
    ),
    case(
        "a pending pod takes the room first",
        [*room("stay", "2"), node("n1"), pod(node="n1", cpu="1500m"), pod("p", cpu="1900m")],
        none,
    ),
    case(
        "a pending pod that fits nowhere holds nothing up",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1"), pod("p", nodeSelector={"x": "y"})],
        command("n1"),
    ),
    case(
        "pods that nobody can place anywhere else stay",
        [
            *room("stay"),
            node("n1", labels={"special": "yes"}),
            pod(node="n1", cpu="1", nodeSelector={"special": "yes"}),
        ],
        none,
    ),
    case(
        "a pod with a volume stays in its zone",
        [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": "pv"},
                "spec": {
                    "csi": {"driver": "d", "volumeHandle": "v"},
                    "nodeAffinity": {
                        "required": {"nodeSelectorTerms": [{"matchExpressions": [is_in(ZONE, Z1)]}]}
                    },
                },
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": "data",
                    "namespace": "default",
                    "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
                },
                "spec": {"volumeName": "pv"},
                "status": {"phase": "Bound"},
            },
            *room("stay", zone=Z2),
            node("n1", zone=Z1),
            pod(
                node="n1",
                cpu="1",
                volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
            ),
        ],
        none,
    ),
]

BUDGETS = [
    case(
        "a budget of none",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1")],
        none,
        disruption={"budgets": [{"nodes": "0"}]},
    ),
    case(
        "a budget of none for this reason",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1")],
        none,
        disruption={"budgets": [{"nodes": "0", "reasons": ["Underutilized"]}]},
    ),
    case(
        "a budget of none for another reason",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1")],
        command("n1"),
        disruption={"budgets": [{"nodes": "0", "reasons": ["Empty", "Drifted"]}]},
    ),
    case(
        "a budget of one",
        [
            *room("stay"),
            *(o for i in range(3) for o in node(f"n{i}")),
            *(pod(node=f"n{i}", cpu="1") for i in range(3)),
        ],
        lambda p: sum(len(d["nodes"]) for d in p.disruptions) == 1,
        disruption={"budgets": [{"nodes": "1"}]},
    ),
    case(
        "a budget of one, and what comes first by savings cannot go",
        [
            *room("stay"),
            *(o for i in range(2) for o in node(f"n{i}")),
            pod(node="n0", cpu="3900m"),
            pod(node="n1", cpu="500m"),
            pod(node="n1", cpu="500m"),
        ],
        command("n1"),
        disruption={"budgets": [{"nodes": "1"}]},
    ),
    case(
        "of many nodes, those that rules keep stand before none",
        [
            node("wasteful", of=WIDE, capacity_type="spot"),
            pod(node="wasteful", cpu="4500m", nodeSelector={CAPACITY: "spot"}),
            node("next", of=WIDE),
            pod(node="next", cpu="4500m", nodeSelector={CAPACITY: "on-demand"}),
            *(o for i in range(25) for o in node(f"full{i}", of=NARROW, capacity_type="spot")),
            *(pod(node=f"full{i}", cpu="5") for i in range(25)),
        ],
        command("next", replacements=1),
        catalog=[WIDE, NARROW],
        disruption={"budgets": [{"nodes": "1"}]},
    ),
    case(
        "a budget of pods",
        [
            *room("stay"),
            node("n1"),
            node("n2"),
            pod(node="n1", cpu="1", labels=WEB),
            pod(node="n2", cpu="1", labels=WEB),
            budget(WEB, maxUnavailable=0),
        ],
        none,
    ),
    case(
        "the policy WhenEmpty",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1")],
        told("n1", "WhenEmpty"),
        disruption={"consolidationPolicy": "WhenEmpty"},
    ),
    case(
        "consolidateAfter Never",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1")],
        told("n1", "consolidation disabled"),
        disruption={"consolidateAfter": "Never"},
    ),
    case(
        "a young node is bought away only for half the price",
        [node("n1", of=NOW, created="2026-01-01T23:55:00Z"), pod(node="n1", cpu="1")],
        none,
        catalog=[NOW, sold("cheap", at(0.6))],
    ),
    case(
        "Balanced: much saved for little disruption",
        [*room("stay"), node("n1"), pod(node="n1", cpu="1")],
        command("n1"),
        disruption={"consolidationPolicy": "Balanced"},
    ),
    case(
        "Balanced: little saved for much disruption",
        [
            *(o for i in range(4) for o in room(f"s{i}", of=sold("wide", at(10.0), cpu="16"))),
            node("n1", of=sold("cheap", at(0.5))),
            *pods(6, node="n1", cpu="100m"),
        ],
        told("n1", "score"),
        catalog=[sold("wide", at(10.0), cpu="16"), sold("cheap", at(0.5))],
        disruption={"consolidationPolicy": "Balanced"},
    ),
]


def zonal(name: str, zone: str, **more: Any) -> list[Object]:
    return [
        *node(name, zone=zone),
        pod(
            node=name,
            cpu="1",
            labels=WEB,
            topologySpreadConstraints=[spread(ZONE, labels=WEB)],
            **more,
        ),
    ]


TOPOLOGY = [
    case(
        "a zone's only pod of a spread does not leave it",
        [*zonal("n1", Z1), *zonal("n2", Z2), *zonal("n3", Z3)],
        none,
    ),
    case(
        "a replacement is in the same zone",
        [
            *node("n1", of=sold("now", *(at(1.0, z) for z in (Z1, Z2, Z3)), cpu="8"), zone=Z1),
            *(o for z, n in ((Z2, "n2"), (Z3, "n3")) for o in zonal(n, z)),
            pod(
                node="n1", cpu="1", labels=WEB, topologySpreadConstraints=[spread(ZONE, labels=WEB)]
            ),
        ],
        lambda p: (
            [
                r["offer"]["zone"]
                for d in p.disruptions
                if d["nodes"] == ["n1"]
                for r in d["replacements"]
            ]
            == [Z1]
        ),
        catalog=[
            sold("now", *(at(1.0, z) for z in (Z1, Z2, Z3)), cpu="8"),
            sold("cheap", *(at(0.1, z) for z in (Z1, Z2, Z3))),
            DEFAULT_TYPE,
        ],
        requirements=[ON_DEMAND],
        disruption={"budgets": [{"nodes": "1"}]},
    ),
    case(
        "pods that keep apart stay apart",
        [
            *(
                o
                for i in range(2)
                for o in [
                    *node(f"n{i}"),
                    pod(node=f"n{i}", cpu="1", labels=WEB, affinity=away(term(HOSTNAME, WEB))),
                ]
            )
        ],
        none,
    ),
    case(
        "pods that others keep away from stay away",
        [
            node("n1"),
            node("n2"),
            pod(node="n1", cpu="1", labels=WEB),
            pod(node="n2", cpu="1", affinity=away(term(HOSTNAME, WEB))),
        ],
        none,
    ),
    case(
        "pods that are drawn together move together",
        [
            *room("stay"),
            node("n1"),
            pod(node="n1", cpu="1", labels=WEB),
            pod(node="n1", cpu="1", affinity=near(term(HOSTNAME, WEB))),
        ],
        command("n1"),
    ),
    case(
        "a pod does not leave what it is drawn to",
        [
            *room("stay"),
            *node("n1", annotations=PROTECTED),
            pod(node="n1", labels=WEB, cpu="1"),
            node("n2"),
            pod(node="n2", cpu="1", labels={"app": "x"}, affinity=near(term(ZONE, WEB))),
        ],
        command("n2"),
    ),
    case(
        "pods spread over hosts keep theirs",
        [
            *(
                o
                for i in range(3)
                for o in [
                    *node(f"n{i}"),
                    pod(
                        node=f"n{i}",
                        cpu="100m",
                        labels=WEB,
                        topologySpreadConstraints=[spread(HOSTNAME, labels=WEB)],
                    ),
                ]
            )
        ],
        none,
    ),
    case(
        "pods spread over hosts by two share",
        [
            *(
                o
                for i in range(2)
                for o in [
                    *node(f"n{i}"),
                    pod(
                        node=f"n{i}",
                        cpu="100m",
                        labels=WEB,
                        topologySpreadConstraints=[spread(HOSTNAME, labels=WEB, skew=2)],
                    ),
                ]
            )
        ],
        lambda p: len(p.disruptions) == 1 and len(p.disruptions[0]["nodes"]) == 1,
    ),
]

SMALL = instance_type("small", cpu="2", memory="2Gi")


def spread_out(key: str, *counts: tuple[str, int], **labels: str) -> Objects:
    """A small node for each domain, with so many pods that are spread over the key."""
    found: Objects = []
    for name, (value, number) in zip("abcdef", counts, strict=False):
        own = {"zone": value} if key == ZONE else {"labels": {key: value}}
        found.append(node(name, of=SMALL, **own))  # type: ignore[arg-type]
        found += pods(
            number,
            node=name,
            cpu="100m",
            labels=WEB,
            topologySpreadConstraints=[spread(key, labels=WEB)],
        )
    return found


KINDS = (("a", "spot"), ("b", "spot"), ("c", "on-demand"), ("d", "on-demand"))
COUPLED = [
    case(
        "moves that count on one that is not made are not made: zones",
        spread_out(ZONE, (Z1, 2), (Z2, 1), (Z3, 1)),
        none,
        catalog=[SMALL],
    ),
    case(
        "moves that count on one that is not made are not made: a label of two pools",
        spread_out("rack", ("1", 2), ("2", 1), ("3", 1)),
        none,
        catalog=[SMALL],
        requirements=[exists(CAPACITY), is_in("rack", "1", "2", "3")],
    ),
    case(
        "moves that count on one that is not made are not made: capacity types",
        [
            *(
                o
                for name, kind in (
                    ("a", "spot"),
                    ("b", "spot"),
                    ("c", "on-demand"),
                    ("d", "on-demand"),
                )
                for o in [
                    *node(name, of=SMALL, capacity_type=kind),
                    pod(
                        node=name,
                        cpu="1800m",
                        labels=WEB,
                        topologySpreadConstraints=[spread(CAPACITY, labels=WEB)],
                    ),
                ]
            )
        ],
        none,
        catalog=[SMALL],
    ),
]

BIG = sold("big", at(1.0), cpu="8")
MANY = [
    case(
        "two become one",
        [node("n1", of=BIG), node("n2", of=BIG), pod(node="n1", cpu="5"), pod(node="n2", cpu="5")],
        all_of(command("n1", "n2", replacements=1), replaced_by("wide")),
        catalog=[BIG, sold("wide", at(1.5), cpu="12")],
    ),
    case(
        "one becomes two",
        [node("n1", of=sold("huge", at(4.0), cpu="32")), *pods(2, node="n1", cpu="3500m")],
        all_of(command("n1", replacements=2), replaced_by("quarter", "quarter")),
        catalog=[sold("huge", at(4.0), cpu="32"), sold("quarter", at(0.5))],
    ),
    case(
        "two become one of the same type only by a deletion",
        [node("n1", of=BIG), node("n2", of=BIG), pod(node="n1", cpu="1"), pod(node="n2", cpu="1")],
        lambda p: (
            len(p.disruptions) == 1
            and len(p.disruptions[0]["nodes"]) == 1
            and not p.disruptions[0]["replacements"]
        ),
        catalog=[BIG],
    ),
    case(
        "three become one that is cheaper than the rest alone",
        [
            *(o for i in range(3) for o in node(f"n{i}", of=BIG)),
            *(pod(node=f"n{i}", cpu="1") for i in range(3)),
        ],
        cost_after(0.4),
        catalog=[BIG, sold("cheap", at(0.4))],
    ),
    case(
        "two disjoint moves are two commands",
        [
            node("n1", of=NOW, zone=Z1),
            pod(node="n1", cpu="3500m", nodeSelector={ZONE: Z1}),
            node("n2", of=sold("now", at(1.0), at(1.0, Z2), cpu="8"), zone=Z2),
            pod(node="n2", cpu="3500m", nodeSelector={ZONE: Z2}),
        ],
        lambda p: sorted(d["nodes"] for d in p.disruptions) == [["n1"], ["n2"]],
        catalog=[sold("now", at(1.0), at(1.0, Z2), cpu="8"), sold("cheap", at(0.4), at(0.4, Z2))],
    ),
    case(
        "a pod that is not worth a node of its own stays",
        [node("n1", of=BIG), *pods(2, node="n1", cpu="3500m")],
        none,
        catalog=[BIG, sold("half", at(0.6))],
    ),
    case(
        "minValues stop a replacement that leaves too little choice",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        told("n1", "minValues"),
        catalog=[NOW, sold("a", at(0.5)), sold("b", at(1.5)), sold("c", at(1.6))],
        requirements=[ON_DEMAND, requirement(TYPE, "Exists", minValues=2)],
    ),
    case(
        "minValues allow one that leaves enough",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        lambda p: p.disruptions[0]["replacements"][0]["alternatives"] == ["b"],
        catalog=[NOW, sold("a", at(0.5)), sold("b", at(0.6)), sold("c", at(1.6))],
        requirements=[ON_DEMAND, requirement(TYPE, "Exists", minValues=2)],
    ),
    case(
        "reserved capacity that is paid for anyway is used",
        [node("n1", of=NOW), pod(node="n1", cpu="1")],
        lambda p: (
            [r["offer"]["capacityType"] for r in p.disruptions[0]["replacements"]] == ["reserved"]
        ),
        catalog=[
            {
                **NOW,
                "offerings": [
                    at(1.0),
                    {
                        **at(0.0001, kind="reserved"),
                        "reservationId": "cr-1",
                        "reservationCapacity": 1,
                    },
                ],
            }
        ],
        requirements=BOTH,
    ),
]

CASES = [*COUPLED, *PRICES, *SPOTS, *DELETE, *BUDGETS, *TOPOLOGY, *MANY]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
