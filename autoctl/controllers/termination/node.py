"""`node.termination`: takes a deleted Node from its taint to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from autoctl.api import core, labels
from autoctl.api.labels import DISRUPTED_TAINT, EXCLUDE_BALANCERS, TERMINATION_FINALIZER
from autoctl.api.nodeclaim import DRAINED, INSTANCE_TERMINATING, VOLUMES_DETACHED, NodeClaim
from autoctl.controllers.lifecycle.conditions import State, with_condition
from autoctl.controllers.objects import reference, write_status
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.claim import termination_deadline
from autoctl.controllers.termination.drain import Drain, plan_drain
from autoctl.controllers.termination.eviction import Evictor
from autoctl.controllers.termination.instance import POLL_SECONDS, Terminator
from autoctl.controllers.termination.volumes import awaited_attachments
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import (
    NODE_CLAIMS,
    NODES,
    Conflict,
    KubernetesApi,
    NotFound,
    Object,
)
from autoctl.state.cluster import ClusterState
from autoctl.state.own_writes import LAG_SECONDS
from autoctl.state.pods import is_terminating

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

MIN_DRAIN = timedelta(seconds=5)
"""kube-scheduler may bind a pod it decided on just before the taint; wait for that."""
_DRAIN_SECONDS = 1.0
_HELD_SECONDS = 10.0
"""Between looks at a drain in which nothing moves: budgets or do-not-disrupt hold every pod."""
_BALANCER_VALUE = "karpenter"


@dataclass(frozen=True)
class NodeTerminationDependencies:
    """What the controller talks to."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    evictor: Evictor
    terminator: Terminator


class NodeTerminationController:
    """One Node a reconcile; Nodes without our finalizer are somebody else's.

    The finalizer is Karpenter's, so that a NodeClaim of another controller says the same.
    """

    name = "node.termination"

    def __init__(self, dependencies: NodeTerminationDependencies) -> None:
        self._d = dependencies

    async def reconcile(self, key: str) -> Result:
        node = self._d.state.node(key)
        deleted = node.metadata.deletion_timestamp if node is not None else None
        if node is None or deleted is None:
            return DONE
        if TERMINATION_FINALIZER not in (node.metadata.finalizers or ()):
            return DONE
        if self._d.state.is_foreign(node.spec.provider_id):
            return DONE
        claim = self._d.state.claim_of_node(node)
        if self._d.state.lags(NODES, key) or (
            claim is not None and self._d.state.lags(NODE_CLAIMS, claim.name)
        ):
            return Result(LAG_SECONDS)
        if claim is not None and not claim.deleting:
            await self._delete_claim(claim)
        if not _is_ready(node) and await self._lost(node):
            await self._finish(node)
            return DONE
        await self._close(node)
        deadline = termination_deadline(claim)
        drain = await self._drain(node, claim, deadline)
        if not drain.done:
            return Result(self._next_look(drain))
        settled = deleted + MIN_DRAIN - self._d.clock.now()
        if settled > timedelta(0):
            return Result(settled.total_seconds())
        if claim is not None:
            claim = await self._drained(claim)
        detached, claim = await self._volumes_detached(node, claim, deadline)
        if not detached:
            return Result(_DRAIN_SECONDS)
        if not await self._instance_gone(node, claim):
            return Result(POLL_SECONDS)
        await self._finish(node)
        return DONE

    async def _drained(self, claim: NodeClaim) -> NodeClaim:
        """The condition is set, and the drain counted with it."""
        if claim.condition_is_true(DRAINED):
            return claim
        after = await self._set(claim, DRAINED, "True", DRAINED, "")
        if after.condition_is_true(DRAINED):
            self._d.metrics.nodes_drained.labels(claim.node_pool or "").inc()
        return after

    async def _delete_claim(self, claim: NodeClaim) -> None:
        try:
            await self._d.api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid)
        except (NotFound, Conflict):
            _log.debug("NodeClaim is gone already", node_claim=claim.name)

    async def _lost(self, node: core.Node) -> bool:
        provider_id = node.spec.provider_id
        return provider_id is not None and await self._d.terminator.lost(provider_id)

    async def _close(self, node: core.Node) -> None:
        """No new pods, no traffic from load balancers; others' taints stay as they are."""
        tainted = any(
            t.key == DISRUPTED_TAINT and t.effect == "NoSchedule" for t in node.spec.taints or ()
        )
        labelled = (node.metadata.labels or {}).get(EXCLUDE_BALANCERS) == _BALANCER_VALUE
        if tainted and labelled:
            return
        current = await self._fresh(node)
        if current is None:
            return
        kept = [t for t in current["spec"].get("taints") or () if not _is_closing(t)]
        body: Object = {
            "metadata": {
                "resourceVersion": current["metadata"]["resourceVersion"],
                "labels": {EXCLUDE_BALANCERS: _BALANCER_VALUE},
            },
            "spec": {"taints": [*kept, {"key": DISRUPTED_TAINT, "effect": "NoSchedule"}]},
        }
        await self._d.api.patch(NODES, node.metadata.name, body)

    async def _drain(
        self, node: core.Node, claim: NodeClaim | None, deadline: datetime | None
    ) -> Drain:
        now = self._d.clock.now()
        pods = tuple(self._d.state.pods_by_node[node.metadata.name].values())
        drain = plan_drain(pods, now, deadline)
        if drain.done:
            return drain
        if deadline is not None:
            self._tell_deadline(node, claim, deadline)
        if claim is not None:
            await self._set(claim, DRAINED, "Unknown", "Draining", f"{len(drain.waiting)} pods")
        stamp = deadline.isoformat() if deadline is not None else ""
        await asyncio.gather(*(self._d.evictor.delete(forced, stamp) for forced in drain.delete))
        due = [pod for pod in drain.evict if self._d.evictor.wait(pod) <= 0]
        reason = _disruption_reason(claim)
        refusals = await asyncio.gather(*(self._d.evictor.evict(pod, reason) for pod in due))
        for pod, refusal in zip(due, refusals, strict=True):
            if refusal is not None:
                self._failed_draining(node, f"evicting pod {pod.key}: {refusal}")
        return drain

    def _next_look(self, drain: Drain) -> float:
        now = self._d.clock.now()
        waits = [self._d.evictor.wait(pod) for pod in drain.evict]
        held = all(waits) and not drain.delete and not any(is_terminating(p) for p in drain.waiting)
        if drain.forced_next is not None:
            waits.append(max(0.0, (drain.forced_next - now).total_seconds()))
        longest = _HELD_SECONDS if held else _DRAIN_SECONDS
        return min(longest, *(wait for wait in waits if wait > 0), longest)

    async def _volumes_detached(
        self, node: core.Node, claim: NodeClaim | None, deadline: datetime | None
    ) -> tuple[bool, NodeClaim | None]:
        """Whether no volume is waited for (any more), and the NodeClaim as it is then."""
        state = self._d.state
        name = node.metadata.name
        now = self._d.clock.now()
        awaited = awaited_attachments(
            state.attachments_by_node[name].values(),
            state.pods_by_node[name].values(),
            state.volume_claims.reflector.store,
            now,
        )
        if not awaited:
            if claim is not None:
                claim = await self._set(claim, VOLUMES_DETACHED, "True", VOLUMES_DETACHED, "")
            return True, claim
        message = f"{len(awaited)} VolumeAttachments: {', '.join(awaited[:3])}"
        if deadline is not None and now >= deadline:
            if claim is not None:
                reason = "TerminationGracePeriodElapsed"
                claim = await self._set(claim, VOLUMES_DETACHED, "False", reason, message)
            return True, claim
        if claim is not None:
            reason = "AwaitingVolumeDetachment"
            claim = await self._set(claim, VOLUMES_DETACHED, "Unknown", reason, message)
        about = ObjectReference.of(NODES, name, uid=node.metadata.uid)
        self._d.events.publish(Event(about, "AwaitingVolumeDetachment", f"Awaiting {message}"))
        return False, claim

    async def _instance_gone(self, node: core.Node, claim: NodeClaim | None) -> bool:
        provider_id = node.spec.provider_id
        if provider_id is None:
            return True
        if claim is not None:
            await self._set(claim, INSTANCE_TERMINATING, "True", INSTANCE_TERMINATING, "")
        pool = (node.metadata.labels or {}).get(labels.NODEPOOL, "")
        return await self._d.terminator.end(provider_id, pool)

    async def _finish(self, node: core.Node) -> None:
        current = await self._fresh(node)
        if current is None:
            return
        finalizers = current["metadata"].get("finalizers", [])
        kept = [f for f in finalizers if f != TERMINATION_FINALIZER]
        body = {
            "metadata": {
                "resourceVersion": current["metadata"]["resourceVersion"],
                "finalizers": kept,
            }
        }
        try:
            await self._d.api.patch(NODES, node.metadata.name, body)
        except NotFound:
            return
        self._measure(node)
        _log.info("node terminated", node=node.metadata.name, provider_id=node.spec.provider_id)

    async def _fresh(self, node: core.Node) -> Object | None:
        """The Node as it is now: kubelets write often, and this patch wants the newest version."""
        try:
            current = await self._d.api.get(NODES, node.metadata.name)
        except NotFound:
            return None
        return current if current["metadata"]["uid"] == node.metadata.uid else None

    def _measure(self, node: core.Node) -> None:
        given = node.metadata.labels or {}
        pool = given.get(labels.NODEPOOL, "")
        metrics = self._d.metrics
        metrics.nodes_terminated.labels(pool, given.get(labels.ZONE, "")).inc()
        now = self._d.clock.now()
        if node.metadata.deletion_timestamp is not None:
            took = (now - node.metadata.deletion_timestamp).total_seconds()
            metrics.nodes_termination_duration.labels(pool).observe(max(0.0, took))
        if node.metadata.creation_timestamp is not None:
            lived = (now - node.metadata.creation_timestamp).total_seconds()
            metrics.nodes_lifetime_duration.labels(pool).observe(max(0.0, lived))

    async def _set(
        self, claim: NodeClaim, kind: str, state: State, reason: str, message: str
    ) -> NodeClaim:
        status = with_condition(
            claim.status,
            kind,
            state,
            reason,
            message,
            claim.metadata.generation,
            self._d.clock.now(),
        )
        try:
            return await write_status(self._d.api, NODE_CLAIMS, claim, status)
        except (Conflict, NotFound):
            # The condition tells people how far it is; the next look writes it again.
            return claim

    def _failed_draining(self, node: core.Node, message: str) -> None:
        about = ObjectReference.of(NODES, node.metadata.name, uid=node.metadata.uid)
        text = f"Failed to drain node, {message}"
        self._d.events.publish(Event(about, "FailedDraining", text, "Warning"))

    def _tell_deadline(self, node: core.Node, claim: NodeClaim | None, deadline: datetime) -> None:
        message = f"All pods will be deleted by {deadline.strftime('%Y-%m-%dT%H:%M:%SZ')}"
        about = [ObjectReference.of(NODES, node.metadata.name, uid=node.metadata.uid)]
        if claim is not None:
            about.append(reference(NODE_CLAIMS, claim))
        reason = "TerminationGracePeriodExpiring"
        self._d.events.publish(*(Event(a, reason, message, "Warning") for a in about))


def _is_closing(taint: Mapping[str, Any]) -> bool:
    return taint.get("key") == DISRUPTED_TAINT and taint.get("effect") == "NoSchedule"


def _is_ready(node: core.Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions or ())


def _disruption_reason(claim: NodeClaim | None) -> str:
    """Why the node goes, as its NodeClaim tells; for eviction events and metrics."""
    for condition in claim.status.conditions if claim is not None else ():
        if condition.type == "DisruptionReason" and condition.status == "True":
            return condition.reason
    return "Terminated"
