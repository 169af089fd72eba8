"""`interruption`: drains nodes whose instances EC2 is about to take, as a queue's messages tell."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.instances import instance_id
from autoctl.aws.offerings import UnavailableOfferings
from autoctl.aws.queue import Message, Queue
from autoctl.catalog.model import SPOT
from autoctl.controllers.health.messages import Kind, Notice, parse
from autoctl.controllers.health.reservations import BLOCK_ENDING
from autoctl.controllers.lifecycle.removal import remove_claim
from autoctl.controllers.objects import reference
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, KubernetesApi
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

_EVENTS = {
    Kind.SPOT_INTERRUPTED: ("SpotInterrupted", "Spot interruption warning was triggered"),
    Kind.REBALANCE: (
        "SpotRebalanceRecommendation",
        "Spot rebalance recommendation was triggered",
    ),
    Kind.SCHEDULED_CHANGE: (
        "InstanceUnhealthy",
        "An unhealthy warning was triggered for the instance",
    ),
    Kind.STOPPED: ("InstanceStopping", "Instance is stopping"),
    Kind.TERMINATED: ("InstanceTerminating", "Instance is terminating"),
    Kind.RESERVATION_INTERRUPTED: (
        "CapacityReservationInstanceInterrupted",
        "Capacity Reservation interruption warning was triggered",
    ),
    Kind.BLOCK_ENDING: BLOCK_ENDING,
}


@dataclass
class InterruptionController:
    """Periodic; each pass takes up to ten messages and waits for the first of them.

    The wait is short, as a pass under way holds up the operator's end.
    """

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    queue: Queue
    unavailable: UnavailableOfferings
    wait_seconds: int = 5
    name: str = "interruption"
    _ending: set[str] = field(default_factory=set)
    """UIDs of NodeClaims whose deletion was asked for, until the mirror shows it: SQS delivers a
    message more than once, and a stopping instance sends several."""

    async def run_once(self) -> float:
        if not self.state.synced:
            return 1.0
        messages = await self.queue.receive(self.wait_seconds)
        if not messages:
            return 0.0
        claims = {
            instance_id(c.status.provider_id): c
            for c in self.state.node_claims.reflector
            if c.status.provider_id
        }
        self._ending &= {c.metadata.uid for c in claims.values() if not c.deleting}
        outcomes = await asyncio.gather(
            *(self._handle(message, claims) for message in messages), return_exceptions=True
        )
        handled = []
        failure: BaseException | None = None
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome is None:
                handled.append(message)
            else:
                # Not deleted, so that it comes again.
                failure = outcome
        await self.queue.delete(handled)
        self.metrics.interruption_deleted.inc(len(handled))
        if failure is not None:
            raise failure
        return 0.0

    async def _handle(self, message: Message, claims: dict[str, NodeClaim]) -> None:
        try:
            notice = parse(message.body)
        except ValueError as error:
            # It will never be readable: dropped, and counted as what it is.
            _log.warning("message dropped", error=str(error))
            self.metrics.interruption_received.labels("unparseable").inc()
            return
        self.metrics.interruption_received.labels(notice.kind.value).inc()
        if message.sent_at is not None:
            age = (self.clock.now() - message.sent_at).total_seconds()
            self.metrics.interruption_message_queue_duration.observe(max(0.0, age))
        for claim in _concerned(notice, claims):
            await self._react(notice, claim)

    async def _react(self, notice: Notice, claim: NodeClaim) -> None:
        given = claim.metadata.labels
        offering = (given.get(labels.INSTANCE_TYPE), given.get(labels.ZONE))
        if notice.kind is Kind.SPOT_INTERRUPTED and offering[0] and offering[1]:
            self.unavailable.mark(offering[0], offering[1], SPOT)
        if claim.deleting or claim.metadata.uid in self._ending:
            return
        self._tell(claim, *_EVENTS[notice.kind])
        if notice.kind is Kind.REBALANCE:
            return
        self._tell(
            claim,
            "TerminatingOnInterruption",
            "Interruption triggered termination for the NodeClaim",
        )
        self._ending.add(claim.metadata.uid)
        try:
            await remove_claim(
                self.api, self.state, self.metrics, claim, notice.kind.value, "graceful"
            )
        except BaseException:
            self._ending.discard(claim.metadata.uid)
            raise

    def _tell(self, claim: NodeClaim, reason: str, message: str) -> None:
        about = [reference(NODE_CLAIMS, claim)]
        about += [
            ObjectReference.of(NODES, node.metadata.name, uid=node.metadata.uid)
            for node in self.state.nodes_of_claim(claim)
        ]
        self.events.publish(*(Event(a, reason, message, "Warning") for a in about))


def _concerned(notice: Notice, claims: dict[str, NodeClaim]) -> list[NodeClaim]:
    """The NodeClaims that the notice is about, each once; `claims` is by instance id."""
    if notice.reservation_id is not None:
        return [
            c
            for c in claims.values()
            if c.metadata.labels.get(labels.CAPACITY_RESERVATION_ID) == notice.reservation_id
        ]
    return [claims[i] for i in dict.fromkeys(notice.instance_ids) if i in claims]
