"""What EventBridge's messages about instances mean: pure parsing.

The events are EC2's and AWS Health's (Amazon EC2 User Guide, "Spot Instance interruption notices",
"State change events"; AWS Health User Guide, "EventBridge events"). Everything else is told apart
as `NO_OP`, so that a rule too wide does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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
    NO_OP = "no_op"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message; `at` is when its event happened."""

    kind: Kind
    instance_ids: tuple[str, ...] = ()
    at: datetime | None = None


_STATES = {
    "stopping": Kind.STOPPED,
    "stopped": Kind.STOPPED,
    "shutting-down": Kind.TERMINATED,
    "terminated": Kind.TERMINATED,
}
_BY_TYPE = {
    ("aws.ec2", "EC2 Spot Instance Interruption Warning"): Kind.SPOT_INTERRUPTED,
    ("aws.ec2", "EC2 Instance Rebalance Recommendation"): Kind.REBALANCE,
    (
        "aws.ec2",
        "EC2 Capacity Reservation Instance Interruption Warning",
    ): Kind.RESERVATION_INTERRUPTED,
}


def parse(body: str) -> Notice:
    """Read a message. Raises ValueError for one that is no event at all."""
    event = json.loads(body)
    if not isinstance(event, dict) or not isinstance(event.get("detail"), dict):
        raise ValueError("not an EventBridge event")
    source, detail_type = event.get("source"), event.get("detail-type")
    detail: Mapping[str, Any] = event["detail"]
    at = _time(event.get("time"))
    kind = _BY_TYPE.get((str(source), str(detail_type)))
    if kind is not None:
        return _notice(kind, detail, at)
    if (source, detail_type) == ("aws.ec2", "EC2 Instance State-change Notification"):
        return _notice(_STATES.get(str(detail.get("state")), Kind.NO_OP), detail, at)
    category = (detail.get("service"), detail.get("eventTypeCategory"))
    if source == "aws.health" and category == ("EC2", "scheduledChange"):
        entities = detail.get("affectedEntities") or ()
        ids = tuple(str(entity.get("entityValue", "")) for entity in entities)
        return Notice(Kind.SCHEDULED_CHANGE, tuple(i for i in ids if i), at)
    return Notice(Kind.NO_OP, (), at)


def _notice(kind: Kind, detail: Mapping[str, Any], at: datetime | None) -> Notice:
    instance = detail.get("instance-id")
    return Notice(kind, (str(instance),) if instance else (), at)


def _time(text: object) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None
