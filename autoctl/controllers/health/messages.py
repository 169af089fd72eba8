"""What EventBridge's messages about instances mean: pure parsing.

The events are EC2's and AWS Health's (Amazon EC2 User Guide, "Spot Instance interruption notices",
"State change events", "Monitor Capacity Blocks using EventBridge", "Monitor interruptible Capacity
Reservations"; AWS Health User Guide, "EventBridge events"). Everything else is told apart as
`NO_OP`, so that a rule too wide does no harm. A message of a kind we know that does not say what it
concerns cannot be acted on, today or later, and is refused as one that is no event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The metric's `message_type`, and the reason a NodeClaim is removed for."""

    SPOT_INTERRUPTED = "spot_interrupted"
    REBALANCE = "rebalance_recommendation"
    SCHEDULED_CHANGE = "scheduled_change"
    STOPPED = "instance_stopped"
    TERMINATED = "instance_terminated"
    RESERVATION_INTERRUPTED = "capacity_reservation_interrupted"
    BLOCK_ENDING = "capacity_block_ending"
    NO_OP = "no_op"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message: the instances it concerns, or all those of a reservation."""

    kind: Kind
    instance_ids: tuple[str, ...] = ()
    reservation_id: str | None = None


_STATES = {
    "stopping": Kind.STOPPED,
    "stopped": Kind.STOPPED,
    "shutting-down": Kind.TERMINATED,
    "terminated": Kind.TERMINATED,
}
_BY_TYPE = {
    "EC2 Spot Instance Interruption Warning": Kind.SPOT_INTERRUPTED,
    "EC2 Instance Rebalance Recommendation": Kind.REBALANCE,
    # As Karpenter and EventBridge's schema call it, and as the user guide does.
    "EC2 Capacity Reservation Instance Interruption Warning": Kind.RESERVATION_INTERRUPTED,
    "EC2 Interruptible Capacity Reservation Instance Interruption Warning": (
        Kind.RESERVATION_INTERRUPTED
    ),
}
_STATE_CHANGE = "EC2 Instance State-change Notification"
_BLOCK_ENDING = "Capacity Block Reservation Expiration Warning"


def parse(body: str) -> Notice:
    """Read a message. Raises ValueError, naming the field, for one that cannot be acted on."""
    try:
        event = json.loads(body)
    except RecursionError as error:
        raise ValueError("not an EventBridge event: nested too deeply") from error
    if not isinstance(event, dict) or not isinstance(event.get("detail"), dict):
        raise ValueError("not an EventBridge event: expected an object with an object `detail`")
    detail: Mapping[str, Any] = event["detail"]
    source = event.get("source")
    if source == "aws.ec2":
        # The user guide writes `detail_type` where it shows the events of Capacity Blocks.
        return _of_ec2(event.get("detail-type", event.get("detail_type")), detail)
    category = (detail.get("service"), detail.get("eventTypeCategory"))
    if source == "aws.health" and category == ("EC2", "scheduledChange"):
        return Notice(Kind.SCHEDULED_CHANGE, _affected(detail))
    return Notice(Kind.NO_OP)


def _of_ec2(detail_type: object, detail: Mapping[str, Any]) -> Notice:
    if detail_type == _BLOCK_ENDING:
        reservation = _text(detail, "capacity-reservation-id")
        return Notice(Kind.BLOCK_ENDING, reservation_id=reservation)
    if detail_type == _STATE_CHANGE:
        kind = _STATES.get(_text(detail, "state"))
    else:
        kind = _BY_TYPE.get(str(detail_type))
    return Notice(Kind.NO_OP) if kind is None else Notice(kind, (_text(detail, "instance-id"),))


def _affected(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """The entities of a Health event; an event about the account as a whole has none."""
    entities = detail.get("affectedEntities") or []
    if not isinstance(entities, list) or not all(isinstance(e, dict) for e in entities):
        raise ValueError(f"detail.affectedEntities: expected objects, got {entities!r:.100}")
    return tuple(_text(entity, "entityValue") for entity in entities)


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key}: expected a text, got {value!r:.100}")
    return value
