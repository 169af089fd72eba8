"""Rules of Karpenter's disruption, one by one, as `autoctl plan --only disrupt` tells them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from plan_builders import (
    CAPACITY,
    DEFAULT_TYPE,
    ZONE,
    Object,
    Planned,
    budget,
    condition,
    instance_type,
    is_in,
    node,
    node_pool,
    plan,
    pod,
    pods,
)

PROTECTED = {"karpenter.sh/do-not-disrupt": "true"}
WORTHLESS = {"controller.kubernetes.io/pod-deletion-cost": str(-(2**27))}
DEAR = {"controller.kubernetes.io/pod-deletion-cost": str(2**27)}
DRIFTED = [condition("Drifted", at="2026-01-01T12:00:00Z")]


@dataclass(frozen=True)
class Rule:
    """What is there, and what has to come of it."""

    name: str
    objects: list[Object | list[Object]]
    check: Callable[[Planned], bool]
    pool: Object | None = None
    catalog: list[Object] | None = None


def going(reason: str, *nodes: str) -> Callable[[Planned], bool]:
    """Exactly these nodes go, all for one reason."""
    return lambda p: (
        sorted(n for d in p.disruptions for n in d["nodes"]) == sorted(nodes)
        and {d["reason"] for d in p.disruptions} <= {reason}
    )


def told(name: str, reason: str) -> Callable[[Planned], bool]:
    """Nothing goes, and this is why."""
    return lambda p: not p.disruptions and p.blocked.get(name) == reason


def without(key: str, objects: list[Object]) -> list[Object]:
    for each in objects:
        del each["metadata"]["labels"][key]
    return objects


def daemon(**arguments: object) -> Object:
    owner = {"kind": "DaemonSet", "name": "agent", "uid": "ds", "controller": True}
    return pod(metadata={"ownerReferences": [owner]}, **arguments)  # type: ignore[arg-type] # any


def spot_types(cheaper: int) -> list[Object]:
    dear = instance_type("dear", price=2.0)
    return [dear, *(instance_type(f"t{i:02d}", price=1.0 + i / 100) for i in range(cheaper))]


PAIR = [
    node("n1"),
    node("n2"),
    pod(node="n1", cpu="1", memory="10Mi"),
]

RULES = [
    Rule(
        "a node with the annotation says so",
        [node("n1", annotations=PROTECTED)],
        told(
            "n1",
            'Disruption is blocked through the "karpenter.sh/do-not-disrupt" annotation',
        ),
    ),
    Rule(
        'on a node only the literal "true" counts',
        [node("n1", annotations={"karpenter.sh/do-not-disrupt": "1h"})],
        going("Empty", "n1"),
    ),
    Rule(
        "a node that is not initialized says so",
        [node("n1", initialized=False)],
        told("n1", "Node isn't initialized"),
    ),
    Rule(
        "a node that a pending pod is to come to says so",
        [node("n1"), pod(cpu="1")],
        told("n1", "Node is nominated for a pending pod"),
    ),
    Rule(
        "a daemon's annotation blocks even an empty node",
        [node("n1"), daemon(node="n1", annotations=PROTECTED)],
        told("n1", 'Pod has "karpenter.sh/do-not-disrupt" annotation'),
    ),
    Rule(
        "a daemon without it blocks nothing",
        [node("n1"), daemon(node="n1")],
        going("Empty", "n1"),
    ),
    Rule(
        "two budgets on a pod",
        [
            node("n1"),
            pod(node="n1", cpu="1", labels={"a": "b"}),
            budget({"a": "b"}, name="one", allowed=1),
            budget({"a": "b"}, name="two", allowed=1),
        ],
        told("n1", "Eviction does not support multiple PDBs"),
    ),
    Rule(
        "pods without a controller do not hold a node",
        [*PAIR, pod(node="n2", cpu="500m", memory="10Mi", owner=None)],
        lambda p: len(p.disruptions) == 1 and p.disruptions[0]["evictions"] == 1,
    ),
    Rule(
        "of equal nodes the one whose pod costs less to delete goes",
        [*PAIR, pod(node="n2", cpu="1", memory="10Mi", annotations=DEAR)],
        going("Underutilized", "n1"),
    ),
    Rule(
        "of equal nodes the one whose pod has the lower priority goes",
        [*PAIR, pod(node="n2", cpu="1", memory="10Mi", priority=2**25)],
        going("Underutilized", "n1"),
    ),
    Rule(
        "a node whose pods all cost nothing counts as empty",
        [node("n1"), pod(node="n1", cpu="1", annotations=WORTHLESS)],
        lambda p: going("Empty", "n1")(p) and p.disruptions[0]["evictions"] == 1,
    ),
    Rule(
        "consolidation that is off says so",
        [node("n1"), pod(node="n1", cpu="1")],
        told("n1", 'NodePool "default" has consolidation disabled'),
        node_pool(disruption={"consolidateAfter": "Never"}),
    ),
    Rule(
        "a policy of WhenEmpty says so",
        [node("n1"), pod(node="n1", cpu="1")],
        told("n1", 'NodePool "default" has consolidation policy WhenEmpty, but node is not empty'),
        node_pool(disruption={"consolidationPolicy": "WhenEmpty"}),
    ),
    Rule(
        "a node without its zone has no price",
        [without(ZONE, node("n1")), pod(node="n1", cpu="1")],
        told("n1", f'Node does not have label "{ZONE}"'),
    ),
    Rule(
        "an instance type that is not on sale says so",
        [
            node("n1", of=instance_type("gone"), created="2026-01-02T00:00:00Z"),
            pod(node="n1", cpu="1"),
        ],
        told("n1", 'Instance Type "gone" not found'),
        catalog=[DEFAULT_TYPE],
    ),
    Rule(
        "budgets bind the reason they name",
        [node("n1"), node("n2"), pod(node="n2", cpu="1")],
        going("Empty", "n1"),
        node_pool(
            disruption={
                "budgets": [{"nodes": "100%"}, {"nodes": "0", "reasons": ["Underutilized"]}]
            }
        ),
    ),
    Rule(
        "drift with a grace period passes over a pod's annotation; consolidation does not",
        [
            node("n1", conditions=DRIFTED),
            node("n2"),
            pod(node="n1", cpu="3500m", annotations=PROTECTED),
            pod(node="n2", cpu="3500m", annotations=PROTECTED),
        ],
        lambda p: (
            going("Drifted", "n1")(p)
            and p.blocked["n2"] == 'Pod has "karpenter.sh/do-not-disrupt" annotation'
        ),
    ),
    Rule(
        "spot is replaced by the fifteen cheapest of more",
        [
            node("n1", of=instance_type("dear", price=2.0), capacity_type="spot"),
            pod(node="n1", cpu="1"),
        ],
        lambda p: (
            [r["offer"]["instanceType"] for d in p.disruptions for r in d["replacements"]]
            == ["t00"]
            and p.disruptions[0]["replacements"][0]["alternatives"]
            == [f"t{i:02d}" for i in range(1, 15)]
        ),
        node_pool(requirements=[is_in(CAPACITY, "spot")]),
        spot_types(20),
    ),
    Rule(
        "fourteen are too few",
        [
            node("n1", of=instance_type("dear", price=2.0), capacity_type="spot"),
            pod(node="n1", cpu="1"),
        ],
        told(
            "n1",
            "SpotToSpotConsolidation requires 15 cheaper instance type options than the current "
            "candidate to consolidate, got 14",
        ),
        node_pool(requirements=[is_in(CAPACITY, "spot")]),
        spot_types(14),
    ),
    Rule(
        "several spot nodes become one with fewer to choose from",
        [
            *(
                entry
                for i in range(2)
                for entry in (
                    node(f"n{i}", of=instance_type("dear", price=2.0), capacity_type="spot"),
                    *pods(3, node=f"n{i}", cpu="1"),
                )
            ),
        ],
        lambda p: (
            [len(d["replacements"]) for d in p.disruptions] == [1]
            and sorted(p.disruptions[0]["nodes"]) == ["n0", "n1"]
        ),
        node_pool(requirements=[is_in(CAPACITY, "spot")]),
        [
            instance_type("dear", price=2.0),
            instance_type("big", cpu="8", memory="32Gi", pods="110", price=1.5),
        ],
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_rule(rule: Rule, tmp_path: Path) -> None:
    objects = [rule.pool or node_pool(), *rule.objects]
    answer = plan(tmp_path, objects, "--only", "disrupt", catalog=rule.catalog or [DEFAULT_TYPE])
    assert rule.check(answer), answer.json
