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
    """A NodeClaim is being taken away: count it, and the pods that still have to move for it."""
    metrics.nodeclaims_disrupted.labels(*_labels(state, claim, reason, mode)).inc()
    pods = sum(
        is_reschedulable(pod, include_terminating_stateful=False)
        for node in state.nodes_of_claim(claim)
        for pod in state.pods_by_node[node.metadata.name].values()
    )
    count_moving(state, metrics, claim, reason, mode, pods)


def count_moving(
    state: ClusterState,
    metrics: Metrics,
    claim: NodeClaim,
    reason: str,
    mode: TerminationMode,
    pods: int,
) -> None:
    """So many pods of a NodeClaim were told to move."""
    metrics.pods_disruption_initiated.labels(*_labels(state, claim, reason, mode)).inc(pods)


def _labels(
    state: ClusterState, claim: NodeClaim, reason: str, mode: TerminationMode
) -> tuple[str, ...]:
    pool = state.pool(claim.node_pool or "")
    return (
        reason,
        claim.node_pool or "",
        claim.metadata.labels.get(labels.CAPACITY_TYPE, ""),
        pool.spec.disruption.consolidation_policy if pool is not None else "",
        mode,
    )
