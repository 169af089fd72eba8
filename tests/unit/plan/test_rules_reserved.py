"""Reserved capacity that is used up: who falls back, and who waits.

Karpenter's provisioning is strict about reservations: pods wait for its next pass rather than fall
back, as a NodeClaim on its way may hold more reservations than it will use. Here each node names
the one reservation it takes, so that its next pass can be told in this one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from plan_builders import (
    CAPACITY,
    Z1,
    Object,
    exists,
    instance_type,
    is_in,
    node_pool,
    offering,
    pod,
    pods,
    requirement,
)
from plan_cases import Case, Check, pending, prefer, run, why

RESERVATION = "eks.amazonaws.com/capacity-reservation-id"


def reserved(name: str, number: int) -> Object:
    return {
        **offering(Z1, "reserved", 0.001),
        "reservationId": name,
        "reservationCapacity": number,
    }


def kind(name: str, *reservations: tuple[str, int], on_demand: bool = True) -> Object:
    bought = [offering(Z1, "on-demand", 1.0)] if on_demand else []
    return instance_type(name, offerings=[*bought, *(reserved(*r) for r in reservations)])


def bought(expected: dict[tuple[str, str], int], *left: str) -> Check:
    """New nodes by (NodePool, reservation or capacity type), and the pods that wait."""
    return lambda p: (
        Counter(
            (
                c["nodePool"],
                next(
                    (r["values"][0] for r in c["requirements"] if r["key"] == RESERVATION),
                    c["offer"]["capacityType"],
                ),
            )
            for c in p.claims
        )
        == expected
        and pending(*left)(p)
    )


OPEN = [node_pool(requirements=[exists(CAPACITY)])]
STRICT = [node_pool(requirements=[is_in(CAPACITY, "reserved")])]

CASES = [
    Case(
        "what a reservation has no room for falls back at once",
        [pods(4, cpu="3")],
        bought({("default", "cr-1"): 2, ("default", "on-demand"): 2}),
        catalog=[kind("r", ("cr-1", 2))],
        pools=OPEN,
    ),
    Case(
        "a node books one of the reservations it could use, not all of them",
        [pods(3, cpu="3")],
        bought({("default", "cr-1"): 1, ("default", "cr-2"): 1, ("default", "cr-3"): 1}),
        catalog=[kind("r", ("cr-1", 1), ("cr-2", 1)), kind("s", ("cr-3", 1))],
        pools=OPEN,
    ),
    Case(
        "a pool of lower weight takes over when a reservation is full",
        [pods(2, cpu="3")],
        bought({("first", "cr-1"): 1, ("second", "on-demand"): 1}),
        catalog=[kind("r", ("cr-1", 1))],
        pools=[
            node_pool("first", requirements=[is_in(CAPACITY, "reserved")], weight=10),
            node_pool("second", requirements=[is_in(CAPACITY, "on-demand")], weight=1),
        ],
    ),
    Case(
        "a preference for reserved capacity is given up when it is full",
        [
            pods(
                2,
                cpu="3",
                affinity=prefer((1, requirement(CAPACITY, "In", "reserved"))),
            )
        ],
        bought({("default", "cr-1"): 1, ("default", "on-demand"): 1}),
        catalog=[kind("r", ("cr-1", 1))],
        pools=OPEN,
    ),
    Case(
        "pods that allow nothing else wait",
        [
            pod("a", cpu="3", nodeSelector={CAPACITY: "reserved"}),
            pod("b", cpu="3", nodeSelector={CAPACITY: "reserved"}),
            pod("c", cpu="3"),
        ],
        bought({("default", "cr-1"): 1, ("default", "on-demand"): 1}, "b"),
        catalog=[kind("r", ("cr-1", 1))],
        pools=OPEN,
    ),
    Case(
        "and are told why",
        [pod("a", cpu="3"), pod("b", cpu="3")],
        why("b", "reserv"),
        catalog=[kind("r", ("cr-1", 1), on_demand=False)],
        pools=STRICT,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reserved_capacity(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
