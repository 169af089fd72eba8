"""Drift: what counts as drifted, in which order and how far drifted nodes are replaced."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    CAPACITY,
    DEFAULT_TYPE,
    Z1,
    Z2,
    ZONE,
    Object,
    budget,
    condition,
    instance_type,
    is_in,
    node,
    node_pool,
    offering,
    pod,
    pods,
    requirement,
    without,
)
from plan_cases import Case, Check, Objects, all_of, run

ONE_TYPE = [DEFAULT_TYPE]
PDB = {"pdb": "yes"}
PROTECTED = {"karpenter.sh/do-not-disrupt": "true"}
NEVER = {"consolidateAfter": "Never"}
WANTED = {
    "nodepool-hash": "karpenter.sh/nodepool-hash",
    "version": "karpenter.sh/nodepool-hash-version",
}


def drifted(name: str, at: str = "2026-01-01T12:00:00Z", **arguments: Any) -> list[Object]:
    return node(name, conditions=[condition("Drifted", at=at, reason="AMIDrift")], **arguments)


def replaced(*names: str, replacements: int | None = None) -> Check:
    """Exactly these nodes go as drifted, in this order."""
    return lambda p: (
        [n for d in p.disruptions for n in d["nodes"]] == list(names)
        and all(d["reason"] == "Drifted" for d in p.disruptions)
        and (
            replacements is None
            or sum(len(d["replacements"]) for d in p.disruptions) == replacements
        )
    )


def case(
    name: str,
    objects: Objects,
    check: Check,
    *,
    catalog: list[Object] | None = None,
    disruption: Object | None = None,
    pools: Objects | None = None,
    **pool: Any,
) -> Case:
    return Case(
        name,
        objects,
        check,
        catalog=catalog or ONE_TYPE,
        only="disrupt",
        pools=pools or [node_pool(disruption={**NEVER, **(disruption or {})}, **pool)],
    )


def hashed(objects: list[Object], value: str, version: str = "v3") -> list[Object]:
    found = deepcopy(objects)
    found[0]["metadata"]["annotations"] = {
        WANTED["nodepool-hash"]: value,
        WANTED["version"]: version,
    }
    return found


def pool_hashed(value: str, version: str = "v3") -> Objects:
    pool = node_pool(disruption=NEVER)
    pool["metadata"]["annotations"] = {WANTED["nodepool-hash"]: value, WANTED["version"]: version}
    return [pool]


def unlaunched(objects: list[Object]) -> list[Object]:
    found = deepcopy(objects)
    found[0]["status"]["conditions"] = [
        {**c, "status": "Unknown"} if c["type"] == "Launched" else c
        for c in found[0]["status"]["conditions"]
    ]
    return found


WHAT = [
    case("the condition says so", [drifted("n1")], replaced("n1", replacements=0)),
    case(
        "a condition that is not true does not",
        [node("n1", conditions=[condition("Drifted", status="False")])],
        replaced(),
    ),
    case(
        "another hash of the pool",
        [hashed(node("n1"), "1")],
        replaced("n1"),
        pools=pool_hashed("2"),
    ),
    case(
        "the same hash of the pool", [hashed(node("n1"), "1")], replaced(), pools=pool_hashed("1")
    ),
    case(
        "another hash by another version",
        [hashed(node("n1"), "1", "v2")],
        replaced(),
        pools=pool_hashed("2"),
    ),
    case("a pool without hash", [hashed(node("n1"), "1")], replaced()),
    *(
        case(
            f"requirement {name}: {'kept' if not gone else 'broken'}",
            [node("n1", labels={"team": "a", "rack": "5"})],
            replaced(*(["n1"] if gone else [])),
            requirements=[requirement(key, operator, *values)],
        )
        for name, key, operator, values, gone in (
            ("In with its value", "team", "In", ("a", "b"), False),
            ("In without its value", "team", "In", ("b",), True),
            ("In of a label it lacks", "tribe", "In", ("a",), True),
            ("NotIn with its value", "team", "NotIn", ("a",), True),
            ("NotIn without its value", "team", "NotIn", ("b",), False),
            ("NotIn of a label it lacks", "tribe", "NotIn", ("a",), False),
            ("Exists of a label it has", "team", "Exists", (), False),
            ("Exists of a label it lacks", "tribe", "Exists", (), True),
            ("DoesNotExist of a label it has", "team", "DoesNotExist", (), True),
            ("DoesNotExist of a label it lacks", "tribe", "DoesNotExist", (), False),
            ("Gt below", "rack", "Gt", ("4",), False),
            ("Gt equal", "rack", "Gt", ("5",), True),
            ("Gte equal", "rack", "Gte", ("5",), False),
            ("Lt above", "rack", "Lt", ("6",), False),
            ("Lt equal", "rack", "Lt", ("5",), True),
            ("Lte equal", "rack", "Lte", ("5",), False),
            ("Lte below", "rack", "Lte", ("4",), True),
            ("Gt of a label it lacks", "shelf", "Gt", ("1",), True),
            ("a capacity type it is not of", CAPACITY, "In", ("spot",), True),
            ("a zone it is in", ZONE, "In", (Z1, Z2), False),
            ("a zone it is not in", ZONE, "In", (Z2,), True),
            (
                "the deprecated key of its zone",
                "failure-domain.beta.kubernetes.io/zone",
                "In",
                (Z1,),
                False,
            ),
        )
    ),
    case(
        "its reservation, where no NodeClass is given to ask",
        [
            node(
                "n1",
                capacity_type="reserved",
                labels={"eks.amazonaws.com/capacity-reservation-id": "cr-0123456789abcdef0"},
            )
        ],
        replaced(),
        catalog=[
            instance_type(
                "default",
                offerings=[
                    offering(Z1, "on-demand", 1),
                    {
                        **offering(Z1, "reserved", 0.0001),
                        "reservationId": "cr-0123456789abcdef0",
                    },
                ],
            )
        ],
    ),
    case(
        "its type's label is lost",
        [without(node("n1"), "node.kubernetes.io/instance-type")],
        replaced("n1"),
    ),
    case(
        "its type is no longer sold",
        [node("n1", of={**DEFAULT_TYPE, "name": "gone"})],
        replaced("n1"),
    ),
    case(
        "its type is no longer sold, but it is young",
        [node("n1", of={**DEFAULT_TYPE, "name": "gone"}, created="2026-01-01T23:01:00Z")],
        replaced(),
    ),
    case(
        "its offering is no longer sold",
        [node("n1", capacity_type="spot")],
        replaced("n1"),
        catalog=[instance_type("default", offerings=[offering(Z1, "on-demand", 1)])],
    ),
    case(
        "its offering has no capacity now",
        [node("n1")],
        replaced(),
        catalog=[
            instance_type(
                "default",
                offerings=[
                    offering(Z1, "on-demand", 1, available=False),
                    offering(Z2, "on-demand", 1),
                ],
            )
        ],
    ),
    case(
        "a NodeClaim that is not launched has not drifted",
        [unlaunched(node("n1", labels={"team": "a"}))],
        replaced(),
        requirements=[is_in("team", "b")],
    ),
]

HOW = [
    case(
        "a replacement is bought before the node goes",
        [drifted("n1"), pod(node="n1", cpu="3")],
        replaced("n1", replacements=1),
    ),
    case(
        "no replacement where pods fit elsewhere",
        [drifted("n1"), pod(node="n1", cpu="1"), node("n2"), pod(node="n2", cpu="1")],
        replaced("n1", replacements=0),
    ),
    case(
        "several replacements for one node",
        [
            drifted("n1", of=instance_type("old", cpu="16", memory="64Gi")),
            *pods(3, node="n1", cpu="3"),
        ],
        replaced("n1", replacements=3),
    ),
    case(
        "a replacement may be dearer",
        [drifted("n1"), pod(node="n1", cpu="3")],
        all_of(replaced("n1", replacements=1), lambda p: p.disruptions[0]["savings"] < 0),
        catalog=[
            instance_type("default", offerings=[offering(Z1, "on-demand", 1, available=False)]),
            instance_type("dear", price=5.0),
        ],
    ),
    case(
        "pods that no replacement can hold keep the node",
        [drifted("n1"), pod(node="n1", cpu="1", nodeSelector={"x": "y"})],
        lambda p: not p.disruptions and "would not schedule" in p.blocked["n1"],
    ),
    case(
        "pods that cannot be held stop no other node",
        [
            drifted("n1"),
            pod(node="n1", cpu="1", nodeSelector={"x": "y"}),
            drifted("n2", at="2026-01-01T13:00:00Z"),
            pod(node="n2", cpu="3"),
        ],
        replaced("n2", replacements=1),
    ),
    case(
        "empty ones first",
        [
            drifted("a", at="2026-01-01T08:00:00Z"),
            pod(node="a", cpu="3"),
            drifted("b", at="2026-01-01T10:00:00Z"),
        ],
        lambda p: [d["nodes"] for d in p.disruptions] == [["b"], ["a"]],
    ),
    case(
        "then the oldest drift first",
        [drifted(n, at=f"2026-01-01T{h}:00:00Z") for n, h in (("a", 12), ("b", 10), ("c", 11))]
        + [pod(node=n, cpu="3") for n in "abc"],  # type: ignore[operator]
        lambda p: [d["nodes"] for d in p.disruptions] == [["b"], ["c"], ["a"]],
    ),
    case(
        "a budget of one takes the oldest",
        [
            drifted("a", at="2026-01-01T12:00:00Z"),
            pod(node="a", cpu="3"),
            drifted("b", at="2026-01-01T10:00:00Z"),
            pod(node="b", cpu="3"),
        ],
        replaced("b", replacements=1),
        disruption={"budgets": [{"nodes": "1"}]},
    ),
    case(
        "a budget of none",
        [drifted("n1"), pod(node="n1", cpu="3")],
        replaced(),
        disruption={"budgets": [{"nodes": "0"}]},
    ),
    case(
        "a budget of none for drift",
        [drifted("n1"), pod(node="n1", cpu="3")],
        replaced(),
        disruption={"budgets": [{"nodes": "0", "reasons": ["Drifted"]}]},
    ),
    case(
        "a budget of none for the others",
        [drifted("n1"), pod(node="n1", cpu="3")],
        replaced("n1"),
        disruption={"budgets": [{"nodes": "0", "reasons": ["Empty", "Underutilized"]}]},
    ),
    case(
        "quietness does not matter",
        [drifted("n1"), pod(node="n1", cpu="3")],
        replaced("n1"),
        disruption={"consolidateAfter": "720h"},
    ),
    case(
        "the policy does not matter",
        [drifted("n1"), pod(node="n1", cpu="3")],
        replaced("n1"),
        disruption={"consolidateAfter": "0s", "consolidationPolicy": "WhenEmpty"},
    ),
    case(
        "limits do not count what goes",
        [drifted("n1"), pod(node="n1", cpu="3")],
        replaced("n1", replacements=1),
        limits={"cpu": "4"},
    ),
    case(
        "a drifted node that is empty and quiet goes as empty or drifted, once",
        [drifted("n1")],
        lambda p: len(p.disruptions) == 1,
        disruption={"consolidateAfter": "0s"},
    ),
]

GRACE = {"terminationGracePeriod": "1h"}
NO_GRACE = {"terminationGracePeriod": None}
LEAVING = {"deletionTimestamp": "2026-01-01T23:59:50Z"}
STAYS = [{"key": "karpenter.sh/disrupted", "operator": "Exists"}]


def held(*others: Object, annotations: Object | None = None, **spec: Any) -> Objects:
    """A pod under PDBs on a drifted node with a grace period, which needs a node of its own."""
    subject = pod(node="n1", cpu="3", labels=PDB, annotations=annotations, **spec)
    return [drifted("n1", claim=GRACE), subject, *others]


NOTHING = budget(PDB, allowed=0, maxUnavailable=0)
FIRST = [
    *(
        case(f"room first: {name}", objects, replaced("n1", replacements=1))
        for name, objects in (
            ("a PDB that allows none just now", held(budget(PDB, allowed=0, maxUnavailable=1))),
            ("by percentage", held(budget(PDB, allowed=0, maxUnavailable="50%"))),
            ("minAvailable of all pods by number", held(budget(PDB, allowed=0, minAvailable=1))),
            ("minAvailable of nearly all", held(budget(PDB, allowed=0, minAvailable="99%"))),
            ("a PDB that says neither", held(budget(PDB, allowed=0))),
            ("a pod that tolerates the disruption", held(NOTHING, tolerations=STAYS)),
            (
                "a terminating pod of a StatefulSet",
                held(NOTHING, owner="StatefulSet", metadata=LEAVING),
            ),
            (
                "a terminating pod of a StatefulSet, protected",
                held(owner="StatefulSet", metadata=LEAVING, annotations=PROTECTED),
            ),
        )
    ),
    *(
        case(f"no room first: {name}", objects, replaced("n1", replacements=0))
        for name, objects in (
            ("maxUnavailable 0", held(NOTHING)),
            ("maxUnavailable 0%", held(budget(PDB, allowed=1, maxUnavailable="0%"))),
            ("minAvailable 100%", held(budget(PDB, allowed=1, minAvailable="100%"))),
            ("two PDBs", held(budget(PDB, allowed=1), budget(PDB, allowed=1, name="b"))),
            ("a protected pod", held(annotations=PROTECTED)),
            (
                "a ready pod, under AlwaysAllow",
                held(
                    budget(
                        PDB, allowed=0, maxUnavailable=0, unhealthyPodEvictionPolicy="AlwaysAllow"
                    )
                ),
            ),
        )
    ),
    case(
        "room first: each of several nodes under one PDB",
        [
            drifted("a", claim=GRACE),
            pod(node="a", cpu="3", labels=PDB),
            drifted("b", claim=GRACE),
            pod(node="b", cpu="3", labels=PDB),
            budget(PDB, allowed=0, maxUnavailable=1),
        ],
        replaced("a", "b", replacements=2),
    ),
]
BLOCKED = [
    *(
        case(
            f"{name}, with a grace period",
            [drifted("n1", claim=GRACE), *bodies],
            lambda p: [d["nodes"] for d in p.disruptions] == [["n1"]],
        )
        for name, bodies in (
            ("a protected pod", [pod(node="n1", cpu="3", annotations=PROTECTED)]),
            ("a budget of pods", [pod(node="n1", cpu="3", labels=PDB), budget(PDB, allowed=0)]),
            (
                "two budgets of pods",
                [
                    pod(node="n1", cpu="3", labels=PDB),
                    budget(PDB, allowed=1),
                    budget(PDB, allowed=1, name="b"),
                ],
            ),
        )
    ),
    *(
        case(
            f"{name}, without",
            [drifted("n1", claim=NO_GRACE), *bodies],
            lambda p, words=words: not p.disruptions and words in p.blocked["n1"],
        )
        for name, words, bodies in (
            ("a protected pod", "do-not-disrupt", [pod(node="n1", cpu="3", annotations=PROTECTED)]),
            (
                "a budget of pods",
                "Pdb prevents",
                [pod(node="n1", cpu="3", labels=PDB), budget(PDB, allowed=0)],
            ),
            (
                "two budgets of pods",
                "multiple PDBs",
                [
                    pod(node="n1", cpu="3", labels=PDB),
                    budget(PDB, allowed=1),
                    budget(PDB, allowed=1, name="b"),
                ],
            ),
        )
    ),
    case(
        "a protected node, with a grace period",
        [drifted("n1", claim=GRACE, annotations=PROTECTED), pod(node="n1", cpu="3")],
        replaced(),
    ),
    case("a node that is not initialized", [drifted("n1", initialized=False)], replaced()),
    case(
        "a blocked one is passed over",
        [
            drifted("a", at="2026-01-01T08:00:00Z", claim=NO_GRACE),
            pod(node="a", cpu="3", annotations=PROTECTED),
            drifted("b"),
            pod(node="b", cpu="3"),
        ],
        replaced("b", replacements=1),
        disruption={"budgets": [{"nodes": "1"}]},
    ),
]


def static(replicas: int, **more: Any) -> Objects:
    return [node_pool(replicas=replicas, disruption=NEVER, **more)]


STATIC = [
    case(
        "a static pool's drifted node is replaced, pods or not",
        [drifted("n1")],
        replaced("n1", replacements=1),
        pools=static(1),
    ),
    case(
        "several at once within the budget",
        [drifted(f"n{i}", at=f"2026-01-01T0{i}:00:00Z") for i in range(4)],
        replaced("n0", "n1", "n2", "n3", replacements=4),
        pools=static(4),
    ),
    case(
        "a budget for drift bounds them",
        [drifted(f"n{i}", at=f"2026-01-01T0{i}:00:00Z") for i in range(4)],
        replaced("n0", "n1", replacements=2),
        pools=[node_pool(replicas=4, disruption={**NEVER, "budgets": [{"nodes": "2"}]})],
    ),
    case(
        "the limit on nodes leaves room for one",
        [drifted(f"n{i}", at=f"2026-01-01T0{i}:00:00Z") for i in range(3)],
        replaced("n0", replacements=1),
        pools=static(3, limits={"nodes": "4"}),
    ),
    case(
        "the limit on nodes leaves no room",
        [drifted("n1"), drifted("n2")],
        replaced(),
        pools=static(2, limits={"nodes": "2"}),
    ),
    case(
        "a pool that has too many nodes waits with drift",
        [drifted("n1"), drifted("n2")],
        lambda p: all(d["reason"] != "Drifted" for d in p.disruptions),
        pools=static(1),
    ),
    case(
        "a static pool's label binds its replacements",
        [drifted("n1", zone=Z2)],
        lambda p: [r["offer"]["zone"] for d in p.disruptions for r in d["replacements"]] == [Z2],
        pools=static(1, labels={ZONE: Z2}),
    ),
    case(
        "static nodes are not consolidated",
        [node("n1"), node("n2"), pod(node="n1", cpu="1"), pod(node="n2", cpu="1")],
        lambda p: all(d["reason"] == "ScaledDown" for d in p.disruptions),
        pools=[node_pool(replicas=2)],
    ),
]

CASES = [*WHAT, *HOW, *FIRST, *BLOCKED, *STATIC]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
