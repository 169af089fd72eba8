"""The end of a NodeClaim: its Nodes drained and gone, its instance terminated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from autoctl.api import labels
from autoctl.api.labels import TERMINATION_FINALIZER, TERMINATION_TIMESTAMP
from autoctl.api.nodeclaim import INSTANCE_TERMINATING, NodeClaim
from autoctl.controllers.lifecycle.conditions import with_condition
from autoctl.controllers.objects import remove_finalizer, write_metadata, write_status
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.instance import POLL_SECONDS, Terminator
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)
_NODE_SECONDS = 30.0
"""Between looks at whether the Node is gone, were its end not heard of."""


@dataclass(frozen=True)
class ClaimFinalizerDependencies:
    """What the finalizer talks to.

    `launched` gives the providerID of an instance that was launched for a NodeClaim (by UID) and
    that its status does not tell yet.
    """

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    metrics: Metrics
    terminator: Terminator
    launched: Callable[[str], str | None]


class ClaimFinalizer:
    """Brings a deleted NodeClaim to its end; called by `nodeclaim.lifecycle`."""

    name = "nodeclaim.termination"

    def __init__(self, dependencies: ClaimFinalizerDependencies) -> None:
        self._d = dependencies

    async def reconcile(self, key: str) -> Result:
        claim = self._d.state.claim(key)
        if claim is None or TERMINATION_FINALIZER not in claim.metadata.finalizers:
            return DONE
        claim = await self._set_deadline(claim)
        nodes = self._d.state.nodes_of_claim(claim)
        if nodes:
            for node in nodes:
                if node.metadata.deletion_timestamp is None:
                    await self._delete_node(node.metadata.name, node.metadata.uid)
            # The Node's own controller brings it to its end, which is heard of.
            return Result(_NODE_SECONDS)
        provider_id = claim.status.provider_id or self._d.launched(claim.metadata.uid)
        if provider_id is not None and not await self._d.terminator.end(
            provider_id, claim.node_pool or ""
        ):
            await self._mark_terminating(claim)
            return Result(POLL_SECONDS)
        await self._finish(claim)
        return DONE

    async def _set_deadline(self, claim: NodeClaim) -> NodeClaim:
        """Write down once when the drain has to be over; over what cannot be read as well."""
        period = claim.spec.grace_period
        deleted = claim.metadata.deletion_timestamp
        if period is None or deleted is None or termination_deadline(claim) is not None:
            return claim
        text = (deleted + period).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return await write_metadata(
            self._d.api, NODE_CLAIMS, claim, annotations={TERMINATION_TIMESTAMP: text}
        )

    async def _delete_node(self, name: str, uid: str) -> None:
        try:
            await self._d.api.delete(NODES, name, uid=uid)
        except NotFound:
            _log.debug("node is gone already", node=name)

    async def _mark_terminating(self, claim: NodeClaim) -> None:
        status = with_condition(
            claim.status,
            INSTANCE_TERMINATING,
            "True",
            INSTANCE_TERMINATING,
            "",
            claim.metadata.generation,
            self._d.clock.now(),
        )
        await write_status(self._d.api, NODE_CLAIMS, claim, status)

    async def _finish(self, claim: NodeClaim) -> None:
        try:
            await remove_finalizer(self._d.api, NODE_CLAIMS, claim, TERMINATION_FINALIZER)
        except NotFound:
            return
        pool = claim.node_pool or ""
        metrics = self._d.metrics
        metrics.nodeclaims_terminated.labels(
            pool,
            claim.metadata.labels.get(labels.CAPACITY_TYPE, ""),
            claim.metadata.labels.get(labels.ZONE, ""),
        ).inc()
        if claim.metadata.deletion_timestamp is not None:
            took = self._d.clock.now() - claim.metadata.deletion_timestamp
            metrics.nodeclaims_termination_duration.labels(pool).observe(
                max(0.0, took.total_seconds())
            )
        _log.info("terminated", node_claim=claim.name, provider_id=claim.status.provider_id)


def termination_deadline(claim: NodeClaim | None) -> datetime | None:
    """When the node of the claim has to be gone; None when it may take for ever.

    An annotation that cannot be read (somebody wrote it by hand) counts as none.
    """
    text = claim.metadata.annotations.get(TERMINATION_TIMESTAMP) if claim is not None else None
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None
