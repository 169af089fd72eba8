"""CreateFleet is asked no more often than it may be, and everybody is answered."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError
from autoctl.aws.executor import DirectExecutor
from autoctl.aws.fleet import FleetConfig, FleetFailed, FleetRequest, LaunchOrder, Override
from autoctl.aws.fleet_queue import Fleets
from autoctl.aws.ratelimit import RateLimits

pytestmark = pytest.mark.looptime


class Ec2:
    """Launches from the first override that has room; `room` is without end where not given."""

    def __init__(self, **room: int) -> None:
        self.room = room
        self.asked: list[tuple[float, dict[str, Any]]] = []
        self.failures: list[str] = []
        self.launched = 0

    def create_fleet(self, **asked: Any) -> dict[str, Any]:
        self.asked.append((asyncio.get_running_loop().time(), asked))
        if self.failures:
            raise ClientError({"Error": {"Code": self.failures.pop(0)}}, "CreateFleet")
        left = asked["TargetCapacitySpecification"]["TotalTargetCapacity"]
        instances, errors = [], []
        for config in asked["LaunchTemplateConfigs"]:
            for override in config["Overrides"]:
                name = override["InstanceType"]
                taken = min(left, self.room.get(name, left))
                if name in self.room:
                    self.room[name] -= taken
                left -= taken
                pool = {"LaunchTemplateAndOverrides": {"Overrides": override}}
                if taken:
                    ids = [f"i-{self.launched + n}" for n in range(taken)]
                    self.launched += taken
                    instances.append({**pool, "InstanceIds": ids, "InstanceType": name})
                if left and taken < left + taken:
                    code = "InsufficientInstanceCapacity"
                    errors.append({**pool, "ErrorCode": code, "ErrorMessage": "no room"})
        return {"Instances": instances, "Errors": errors}

    @property
    def sizes(self) -> list[int]:
        return [
            asked["TargetCapacitySpecification"]["TotalTargetCapacity"] for _, asked in self.asked
        ]

    def busiest_minute(self) -> int:
        times = [at for at, _ in self.asked]
        return max(sum(start <= at < start + 60 for at in times) for start in times)


def order(name: str, types: str, *, digest: str = "") -> LaunchOrder:
    """Types are letters, the earlier the cheaper."""
    overrides = tuple(
        Override(t, "us-west-2a", "subnet-a", "ami", price=float(ord(t))) for t in types
    )
    request = FleetRequest(
        "on-demand", (FleetConfig("t", overrides),), (("k", "v"),), (digest or name,)
    )
    return LaunchOrder(request, f"uid-{name}", name)


def fleets(ec2: Ec2, per_minute: int = 60) -> Fleets:
    caller = Caller(
        "ec2",
        ec2,
        DirectExecutor(),
        rng=random.Random(1),
        limits=RateLimits(fleets_per_minute=per_minute),
    )
    return Fleets(caller)


async def launch(ec2: Ec2, orders: list[LaunchOrder], per_minute: int = 60) -> list[Any]:
    queue = fleets(ec2, per_minute)
    return await asyncio.gather(*(queue.launch(o) for o in orders), return_exceptions=True)


async def test_equal_launches_share_a_request_and_others_have_their_own() -> None:
    ec2 = Ec2()
    orders = [order(f"n{n}", "ab", digest="same") for n in range(5)] + [order("x", "b")]
    found = await launch(ec2, orders)
    assert ec2.sizes == [5, 1]
    assert len({i.instance_id for i in found}) == 6


async def test_launches_that_cannot_share_go_at_the_rate_in_their_order() -> None:
    ec2 = Ec2()
    names = [chr(1000 + n) for n in range(150)]
    found = await launch(ec2, [order(name, name) for name in names])
    assert [i.instance_type for i in found] == names
    assert ec2.busiest_minute() <= 60
    asked = [a["LaunchTemplateConfigs"][0]["Overrides"][0]["InstanceType"] for _, a in ec2.asked]
    assert asked == names, "who came first goes first"
    assert ec2.asked[-1][0] < 245, "30 at once, then one every two seconds"


async def test_under_pressure_those_with_the_same_best_offer_share() -> None:
    ec2 = Ec2()
    rng = random.Random(1)
    orders = [
        order(f"n{n}", best + "".join(sorted(rng.sample("uvwxyz", 4))))
        for n in range(40)
        for best in "abcde"
    ]
    found = await launch(ec2, orders)
    assert len(ec2.asked) <= 30
    assert ec2.asked[-1][0] < 1, "nobody waits"
    for asked, instance in zip(orders, found, strict=True):
        assert instance.instance_type == asked.request.configs[0].overrides[0].instance_type


async def test_what_comes_while_others_wait_joins_them() -> None:
    ec2 = Ec2()
    queue = fleets(ec2, per_minute=2)
    first = [asyncio.create_task(queue.launch(order(n, n))) for n in "abc"]
    await asyncio.sleep(1)
    later = [asyncio.create_task(queue.launch(order(n, "cx", digest=n))) for n in "123"]
    await asyncio.gather(*first, *later)
    assert ec2.sizes == [1, 1, 4]


async def test_who_is_left_out_asks_again_for_all_that_is_his_own() -> None:
    """One request for what both allow; then what each allows beside it."""
    ec2 = Ec2(a=1, z=0)
    orders = [order("one", "ax"), order("two", "ay"), order("three", "az"), order("four", "a")]
    found = await launch(ec2, orders, per_minute=2)
    kinds = Counter(i.instance_type if not isinstance(i, Exception) else "none" for i in found)
    assert kinds == {"a": 1, "y": 1, "none": 2}
    failures = [f for f in found if isinstance(f, FleetFailed)]
    assert {e.instance_type for f in failures for e in f.errors} == {"a", "z"}
    assert all(f.out_of_capacity for f in failures)
    tried = [
        [o["InstanceType"] for c in asked["LaunchTemplateConfigs"] for o in c["Overrides"]]
        for _, asked in ec2.asked
    ]
    assert tried[0] == ["a"]
    assert sorted(tried[1:]) == [["y"], ["z"]], "nothing is asked for twice"


async def test_a_failed_request_fails_for_all_it_was_for() -> None:
    ec2 = Ec2()
    ec2.failures = ["UnauthorizedOperation"]
    found = await launch(ec2, [order(n, "a", digest="same") for n in "12"])
    assert all(isinstance(f, CloudError) and f.code == "UnauthorizedOperation" for f in found)


async def test_repetitions_count_against_the_rate() -> None:
    ec2 = Ec2()
    ec2.failures = ["InternalError"] * 40
    names = [chr(1000 + n) for n in range(40)]
    found = await launch(ec2, [order(name, name) for name in names])
    assert not any(isinstance(f, Exception) for f in found)
    assert len(ec2.asked) == 80
    assert ec2.busiest_minute() <= 60


async def test_who_does_not_wait_any_more_is_not_launched_for() -> None:
    ec2 = Ec2()
    queue = fleets(ec2, per_minute=2)
    tasks = [asyncio.create_task(queue.launch(order(n, n))) for n in "abc"]
    await asyncio.sleep(1)
    tasks[2].cancel()
    await asyncio.sleep(120)
    assert [t.done() for t in tasks] == [True] * 3
    assert ec2.launched == 2


async def test_many_of_a_kind_go_in_requests_that_ec2_takes() -> None:
    ec2 = Ec2()
    await launch(ec2, [order(str(n), "a", digest="same") for n in range(2500)])
    assert ec2.sizes == [1000, 1000, 500]


@pytest.mark.parametrize("per_minute", [2, 10, 60, 300])
async def test_the_rate_is_a_setting(per_minute: int) -> None:
    ec2 = Ec2()
    names = [chr(1000 + n) for n in range(2 * per_minute)]
    await launch(ec2, [order(name, name) for name in names], per_minute)
    assert per_minute - 1 <= ec2.busiest_minute() <= per_minute
