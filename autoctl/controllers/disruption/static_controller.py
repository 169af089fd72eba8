"""`static.deprovisioning`: takes away what a static pool has too many of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import structlog

from autoctl.controllers.disruption.static import surplus
from autoctl.controllers.lifecycle.removal import count_disrupted
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_CLAIMS, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS: Final = 60.0
UNSYNCED_SECONDS: Final = 1.0


@dataclass
class StaticDeprovisioner:
    """Periodic; woken by changes of NodePools and NodeClaims."""

    api: KubernetesApi
    state: ClusterState
    metrics: Metrics
    name: str = "static.deprovisioning"
    _asked: set[str] = field(default_factory=set)
    """UIDs of NodeClaims whose deletion was asked for, until the mirror shows it."""

    async def run_once(self) -> float:
        if not self.state.synced:
            return UNSYNCED_SECONDS
        if all(pool.spec.replicas is None for pool in self.state.node_pools.reflector):
            return PERIOD_SECONDS
        snapshot = self.state.snapshot()
        self._asked &= {c.metadata.uid for c in snapshot.node_claims.values() if not c.deleting}
        for pool in snapshot.node_pools.values():
            if pool.deleting:
                continue
            for claim in surplus(snapshot, pool):
                if claim.metadata.uid in self._asked:
                    continue
                _log.info("static pool scaled down", node_pool=pool.name, node_claim=claim.name)
                try:
                    await self.api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid)
                except NotFound:
                    continue
                self._asked.add(claim.metadata.uid)
                count_disrupted(self.state, self.metrics, claim, "scaled_down", "graceful")
        return PERIOD_SECONDS
