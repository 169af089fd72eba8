"""The conditions of a NodeClaim and the `Ready` that sums them up."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Literal

from autoctl.api.meta import Condition, find_condition, set_condition
from autoctl.api.nodeclaim import INITIALIZED, LAUNCHED, READY, REGISTERED, NodeClaimStatus

_NEEDED = (LAUNCHED, REGISTERED, INITIALIZED)

State = Literal["True", "False", "Unknown"]


def begun(status: NodeClaimStatus, generation: int, now: datetime) -> NodeClaimStatus:
    """The status with those conditions that every NodeClaim has from its start."""
    for kind in _NEEDED:
        if find_condition(status.conditions, kind) is None:
            status = with_condition(
                status,
                kind,
                "Unknown",
                "AwaitingReconciliation",
                "object is awaiting reconciliation",
                generation,
                now,
            )
    return status


def with_condition(
    status: NodeClaimStatus,
    kind: str,
    state: State,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> NodeClaimStatus:
    """The status with one condition set and `Ready` brought in line; itself if nothing changes."""
    condition = _condition(kind, state, reason, message, generation)
    conditions = set_condition(status.conditions, condition, now)
    conditions = set_condition(conditions, _ready(conditions, generation), now)
    if conditions is status.conditions:
        return status
    return status.model_copy(update={"conditions": conditions})


def without_condition(status: NodeClaimStatus, kind: str) -> NodeClaimStatus:
    """The status without a condition."""
    kept = tuple(c for c in status.conditions if c.type != kind)
    if len(kept) == len(status.conditions):
        return status
    return status.model_copy(update={"conditions": kept})


def _ready(conditions: tuple[Condition, ...], generation: int) -> Condition:
    states = {kind: find_condition(conditions, kind) for kind in _NEEDED}
    broken = [k for k, c in states.items() if c is not None and c.status == "False"]
    unknown = [k for k, c in states.items() if c is None or c.status == "Unknown"]
    if broken:
        text = ", ".join(f"{kind}=False" for kind in broken)
        return _condition(READY, "False", "UnhealthyDependents", text, generation)
    if unknown:
        text = ", ".join(f"{kind}=Unknown" for kind in unknown)
        return _condition(READY, "Unknown", "ReconcilingDependents", text, generation)
    return _condition(READY, "True", READY, "", generation)


@lru_cache(maxsize=4096)
def _condition(kind: str, state: State, reason: str, message: str, generation: int) -> Condition:
    return Condition.model_validate(
        {
            "type": kind,
            "status": state,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
        }
    )
