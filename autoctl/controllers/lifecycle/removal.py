"""Deleting a NodeClaim that is to be no more, counted once with its reason."""

from __future__ import annotations

from typing import Literal

import structlog

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_CLAIMS, Conflict, KubernetesApi, NotFound

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


async def remove_claim(
    api: KubernetesApi,
    metrics: Metrics,
    claim: NodeClaim,
    reason: str,
    mode: Literal["graceful", "eventual", "forceful"] = "forceful",
    policy: str = "",
) -> None:
    """Delete this very NodeClaim (never a namesake); one that is gone already is no error."""
    try:
        await api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid)
    except (NotFound, Conflict):
        _log.debug("NodeClaim is gone already", node_claim=claim.name)
        return
    capacity_type = claim.metadata.labels.get(labels.CAPACITY_TYPE, "")
    metrics.nodeclaims_disrupted.labels(
        reason, claim.node_pool or "", capacity_type, policy, mode
    ).inc()
    _log.info("NodeClaim deleted", node_claim=claim.name, reason=reason)
