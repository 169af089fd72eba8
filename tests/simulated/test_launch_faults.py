"""What launching does when AWS fails, over HTTP with boto3.

Whatever the fault: pods run where any offering is left, within the back-off; no NodeClaim is
launched twice; where nothing can be done, conditions and events say why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from harness import deployment, node_class, node_pool
from over_http import READ_TIMEOUT, Remote, playing_over_http

from autoctl.sim.cloud.faults import Fault, FaultType
from autoctl.sim.cloud.http import TransportFault

TYPES = ("c5.large", "m5.large", "m6i.large", "r5.large")
ZONES = ("us-west-2a", "us-west-2b", "us-west-2c", "us-west-2d")
EACH_ON_ITS_OWN = "1500m"
"""Of a type's two CPUs: no two pods share a node."""
BACK_OFF = 180.0
"""Seconds for which an offering without capacity is not asked for."""
NODE = 120.0
"""Seconds within which a pod runs when nothing fails, with room for a few retries."""


@dataclass(frozen=True)
class Row:
    """One fault and what comes of it.

    `strike` is called when the NodeClass and the NodePool are ready and before there are pods;
    `pods` run within `seconds` (of virtual time) after those are there. `said` are the reasons, and
    parts of the messages, that some condition or event must have had by then.
    """

    name: str
    strike: Callable[[Remote], None]
    seconds: float = NODE
    pods: int = 3
    said: tuple[tuple[str, str], ...] = ()
    capacity_types: tuple[str, ...] = ("on-demand",)
    spec: dict[str, Any] = field(default_factory=dict)
    check: Callable[[Remote], None] = lambda _: None


# --- Strikes --------------------------------------------------------------------------------------


def fault(kind: FaultType, seconds: float | None = None, **fields: Any) -> Callable[[Remote], None]:
    lasts = None if seconds is None else timedelta(seconds=seconds)
    return lambda play: _inject(play, Fault(kind, lasts=lasts, **fields))


def _inject(play: Remote, what: Fault) -> None:
    play.world.cloud.inject(what)


def no_capacity(seconds: float | None = None, **fields: Any) -> Callable[[Remote], None]:
    return fault(FaultType.INSUFFICIENT_CAPACITY, seconds, **fields)


def refused(code: str, seconds: float, status: int = 403) -> Callable[[Remote], None]:
    """CreateFleet fails as a whole."""
    return fault(
        FaultType.API_ERROR,
        seconds,
        operations=("CreateFleet",),
        error=code,
        message=f"{code} was struck",
        status=status,
    )


def wire(kind: Any, **fields: Any) -> Callable[[Remote], None]:
    """Something happens to the answers of CreateFleet on their way."""

    def strike(play: Remote) -> None:
        app = play.server.app
        app.transport.append(TransportFault(kind, operations=("CreateFleet",), **fields))

    return strike


def deny(action: str, seconds: float) -> Callable[[Remote], None]:
    """A right is taken away for a while."""

    def strike(play: Remote) -> None:
        play.world.cloud.denied.add(action)
        play.world.cloud.timeline.after(seconds, play.world.cloud.denied.clear)

    return strike


def room(per_zone: dict[str, int]) -> Callable[[Remote], None]:
    """So many on-demand instances of every type fit into each zone; more after four minutes."""

    def strike(play: Remote) -> None:
        pools = play.world.cloud.ec2.capacity.pools
        for name in TYPES:
            for zone in ZONES:
                pools[name, zone, "on-demand"] = 0
        for zone, count in per_zone.items():
            pools["m5.large", zone, "on-demand"] = count
        play.world.cloud.timeline.after(240, pools.clear)

    return strike


def reservation_fills_up(play: Remote) -> None:
    """Somebody else takes the last place after the class's status has told of it."""
    (reservation,) = play.world.cloud.ec2.capacity.reservations.values()
    reservation.used_by.add("i-of-somebody-else")


def reservation_becomes(state: str) -> Callable[[Remote], None]:
    def strike(play: Remote) -> None:
        (reservation,) = play.world.cloud.ec2.capacity.reservations.values()
        reservation.state = state

    return strike


def templates_vanish(play: Remote) -> None:
    """The launch templates that the operator knows are deleted by hand."""
    play.world.cloud.ec2.templates.templates.clear()


def full_subnet(zone: str) -> Callable[[Remote], None]:
    def strike(play: Remote) -> None:
        for subnet in play.world.cloud.ec2.network.subnets.values():
            if subnet.zone == zone:
                while subnet.pool.free:
                    subnet.pool.take()

    return strike


def quota(capacity_type: str, vcpus: int, seconds: float | None = None) -> Callable[[Remote], None]:
    """So many vCPUs and no more, for ever or until somebody has asked for more."""

    def strike(play: Remote) -> None:
        quotas = play.world.cloud.ec2.capacity.vcpu_quota
        before, quotas[capacity_type] = quotas[capacity_type], vcpus
        if seconds is not None:
            raised = {capacity_type: before}
            play.world.cloud.timeline.after(seconds, lambda: quotas.update(raised))

    return strike


# --- Checks ---------------------------------------------------------------------------------------


def bought(*capacity_types: str) -> Callable[[Remote], None]:
    def check(play: Remote) -> None:
        assert {i.capacity_type for i in play.instances()} == set(capacity_types)

    return check


def outside(*zones: str) -> Callable[[Remote], None]:
    def check(play: Remote) -> None:
        assert not {i.zone for i in play.instances()} & set(zones)

    return check


def asked_at_most(fleets: int) -> Callable[[Remote], None]:
    def check(play: Remote) -> None:
        assert len(real_fleets(play)) <= fleets

    return check


def repeated_with_one_token(play: Remote) -> None:
    """The lost answer's request was made again, and was the same request."""
    tokens = [request.params["ClientToken"] for request in real_fleets(play)]
    assert len(tokens) > len(set(tokens))


def real_fleets(play: Remote) -> list[Any]:
    """CreateFleet requests that were no dry runs."""
    log = play.world.cloud.log.select("CreateFleet")
    return [request for request in log if not request.params.get("DryRun")]


NO_ROOM = (("InsufficientCapacityError", "InsufficientInstanceCapacity"),)

ROWS = [
    Row("nothing", lambda _: None, check=asked_at_most(3)),
    Row(
        "every second request throttled",
        fault(FaultType.API_THROTTLE, operations=("ec2:*",), share=0.5),
        seconds=300,
    ),
    Row(
        "all fleets throttled for a minute",
        fault(FaultType.API_THROTTLE, 60, operations=("CreateFleet",)),
        seconds=60 + NODE,
        check=asked_at_most(40),
    ),
    Row(
        "no capacity in two zones",
        no_capacity(zones=("us-west-2a", "us-west-2b")),
        check=outside("us-west-2a", "us-west-2b"),
    ),
    Row(
        "no capacity anywhere for two minutes",
        no_capacity(120),
        seconds=2 * BACK_OFF + NODE,
        said=NO_ROOM,
        check=asked_at_most(12),
    ),
    Row(
        "spot gone, on-demand there",
        no_capacity(capacity_types=("spot",)),
        capacity_types=("spot", "on-demand"),
        said=NO_ROOM,
        check=bought("on-demand"),
    ),
    Row(
        "unfulfillable spot request",
        no_capacity(capacity_types=("spot",), error="UnfulfillableCapacity"),
        capacity_types=("spot", "on-demand"),
        said=(("InsufficientCapacityError", "UnfulfillableCapacity"),),
        check=bought("on-demand"),
    ),
    Row(
        "no service-linked role for spot",
        no_capacity(
            capacity_types=("spot",),
            error="AuthFailure.ServiceLinkedRoleCreationNotPermitted",
            message="The provided credentials do not have permission to create the role",
        ),
        capacity_types=("spot", "on-demand"),
        check=bought("on-demand"),
    ),
    Row(
        "spot quota used up",
        quota("spot", 0),
        capacity_types=("spot", "on-demand"),
        said=(("InsufficientCapacityError", "MaxSpotInstanceCountExceeded"),),
        check=bought("on-demand"),
    ),
    Row(
        "on-demand quota used up by the second node",
        quota("on-demand", 4, 240),
        seconds=240 + 2 * BACK_OFF + NODE,
        said=(("InsufficientCapacityError", "VcpuLimitExceeded"),),
        check=asked_at_most(20),
    ),
    Row(
        "more fleets than the account may have, for two minutes",
        refused("MaxFleetCountExceeded", 120, 400),
        seconds=120 + BACK_OFF + NODE,
        said=(("InsufficientCapacityError", "MaxFleetCountExceeded was struck"),),
        check=asked_at_most(6),
    ),
    Row(
        "no capacity for the whole request, for two minutes",
        refused("InsufficientInstanceCapacity", 120, 500),
        seconds=120 + 2 * BACK_OFF + NODE,
        said=(("InsufficientCapacityError", "InsufficientInstanceCapacity was struck"),),
        check=asked_at_most(12),
    ),
    Row(
        "a reservation fills up in between",
        reservation_fills_up,
        capacity_types=("reserved", "on-demand"),
        spec={"capacityReservationSelectorTerms": [{"tags": {"team": "a"}}]},
        said=(("InsufficientCapacityError", "ReservationCapacityExceeded"),),
        check=bought("on-demand"),
    ),
    *(
        Row(
            name,
            strike,
            capacity_types=("reserved", "on-demand"),
            spec={"capacityReservationSelectorTerms": [{"tags": {"team": "a"}}]},
            said=(("InsufficientCapacityError", code),),
            check=bought("on-demand"),
        )
        for name, strike, code in (
            (
                "a reservation is taken back in between",
                reservation_becomes("unavailable"),
                "InvalidCapacityReservationState.Unavailable",
            ),
            (
                "a reservation is gone in between",
                lambda play: play.world.cloud.ec2.capacity.reservations.clear(),
                "InvalidCapacityReservationId.NotFound",
            ),
        )
    ),
    Row(
        "a full subnet",
        full_subnet("us-west-2a"),
        check=outside("us-west-2a"),
    ),
    Row(
        "credentials refused for a minute",
        refused("AuthFailure", 60, 401),
        seconds=60 + NODE,
        said=(("Unauthorized", "AuthFailure was struck"),),
    ),
    Row(
        "no right to CreateFleet for a minute",
        deny("ec2:CreateFleet", 60),
        seconds=60 + NODE,
        said=(("Unauthorized", "ec2:CreateFleet"),),
    ),
    Row(
        "no right to RunInstances for a minute",
        deny("ec2:RunInstances", 60),
        seconds=60 + NODE,
        said=(("Unauthorized", "ec2:RunInstances"),),
    ),
    Row(
        "EC2 fails inside for twenty seconds",
        refused("InternalError", 20, 500),
        seconds=60 + NODE,
    ),
    Row("connections reset on the way there", wire("reset", count=3)),
    Row(
        "connections reset on the way back",
        wire("reset", phase="after"),
        check=repeated_with_one_token,
    ),
    Row("a 503 of a proxy", wire("status", status=503, count=3)),
    Row(
        "a 502 after the launch",
        wire("status", status=502, phase="after"),
        check=repeated_with_one_token,
    ),
    Row(
        "an answer that takes too long",
        wire("slow", phase="after", delay=2 * READ_TIMEOUT),
        check=repeated_with_one_token,
    ),
    Row(
        "half-filled fleets",
        room({"us-west-2a": 1, "us-west-2b": 2}),
        pods=6,
        seconds=240 + 2 * BACK_OFF + NODE,
        said=NO_ROOM,
    ),
    Row("launch templates deleted by hand", templates_vanish, seconds=60 + NODE),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
async def test_pods_run_although(row: Row) -> None:
    objects = (
        node_class(**row.spec),
        node_pool(capacity_types=row.capacity_types),
        deployment(replicas=0, cpu=EACH_ON_ITS_OWN),
    )
    async with playing_over_http(objects, instance_types=TYPES) as play:
        if row.spec:
            play.world.cloud.ec2.capacity.add_reservation(
                "m5.large", "us-west-2a", 1, tags={"team": "a"}
            )
        await play.until(lambda: play.condition(play.pool(), "Ready")["status"] == "True")
        row.strike(play)
        await play.scale(row.pods)
        await play.until_running(row.pods, row.seconds)
        for reason, text in row.said:
            assert play.told(reason, text), f"nobody said {reason}: {text}; but {play.said}"
        row.check(play)
        await asyncio.sleep(60)
        assert_nothing_twice(play)


def assert_nothing_twice(play: Remote) -> None:
    """Every instance that runs belongs to one NodeClaim, and every NodeClaim has one."""
    assert play.running() == len(play.nodes())
    claimed = sorted(claim["status"]["providerID"] for claim in play.claims())
    assert claimed == sorted(instance.provider_id for instance in play.instances())
    assert play.launched == len(claimed), "nothing was launched to be thrown away"


async def test_without_any_offering_pods_wait_and_are_told_why() -> None:
    objects = (node_class(), node_pool(), deployment(replicas=0, cpu=EACH_ON_ITS_OWN))
    async with playing_over_http(objects, instance_types=TYPES) as play:
        await play.until(lambda: play.condition(play.pool(), "Ready")["status"] == "True")
        no_capacity()(play)
        await play.scale(3)
        await asyncio.sleep(1800)
        play.note()
        assert play.running() == 0
        assert play.launched == 0
        assert play.told("InsufficientCapacityError", "InsufficientInstanceCapacity")
        assert play.told("FailedScheduling")
        assert len(real_fleets(play)) <= 3 * 6, "the back-off grows: 3, 6, 12 minutes"
