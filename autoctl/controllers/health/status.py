"""`interruption.instancestatus`: instances whose status checks fail or that EC2 wants to touch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from autoctl.api.labels import TERMINATION_TIMESTAMP
from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.instances import Instances, InstanceStatus, instance_id
from autoctl.controllers.lifecycle.removal import remove_claim
from autoctl.controllers.objects import reference, write_metadata
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.claim import termination_deadline
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, ApiError, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS = 60.0
IMPAIRED_FOR = timedelta(seconds=120)
"""A shorter impairment heals by itself often enough."""
DRAINING_EVENTS = frozenset(
    {
        "instance-reboot",
        "system-reboot",
        "system-maintenance",
        "instance-retirement",
        "instance-stop",
    }
)


@dataclass(frozen=True, slots=True)
class Ailment:
    """Why an instance has to go; `forceful`: without regard to budgets, as nothing works on it."""

    category: str
    forceful: bool


def judge(status: InstanceStatus, now: datetime) -> Ailment | None:
    """Whether the instance has to go."""
    for category, since in (
        ("instance_status", status.instance_impaired_since),
        ("system_status", status.system_impaired_since),
    ):
        if since is not None and now - since > IMPAIRED_FOR:
            return Ailment(category, forceful=True)
    if DRAINING_EVENTS.intersection(status.events):
        return Ailment("event_status", forceful=False)
    return None


async def hasten(api: KubernetesApi, claim: NodeClaim, now: datetime) -> None:
    """Let the drain of the claim's node be over at once: its deadline is now, or passed before."""
    known = termination_deadline(claim)
    if known is not None and known <= now:
        return
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await write_metadata(api, NODE_CLAIMS, claim, annotations={TERMINATION_TIMESTAMP: stamp})


@dataclass
class InstanceStatusController:
    """Periodic."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    instances: Instances
    name: str = "interruption.instancestatus"

    async def run_once(self) -> float:
        if not self.state.synced:
            return 1.0
        claims = {
            instance_id(c.status.provider_id): c
            for c in self.state.node_claims.reflector
            if c.status.provider_id
        }
        if not claims:
            return PERIOD_SECONDS
        now = self.clock.now()
        failure: ApiError | None = None
        for status in await self.instances.statuses():
            claim = claims.get(status.id)
            ailment = judge(status, now)
            if claim is None or ailment is None or _hurried(claim, ailment, now):
                continue
            self.metrics.interruption_instance_status_unhealthy.labels(ailment.category).inc()
            try:
                await self._end(claim, ailment, now)
            except ApiError as error:
                # The other instances are no better for waiting.
                failure = error
        if failure is not None:
            raise failure
        return PERIOD_SECONDS

    async def _end(self, claim: NodeClaim, ailment: Ailment, now: datetime) -> None:
        self.events.publish(
            Event(
                reference(NODE_CLAIMS, claim),
                "InstanceUnhealthy",
                "An unhealthy warning was triggered for the instance",
                "Warning",
                dedupe_values=(ailment.category,),
            )
        )
        _log.warning("instance unhealthy", node_claim=claim.name, category=ailment.category)
        try:
            if ailment.forceful:
                await hasten(self.api, claim, now)
        except NotFound:
            return
        if claim.deleting:
            return
        await remove_claim(
            self.api,
            self.state,
            self.metrics,
            claim,
            ailment.category,
            "forceful" if ailment.forceful else "graceful",
        )


def _hurried(claim: NodeClaim, ailment: Ailment, now: datetime) -> bool:
    """Whether the NodeClaim goes already, and as fast as the ailment asks for."""
    if not claim.deleting:
        return False
    deadline = termination_deadline(claim)
    return not ailment.forceful or (deadline is not None and deadline <= now)
