"""Preparing what can be launched changes no answer, and is not done twice."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.aws.fleet import (
    CAPACITY_BLOCK,
    INTERRUPTIBLE,
    FleetConfig,
    FleetRequest,
    LaunchOrder,
    fleet_arguments,
)
from autoctl.aws.instance_types import open_zones
from autoctl.aws.subnet_use import SubnetUse
from autoctl.catalog.embedded import load_catalog
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT, InstanceType, Offering
from autoctl.catalog.units import amounts
from autoctl.controllers.lifecycle.launch_options import (
    LaunchOptions,
    PreparedOptions,
    offering_labels,
)
from autoctl.controllers.lifecycle.launch_plan import LaunchPlan, plan_launch
from autoctl.ports.clock import FixedClock
from autoctl.scheduling.requirements import Requirements
from autoctl.state.problem import requirement_specs

REGION = "us-west-2"
ZONES = ("us-west-2a", "us-west-2b", "us-west-2c", "us-west-2d")
TYPES = tuple(load_catalog(REGION).instance_types.values())
EFA = "vpc.amazonaws.com/efa"


def claim(*requirements: tuple[str, str, list[str]], **requests: str) -> NodeClaim:
    return NodeClaim.from_dict(
        {
            "metadata": {"name": "web-1", "labels": {"karpenter.sh/nodepool": "web"}},
            "spec": {
                "nodeClassRef": {
                    "group": "eks.amazonaws.com",
                    "kind": "NodeClass",
                    "name": "default",
                },
                "requirements": [
                    {"key": key, "operator": operator, "values": values}
                    for key, operator, values in requirements
                ],
                "resources": {"requests": requests},
            },
        }
    )


def node_class() -> NodeClass:
    terms = [{"tags": {"team": "a"}}]
    images = [
        (f"ami-{architecture}-{operator}", architecture, operator)
        for operator in ("In", "NotIn")
        for architecture in ("amd64", "arm64")
    ]
    return NodeClass.from_dict(
        {
            "metadata": {"name": "default"},
            "spec": {
                "role": "r",
                "subnetSelectorTerms": terms,
                "securityGroupSelectorTerms": terms,
            },
            "status": {
                "subnets": [{"id": f"subnet-{zone}", "zone": zone} for zone in ZONES],
                "amis": [
                    {
                        "id": image,
                        "name": image,
                        "requirements": [
                            {"key": labels.ARCH, "operator": "In", "values": [architecture]},
                            {
                                "key": labels.INSTANCE_GPU_MANUFACTURER,
                                "operator": operator,
                                "values": ["nvidia"],
                            },
                        ],
                    }
                    for image, architecture, operator in images
                ],
            },
        }
    )


def plan(asked: NodeClaim, types: tuple[InstanceType, ...] = TYPES, **how: Any) -> LaunchPlan:
    return plan_launch(asked, node_class(), LaunchOptions(types, REGION), **how)


def naively(asked: NodeClaim, types: tuple[InstanceType, ...]) -> list[tuple[str, str, str]]:
    """The rule as it is written: each offering's node against every requirement."""
    wanted = Requirements.of_specs(requirement_specs(asked.spec.requirements))
    decided = labels.WELL_KNOWN_LABELS - {labels.NODEPOOL}
    wanted = Requirements(r for k, r in wanted.items() if k in decided)
    requests = amounts(asked.spec.resources.requests)
    return [
        (t.name, o.zone, o.capacity_type)
        for t in types
        for o in t.offerings
        if all(t.allocatable.get(k, 0) >= v for k, v in requests.items())
        and wanted.accepts(offering_labels(t, o, REGION))
    ]


KEYS: list[tuple[str, str, list[str]]] = [
    (labels.INSTANCE_TYPE, "In", ["m5.large", "c6g.xlarge", "p5.48xlarge", "none.such"]),
    (labels.INSTANCE_TYPE, "NotIn", ["m5.large"]),
    (labels.CAPACITY_TYPE, "In", ["spot"]),
    (labels.CAPACITY_TYPE, "NotIn", ["spot", "reserved"]),
    (labels.ZONE, "In", ["us-west-2a", "us-west-2c"]),
    (labels.ZONE_ID, "In", ["usw2-az1"]),
    (labels.ZONE_ID, "NotIn", ["usw2-az1"]),
    (labels.ARCH, "In", ["arm64"]),
    (labels.OS, "In", ["linux"]),
    (labels.REGION, "In", [REGION]),
    (labels.INSTANCE_CPU, "Gt", ["7"]),
    (labels.INSTANCE_GPU_COUNT, "DoesNotExist", []),
    (labels.INSTANCE_GPU_NAME, "Exists", []),
    (labels.CAPACITY_RESERVATION_ID, "DoesNotExist", []),
    ("team", "In", ["a"]),
    (labels.NODEPOOL, "In", ["web"]),
]


@pytest.mark.parametrize("seed", range(12))
def test_the_answer_is_that_of_the_rule(seed: int) -> None:
    rng = random.Random(seed)
    types = tuple(rng.sample(TYPES, 60))
    options = LaunchOptions(types, REGION)
    for _ in range(12):
        asked = claim(*rng.sample(KEYS, rng.randint(0, 4)), cpu=rng.choice(["1", "6", "40"]))
        found = [(t.name, o.zone, o.capacity_type) for t, o in options.of(asked)]
        assert found == naively(asked, types)


def test_a_zone_s_subnet_is_the_one_with_most_addresses_left() -> None:
    """What launches took since the class counted is as good as gone."""
    own = node_class().to_dict()
    own["status"]["subnets"] = [
        {"id": "large", "zone": ZONES[0], "availableIPAddressCount": 200},
        {"id": "small", "zone": ZONES[0], "availableIPAddressCount": 120},
        {"id": "other", "zone": ZONES[1], "availableIPAddressCount": 5},
    ]
    asked = claim((labels.INSTANCE_TYPE, "In", ["m5.large"]))

    def chosen(taken: dict[str, int]) -> dict[str, str]:
        found = plan_launch(
            asked,
            NodeClass.from_dict(own),
            LaunchOptions(TYPES, REGION),
            addresses_taken=taken,
        )
        return {o.zone: o.subnet_id for group in found.groups for o in group.overrides}

    assert chosen({}) == {ZONES[0]: "large", ZONES[1]: "other"}
    assert chosen({"large": 79}) == {ZONES[0]: "large", ZONES[1]: "other"}
    assert chosen({"large": 81}) == {ZONES[0]: "small", ZONES[1]: "other"}
    spent = chosen({"large": 400, "small": 300, "other": 90})
    assert spent == {ZONES[0]: "small", ZONES[1]: "other"}, "EC2 has the last word"


def test_addresses_count_as_taken_until_the_next_count() -> None:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    use = SubnetUse(clock, timedelta(minutes=1))
    use.take("a", 29)
    clock.instant += timedelta(seconds=40)
    use.take("a", 58)
    use.take("b", 8)
    assert {k: n for k, n in use.taken().items() if n} == {"a": 87, "b": 8}
    clock.instant += timedelta(seconds=30)
    assert {k: n for k, n in use.taken().items() if n} == {"a": 58, "b": 8}
    clock.instant += timedelta(minutes=1)
    assert not any(use.taken().values())


def test_what_was_prepared_lasts_as_long_as_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = PreparedOptions(REGION)
    first = prepared.of(TYPES)
    assert prepared.of(TYPES) is first
    other = tuple(TYPES)[:-1]
    assert prepared.of(other) is not first
    asked = claim((labels.ARCH, "In", ["amd64"]), cpu="1500m")
    expected = plan_launch(asked, node_class(), first)
    monkeypatch.setattr(LaunchOptions, "of", None)
    assert plan_launch(asked, node_class(), first) == expected, "a second look at the offerings"


def test_without_capacity_a_rehearsal_has_what_to_try() -> None:
    gone = tuple(
        replace(t, offerings=tuple(replace(o, available=False) for o in t.offerings)) for t in TYPES
    )
    asked = claim((labels.ARCH, "In", ["amd64"]), cpu="1500m")
    assert plan(asked, gone).groups == ()
    assert plan(asked, gone, capacity_aside=True) == plan(asked)


def reserved(*offerings: tuple[str, dict[str, str], int]) -> tuple[InstanceType, ...]:
    """m5.large on demand, and with these reservations: id, labels and room."""
    found = next(t for t in TYPES if t.name == "m5.large")
    made = tuple(
        Offering(
            ZONES[0],
            RESERVED,
            0.0,
            reservation_id=name,
            reservation_capacity=room,
            labels=given | {labels.CAPACITY_RESERVATION_ID: name},
        )
        for name, given, room in offerings
    )
    return (replace(found, offerings=(*found.offerings, *made)),)


BLOCK = {labels.CAPACITY_RESERVATION_TYPE: "capacity-block"}
LENT = {labels.CAPACITY_RESERVATION_INTERRUPTIBLE: "true"}
PLAIN = {
    labels.CAPACITY_RESERVATION_TYPE: "default",
    labels.CAPACITY_RESERVATION_INTERRUPTIBLE: "false",
}


@pytest.mark.parametrize(
    ("offerings", "chosen", "market"),
    [
        ([("cr-1", PLAIN, 1), ("cr-2", PLAIN, 5)], "cr-2", ""),
        ([("cr-1", BLOCK, 9), ("cr-2", PLAIN, 1)], "cr-2", ""),
        ([("cr-1", LENT, 9), ("cr-2", BLOCK, 1)], "cr-2", CAPACITY_BLOCK),
        ([("cr-1", LENT, 9)], "cr-1", INTERRUPTIBLE),
    ],
)
def test_the_most_lasting_reservation_is_taken(
    offerings: list[tuple[str, dict[str, str], int]], chosen: str, market: str
) -> None:
    found = plan(claim(cpu="1"), reserved(*offerings))
    assert found.reservation is not None
    assert (found.reservation.id, found.reservation.market) == (chosen, market)
    assert found.capacity_type == RESERVED


def test_only_who_asks_for_adapters_gets_them() -> None:
    ordinary = plan(claim((labels.INSTANCE_FAMILY, "In", ["p4d"]), cpu="1"))
    assert {g.specifics.efa for g in ordinary.groups} == {()}
    asking = claim((labels.INSTANCE_FAMILY, "In", ["p4d", "p6-b300"]), **{EFA: "1"})
    cards = {g.overrides[0].instance_type: g.specifics.efa for g in plan(asking).groups}
    assert cards["p4d.24xlarge"] == (0, 1, 2, 3)
    beside = tuple(range(1, 17))
    assert cards.get("p6-b300.48xlarge", beside) == beside, "its primary card has no adapter"


POD_TERMS = {
    "podSubnetSelectorTerms": [{"tags": {"team": "pods"}}],
    "podSecurityGroupSelectorTerms": [{"tags": {"team": "pods"}}],
}
STATIC = {
    "advancedNetworking": {
        "networkInterfaces": [
            {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
            {
                "networkCardIndex": 0,
                "deviceIndex": 1,
                "interfaceType": "interface",
                "secondaryIPv4Count": 9,
            },
        ]
    }
}


def with_pod_subnets(spec: dict[str, Any], **free: int) -> NodeClass:
    """Pods have subnets of their own in the zones of `free`, with so many addresses left."""
    found = node_class().to_dict()
    found["spec"] |= POD_TERMS | spec
    found["status"]["podSubnets"] = [
        {
            "id": f"subnet-pods-{letter}",
            "zone": f"{REGION}{letter}",
            "availableIPAddressCount": count,
        }
        for letter, count in free.items()
    ]
    return NodeClass.from_dict(found)


def zones_of(found: LaunchPlan) -> set[str]:
    return {o.zone for g in found.groups for o in g.overrides}


def test_a_zone_without_addresses_for_pods_gets_no_node() -> None:
    declared = with_pod_subnets({}, a=0, b=50, c=9)
    asked = claim((labels.INSTANCE_TYPE, "In", ["m5.large"]), cpu="1")
    options = LaunchOptions(TYPES, REGION)
    found = plan_launch(asked, declared, options)
    assert zones_of(found) == {"us-west-2b", "us-west-2c"}
    assert found.pod_subnets == {
        "us-west-2b": "subnet-pods-b",
        "us-west-2c": "subnet-pods-c",
    }
    assert not any(o.subnet_in_template for g in found.groups for o in g.overrides)
    full = frozenset({"subnet-pods-c"})
    assert zones_of(plan_launch(asked, declared, options, exhausted_subnets=full)) == {"us-west-2b"}
    assert open_zones(declared, lambda name: name != "subnet-pods-c") == {"us-west-2b"}


def test_interfaces_for_pods_need_a_template_for_each_zone() -> None:
    declared = with_pod_subnets(STATIC, a=100, b=100)
    asked = claim((labels.INSTANCE_TYPE, "In", ["m5.large", "m5.xlarge"]), cpu="1")
    found = plan_launch(asked, declared, LaunchOptions(TYPES, REGION))
    for group in found.groups:
        (zone,) = {o.zone for o in group.overrides}
        assert all(o.subnet_in_template for o in group.overrides)
        assert group.specifics.subnet == f"subnet-{zone}"
        assert group.specifics.pod_subnet == f"subnet-pods-{zone[-1]}"
    assert zones_of(found) == {"us-west-2a", "us-west-2b"}
    request = FleetRequest(
        found.capacity_type,
        tuple(FleetConfig(str(n), g.overrides) for n, g in enumerate(found.groups)),
        (),
    )
    arguments = fleet_arguments(request, [LaunchOrder(request, "uid", "web-1")])
    for config in arguments["LaunchTemplateConfigs"]:
        assert all("SubnetId" not in o and "AvailabilityZone" in o for o in config["Overrides"])


def test_spot_is_preferred_and_overrides_know_their_price() -> None:
    found = plan(claim((labels.CAPACITY_TYPE, "In", [SPOT, ON_DEMAND]), cpu="1"))
    assert found.capacity_type == SPOT
    prices = [o.price for g in found.groups for o in g.overrides]
    assert all(price > 0 for price in prices)


def test_at_equal_prices_the_market_s_order_is_kept() -> None:
    """What an overlay made free is asked for from the smallest on, not by name."""
    free = tuple(
        replace(
            t,
            offerings=tuple(
                replace(o, price=0.0, overlay="o", market_price=o.price) for o in t.offerings
            ),
        )
        for t in TYPES
    )
    family = (labels.INSTANCE_FAMILY, "In", ["m7i"])
    found = plan(claim(family, (labels.CAPACITY_TYPE, "In", [ON_DEMAND]), cpu="1"), free)
    ranked = sorted(
        (o for group in found.groups for o in group.overrides),
        key=lambda o: -1 if o.priority is None else o.priority,
    )
    sizes = list(dict.fromkeys(o.instance_type for o in ranked))
    assert sizes[:3] == ["m7i.large", "m7i.xlarge", "m7i.2xlarge"]
    assert {o.price for o in ranked} == {0.0}
    anything = plan(claim(cpu="1"), free)
    assert "m7i.48xlarge" not in {o.instance_type for g in anything.groups for o in g.overrides}
