"""Disruption as `autoctl plan --only disrupt` tells it: the compatibility vectors, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from plan_builders import (
    CAPACITY,
    DEFAULT_TYPE,
    ON_DEMAND,
    Z1,
    Z2,
    Object,
    Planned,
    assorted,
    budget,
    condition,
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
)

ASSORTED = assorted()
BY_NAME = {t["name"]: t for t in ASSORTED}
DEAREST = BY_NAME[f"64-cpu-128-mem-amd64-{Z1}-on-demand"]
DEAREST_SPOT = BY_NAME[f"64-cpu-128-mem-amd64-{Z1}-spot"]
CHEAPEST = BY_NAME[f"1-cpu-1-mem-amd64-{Z1}-on-demand"]
ONE_TYPE = [DEFAULT_TYPE]
PDB = {"pdb": "yes"}
NOT_QUIET = {"disruption": {"consolidateAfter": "48h"}}


@dataclass(frozen=True)
class Vector:
    """One row."""

    name: str
    objects: list[Object | list[Object]]
    check: Callable[[Planned], bool]
    catalog: list[Object]
    pool: Object | None = None


def command(
    *nodes: str, reason: str = "Underutilized", replacements: int = 0, evictions: int | None = None
) -> Callable[[Planned], bool]:
    """Exactly one command that takes exactly these nodes."""

    def check(p: Planned) -> bool:
        if len(p.disruptions) != 1:
            return False
        found = p.disruptions[0]
        return (
            sorted(found["nodes"]) == sorted(nodes)
            and found["reason"] == reason
            and len(found["replacements"]) == replacements
            and (evictions is None or found["evictions"] == evictions)
        )

    return check


def nothing(p: Planned) -> bool:
    return not p.disruptions


def protected(value: str) -> dict[str, str]:
    return {"karpenter.sh/do-not-disrupt": value}


def started(subject: Object, at: str = "2026-01-01T12:00:00Z") -> Object:
    return {**subject, "status": {**subject["status"], "startTime": at}}


def taking(number: int, reason: str) -> Callable[[Planned], bool]:
    return lambda p: (
        sum(len(d["nodes"]) for d in p.disruptions) == number
        and {d["reason"] for d in p.disruptions} <= {reason}
    )


def drifted(since: str = "2026-01-01T12:00:00Z") -> list[Object]:
    return [condition("Drifted", at=since)]


def budgets(*entries: Object) -> Object:
    return {"disruption": {"budgets": list(entries)}}


def cluster_of(number: int) -> list[Object | list[Object]]:
    return [node(f"n{i:02d}") for i in range(number)]


BIG = instance_type("big", cpu="8", memory="32Gi", pods="110", overhead={"cpu": "0"})
THREE = instance_type("three", cpu="3", memory="32Gi", pods="110", overhead={"cpu": "0"})

VECTORS = [
    # Emptiness, as 46 and 47 have it
    # (and what keeps an empty node).
    Vector(
        "an empty node goes", [node("n1")], command("n1", reason="Empty", evictions=0), ONE_TYPE
    ),
    Vector(
        "46 daemons do not count",
        [
            daemon_set("100m"),
            node("n1"),
            pod(
                node="n1",
                cpu="100m",
                metadata={
                    "ownerReferences": [
                        {"kind": "DaemonSet", "name": "agent", "uid": "ds", "controller": True}
                    ]
                },
            ),
        ],
        command("n1", reason="Empty"),
        ONE_TYPE,
    ),
    Vector(
        "46 a terminating pod of a Deployment does not count",
        [node("n1"), pod(node="n1", metadata={"deletionTimestamp": "2026-01-01T23:59:50Z"})],
        command("n1", reason="Empty"),
        ONE_TYPE,
    ),
    Vector(
        "46 one of a StatefulSet does",
        [
            node("n1"),
            pod(
                node="n1",
                owner="StatefulSet",
                cpu="1",
                metadata={"deletionTimestamp": "2026-01-01T23:59:50Z"},
            ),
        ],
        lambda p: all(d["reason"] != "Empty" for d in p.disruptions),
        ONE_TYPE,
    ),
    Vector(
        "47 budgets bound emptiness",
        cluster_of(10),
        taking(3, "Empty"),
        ONE_TYPE,
        node_pool(**budgets({"nodes": "30%"})),
    ),
    Vector("47 all of them", cluster_of(10), taking(10, "Empty"), ONE_TYPE),
    Vector(
        "47 none, and why",
        cluster_of(10),
        lambda p: (
            not p.disruptions
            and "No allowed disruptions for disruption reason Empty due to blocking budget"
            in str(p.json["blocked"])
        ),
        ONE_TYPE,
        node_pool(**budgets({"nodes": "0"})),
    ),
    Vector(
        "47 percentages round up",
        cluster_of(3),
        taking(1, "Empty"),
        ONE_TYPE,
        node_pool(**budgets({"nodes": "10%"})),
    ),
    Vector(
        "a policy of WhenEmpty leaves pods alone",
        [node("n1"), node("n2"), *pods(1, node="n1", cpu="1"), *pods(1, node="n2", cpu="1")],
        nothing,
        ONE_TYPE,
        node_pool(disruption={"consolidationPolicy": "WhenEmpty"}),
    ),
    Vector("not quiet yet", [node("n1")], nothing, ONE_TYPE, node_pool(**NOT_QUIET)),
    Vector(
        "never consolidated",
        [node("n1")],
        nothing,
        ONE_TYPE,
        node_pool(disruption={"consolidateAfter": "Never"}),
    ),
    # Consolidation: 39 to 45.
    Vector(
        "39 the node with fewer pods goes",
        [
            node("n1"),
            node("n2"),
            *pods(2, node="n1", cpu="1", memory="10Mi"),
            pod(node="n2", cpu="1", memory="10Mi"),
        ],
        command("n2", evictions=1),
        ONE_TYPE,
    ),
    Vector(
        "40 unless a budget of zero holds its pod",
        [
            node("n1"),
            node("n2"),
            *pods(2, node="n1", cpu="1", memory="10Mi"),
            pod(node="n2", cpu="1", memory="10Mi", labels=PDB),
            budget(PDB, allowed=0),
        ],
        command("n1", evictions=2),
        ONE_TYPE,
    ),
    Vector(
        "40 the same told by maxUnavailable",
        [
            node("n1"),
            node("n2"),
            *pods(2, node="n1", cpu="1", memory="10Mi"),
            pod(node="n2", cpu="1", memory="10Mi", labels=PDB),
            budget(PDB, maxUnavailable=0),
        ],
        lambda p: command("n1")(p) and p.blocked["n2"] == "Pdb prevents pod evictions",
        ONE_TYPE,
    ),
    *(
        Vector(
            f"40 do-not-disrupt on the {where}",
            [
                node("n1"),
                node("n2", annotations={"karpenter.sh/do-not-disrupt": "true"} if on_node else {}),
                *pods(2, node="n1", cpu="1", memory="10Mi"),
                pod(
                    node="n2",
                    cpu="1",
                    memory="10Mi",
                    annotations={} if on_node else {"karpenter.sh/do-not-disrupt": "true"},
                ),
            ],
            command("n1"),
            ONE_TYPE,
        )
        for where, on_node in (("pod", False), ("node", True))
    ),
    *(
        Vector(
            f"40 a duration of {value}",
            [
                node("n1"),
                node("n2"),
                started(pod(node="n1", cpu="1", annotations=protected(value))),
                pod(node="n2", cpu="1", annotations=protected("true")),
            ],
            check,
            ONE_TYPE,
        )
        for value, check in (("48h", nothing), ("1h", command("n1")), ("soon", command("n1")))
    ),
    Vector(
        "two budgets on a pod block it",
        [
            node("n1"),
            node("n2"),
            pod(node="n1", cpu="1", labels=PDB),
            pod(node="n2", cpu="1", labels=PDB),
            budget(PDB, allowed=1),
            budget(PDB, allowed=1, name="second"),
        ],
        lambda p: (
            not p.disruptions and p.blocked["n1"] == "Eviction does not support multiple PDBs"
        ),
        ONE_TYPE,
    ),
    *(
        Vector(
            f"41 three of the dearest become one ({kind})",
            [
                *(
                    node(
                        f"n{i}", of=types[i], capacity_type=types[i]["offerings"][0]["capacityType"]
                    )
                    for i in range(3)
                ),
                *(pod(node=f"n{i}", cpu="500m", memory="100Mi") for i in range(3)),
            ],
            command("n0", "n1", "n2", replacements=1, evictions=3),
            ASSORTED,
        )
        for kind, types in (
            ("on-demand", [DEAREST] * 3),
            ("spot", [DEAREST_SPOT] * 3),
            ("mixed", [DEAREST, DEAREST_SPOT, DEAREST]),
        )
    ),
    Vector(
        "41 of two of the cheapest one is deleted, nothing bought",
        [
            node("n1", of=CHEAPEST),
            node("n2", of=CHEAPEST),
            pod(node="n1", cpu="100m", memory="10Mi"),
            pod(node="n2", cpu="100m", memory="10Mi"),
        ],
        lambda p: (
            len(p.disruptions) == 1
            and len(p.disruptions[0]["nodes"]) == 1
            and not p.disruptions[0]["replacements"]
        ),
        ASSORTED,
    ),
    Vector(
        "a node that is too dear is replaced",
        [node("n1", of=DEAREST), pod(node="n1", cpu="500m", memory="100Mi")],
        command("n1", replacements=1, evictions=1),
        ASSORTED,
    ),
    Vector(
        "a spot node with too few alternatives is not",
        [
            node("n1", of=instance_type("dear", price=2.0), capacity_type="spot"),
            pod(node="n1", cpu="1"),
        ],
        lambda p: not p.disruptions and "SpotToSpotConsolidation requires 15" in p.blocked["n1"],
        [instance_type("dear", price=2.0), instance_type("cheap", price=1.0)],
        node_pool(requirements=[is_in(CAPACITY, "spot")]),
    ),
    Vector(
        "on demand becomes spot where that is cheaper, and only spot",
        [
            node("n1", of=instance_type("both", price=1.0)),
            pod(node="n1", cpu="1"),
        ],
        lambda p: (
            command("n1", replacements=1)(p)
            and {
                tuple(r["values"])
                for r in p.disruptions[0]["replacements"][0]["requirements"]
                if r["key"] == CAPACITY
            }
            == {("spot",)}
        ),
        [
            instance_type(
                "both",
                offerings=[offering(Z1, "on-demand", 1.0), offering(Z1, "spot", 0.3)],
            )
        ],
    ),
    Vector(
        "45 a pod that can never be placed stops no deletion",
        [
            node("n1"),
            node("n2"),
            *pods(2, node="n1", cpu="1", memory="10Mi"),
            pod(node="n2", cpu="1", memory="10Mi"),
            pod("forever", nodeSelector={"no": "where"}),
        ],
        command("n2"),
        ONE_TYPE,
    ),
    Vector(
        "45 a pending pod that needs the large node keeps it",
        [
            node("n1", of=DEAREST),
            pod(node="n1", cpu="500m", memory="100Mi"),
            pod("large", cpu="62", memory="100Mi"),
        ],
        nothing,
        ASSORTED,
    ),
    Vector(
        "45 a deletion that would leave a pod without a node",
        [
            node("n1"),
            node("n2"),
            *pods(3, node="n1", cpu="1", memory="10Mi"),
            *pods(3, node="n2", cpu="1", memory="10Mi"),
        ],
        nothing,
        ONE_TYPE,
    ),
    Vector(
        "45 a destination that is not initialized",
        [
            node("n1"),
            node("n2", initialized=False),
            pod(node="n1", cpu="1", memory="10Mi"),
            pod(node="n2", cpu="1", memory="10Mi"),
        ],
        nothing,
        ONE_TYPE,
    ),
    Vector(
        "45 a destination that is not quiet yet",
        [
            [
                {**o, "status": {**o["status"], "lastPodEventTime": "2026-01-01T23:59:00Z"}}
                if o["kind"] == "NodeClaim"
                else o
                for o in node("n1")
            ],
            node("n2"),
            pod(node="n1", cpu="1", memory="10Mi"),
            pod(node="n2", cpu="1", memory="10Mi"),
        ],
        nothing,
        ONE_TYPE,
        node_pool(disruption={"consolidateAfter": "10m"}),
    ),
    Vector(
        "nodes of nobody are left alone",
        [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "foreign"},
                "status": {
                    "allocatable": DEFAULT_TYPE["capacity"],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }
        ],
        nothing,
        ONE_TYPE,
    ),
    Vector(
        "m to n: four nodes become two of another type",
        [
            *(node(f"n{i}", of=BIG) for i in range(4)),
            *(p for i in range(4) for p in pods(1, node=f"n{i}", cpu="1500m", memory="1Gi")),
        ],
        lambda p: (
            len(p.disruptions) >= 1
            and p.json["cost"]["after"] <= 2.0 + 1e-9
            and p.json["cost"]["before"] > 3.9
        ),
        [
            {**BIG, "offerings": [offering(Z1, "on-demand", 1.0)]},
            {**THREE, "offerings": [offering(Z1, "on-demand", 0.3)]},
        ],
        node_pool(requirements=[ON_DEMAND]),
    ),
    # Drift, as 48 has it
    Vector(
        "48 one drifted node becomes three",
        [
            node("n1", of=BIG, conditions=drifted()),
            *pods(3, node="n1", cpu="2", memory="10Mi"),
        ],
        command("n1", reason="Drifted", replacements=3),
        [{**BIG, "offerings": [offering(Z2, "on-demand", 1, available=False)]}, THREE],
        node_pool(disruption={"consolidateAfter": "Never"}),
    ),
    Vector(
        "48 empty ones first, then the oldest",
        [
            node("late", conditions=drifted("2026-01-01T20:00:00Z")),
            node("early", conditions=drifted("2026-01-01T10:00:00Z")),
            node("empty", conditions=drifted("2026-01-01T22:00:00Z")),
            pod(node="late", cpu="3500m"),
            pod(node="early", cpu="3500m"),
        ],
        lambda p: (
            [d["nodes"] for d in p.disruptions] == [["empty"], ["early"], ["late"]]
            or [d["nodes"] for d in p.disruptions] == [["empty"]]
        ),
        ONE_TYPE,
        node_pool(disruption={"consolidateAfter": "Never"}),
    ),
    Vector(
        "48 at most what budgets allow",
        [
            node("late", conditions=drifted("2026-01-01T20:00:00Z")),
            node("early", conditions=drifted("2026-01-01T10:00:00Z")),
            pod(node="late", cpu="3500m"),
            pod(node="early", cpu="3500m"),
        ],
        command("early", reason="Drifted", replacements=1),
        ONE_TYPE,
        node_pool(disruption={"consolidateAfter": "Never", "budgets": [{"nodes": "1"}]}),
    ),
    Vector(
        "48 a blocked one is passed over (without a grace period)",
        [
            node(
                "early",
                conditions=drifted("2026-01-01T10:00:00Z"),
                claim={"terminationGracePeriod": None},
            ),
            node("late", conditions=drifted("2026-01-01T20:00:00Z")),
            pod(node="early", cpu="3500m", annotations={"karpenter.sh/do-not-disrupt": "true"}),
            pod(node="late", cpu="3500m"),
        ],
        command("late", reason="Drifted", replacements=1),
        ONE_TYPE,
        node_pool(disruption={"consolidateAfter": "Never"}),
    ),
    Vector(
        "requirements that changed are drift",
        [node("n1", zone=Z1), pod(node="n1", cpu="1")],
        lambda p: [d["reason"] for d in p.disruptions] == ["Drifted"],
        ONE_TYPE,
        node_pool(
            requirements=[exists(CAPACITY), is_in("topology.kubernetes.io/zone", Z2)],
            disruption={"consolidateAfter": "Never"},
        ),
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
def test_vector(vector: Vector, tmp_path: Path) -> None:
    objects = [vector.pool or node_pool(), *vector.objects]
    answer = plan(tmp_path, objects, "--only", "disrupt", catalog=vector.catalog)
    assert vector.check(answer), answer.json
