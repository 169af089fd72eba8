"""When a registered node counts as initialized: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.catalog.units import amounts
from autoctl.state.problem import is_ephemeral


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a node is not initialized yet: the condition's reason and message."""

    reason: str
    message: str


def waits_for(claim: NodeClaim, node: core.Node) -> Waiting | None:
    """What the node still lacks; None when it is initialized."""
    ready = next((c for c in node.status.conditions or () if c.type == "Ready"), None)
    if ready is None or ready.status != "True":
        status = "Unknown" if ready is None else ready.status
        return Waiting("NodeNotReady", f"Node status is {'NotReady' if ready else status}")
    taints = node.spec.taints or []
    startup = {(t.key, t.effect, t.value or "") for t in claim.spec.startup_taints}
    for taint in taints:
        if (taint.key, taint.effect, taint.value or "") in startup:
            return Waiting("StartupTaintsExist", f'StartupTaint "{_describe(taint)}" still exists')
    for taint in taints:
        if is_ephemeral(taint):
            message = f'KnownEphemeralTaint "{_describe(taint)}" still exists'
            return Waiting("KnownEphemeralTaintsExist", message)
    allocatable = amounts(node.status.allocatable)
    for name, amount in amounts(claim.spec.resources.requests).items():
        if amount > 0 and allocatable.get(name, 0) == 0:
            return Waiting(
                "ResourceNotRegistered", f'Resource "{name}" was requested but not there'
            )
    return None


def _describe(taint: core.Taint) -> str:
    return f"{taint.key}{'=' + taint.value if taint.value else ''}:{taint.effect}"
