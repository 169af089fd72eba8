"""Whether a node has been quiet for long enough to be consolidated.

Quiet: no pod bound, ended or gone since; counted from the node's initialization.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from autoctl.api.nodeclaim import INITIALIZED, NodeClaim
from autoctl.api.nodepool import NodePool


def quiet_start(claim: NodeClaim) -> datetime | None:
    """Since when no pod has come or gone on the node; None before it is initialized."""
    for condition in claim.status.conditions:
        if condition.type == INITIALIZED and condition.status == "True":
            since = condition.last_transition_time or claim.metadata.creation_timestamp
            last = claim.status.last_pod_event_time
            if since is None or last is None:
                return since or last
            return max(since, last)
    return None


def is_quiet(since: datetime | None, pool: NodePool, now: datetime) -> bool:
    """Whether a node, quiet `since` then, has been so for the pool's `consolidateAfter`.

    A `now` that lies before it (clocks differ) counts as that instant.
    """
    period = pool.spec.disruption.quiet_period
    if since is None or period is None:
        return False
    return max(timedelta(0), now - since) >= period


def quiet_in(since: datetime | None, pool: NodePool, now: datetime) -> timedelta | None:
    """How long until the node counts as quiet; None when it never will by itself."""
    period = pool.spec.disruption.quiet_period
    if since is None or period is None:
        return None
    return period - min(period, max(timedelta(0), now - since))
