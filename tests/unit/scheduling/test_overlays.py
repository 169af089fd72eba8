"""NodeOverlays on instance types: every rule of the reference, by what becomes of prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from autoctl.api.nodeoverlay import NodeOverlay
from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.overlays import Overlaid, PoolTypes, apply_overlays

FAMILY = "eks.amazonaws.com/instance-family"
CAPACITY = "karpenter.sh/capacity-type"
ZONE = "topology.kubernetes.io/zone"
POOL = "karpenter.sh/nodepool"
A, B = "us-west-2a", "us-west-2b"


def offering(zone: str, capacity_type: str, price: float) -> Offering:
    return Offering(zone, capacity_type, price, labels={"topology.k8s.aws/zone-id": f"id-{zone}"})


def instance_type(name: str, price: float, cpu: int, **extra: Any) -> InstanceType:
    family, _, _ = name.partition(".")
    offers = [offering(z, c, price) for z in (A, B) for c in ("on-demand", "spot")]
    return InstanceType(
        name,
        "amd64",
        {"cpu": cpu * 1000, "memory": cpu * 2**32, "pods": 58, **extra},
        overhead={"cpu": 80},
        labels={FAMILY: family, "eks.amazonaws.com/instance-cpu": str(cpu)},
        offerings=tuple(offers),
        exotic=name.startswith("g"),
    )


M5 = instance_type("m5.large", 1.0, 2)
C5 = instance_type("c5.xlarge", 2.0, 4)
G5 = instance_type("g5.xlarge", 4.0, 4, **{"nvidia.com/gpu": 1})
TYPES = (M5, C5, G5)
GENERAL = PoolTypes("general", {"team": "a", "eks.amazonaws.com/nodeclass": "default"}, TYPES)
OTHER = PoolTypes("other", {"eks.amazonaws.com/nodeclass": "default"}, TYPES)


def overlay(name: str, *requirements: tuple[str, str, list[str]], **spec: Any) -> NodeOverlay:
    return NodeOverlay.from_dict(
        {
            "apiVersion": "karpenter.sh/v1alpha1",
            "kind": "NodeOverlay",
            "metadata": {"name": name},
            "spec": {
                "requirements": [
                    {"key": k, "operator": o, "values": v} for k, o, v in requirements
                ],
                **spec,
            },
        }
    )


M5_ONLY = (FAMILY, "In", ["m5"])
SPOT_ONLY = (CAPACITY, "In", ["spot"])


def prices(found: Overlaid, pool: str = "general") -> dict[tuple[str, str, str], float]:
    """(type, zone, capacity type) -> price, of the offerings whose price is not the market's."""
    listed = {t.name: t for t in TYPES}
    return {
        (t.name, o.zone, o.capacity_type): o.price
        for t in found.types[pool]
        for o, before in zip(t.offerings, listed[t.name].offerings, strict=True)
        if o is not before
    }


def priced(found: Overlaid, pool: str = "general") -> dict[str, set[float]]:
    """Type -> its new prices."""
    result: dict[str, set[float]] = {}
    for (name, _, _), price in prices(found, pool).items():
        result.setdefault(name, set()).add(price)
    return result


@dataclass(frozen=True)
class Row:
    """Overlays, the new prices for the pool `general`, and the reasons of refusal."""

    name: str
    overlays: tuple[NodeOverlay, ...]
    priced: dict[str, set[float]]
    refused: dict[str, str] = field(default_factory=dict)


def reach(requirement: tuple[str, str, list[str]], *names: str) -> Row:
    """An overlay with one requirement, which touches these types."""
    return Row(
        f"{requirement[0]} {requirement[1]} {requirement[2]}",
        (overlay("o", requirement, price="9"),),
        {name: {9.0} for name in names},
    )


EVERYTHING = ("m5.large", "c5.xlarge", "g5.xlarge")

ROWS = [
    Row("an absolute price", (overlay("o", M5_ONLY, price="0.25"),), {"m5.large": {0.25}}),
    Row("an amount more", (overlay("o", M5_ONLY, priceAdjustment="+0.5"),), {"m5.large": {1.5}}),
    Row("an amount less", (overlay("o", M5_ONLY, priceAdjustment="-0.5"),), {"m5.large": {0.5}}),
    Row("a percentage less", (overlay("o", M5_ONLY, priceAdjustment="-10%"),), {"m5.large": {0.9}}),
    Row("never below nothing", (overlay("o", M5_ONLY, priceAdjustment="-5"),), {"m5.large": {0.0}}),
    Row("for nothing", (overlay("o", M5_ONLY, priceAdjustment="-100%"),), {"m5.large": {0.0}}),
    Row("no requirements: everything", (overlay("o", price="9"),), {n: {9.0} for n in EVERYTHING}),
    # Requirements
    reach((FAMILY, "NotIn", ["m5"]), "c5.xlarge", "g5.xlarge"),
    reach(("karpenter.k8s.aws/instance-family", "In", ["m5"]), "m5.large"),
    reach(("node.kubernetes.io/instance-type", "In", ["c5.xlarge"]), "c5.xlarge"),
    reach(("eks.amazonaws.com/instance-cpu", "Gt", ["2"]), "c5.xlarge", "g5.xlarge"),
    reach(("eks.amazonaws.com/instance-cpu", "Lte", ["2"]), "m5.large"),
    reach(("kubernetes.io/arch", "In", ["amd64"]), *EVERYTHING),
    reach(("kubernetes.io/arch", "In", ["arm64"])),
    reach(("topology.kubernetes.io/region", "In", ["us-west-2"]), *EVERYTHING),
    reach(("topology.k8s.aws/zone-id", "In", ["id-elsewhere"])),
    reach((POOL, "In", ["general"]), *EVERYTHING),
    reach((POOL, "In", ["other"])),
    reach(("team", "In", ["a"]), *EVERYTHING),
    reach(("team", "In", ["b"])),
    reach(("unknown", "Exists", [])),
    reach(("unknown", "DoesNotExist", []), *EVERYTHING),
    reach(("unknown", "NotIn", ["x"]), *EVERYTHING),
    reach(("eks.amazonaws.com/nodeclass", "In", ["default"]), *EVERYTHING),
    # Weight
    Row(
        "the heavier one counts, the lighter one where it is alone",
        (overlay("a", M5_ONLY, price="3", weight=10), overlay("b", price="4", weight=5)),
        {"m5.large": {3.0}, "c5.xlarge": {4.0}, "g5.xlarge": {4.0}},
    ),
    Row(
        "any weight is more than none",
        (overlay("b", M5_ONLY, price="3"), overlay("a", M5_ONLY, price="4", weight=1)),
        {"m5.large": {4.0}},
    ),
    Row(
        "of equal weight the later name counts, the other is refused as a whole",
        (overlay("a", price="3"), overlay("b", M5_ONLY, price="4")),
        {"m5.large": {4.0}},
        {"a": "Conflict"},
    ),
    Row(
        "the same price twice is a conflict as well",
        (overlay("a", M5_ONLY, price="3", weight=7), overlay("b", M5_ONLY, price="3", weight=7)),
        {"m5.large": {3.0}},
        {"a": "Conflict"},
    ),
    Row(
        "a refused overlay stands in nobody's way",
        (
            overlay("a", (FAMILY, "In", ["c5"]), price="5"),
            overlay("b", (FAMILY, "In", ["m5", "c5"]), price="4"),
            overlay("c", M5_ONLY, price="3"),
        ),
        {"m5.large": {3.0}, "c5.xlarge": {5.0}},
        {"b": "Conflict"},
    ),
    Row(
        "equal weight, conflict under a heavier one that counts for both",
        (
            overlay("a", M5_ONLY, price="3", weight=1),
            overlay("b", M5_ONLY, price="4", weight=1),
            overlay("c", M5_ONLY, price="5", weight=2),
        ),
        {"m5.large": {5.0}},
        {"a": "Conflict"},
    ),
    Row(
        "different types do not meet",
        (overlay("a", M5_ONLY, price="3"), overlay("b", (FAMILY, "In", ["c5"]), price="4")),
        {"m5.large": {3.0}, "c5.xlarge": {4.0}},
    ),
    Row(
        "different offerings do not meet",
        (
            overlay("a", M5_ONLY, SPOT_ONLY, price="3"),
            overlay("b", M5_ONLY, (CAPACITY, "In", ["on-demand"]), price="4"),
        ),
        {"m5.large": {3.0, 4.0}},
    ),
    Row(
        "a price and a capacity do not meet",
        (overlay("a", price="3"), overlay("b", capacity={"example.com/device": "1"})),
        {n: {3.0} for n in EVERYTHING},
    ),
    Row(
        "a value that the label never has",
        (overlay("a", (CAPACITY, "In", ["cheap"]), price="3"),),
        {},
        {"a": "RuntimeValidation"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_prices(row: Row) -> None:
    found = apply_overlays(row.overlays, (GENERAL,))
    assert priced(found) == row.priced
    assert {name: r.reason for name, r in found.refused.items()} == row.refused
    names = {o.name for o in row.overlays} - set(row.refused)
    told = {o.overlay for t in found.types["general"] for o in t.offerings} - {None}
    assert told <= names


def test_requirements_on_offerings_choose_among_a_types_offerings() -> None:
    chosen = overlay("o", M5_ONLY, SPOT_ONLY, (ZONE, "In", [B]), price="0.1")
    found = apply_overlays((chosen,), (GENERAL,))
    assert prices(found) == {("m5.large", B, "spot"): 0.1}


def test_an_overlay_may_name_one_pool_and_pools_alike_share_their_types() -> None:
    third = PoolTypes("third", OTHER.labels, TYPES)
    chosen = overlay("o", (POOL, "In", ["other"]), price="9")
    found = apply_overlays((chosen,), (GENERAL, OTHER, third))
    assert set(priced(found, "other")) == set(EVERYTHING)
    assert found.types["general"] is TYPES, "nothing changed: the tuple stays the same object"
    everywhere = apply_overlays((overlay("o", M5_ONLY, price="9"),), (GENERAL, OTHER, third))
    assert everywhere.types["general"] is everywhere.types["other"] is everywhere.types["third"]


def test_a_conflict_in_one_pool_refuses_the_overlay_in_all() -> None:
    both = overlay("a", M5_ONLY, price="3")
    one = overlay("b", M5_ONLY, (POOL, "In", ["other"]), price="4")
    found = apply_overlays((both, one), (GENERAL, OTHER))
    assert priced(found, "general") == {}
    assert priced(found, "other") == {"m5.large": {4.0}}
    assert found.refused["a"].message == (
        "conflict with another overlay: 'b' of equal weight sets the price of m5.large on-demand "
        "in us-west-2a for NodePool 'other'"
    )


def capacity_of(found: Overlaid, name: str) -> dict[str, int]:
    return dict(next(t for t in found.types["general"] if t.name == name).capacity)


def test_capacity_is_added_to_the_type_however_it_is_bought() -> None:
    chosen = overlay("o", M5_ONLY, SPOT_ONLY, capacity={"example.com/device": "4"})
    found = apply_overlays((chosen,), (GENERAL,))
    changed = found.types["general"][0]
    assert changed.capacity == {**M5.capacity, "example.com/device": 4}
    assert changed.allocatable["example.com/device"] == 4
    assert changed.overlays == ("o",)
    assert changed.offerings == M5.offerings, "capacity says nothing about prices"
    assert found.types["general"][1:] == TYPES[1:]


def test_nothing_else_about_a_type_changes() -> None:
    chosen = overlay("o", (FAMILY, "In", ["g5"]), price="1", capacity={"nvidia.com/gpu": "4"})
    changed = apply_overlays((chosen,), (GENERAL,)).types["general"][2]
    assert changed.capacity == {**G5.capacity, "nvidia.com/gpu": 4}, "what the type has is replaced"
    assert (changed.overhead, changed.labels, changed.exotic) == (G5.overhead, G5.labels, True)
    assert [o.labels for o in changed.offerings] == [o.labels for o in G5.offerings]


def test_each_resource_has_its_heaviest_overlay() -> None:
    found = apply_overlays(
        (
            overlay("a", M5_ONLY, capacity={"example.com/a": "1", "example.com/b": "1"}, weight=2),
            overlay("b", M5_ONLY, capacity={"example.com/b": "2", "example.com/c": "2"}, weight=1),
        ),
        (GENERAL,),
    )
    added = {k: v for k, v in capacity_of(found, "m5.large").items() if k.startswith("example")}
    assert added == {"example.com/a": 1, "example.com/b": 1, "example.com/c": 2}
    assert found.types["general"][0].overlays == ("a", "b")


@pytest.mark.parametrize(
    ("resources", "refused"),
    [(["example.com/a", "example.com/b"], []), (["example.com/a", "example.com/a"], ["a"])],
)
def test_equal_weights_meet_over_the_same_resource_only(
    resources: list[str], refused: list[str]
) -> None:
    given = [
        overlay(name, M5_ONLY, capacity={resource: "1"}, weight=3)
        for name, resource in zip("ab", resources, strict=True)
    ]
    assert list(apply_overlays(given, (GENERAL,)).refused) == refused


CPU = "eks.amazonaws.com/instance-cpu"


@pytest.mark.parametrize(
    ("requirements", "key"),
    [
        ([("a", "In", ["b"]), ("a", "In", ["c"])], "a"),
        ([("team", "Gt", ["8"]), ("team", "Lt", ["4"])], "team"),
        ([("team", "Gt", ["4"]), ("team", "Lt", ["5"])], "team"),
        ([("team", "Gt", [str(2**63 - 1)])], "team"),
        ([("team", "Gte", ["4"]), ("team", "Lte", ["5"]), ("team", "NotIn", ["4", "5"])], "team"),
        ([("a", "In", ["b"]), ("a", "NotIn", ["b"])], "a"),
        ([("a", "Exists", []), ("a", "DoesNotExist", [])], "a"),
        ([(CPU, "Gt", ["8"]), (CPU, "Lt", ["4"])], CPU),
        ([M5_ONLY, (FAMILY, "In", ["c5"])], FAMILY),
        ([M5_ONLY, ("karpenter.k8s.aws/instance-family", "In", ["c5"])], FAMILY),
    ],
    ids=str,
)
def test_requirements_that_contradict_each_other(
    requirements: list[tuple[str, str, list[str]]], key: str
) -> None:
    found = apply_overlays((overlay("o", *requirements, price="0.001"),), (GENERAL,))
    assert found.types["general"] is TYPES, "no type may be touched"
    assert found.refused["o"].reason == "RuntimeValidation"
    assert found.refused["o"].message == f"requirements on {key} contradict each other"


@pytest.mark.parametrize(
    "requirements",
    [
        [("a", "NotIn", ["b"]), ("a", "DoesNotExist", [])],
        [("a", "NotIn", ["b"]), ("a", "NotIn", ["c"])],
        [(CPU, "Gt", ["1"]), (CPU, "Lt", ["9"])],
    ],
    ids=str,
)
def test_requirements_that_go_together(requirements: list[tuple[str, str, list[str]]]) -> None:
    found = apply_overlays((overlay("o", *requirements, price="9"),), (GENERAL,))
    assert not found.refused
    assert set(priced(found)) == set(EVERYTHING)


@pytest.mark.parametrize("quantity", ["-4", -4, "-1m"])
def test_capacity_below_nothing_is_refused(quantity: object) -> None:
    chosen = overlay("o", capacity={"foo.com/bar": quantity, "foo.com/none": "0"})
    found = apply_overlays((chosen,), (GENERAL,))
    assert found.types["general"] is TYPES
    assert found.refused["o"].reason == "RuntimeValidation"
    assert found.refused["o"].message == (
        f"capacity.foo.com/bar: {quantity} is negative; expected a quantity of at least 0"
    )


def test_what_overlays_made_equal_the_market_still_tells_apart() -> None:
    def weighed(price: str) -> dict[str, float]:
        found = apply_overlays((overlay("o", price=price),), (GENERAL,)).types["general"]
        assert {o.price for t in found for o in t.offerings} == {float(price)}
        return {t.name: t.offerings[0].weighed for t in found}

    for price in ("0", "0.25"):
        given = weighed(price)
        assert given["m5.large"] < given["c5.xlarge"] < given["g5.xlarge"]
        assert given["g5.xlarge"] == pytest.approx(float(price), abs=1e-3)
    assert M5.offerings[0].weighed == M5.offerings[0].price


def test_without_overlays_the_types_are_the_given_objects() -> None:
    found = apply_overlays((), (GENERAL, OTHER))
    assert found.types["general"] is TYPES
    assert found.types["other"] is TYPES


def test_the_same_question_gives_the_same_objects() -> None:
    given = (overlay("o", M5_ONLY, price="9"),)
    first = apply_overlays(given, (GENERAL,))
    assert apply_overlays(given, (PoolTypes("general", dict(GENERAL.labels), TYPES),)) is first
    assert apply_overlays(given, (PoolTypes("general", {}, TYPES),)) is not first
