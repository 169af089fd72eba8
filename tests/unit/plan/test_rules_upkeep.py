"""Nodes that expire, and static pools: what goes and comes whether pods need it or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    DEFAULT_TYPE,
    ON_DEMAND,
    TYPE,
    Z2,
    ZONE,
    Object,
    Planned,
    is_in,
    node,
    node_pool,
    pod,
)
from plan_cases import Case, Check, Objects, all_of, nodes, pending, run

ONE_TYPE = [DEFAULT_TYPE]
PROTECTED = {"karpenter.sh/do-not-disrupt": "true"}
KEEP: Object = {"consolidateAfter": "Never"}


def ends(reason: str, *names: str) -> Check:
    """Exactly these nodes go for the reason, each by itself; nothing else goes."""
    return lambda p: (
        sorted(n for d in p.disruptions for n in d["nodes"]) == sorted(names)
        and all(d["reason"] == reason and not d["replacements"] for d in p.disruptions)
    )


def case(
    name: str,
    objects: Objects,
    check: Check,
    *,
    only: str = "disrupt",
    pools: Objects | None = None,
    **pool: Any,
) -> Case:
    pool.setdefault("disruption", KEEP)
    return Case(
        name, objects, check, catalog=ONE_TYPE, only=only, pools=pools or [node_pool(**pool)]
    )


def aged(name: str, days: int, **arguments: Any) -> list[Object]:
    created = {13: "2025-12-20", 14: "2025-12-19", 15: "2025-12-18", 21: "2025-12-12"}[days]
    return node(name, created=f"{created}T00:00:00Z", **arguments)


EXPIRY = [
    case("a node of its age", [aged("n1", 14)], ends("Expired", "n1")),
    case("a node a day younger", [aged("n1", 13)], ends("Expired")),
    case(
        "a node that never expires",
        [aged("n1", 15, claim={"expireAfter": "Never"})],
        ends("Expired"),
    ),
    case(
        "a node that never expires goes before the cap of 21 days",
        [aged("n1", 21, claim={"expireAfter": "Never"})],
        ends("Expired", "n1"),
    ),
    case(
        "protected or not",
        [aged("n1", 15, annotations=PROTECTED), pod(node="n1", cpu="1", annotations=PROTECTED)],
        ends("Expired", "n1"),
    ),
    case("initialized or not", [aged("n1", 15, initialized=False)], ends("Expired", "n1")),
    case(
        "budgets do not bound it",
        [aged("n1", 15)],
        ends("Expired", "n1"),
        disruption={**KEEP, "budgets": [{"nodes": "0"}]},
    ),
    case(
        "but one that names it does",
        [aged("n1", 15), aged("n2", 15)],
        lambda p: len(p.disruptions) == 1,
        disruption={**KEEP, "budgets": [{"nodes": "1", "reasons": ["Expired"]}]},
    ),
    case(
        "and not near the cap",
        [aged("n1", 21)],
        ends("Expired", "n1"),
        disruption={**KEEP, "budgets": [{"nodes": "0", "reasons": ["Expired"]}]},
    ),
    case(
        "its pods are counted",
        [
            aged("n1", 15),
            pod(node="n1", cpu="1"),
            pod(node="n1", cpu="1"),
            pod(node="n1", owner="DaemonSet"),
        ],
        lambda p: p.disruptions[0]["evictions"] == 2,
    ),
    case(
        "its pods get a new node",
        [aged("n1", 15), pod("p", node="n1", cpu="1")],
        lambda p: [c["pods"] for c in p.claims] == [["default/p"]],
        only="provision",
    ),
    case(
        "its room is not used",
        [aged("n1", 15), pod("p", cpu="1")],
        all_of(nodes(1), lambda p: not p.placements),
        only="provision",
    ),
    case(
        "it is not drifted or empty besides",
        [aged("n1", 15)],
        ends("Expired", "n1"),
        disruption={"consolidateAfter": "0s"},
    ),
    case(
        "a node that goes already does not go again",
        [
            [
                {**o, "metadata": {**o["metadata"], "deletionTimestamp": "2026-01-01T23:59:00Z"}}
                for o in aged("n1", 15)
            ]
        ],
        ends("Expired"),
    ),
]


def launched(number: int, **offer: str) -> Check:
    return lambda p: (
        len(p.claims) == number
        and all(not c["pods"] for c in p.claims)
        and all(c["offer"][k] == v for c in p.claims for k, v in offer.items())
    )


def fill(name: str, objects: Objects, check: Check, **pool: Any) -> Case:
    return case(name, objects, check, only="provision", **pool)


STATIC = [
    fill("a static pool without nodes", [], launched(3), replicas=3),
    fill("a static pool that lacks one", [node("n1"), node("n2")], launched(1), replicas=3),
    fill("a static pool that has all", [node("n1")], launched(0), replicas=1),
    fill("a static pool of none", [], launched(0), replicas=0),
    fill(
        "nodes that are on their way count",
        [node("n1", initialized=False)],
        launched(1),
        replicas=2,
    ),
    fill(
        "nodes that are leaving do not",
        [
            [
                {**o, "metadata": {**o["metadata"], "deletionTimestamp": "2026-01-01T23:59:00Z"}}
                for o in node("n1")
            ]
        ],
        launched(1),
        replicas=1,
    ),
    fill(
        "but they count for the limit on nodes",
        [
            [
                {**o, "metadata": {**o["metadata"], "deletionTimestamp": "2026-01-01T23:59:00Z"}}
                for o in node("n1")
            ]
        ],
        launched(0),
        replicas=1,
        limits={"nodes": "1"},
    ),
    fill("the limit on nodes bounds it", [], launched(2), replicas=5, limits={"nodes": "2"}),
    fill(
        "what keeps it from its replicas is told",
        [],
        lambda p: (
            p.json["blocked"]
            == [
                {"nodePool": "default", "reason": "limits.nodes 2 keeps it from its 5 replicas"},
            ]
        ),
        replicas=5,
        limits={"nodes": "2"},
    ),
    fill(
        "its requirements bind",
        [],
        launched(1, zone=Z2, capacityType="on-demand"),
        replicas=1,
        requirements=[ON_DEMAND, is_in(ZONE, Z2)],
    ),
    fill("its labels bind", [], launched(1, zone=Z2), replicas=1, labels={ZONE: Z2}),
    fill(
        "what nobody sells is not bought",
        [],
        launched(0),
        replicas=1,
        requirements=[is_in(TYPE, "gone")],
    ),
    fill("pods do not go to nodes it still lacks", [pod("p")], pending("p"), replicas=1),
    case(
        "what it has too many of goes",
        [node("n1"), node("n2"), node("n3")],
        lambda p: [d["reason"] for d in p.disruptions] == ["ScaledDown"] * 2,
        replicas=1,
    ),
    case(
        "the emptiest first",
        [node("n1"), pod(node="n1", cpu="1"), node("n2"), node("n3"), pod(node="n3", cpu="1")],
        ends("ScaledDown", "n2"),
        replicas=2,
    ),
    case(
        "those with protected pods last",
        [
            node("n1"),
            pod(node="n1", cpu="1", annotations=PROTECTED),
            node("n2"),
            *(pod(node="n2", cpu="100m") for _ in range(3)),
        ],
        ends("ScaledDown", "n2"),
        replicas=1,
    ),
    case(
        "the cheapest to move first",
        [
            node("n1"),
            *(pod(node="n1", cpu="100m") for _ in range(3)),
            node("n2"),
            pod(node="n2", cpu="100m"),
        ],
        ends("ScaledDown", "n2"),
        replicas=1,
    ),
    case(
        "budgets do not bound it",
        [node("n1"), node("n2")],
        lambda p: len(p.disruptions) == 1,
        replicas=1,
        disruption={**KEEP, "budgets": [{"nodes": "0"}]},
    ),
    case("down to none", [node("n1"), node("n2")], ends("ScaledDown", "n1", "n2"), replicas=0),
]


def costs(p: Planned) -> bool:
    cost = p.json["cost"]
    return abs(cost["after"] - cost["before"] - 0.829497) < 1e-5


COSTS = [fill("the plan's cost counts nodes of static pools", [node("n1")], costs, replicas=2)]

CASES = [*EXPIRY, *STATIC, *COSTS]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
