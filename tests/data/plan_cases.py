"""Tables of scheduling and disruption rules: one row a case, run through `autoctl plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plan_builders import (
    ARCH,
    CAPACITY,
    FAKE6,
    TYPE,
    ZONE,
    Object,
    Planned,
    node_pool,
    plan,
)

from autoctl.catalog.units import amounts

Objects = list[Object | list[Object]]
Check = Callable[[Planned], bool]


@dataclass(frozen=True)
class Case:
    """One row: what is in the cluster, and whether the answer is right.

    Without `pools` the cluster has the NodePool `default`, which allows everything.
    """

    name: str
    objects: Objects
    check: Check
    catalog: list[Object] | None = None
    pools: Objects | None = None
    only: str = "provision"


def run(case: Case, tmp_path: Path) -> None:
    """Plan the case and check the answer."""
    pools = [node_pool()] if case.pools is None else case.pools
    answer = plan(tmp_path, [*pools, *case.objects], "--only", case.only, catalog=case.catalog)
    consistent(answer, FAKE6 if case.catalog is None else case.catalog)
    assert case.check(answer), answer.json


# ---------------------------------------------------------------------------- consistency


def consistent(answer: Planned, catalog: list[Object]) -> None:
    """What holds of every plan: offers are sold, hold their pods and keep the claims' own words."""
    types = {t["name"]: t for t in catalog}
    told = answer.json
    bought = [*answer.claims, *(r for d in answer.disruptions for r in d["replacements"])]
    for claim in bought:
        offer = claim["offer"]
        names = [offer["instanceType"], *claim["alternatives"]]
        assert len(set(names)) == len(names), claim
        sold = [
            o
            for o in types[offer["instanceType"]]["offerings"]
            if (o["zone"], o["capacityType"], o["price"])
            == (offer["zone"], offer["capacityType"], offer["price"])
        ]
        assert any(o.get("available", True) for o in sold), claim
        for name in names:
            room = _room(types[name])
            for resource, wanted in amounts(claim["requests"]).items():
                assert wanted <= room.get(resource, 0), (name, resource, claim)
        _keeps(claim, types)
    placed = [p for c in answer.claims for p in c["pods"]]
    placed += [*answer.placements, *answer.unschedulable]
    assert len(set(placed)) == len(placed), told
    going = [n for d in answer.disruptions for n in d["nodes"]]
    assert len(set(going)) == len(going), told
    cost = told["cost"]
    assert cost["lowerBound"] <= cost["after"] + 1e-6, cost
    for command in answer.disruptions:
        if command["reason"] == "Underutilized":
            assert command["savings"] > 0, command


def _room(instance_type: Object) -> dict[str, int]:
    taken = amounts(instance_type["overhead"])
    return {k: v - taken.get(k, 0) for k, v in amounts(instance_type["capacity"]).items()}


def _keeps(claim: Object, types: Mapping[str, Object]) -> None:
    """The offer satisfies every requirement of its claim that a catalog can tell about."""
    offer = claim["offer"]
    known = {
        **types[offer["instanceType"]]["labels"],
        ARCH: types[offer["instanceType"]]["architecture"],
        TYPE: offer["instanceType"],
        ZONE: offer["zone"],
        CAPACITY: offer["capacityType"],
        "karpenter.sh/nodepool": claim["nodePool"],
    }
    for asked in claim["requirements"]:
        value = known.get(asked["key"])
        if value is None:
            continue
        assert _holds(asked["operator"], asked["values"], value), (asked, claim)


def _holds(operator: str, values: list[str], value: str) -> bool:
    match operator:
        case "In" | "NotIn":
            return (value in values) == (operator == "In")
        case "Exists" | "DoesNotExist":
            return operator == "Exists"
    number, bound = int(value), int(values[0])
    return {
        "Gt": number > bound,
        "Lt": number < bound,
        "Gte": number >= bound,
        "Lte": number <= bound,
    }[operator]


# ---------------------------------------------------------------------------- affinities


def expressions(*requirements: Object) -> Object:
    """A node selector term."""
    return {"matchExpressions": list(requirements)}


def require(*requirements: Object) -> Object:
    """Required node affinity of one term."""
    return require_any(expressions(*requirements))


def require_any(*terms: Object) -> Object:
    """Required node affinity of several terms, of which one must hold."""
    chosen = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": chosen}}


def prefer(*weighted: tuple[int, Object]) -> Object:
    """Preferred node affinity: (weight, requirement) each."""
    terms = [{"weight": w, "preference": expressions(r)} for w, r in weighted]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}


def both(*affinities: Object) -> Object:
    """Several affinities in one."""
    merged: Object = {}
    for affinity in affinities:
        for kind, body in affinity.items():
            merged[kind] = {**merged.get(kind, {}), **body}
    return merged


def term(key: str, labels: Mapping[str, str] | None = None, **extra: Any) -> Object:
    """A pod affinity term."""
    selector = {} if labels is None else {"labelSelector": {"matchLabels": dict(labels)}}
    return {"topologyKey": key, **selector, **extra}


def near(*terms: Object) -> Object:
    """Required pod affinity."""
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def away(*terms: Object) -> Object:
    """Required pod anti-affinity."""
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def prefer_near(*weighted: tuple[int, Object]) -> Object:
    """Preferred pod affinity."""
    terms = [{"weight": w, "podAffinityTerm": t} for w, t in weighted]
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}


def prefer_away(*weighted: tuple[int, Object]) -> Object:
    """Preferred pod anti-affinity."""
    terms = [{"weight": w, "podAffinityTerm": t} for w, t in weighted]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}


# ---------------------------------------------------------------------------- questions


def nodes(number: int) -> Check:
    """Every pod is placed, on that many new nodes."""
    return lambda p: len(p.claims) == number and not p.unschedulable


def types(*expected: str) -> Check:
    """Every pod is placed; the new nodes are of these types."""
    return lambda p: p.types == sorted(expected) and not p.unschedulable


def zones(*expected: str) -> Check:
    """Every pod is placed; the new nodes are in these zones."""
    return lambda p: (
        sorted(c["offer"]["zone"] for c in p.claims) == sorted(expected) and not p.unschedulable
    )


def pending(*names: str) -> Check:
    """Exactly these pods (of namespace default, where none is named) wait."""
    wanted = sorted(n if "/" in n else f"default/{n}" for n in names)
    return lambda p: sorted(p.unschedulable) == wanted


def on(**homes: str) -> Check:
    """Exactly these pods go to nodes that are there; no other pod waits."""
    wanted = {f"default/{pod}": node for pod, node in homes.items()}
    return lambda p: p.placements == wanted and not p.unschedulable


def together(*names: str) -> Check:
    """These pods share a new node."""
    wanted = {f"default/{n}" for n in names}
    return lambda p: any(wanted <= set(c["pods"]) for c in p.claims)


def apart(*names: str) -> Check:
    """No two of these pods share a node; none waits."""
    wanted = {f"default/{n}" for n in names}
    return lambda p: (
        not p.unschedulable
        and all(len(wanted & set(c["pods"])) <= 1 for c in p.claims)
        and len({p.placements[n] for n in wanted if n in p.placements})
        == len([n for n in wanted if n in p.placements])
    )


def spread_as(key: str, *expected: int) -> Check:
    """How many pods the new nodes have by domain."""
    return lambda p: p.skew(key) == sorted(expected)


def all_of(*checks: Check) -> Check:
    """Every check holds."""
    return lambda p: all(check(p) for check in checks)


def why(pod: str, *fragments: str) -> Check:
    """The pod waits, and its reason or detail contains these words."""
    key = pod if "/" in pod else f"default/{pod}"

    def check(p: Planned) -> bool:
        told = next((u for u in p.json["unschedulable"] if u["pod"] == key), None)
        return told is not None and all(
            f in f"{told['reason']} {told['detail']}" for f in fragments
        )

    return check


def requirement_of(p: Planned, key: str, claim: int = 0) -> list[Object]:
    """What a claim asks of a label."""
    return [r for r in p.claims[claim]["requirements"] if r["key"] == key]


def asks(key: str, *values: str) -> Check:
    """The only new node's claim pins the label to these values."""
    return lambda p: (
        len(p.claims) == 1
        and [sorted(r["values"]) for r in requirement_of(p, key) if r["operator"] == "In"]
        == [sorted(values)]
    )
