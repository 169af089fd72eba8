"""minValues: how much choice a launch must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    ARCH,
    CAPACITY,
    TYPE,
    Z1,
    Z2,
    Z3,
    ZONE,
    Object,
    Planned,
    exists,
    instance_type,
    is_in,
    node_pool,
    offering,
    pod,
    pods,
    requirement,
    spread,
)
from plan_cases import Case, Check, all_of, nodes, pending, requirement_of, run, why

FAMILY, GENERATION = "example.com/family", "example.com/generation"


def made(name: str, cpu: int, family: str, generation: int, **more: Any) -> Object:
    return instance_type(
        name,
        cpu=str(cpu),
        memory=f"{cpu}Gi",
        pods="20",
        overhead={"cpu": "0"},
        labels={FAMILY: family, GENERATION: str(generation)},
        **more,
    )


SIZES = [made("a1", 1, "a", 1), made("a4", 4, "a", 2), made("b4", 4, "b", 3), made("c8", 8, "c", 4)]


def pool(*requirements: Object, **more: Any) -> list[Object]:
    return [node_pool(requirements=[exists(CAPACITY), *requirements], **more)]


def choice(key: str, least: int) -> Check:
    """Every claim leaves so many values of a label of its types."""
    labels = {t["name"]: {**t["labels"], TYPE: t["name"]} for t in SIZES}

    def check(p: Planned) -> bool:
        return not p.unschedulable and all(
            len({labels[t][key] for t in (c["offer"]["instanceType"], *c["alternatives"])}) >= least
            for c in p.claims
        )

    return check


def small(number: int) -> list[Object]:
    return pods(number, cpu="900m", memory="100Mi")


CASES = [
    Case(
        "In: a node is not filled beyond what enough types hold",
        small(2),
        all_of(nodes(2), choice(TYPE, 2)),
        catalog=SIZES[:2],
        pools=pool(requirement(TYPE, "In", "a1", "a4", minValues=2)),
    ),
    Case(
        "In: filled as far as enough types hold",
        small(4),
        all_of(nodes(1), choice(TYPE, 2)),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "In", "a4", "b4", "c8", minValues=2)),
    ),
    Case(
        "Exists: so many types",
        small(2),
        choice(TYPE, 3),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "Exists", minValues=3)),
    ),
    Case(
        "NotIn: so many of the others",
        small(2),
        choice(TYPE, 2),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "NotIn", "a1", minValues=2)),
    ),
    Case(
        "Exists: so many families",
        small(2),
        choice(FAMILY, 3),
        catalog=SIZES,
        pools=pool(requirement(FAMILY, "Exists", minValues=3)),
    ),
    Case(
        "In: so many families",
        small(2),
        choice(FAMILY, 2),
        catalog=SIZES,
        pools=pool(requirement(FAMILY, "In", "b", "c", minValues=2)),
    ),
    *(
        Case(
            f"{operator}: so many generations",
            small(2),
            choice(GENERATION, 2),
            catalog=SIZES,
            pools=pool(requirement(GENERATION, operator, bound, minValues=2)),
        )
        for operator, bound in (("Gt", "2"), ("Lt", "4"), ("Gte", "3"), ("Lte", "3"))
    ),
    *(
        Case(
            f"{operator}: fewer generations than asked",
            [pod("p")],
            pending("p"),
            catalog=SIZES,
            pools=pool(requirement(GENERATION, operator, bound, minValues=3)),
        )
        for operator, bound in (("Gt", "2"), ("Lt", "3"), ("Gte", "3"), ("Lte", "2"))
    ),
    Case(
        "DoesNotExist with minValues can never be met",
        [pod("p")],
        pending("p"),
        catalog=SIZES,
        pools=pool(requirement(FAMILY, "DoesNotExist", minValues=1)),
    ),
    Case(
        "two minimums of one key: the larger counts",
        small(1),
        choice(TYPE, 3),
        catalog=SIZES,
        pools=pool(
            requirement(TYPE, "Exists", minValues=3), requirement(TYPE, "NotIn", "x", minValues=1)
        ),
    ),
    Case(
        "two minimums of one key that no types meet",
        [pod("p")],
        pending("p"),
        catalog=SIZES,
        pools=pool(
            requirement(TYPE, "Exists", minValues=5), requirement(TYPE, "NotIn", "x", minValues=1)
        ),
    ),
    Case(
        "minimums of two keys",
        small(1),
        all_of(choice(TYPE, 2), choice(FAMILY, 2)),
        catalog=SIZES,
        pools=pool(
            requirement(TYPE, "Exists", minValues=2), requirement(FAMILY, "Exists", minValues=2)
        ),
    ),
    Case(
        "minimums of two keys, one of which cannot be met",
        [pod("p")],
        pending("p"),
        catalog=SIZES,
        pools=pool(
            requirement(TYPE, "Exists", minValues=2), requirement(FAMILY, "Exists", minValues=4)
        ),
    ),
    Case(
        "a pod that leaves too few types",
        [pod("p", cpu="5"), pod("q", cpu="500m")],
        pending("p"),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "Exists", minValues=2)),
    ),
    Case(
        "a pod that names a type leaves too few",
        [pod("p", nodeSelector={TYPE: "a4"})],
        pending("p"),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "Exists", minValues=2)),
    ),
    Case(
        "more types than there are",
        [pod("p")],
        all_of(pending("p"), why("p", TYPE, "minValues 9")),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "Exists", minValues=9)),
    ),
    Case(
        "a pool with minValues that cannot gives way to another",
        [pod("p", cpu="5")],
        lambda p: [c["nodePool"] for c in p.claims] == ["light"],
        catalog=SIZES,
        pools=[
            node_pool("heavy", weight=9, requirements=[requirement(TYPE, "Exists", minValues=2)]),
            node_pool("light"),
        ],
    ),
    Case(
        "minValues of the claim's requirement stay",
        small(1),
        lambda p: [r.get("minValues") for r in requirement_of(p, TYPE)] == [2],
        catalog=SIZES,
        pools=pool(requirement(TYPE, "Exists", minValues=2)),
    ),
    Case(
        "zones",
        [pod("p")],
        lambda p: len({z for r in requirement_of(p, ZONE) for z in r["values"]} or {1, 2, 3}) >= 3,
        pools=pool(requirement(ZONE, "In", Z1, Z2, Z3, minValues=3)),
    ),
    Case(
        "zones for a pod of one zone",
        [pod("p", nodeSelector={ZONE: Z1})],
        pending("p"),
        pools=pool(requirement(ZONE, "In", Z1, Z2, Z3, minValues=2)),
    ),
    Case(
        "zones for pods that are spread over them",
        [*pods(3, labels={"a": "b"}, topologySpreadConstraints=[spread(ZONE, labels={"a": "b"})])],
        lambda p: len(p.unschedulable) == 3,
        pools=pool(requirement(ZONE, "In", Z1, Z2, Z3, minValues=2)),
    ),
    Case(
        "capacity types",
        [pod("p")],
        nodes(1),
        pools=[node_pool(requirements=[requirement(CAPACITY, "Exists", minValues=2)])],
    ),
    Case(
        "capacity types where only one is",
        [pod("p")],
        pending("p"),
        catalog=[instance_type("t", offerings=[offering(Z1, "on-demand", 1)])],
        pools=[node_pool(requirements=[requirement(CAPACITY, "Exists", minValues=2)])],
    ),
    Case(
        "architectures",
        [pod("p")],
        lambda p: {"arm"} < {p.claims[0]["offer"]["instanceType"], *p.claims[0]["alternatives"]},
        pools=pool(requirement(ARCH, "In", "amd64", "arm64", minValues=2)),
    ),
    Case(
        "types without capacity now do not count",
        [pod("p")],
        pending("p"),
        catalog=[
            instance_type("a"),
            instance_type("b", offerings=[offering(Z1, "on-demand", 1, available=False)]),
        ],
        pools=pool(requirement(TYPE, "Exists", minValues=2)),
    ),
    Case(
        "types of a capacity type the pool excludes do not count",
        [pod("p")],
        pending("p"),
        catalog=[
            instance_type("a", offerings=[offering(Z1, "on-demand", 1)]),
            instance_type("b", offerings=[offering(Z1, "spot", 1)]),
        ],
        pools=[
            node_pool(
                requirements=[
                    is_in(CAPACITY, "on-demand"),
                    requirement(TYPE, "Exists", minValues=2),
                ]
            )
        ],
    ),
    Case(
        "the dear ones that are needed are kept beyond sixty",
        [pod("p")],
        lambda p: "rare" in p.claims[0]["alternatives"] and len(p.claims[0]["alternatives"]) == 59,
        catalog=[
            *(made(f"t{i:02d}", 4, "usual", 1, price=1 + i / 100) for i in range(70)),
            made("rare", 4, "rare", 1, price=9.0),
        ],
        pools=pool(requirement(FAMILY, "Exists", minValues=2)),
    ),
    Case(
        "under a limit the choice stays within it",
        [pod("p", cpu="900m")],
        pending("p"),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "Exists", minValues=4), limits={"cpu": "4"}),
    ),
    Case(
        "under a limit that leaves enough",
        [pod("p", cpu="900m")],
        choice(TYPE, 3),
        catalog=SIZES,
        pools=pool(requirement(TYPE, "Exists", minValues=3), limits={"cpu": "4"}),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
