"""How long a NodeClaim may take for each step before it is given up: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoctl.api.meta import find_condition
from autoctl.api.nodeclaim import INITIALIZED, LAUNCHED, REGISTERED, NodeClaim


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`initialization` None: registered nodes are waited for without end, as Karpenter does."""

    launch: timedelta = timedelta(minutes=5)
    registration: timedelta = timedelta(minutes=15)
    initialization: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    """When to give up, and the metric's reason for it."""

    at: datetime
    reason: str


def deadline(claim: NodeClaim, timeouts: Timeouts) -> Deadline | None:
    """The deadline of the step that the claim is in; None when none is running."""
    for kind, allowed, reason, begins in (
        (LAUNCHED, timeouts.launch, "launch_timeout", None),
        (REGISTERED, timeouts.registration, "registration_timeout", LAUNCHED),
        (INITIALIZED, timeouts.initialization, "initialization_timeout", REGISTERED),
    ):
        if claim.condition_is_true(kind):
            continue
        if allowed is None:
            return None
        since = _since(claim, begins)
        return None if since is None else Deadline(since + allowed, reason)
    return None


def _since(claim: NodeClaim, kind: str | None) -> datetime | None:
    if kind is None:
        return claim.metadata.creation_timestamp
    condition = find_condition(claim.status.conditions, kind)
    return None if condition is None else condition.last_transition_time
