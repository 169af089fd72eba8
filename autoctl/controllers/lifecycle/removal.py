"""Deleting a NodeClaim that is to be no more, counted once with its reason."""

from __future__ import annotations

from typing import Literal, TypeAlias

import structlog

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_CLAIMS, Conflict, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState
from autoctl.state.pods import is_reschedulable

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

TerminationMode: TypeAlias = Literal["graceful", "eventual", "forceful"]


async def remove_claim(
    api: KubernetesApi,
    state: ClusterState,
    metrics: Metrics,
    claim: NodeClaim,
    reason: str,
    mode: TerminationMode = "forceful",
) -> None:
    """Delete this very NodeClaim (never a namesake); one that is gone already is no error."""
    try:
        await api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid)
    except (NotFound, Conflict):
        _log.debug("NodeClaim is gone already", node_claim=claim.name)
        return
    count_disrupted(state, metrics, claim, reason, mode)
    _log.info("NodeClaim deleted", node_claim=claim.name, reason=reason)


def count_disrupted(
    state: ClusterState, metrics: Metrics, claim: NodeClaim, reason: str, mode: TerminationMode
) -> None:
    """A NodeClaim is being taken away: count it, and the pods that have to move for it."""
    pool = state.pool(claim.node_pool or "")
    values = (
        reason,
        claim.node_pool or "",
        claim.metadata.labels.get(labels.CAPACITY_TYPE, ""),
        pool.spec.disruption.consolidation_policy if pool is not None else "",
        mode,
    )
    metrics.nodeclaims_disrupted.labels(*values).inc()
    pods = sum(
        is_reschedulable(pod)
        for node in state.nodes_of_claim(claim)
        for pod in state.pods_by_node[node.metadata.name].values()
    )
    metrics.pods_disruption_initiated.labels(*values).inc(pods)
