"""`capacityreservation`: nodes whose reserved capacity ends.

A Capacity Block takes its instances with it: their nodes are drained before EC2 does that. Any
other reservation leaves its instances running on demand, and their labels have to say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.instances import Instances
from autoctl.catalog.model import RESERVED
from autoctl.controllers.lifecycle.removal import remove_claim
from autoctl.controllers.objects import reference
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, KubernetesApi, NotFound, Object
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS = 60.0
_OVER_SECONDS = 1.0
"""So long after its end a reservation has let go of its instances."""
BLOCK_ENDING = ("CapacityBlockEnding", "The Capacity Block of the instance is about to end")
"""Reason and message of the event, whether the queue or the NodeClass tells of the end."""
_BLOCK = "capacity-block"


@dataclass
class ReservationController:
    """Periodic, and due when a reservation ends; asks EC2 nothing while no node is reserved."""

    api: KubernetesApi
    state: ClusterState
    events: EventRecorder
    metrics: Metrics
    instances: Instances
    clock: Clock
    name: str = "capacityreservation"

    async def run_once(self) -> float:
        if not self.state.synced:
            return 1.0
        reserved = [
            c
            for c in self.state.node_claims.reflector
            if c.metadata.labels.get(labels.CAPACITY_TYPE) == RESERVED and not c.deleting
        ]
        await self._drain(reserved)
        await self._relabel(
            c for c in reserved if c.metadata.labels.get(labels.CAPACITY_RESERVATION_TYPE) != _BLOCK
        )
        return self._pause()

    def _pause(self) -> float:
        """Seconds until the next look: a minute, or less where a reservation ends before.

        Nodes are priced by their labels, and consolidation may be about to end others for them.
        """
        now = self.clock.now()
        ends = (
            (r.end_time - now).total_seconds() + _OVER_SECONDS
            for c in self.state.node_classes.reflector
            for r in c.status.capacity_reservations
            if r.end_time is not None
        )
        return min((PERIOD_SECONDS, *(seconds for seconds in ends if seconds > 0)))

    async def _drain(self, reserved: Iterable[NodeClaim]) -> None:
        ending = {
            r.id
            for c in self.state.node_classes.reflector
            for r in c.status.capacity_reservations
            if r.state == "expiring"
        }
        for claim in reserved:
            if claim.metadata.labels.get(labels.CAPACITY_RESERVATION_ID) in ending:
                _log.info("capacity block ends", node_claim=claim.name)
                reason, message = BLOCK_ENDING
                self.events.publish(
                    Event(reference(NODE_CLAIMS, claim), reason, message, "Warning")
                )
                await remove_claim(self.api, self.state, self.metrics, claim, "expired", "graceful")

    async def _relabel(self, reserved: Iterable[NodeClaim]) -> None:
        claims = {c.status.provider_id: c for c in reserved if c.status.provider_id}
        if not claims:
            return
        for instance in await self.instances.of_cluster():
            claim = claims.get(instance.provider_id)
            if claim is None or instance.capacity_type == RESERVED or instance.ending:
                continue
            patch: Object = {
                "metadata": {
                    "labels": {
                        labels.CAPACITY_TYPE: instance.capacity_type,
                        labels.CAPACITY_RESERVATION_ID: None,
                        labels.CAPACITY_RESERVATION_TYPE: None,
                        labels.CAPACITY_RESERVATION_INTERRUPTIBLE: None,
                    }
                }
            }
            _log.info("left its reservation", node_claim=claim.name)
            try:
                for node in self.state.nodes_of_claim(claim):
                    await self.api.patch(NODES, node.metadata.name, patch)
                await self.api.patch(NODE_CLAIMS, claim.name, patch)
            except NotFound:
                continue
