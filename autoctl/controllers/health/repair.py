"""`node.health`: replaces nodes whose conditions stay unhealthy.

The table is that of node auto repair in the EKS User Guide ("Detect node health issues"). A node is
replaced at once and whatever protects its pods, as these are not served well by it; but not when
more than a fifth of its pool is unwell, for then the nodes are not what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

import structlog

from autoctl.api import core, labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.health.status import hasten
from autoctl.controllers.lifecycle.removal import remove_claim
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODES, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

BLOCKED_SECONDS = 300.0
_BLOCKED_DEDUPE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Policy:
    """A condition that, when it stays like this for so long, has the node replaced."""

    condition: str
    status: str
    after: timedelta


POLICIES = (
    Policy("Ready", "False", timedelta(minutes=30)),
    Policy("Ready", "Unknown", timedelta(minutes=30)),
    Policy("AcceleratedHardwareReady", "False", timedelta(minutes=10)),
    Policy("StorageReady", "False", timedelta(minutes=30)),
    Policy("NetworkingReady", "False", timedelta(minutes=30)),
    Policy("KernelReady", "False", timedelta(minutes=30)),
    Policy("ContainerRuntimeReady", "False", timedelta(minutes=30)),
)


@dataclass(frozen=True, slots=True)
class Ailing:
    """The condition that will have the node replaced first, and when."""

    condition: str
    act_at: datetime


def diagnose(node: core.Node, policies: Sequence[Policy] = POLICIES) -> Ailing | None:
    """The most pressing unhealthy condition of the node."""
    found = [
        Ailing(policy.condition, condition.last_transition_time + policy.after)
        for condition in node.status.conditions or ()
        if condition.last_transition_time is not None
        for policy in policies
        if (policy.condition, policy.status) == (condition.type, condition.status)
    ]
    return min(found, key=lambda a: (a.act_at, a.condition), default=None)


def too_many(nodes: Iterable[core.Node], share: float, policies: Sequence[Policy]) -> bool:
    """Whether more than `share` of the nodes, rounded up, are unwell."""
    everyone = list(nodes)
    unwell = sum(1 for node in everyone if diagnose(node, policies) is not None)
    # Exactly: a fifth of 15 nodes is 3, which 0.2 * 15 is a little more than.
    return unwell > math.ceil(len(everyone) * Fraction(str(share)))


@dataclass
class RepairController:
    """One Node a reconcile."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    share: float = 0.2
    policies: Sequence[Policy] = POLICIES
    name: str = "node.health"

    async def reconcile(self, key: str) -> Result:
        node = self.state.node(key)
        if node is None:
            return DONE
        claim = self.state.claim_of_node(node)
        if claim is None or not claim.registered:
            return DONE
        ailing = diagnose(node, self.policies)
        if ailing is None:
            return DONE
        now = self.clock.now()
        wait = (ailing.act_at - now).total_seconds()
        if wait > 0:
            return Result(wait)
        peers = self._peers(claim)
        if too_many(peers, self.share, self.policies):
            self._tell_blocked(node, claim)
            return Result(BLOCKED_SECONDS)
        try:
            await hasten(self.api, claim, now)
        except NotFound:
            return DONE
        if claim.deleting:
            # It went for another reason, and its drain would wait for pods that nobody ends.
            return DONE
        self.metrics.nodeclaims_unhealthy_disrupted.labels(
            ailing.condition,
            claim.node_pool or "",
            claim.metadata.labels.get(labels.CAPACITY_TYPE, ""),
            claim.status.image_id or "",
        ).inc()
        _log.warning("node repaired", node=key, condition=ailing.condition)
        await remove_claim(self.api, self.state, self.metrics, claim, "unhealthy")
        return DONE

    def _peers(self, claim: NodeClaim) -> list[core.Node]:
        """The nodes of the claim's pool; of the whole cluster for a claim without one."""
        if claim.node_pool is None:
            claims = list(self.state.node_claims.reflector)
        else:
            claims = list(self.state.claims_by_pool[claim.node_pool].values())
        return [node for c in claims for node in self.state.nodes_of_claim(c)]

    def _tell_blocked(self, node: core.Node, claim: NodeClaim) -> None:
        group = f"NodePool {claim.node_pool!r}" if claim.node_pool else "the cluster"
        self.events.publish(
            Event(
                ObjectReference.of(NODES, node.metadata.name, uid=node.metadata.uid),
                "NodeRepairBlocked",
                f"more than {self.share * 100:g}% of the nodes of {group} are unhealthy",
                "Warning",
                dedupe_seconds=_BLOCKED_DEDUPE_SECONDS,
            )
        )
