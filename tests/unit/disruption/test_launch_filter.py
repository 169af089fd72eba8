"""The launch list of a replacement keeps the promise its command was chosen for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from autoctl.api.labels import CAPACITY_TYPE, INSTANCE_TYPE
from autoctl.catalog.model import ON_DEMAND, SPOT, InstanceType, Offering
from autoctl.controllers.disruption.launch_filter import Rejected, restrict
from autoctl.controllers.disruption.split import Move
from autoctl.scheduling.problem import NewNode, Offer, RequirementSpec

FAMILY = "eks.amazonaws.com/instance-family"
ZONE = "zone-a"


@dataclass(frozen=True)
class OldNode:
    """What `restrict` reads of a node that goes."""

    capacity_type: str


@dataclass(frozen=True)
class Old:
    """What `restrict` reads of a candidate."""

    node: OldNode
    price: float


def kind(name: str, *, spot: float | None, on_demand: float | None) -> InstanceType:
    prices = {SPOT: spot, ON_DEMAND: on_demand}
    return InstanceType(
        name=name,
        architecture="amd64",
        capacity={"cpu": 4000},
        labels={FAMILY: name.split(".")[0]},
        offerings=tuple(
            Offering(zone=ZONE, capacity_type=c, price=p)
            for c, p in prices.items()
            if p is not None
        ),
    )


def ladder(number: int) -> list[InstanceType]:
    """Spot types at 0.01, 0.02, ... USD/hour."""
    return [kind(f"f{i}.large", spot=0.01 * i, on_demand=0.1 * i) for i in range(1, number + 1)]


def replacement(types: list[InstanceType], capacity_type: str, *extra: RequirementSpec) -> NewNode:
    best = types[0]
    price = next(o.price for o in best.offerings if o.capacity_type == capacity_type)
    names = tuple(t.name for t in types)
    return NewNode(
        pool="default",
        pods=("default/p",),
        requests={"cpu": 1000},
        requirements=(*extra, RequirementSpec(INSTANCE_TYPE, "In", names)),
        instance_types=names,
        offer=Offer(instance_type=best.name, zone=ZONE, capacity_type=capacity_type, price=price),
    )


def move(old: list[Old], new: list[NewNode]) -> Move:
    return Move(tuple(old), tuple(new), {})  # type: ignore[arg-type]


def judge(
    types: list[InstanceType], what: Move, *, threshold: float = 0.05, alternatives: int = 15
) -> Move | Rejected:
    by_pool = {"default": {t.name: t for t in types}}
    return restrict(what, by_pool, threshold=threshold, spot_alternatives=alternatives)


ANY_CAPACITY = RequirementSpec(CAPACITY_TYPE, "In", (SPOT, ON_DEMAND))


def test_types_that_would_not_pay_are_not_launched() -> None:
    types = ladder(5)
    spot = replacement(types, SPOT, ANY_CAPACITY)
    judged = judge(types, move([Old(OldNode(ON_DEMAND), 0.035)], [spot]))
    assert isinstance(judged, Move)
    assert judged.replacements[0].instance_types == ("f1.large", "f2.large", "f3.large")


def test_on_demand_replaced_by_spot_is_pinned_to_spot() -> None:
    types = ladder(2)
    judged = judge(types, move([Old(OldNode(ON_DEMAND), 1.0)], [replacement(types, SPOT)]))
    assert isinstance(judged, Move)
    pinned = {r.key: r.values for r in judged.replacements[0].requirements}
    assert pinned[CAPACITY_TYPE] == (SPOT,)


@pytest.mark.parametrize(("cheaper", "accepted"), [(14, False), (15, True), (20, True)])
def test_spot_for_spot_needs_alternatives_and_launches_no_more(
    cheaper: int, *, accepted: bool
) -> None:
    types = ladder(30)
    spot = replacement(types, SPOT, ANY_CAPACITY)
    old = Old(OldNode(SPOT), 0.01 * cheaper + 0.005)
    judged = judge(types, move([old], [spot]), threshold=0.0)
    if accepted:
        assert isinstance(judged, Move)
        assert len(judged.replacements[0].instance_types) == 15
    else:
        assert isinstance(judged, Rejected)
        assert judged.reason == (
            "SpotToSpotConsolidation requires 15 cheaper instance type options than the current "
            f"candidate to consolidate, got {cheaper}"
        )


def test_two_spot_nodes_for_one_need_no_alternatives() -> None:
    types = ladder(2)
    spot = replacement(types, SPOT, ANY_CAPACITY)
    old = Old(OldNode(SPOT), 0.01)
    assert isinstance(judge(types, move([old, old], [spot])), Move)


def test_a_spot_node_for_several_smaller_ones_needs_no_alternatives() -> None:
    types = ladder(2)
    spot = replacement(types, SPOT, ANY_CAPACITY)
    assert isinstance(judge(types, move([Old(OldNode(SPOT), 0.05)], [spot, spot])), Move)
    as_many = move([Old(OldNode(SPOT), 0.05)] * 2, [spot, spot])
    assert isinstance(judge(types, as_many), Rejected), "that is chasing the cheapest"


def test_savings_below_the_threshold_are_no_reason() -> None:
    types = [kind("f1.large", spot=None, on_demand=0.97)]
    what = move([Old(OldNode(ON_DEMAND), 1.0)], [replacement(types, ON_DEMAND)])
    assert isinstance(judge(types, what, threshold=0.02), Move)
    assert judge(types, what) == Rejected("Can't replace with a cheaper node")


def test_cheaper_types_must_still_satisfy_min_values() -> None:
    types = ladder(5)
    families = tuple(t.labels[FAMILY] for t in types)
    spot = replacement(types, SPOT, ANY_CAPACITY)
    asks = {
        n: replace(
            spot, requirements=(*spot.requirements, RequirementSpec(FAMILY, "In", families, n))
        )
        for n in (3, 4)
    }
    old = Old(OldNode(ON_DEMAND), 0.035)
    assert isinstance(judge(types, move([old], [asks[3]])), Move)
    judged = judge(types, move([old], [asks[4]]))
    assert isinstance(judged, Rejected)
    assert judged.reason == (
        f"Can't replace with a cheaper node: minValues 4 of {FAMILY} "
        "leaves 3 among the cheaper types"
    )
