"""`nodeclaim.disruption`: keeps the conditions `Drifted` and `Consolidatable` of NodeClaims."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from autoctl.api.nodeclaim import CONSOLIDATABLE, DRIFTED, NodeClaim, NodeClaimStatus
from autoctl.api.nodepool import NodePool
from autoctl.catalog.names import by_name
from autoctl.controllers.disruption.drift import DriftReason, InstanceFacts, drift_reason
from autoctl.controllers.lifecycle.conditions import with_condition, without_condition
from autoctl.controllers.objects import write_status
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState, InstanceTypeSource
from autoctl.state.own_writes import LAG_SECONDS
from autoctl.state.quiet import is_quiet, quiet_in, quiet_start

DRIFT_SECONDS: Final = 300.0
"""How often a NodeClaim is judged although nothing about it changed."""

Describe = Callable[[NodeClaim], Awaitable[InstanceFacts | None]]
"""What EC2 says of a NodeClaim's instance; None when it says nothing."""


@dataclass
class DisruptionConditionsController:
    """One NodeClaim a reconcile."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    types: InstanceTypeSource
    describe: Describe
    seconds: float = DRIFT_SECONDS
    name: str = "nodeclaim.disruption"

    async def reconcile(self, key: str) -> Result:
        claim = self.state.claim(key)
        if claim is None or claim.deleting or not claim.launched:
            return DONE
        if self.state.lags(NODE_CLAIMS, key):
            return Result(LAG_SECONDS)
        pool = self.state.pool(claim.node_pool or "")
        if pool is None or pool.deleting:
            return DONE
        now = self.clock.now()
        reason = await self._drift(claim, pool, now)
        since = quiet_start(claim)
        quiet = is_quiet(since, pool, now) and not pool.is_static
        generation = claim.metadata.generation
        status = _marked(claim.status, DRIFTED, reason, generation, now)
        status = _marked(status, CONSOLIDATABLE, CONSOLIDATABLE if quiet else None, generation, now)
        try:
            await write_status(self.api, NODE_CLAIMS, claim, status)
        except NotFound:
            return DONE
        left = quiet_in(since, pool, now)
        waits = [self.seconds]
        if left is not None and left.total_seconds() > 0:
            waits.append(left.total_seconds())
        return Result(min(waits))

    async def _drift(self, claim: NodeClaim, pool: NodePool, now: datetime) -> DriftReason | None:
        node_class = self.state.node_class(claim.spec.node_class_ref.name)
        launchable = self.types.launchable(node_class) if node_class is not None else ()
        types = by_name(launchable)
        reason = drift_reason(claim, pool, node_class, types, now)
        if reason is None and node_class is not None:
            facts = await self.describe(claim)
            if facts is not None:
                reason = drift_reason(claim, pool, node_class, types, now, facts)
        return reason


def _marked(
    status: NodeClaimStatus, kind: str, reason: str | None, generation: int, now: datetime
) -> NodeClaimStatus:
    """The status with the condition True for `reason`, or without it."""
    if reason is None:
        return without_condition(status, kind)
    return with_condition(status, kind, "True", reason, reason, generation, now)
