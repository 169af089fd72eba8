"""The catalog at run time: what is news, what stays on failure, what nodes teach."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoctl.api.nodeclass import NodeClass
from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError
from autoctl.aws.executor import DirectExecutor
from autoctl.aws.instance_types import InstanceTypes, class_types
from autoctl.aws.market import MarketApi, embedded_market, known_market
from autoctl.aws.offerings import UnavailableOfferings
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT
from autoctl.controllers.catalog.refresh import EmptyAnswer, MarketRefresh, market_refreshes
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import FixedClock
from autoctl.sim.cloud import CloudSettings, SimulatedCloud
from autoctl.sim.cloud.faults import Fault, FaultType

pytestmark = pytest.mark.looptime

START = datetime(2026, 1, 5, tzinfo=UTC)
REGION = "us-west-2"
IMAGE = "ami-0123456789abcdef0"


def node_class(*reservations: dict[str, Any]) -> NodeClass:
    tags = [{"tags": {"team": "a"}}]
    arch = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
    return NodeClass.from_dict(
        {
            "apiVersion": "eks.amazonaws.com/v1",
            "kind": "NodeClass",
            "metadata": {"name": "default"},
            "spec": {
                "role": "node",
                "subnetSelectorTerms": tags,
                "securityGroupSelectorTerms": tags,
            },
            "status": {
                "subnets": [{"id": "subnet-1", "zone": "us-west-2a"}],
                "amis": [{"id": IMAGE, "requirements": [arch]}],
                "capacityReservations": list(reservations),
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True",
                        "reason": "Ready",
                        "message": "",
                        "lastTransitionTime": "2026-01-05T00:00:00Z",
                    }
                ],
            },
        }
    )


class Fixture:
    """`known` is the region whose packaged facts the operator starts from."""

    def __init__(self, known: str = REGION) -> None:
        self.clock = FixedClock(START)
        self.cloud = SimulatedCloud(self.clock, CloudSettings(region=REGION, cluster="c", seed=1))
        rng = random.Random(1)

        def caller(service: str) -> Caller:
            return Caller(service, self.cloud.client(service), DirectExecutor(), rng=rng)

        self.api = MarketApi(caller("ec2"), caller("pricing"), region=REGION)
        self.types = InstanceTypes(known_market(known), UnavailableOfferings(self.clock))
        self.metrics = Metrics()
        self.refreshes: dict[str, MarketRefresh] = {
            r.part: r for r in market_refreshes(self.api, self.types, self.clock, self.metrics)
        }

    def refreshed(self, part: str) -> float | None:
        name = "autoctl_catalog_refreshed_timestamp_seconds"
        return self.metrics.registry.get_sample_value(name, {"part": part})


@pytest.fixture
def world() -> Fixture:
    return Fixture()


async def test_an_account_that_sells_what_is_embedded_is_no_news(world: Fixture) -> None:
    declared = node_class()
    before = world.types.known(declared)
    for refresh in world.refreshes.values():
        assert await refresh.run_once() == refresh.period
        assert world.refreshed(refresh.part) == START.timestamp()
    after = world.types.known(declared)
    assert all(a is b for a, b in zip(after, before, strict=True))
    revision = world.types.revision()
    for refresh in world.refreshes.values():
        await refresh.run_once()
    assert world.types.revision() == revision


async def test_a_region_that_is_not_packaged_is_sold_as_the_account_tells() -> None:
    world, packaged = Fixture("sa-east-1"), Fixture()
    declared = node_class()
    assert not world.types.known(declared)
    for refresh in world.refreshes.values():
        await refresh.run_once()
    assert {t.name: t for t in world.types.known(declared)} == {
        t.name: t for t in packaged.types.known(declared)
    }


async def test_a_moved_spot_price_changes_that_type_alone(world: Fixture) -> None:
    declared = node_class()
    before = {t.name: t for t in world.types.known(declared)}
    revision = world.types.revision()
    world.cloud.ec2.types.set_spot_price("m5.large", "us-west-2a", 0.5)
    await world.refreshes["spot"].run_once()
    assert world.types.revision() > revision
    after = {t.name: t for t in world.types.known(declared)}
    price = {o.capacity_type: o.price for o in after["m5.large"].offerings}
    assert price[SPOT] == 0.5
    assert price[ON_DEMAND] == next(
        o.price for o in before["m5.large"].offerings if o.capacity_type == ON_DEMAND
    )
    assert [n for n in after if after[n] is not before[n]] == ["m5.large"]


@pytest.mark.parametrize(
    ("part", "operation"),
    [
        ("spot", "DescribeSpotPriceHistory"),
        ("on-demand", "GetProducts"),
        ("instance-types", "DescribeInstanceTypeOfferings"),
    ],
)
async def test_what_cannot_be_refreshed_stays_as_it_was(
    world: Fixture, part: str, operation: str
) -> None:
    await world.refreshes[part].run_once()
    market = world.types.market
    fault = Fault(
        FaultType.API_ERROR,
        operations=(operation,),
        error="UnauthorizedOperation",
    )
    world.cloud.inject(fault)
    world.clock.instant += timedelta(seconds=30)
    with pytest.raises(CloudError):
        await world.refreshes[part].run_once()
    assert world.types.market is market
    assert world.refreshed(part) == START.timestamp(), "the metric tells how old it is"


async def test_an_empty_answer_is_a_failure(
    world: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: datetime) -> dict[tuple[str, str], float]:
        return {}

    monkeypatch.setattr(world.api, "spot", nothing)
    market = world.types.market
    with pytest.raises(EmptyAnswer):
        await world.refreshes["spot"].run_once()
    assert world.types.market is market


async def test_the_price_list_is_asked_for_plain_linux(world: Fixture) -> None:
    prices = await world.api.on_demand()
    assert len(prices) > 500
    assert prices["m5.large"] == embedded_market(REGION).on_demand["m5.large"]
    assert not [name for name in prices if ".metal" in name]


async def test_the_least_memory_seen_corrects_the_estimate(world: Fixture) -> None:
    declared = node_class()
    before = {t.name: t for t in world.types.known(declared)}
    guess = before["m5.large"].capacity["memory"]
    real = guess - 100 * 1024**2
    world.types.observe_memory("m5.large", IMAGE, real)
    world.types.observe_memory("m5.large", IMAGE, real + 1)
    world.types.observe_memory("m5.xlarge", "ami-another", 1)
    after = {t.name: t for t in world.types.known(declared)}
    assert after["m5.large"].capacity["memory"] == real
    assert [n for n in after if after[n] is not before[n]] == ["m5.large"]
    revision = world.types.revision()
    world.types.observe_memory("m5.large", IMAGE, real)
    assert world.types.revision() == revision, "seen before"


def reservation(room: int) -> dict[str, Any]:
    return {
        "id": "cr-1",
        "availabilityZone": "us-west-2a",
        "instanceType": "m5.large",
        "instanceMatchCriteria": "targeted",
        "ownerID": "111122223333",
        "availableInstanceCount": room,
    }


async def test_reserved_room_shrinks_with_launches_until_the_status_tells(world: Fixture) -> None:
    def room(declared: NodeClass) -> list[tuple[int | None, bool]]:
        return [
            (o.reservation_capacity, o.available)
            for t in world.types.known(declared)
            for o in t.offerings
            if o.capacity_type == RESERVED
        ]

    two = node_class(reservation(2))
    assert room(two) == [(2, True)]
    world.types.take_reserved(two.status.capacity_reservations[0])
    assert room(two) == [(1, True)]
    world.types.take_reserved(two.status.capacity_reservations[0])
    assert room(two) == [(0, False)]
    assert room(node_class(reservation(1))) == [(1, True)], "EC2 has the word"


def test_reservations_cost_next_to_nothing() -> None:
    market = embedded_market(REGION)
    (offered,) = [
        t for t in class_types(node_class(reservation(1)), market) if t.name == "m5.large"
    ]
    price = {o.capacity_type: o.price for o in offered.offerings}
    assert 0 < price[RESERVED] < price[SPOT] / 1000
