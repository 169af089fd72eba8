"""Pure decisions around launching: batch window, limits, tokens, exhausted offerings, patches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoctl.aws.errors import Kind, classify, launch_reason
from autoctl.aws.fleet import (
    FleetConfig,
    FleetError,
    FleetRequest,
    LaunchOrder,
    Override,
    fleet_arguments,
)
from autoctl.aws.offerings import UnavailableOfferings
from autoctl.controllers.objects import merge_diff
from autoctl.controllers.provisioning.limits import exceeded
from autoctl.controllers.provisioning.window import BatchWindow
from autoctl.ports.clock import FixedClock

START = datetime(2026, 1, 5, tzinfo=UTC)


def test_window_waits_for_idleness_but_not_for_ever() -> None:
    window = BatchWindow(idle=1, longest=10)
    assert window.closes_in(0) is None
    window.add("a", 0.0)
    assert window.closes_in(0.25) == 0.75
    window.add("a", 0.5)
    assert window.closes_in(0.5) == 0.5, "a known pod does not prolong the window"
    for tick in range(1, 40):
        window.add(f"pod-{tick}", tick * 0.25)
    assert window.closes_in(9.75) == 0.25
    window.take()
    assert window.closes_in(11) is None


@pytest.mark.parametrize(
    ("limits", "usage", "more", "broken"),
    [
        ({}, {"cpu": 10**9}, {"cpu": 1}, False),
        ({"cpu": 8000}, {"cpu": 4000}, {"cpu": 4000}, False),
        ({"cpu": 8000}, {"cpu": 4001}, {"cpu": 4000}, True),
        ({"nodes": 1}, {"nodes": 0}, {}, False),
        ({"nodes": 1}, {"nodes": 1}, {}, True),
        ({"nvidia.com/gpu": 0}, {}, {"cpu": 1}, False),
    ],
)
def test_limits(
    limits: dict[str, int], usage: dict[str, int], more: dict[str, int], *, broken: bool
) -> None:
    assert (exceeded(limits, usage, more) is not None) == broken


def _order(name: str, attempt: int = 0) -> LaunchOrder:
    override = Override("m5.large", "us-west-2a", "subnet-1", "ami-1")
    request = FleetRequest("on-demand", (FleetConfig("t", (override,)),), (("k", "v"),))
    return LaunchOrder(request, f"uid-{name}", name, attempt)


def _arguments(*orders: LaunchOrder) -> dict[str, Any]:
    return fleet_arguments(orders[0].request, orders)


def test_client_token_is_the_claims_and_not_their_order() -> None:
    one, two = _order("a"), _order("b")
    token = _arguments(one, two)["ClientToken"]
    assert _arguments(two, one)["ClientToken"] == token
    assert _arguments(one)["ClientToken"] != token
    assert _arguments(_order("a", 1), _order("b", 1))["ClientToken"] != token
    assert len(token) == 64


def test_only_a_fleet_of_one_carries_a_claims_name() -> None:
    single = _arguments(_order("a"))["TagSpecifications"][0]["Tags"]
    merged = _arguments(_order("a"), _order("b"))["TagSpecifications"][0]["Tags"]
    assert {"Key": "karpenter.sh/nodeclaim", "Value": "a"} in single
    assert all(tag["Key"] != "karpenter.sh/nodeclaim" for tag in merged)


@pytest.mark.parametrize(
    ("capacity_type", "options", "ranked", "ordinary"),
    [
        ("on-demand", "OnDemandOptions", "prioritized", "lowest-price"),
        ("spot", "SpotOptions", "capacity-optimized-prioritized", "price-capacity-optimized"),
    ],
)
def test_priorities_choose_the_strategy_that_heeds_them(
    capacity_type: str, options: str, ranked: str, ordinary: str
) -> None:
    for priorities, strategy in (((1, 0), ranked), ((None, None), ordinary)):
        overrides = tuple(
            Override(name, "us-west-2a", "subnet-1", "ami-1", priority)
            for name, priority in zip(("m5.large", "c5.large"), priorities, strict=True)
        )
        request = FleetRequest(capacity_type, (FleetConfig("t", overrides),), ())
        arguments = _arguments(LaunchOrder(request, "uid", "a"))
        assert arguments[options]["AllocationStrategy"] == strategy
        (config,) = arguments["LaunchTemplateConfigs"]
        assert tuple(o.get("Priority") for o in config["Overrides"]) == priorities


def test_an_offering_that_fails_again_is_out_for_longer() -> None:
    clock = FixedClock(START)
    offerings = UnavailableOfferings(clock)
    offering = ("m5.large", "us-west-2a", "spot")
    offerings.mark(*offering)
    clock.instant = START + timedelta(minutes=2, seconds=59)
    assert not offerings.available(*offering)
    assert offerings.available("m5.large", "us-west-2b", "spot")
    clock.instant = START + timedelta(minutes=3)
    assert offerings.available(*offering)
    offerings.mark(*offering)
    clock.instant += timedelta(minutes=5)
    assert not offerings.available(*offering)
    clock.instant += timedelta(minutes=1)
    before = offerings.revision
    assert offerings.refresh() == before + 1
    clock.instant += timedelta(hours=1)
    offerings.mark(*offering)
    clock.instant += timedelta(minutes=3)
    assert offerings.available(*offering), "a failure long after counts as a first one"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", Kind.CAPACITY),
        ("VcpuLimitExceeded", Kind.LIMIT),
        ("RequestLimitExceeded", Kind.THROTTLED),
        ("UnauthorizedOperation", Kind.UNAUTHORIZED),
        ("InvalidInstanceID.NotFound", Kind.NOT_FOUND),
        ("InvalidSubnetID.NotFound", Kind.NOT_FOUND),
        ("ServiceUnavailable", Kind.UNAVAILABLE),
        ("InvalidCapacityReservationState.PendingActivation", Kind.CAPACITY),
        ("InvalidCapacityReservationState.Unavailable", Kind.CAPACITY),
        ("SomethingNew", Kind.INVALID),
    ],
)
def test_error_codes(code: str, kind: Kind) -> None:
    assert classify(code) is kind


def test_launch_reasons() -> None:
    assert launch_reason("UnauthorizedOperation") == "Unauthorized"
    assert launch_reason("SomethingNew") == "LaunchFailed"
    assert launch_reason("SomethingNew", "No such thing.") == "LaunchFailed"
    for code, message, reason in (
        ("AuthFailure", "Not authorized for images: [ami-1]", "AMIAuthorizationFailure"),
        (
            "InvalidParameterValue",
            "iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
            "InstanceProfileNameInvalid",
        ),
        (
            "InvalidParameter",
            "Security group sg-1 and subnet subnet-1 belong to different networks.",
            "SecurityGroupSubnetVPCMismatch",
        ),
        (
            "InvalidParameterValue",
            "User data is limited to 16384 bytes",
            "UserDataSizeLimitExceeded",
        ),
    ):
        assert launch_reason(code, message) == reason


def reserved_error(code: str, reservation: str = "cr-1") -> FleetError:
    return FleetError(
        code, "", "m5.large", "us-west-2a", "subnet-1", "reserved", reservation=reservation
    )


@pytest.mark.parametrize(
    ("code", "out"),
    [
        ("ReservationCapacityExceeded", True),
        ("InsufficientInstanceCapacity", True),
        ("InvalidCapacityReservationState.Unavailable", True),
        ("InvalidCapacityReservationId.NotFound", True),
        ("UnauthorizedOperation", False),
    ],
)
def test_a_reservation_that_fails_takes_no_other_with_it(code: str, *, out: bool) -> None:
    """Two reservations of one type and zone: the other may have room, and so may the market."""
    offerings = UnavailableOfferings(FixedClock(START))
    error = reserved_error(code)
    assert (error.kind is Kind.CAPACITY) == out
    offerings.note(error)
    place = ("m5.large", "us-west-2a")
    assert offerings.available(*place, "reserved", reservation="cr-1") != out
    assert offerings.available(*place, "reserved", reservation="cr-2")
    assert offerings.available(*place, "on-demand")


def test_merge_diff_removes_changes_and_keeps() -> None:
    old = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1]}
    new = {"b": {"c": 1, "d": 3}, "e": [2], "f": 0}
    assert merge_diff(old, new) == {"a": None, "b": {"d": 3}, "e": [2], "f": 0}
    assert merge_diff(old, old) == {}
