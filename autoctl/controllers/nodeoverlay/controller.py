"""`nodeoverlay`: tells of every NodeOverlay whether it is in force.

What overlays do is decided with every snapshot, by the same function; here it is written down.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autoctl.api.meta import Condition, set_condition
from autoctl.api.nodeoverlay import READY, VALIDATION_SUCCEEDED, NodeOverlay, NodeOverlayStatus
from autoctl.controllers.objects import write_status
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_OVERLAYS, KubernetesApi, NotFound
from autoctl.scheduling.overlays import Refusal
from autoctl.state.cluster import ClusterState

PERIOD_SECONDS = 600.0
"""How soon news of the market, which may bring overlays into conflict, is looked at."""
_UNSYNCED_SECONDS = 1.0


def judged(overlay: NodeOverlay, refusal: Refusal | None, now: datetime) -> NodeOverlayStatus:
    """The status of an overlay that was refused, or not."""
    valid, ready = (
        ({"reason": VALIDATION_SUCCEEDED, "message": ""}, {"reason": READY, "message": ""})
        if refusal is None
        else (
            {"reason": refusal.reason, "message": refusal.message},
            {"reason": "UnhealthyDependents", "message": f"{VALIDATION_SUCCEEDED}=False"},
        )
    )
    conditions = overlay.status.conditions
    for kind, told in ((VALIDATION_SUCCEEDED, valid), (READY, ready)):
        condition = Condition.model_validate(
            {
                "type": kind,
                "status": "True" if refusal is None else "False",
                "observedGeneration": overlay.metadata.generation,
                **told,
            }
        )
        conditions = set_condition(conditions, condition, now)
    return overlay.status.model_copy(update={"conditions": conditions})


@dataclass
class NodeOverlayController:
    """Periodic, as every overlay is judged against all others; woken by what it depends on."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    name: str = "nodeoverlay"

    async def run_once(self) -> float:
        if not self.state.synced:
            return _UNSYNCED_SECONDS
        if not self.state.node_overlays.reflector.store:
            return PERIOD_SECONDS
        snapshot = self.state.snapshot()
        for overlay in snapshot.node_overlays.values():
            refusal = snapshot.overlaid.refused.get(overlay.name)
            status = judged(overlay, refusal, self.clock.now())
            try:
                await write_status(self.api, NODE_OVERLAYS, overlay, status)
            except NotFound:
                continue
        return PERIOD_SECONDS
