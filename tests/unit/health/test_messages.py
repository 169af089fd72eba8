"""What the messages of the interruption queue mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoctl.controllers.health.messages import Kind, Notice, parse

INSTANCE = {"instance-id": "i-1"}
STATE = "EC2 Instance State-change Notification"
BLOCK = "Capacity Block Reservation Expiration Warning"


def event(
    detail_type: str, detail: Any, source: str = "aws.ec2", *, key: str = "detail-type"
) -> str:
    return json.dumps({"version": "0", "source": source, key: detail_type, "detail": detail})


def health(**detail: Any) -> str:
    given = {"service": "EC2", "eventTypeCategory": "scheduledChange"} | detail
    return event("AWS Health Event", given, "aws.health")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (event("EC2 Spot Instance Interruption Warning", INSTANCE), Kind.SPOT_INTERRUPTED),
        (event("EC2 Instance Rebalance Recommendation", INSTANCE), Kind.REBALANCE),
        (
            event("EC2 Capacity Reservation Instance Interruption Warning", INSTANCE),
            Kind.RESERVATION_INTERRUPTED,
        ),
        (
            event("EC2 Interruptible Capacity Reservation Instance Interruption Warning", INSTANCE),
            Kind.RESERVATION_INTERRUPTED,
        ),
        (event(STATE, INSTANCE | {"state": "stopping"}), Kind.STOPPED),
        (event(STATE, INSTANCE | {"state": "stopped"}), Kind.STOPPED),
        (event(STATE, INSTANCE | {"state": "shutting-down"}), Kind.TERMINATED),
        (event(STATE, INSTANCE | {"state": "terminated"}), Kind.TERMINATED),
    ],
)
def test_messages_about_an_instance(body: str, kind: Kind) -> None:
    assert parse(body) == Notice(kind, ("i-1",))


@pytest.mark.parametrize("key", ["detail-type", "detail_type"])
def test_the_end_of_a_capacity_block_concerns_its_reservation(key: str) -> None:
    detail = {"capacity-reservation-id": "cr-1", "end-date": "2026-01-05T12:00:00Z"}
    assert parse(event(BLOCK, detail, key=key)) == Notice(Kind.BLOCK_ENDING, reservation_id="cr-1")


def test_a_scheduled_change_may_concern_many_instances_or_none() -> None:
    entities = [{"entityValue": "i-1"}, {"entityValue": "i-2", "status": "PENDING"}]
    assert parse(health(affectedEntities=entities)) == Notice(Kind.SCHEDULED_CHANGE, ("i-1", "i-2"))
    assert parse(health()) == Notice(Kind.SCHEDULED_CHANGE)


@pytest.mark.parametrize(
    "body",
    [
        event(STATE, INSTANCE | {"state": "running"}),
        event(STATE, INSTANCE | {"state": "pending"}),
        event("Capacity Block Reservation Delivered", {"capacity-reservation-id": "cr-1"}),
        event("EC2 Spot Instance Interruption Warning", INSTANCE, "somebody.else"),
        event("EC2 Capacity Reservation Active", {}),
        health(service="RDS"),
        health(eventTypeCategory="issue"),
        json.dumps({"detail": {}}),
    ],
)
def test_everything_else_asks_for_nothing(body: str) -> None:
    assert parse(body) == Notice(Kind.NO_OP)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "Expecting value"),
        ("not json", "Expecting value"),
        ("[]", "not an EventBridge event"),
        ('"detail"', "not an EventBridge event"),
        ('{"detail": []}', "not an EventBridge event"),
        ("[" * 100_000, "nested too deeply"),
        (event("EC2 Spot Instance Interruption Warning", {}), "instance-id: expected a text"),
        (event("EC2 Spot Instance Interruption Warning", {"instance-id": 7}), "instance-id: .* 7"),
        (event(STATE, INSTANCE), "state: expected a text, got None"),
        (event(STATE, INSTANCE | {"state": ["stopped"]}), "state: expected a text"),
        (event(BLOCK, {"capacity-reservation-id": ""}), "capacity-reservation-id: expected a text"),
        (health(affectedEntities=["i-1"]), "detail.affectedEntities: expected objects"),
        (health(affectedEntities={"entityValue": "i-1"}), "detail.affectedEntities: expected"),
        (health(affectedEntities=[{"entityValue": None}]), "entityValue: expected a text"),
    ],
)
def test_what_cannot_be_acted_on_is_refused_by_field(body: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(body)
