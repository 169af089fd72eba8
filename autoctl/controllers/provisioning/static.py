"""`static.provisioning`: keeps the number of nodes that static pools ask for."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from autoctl.api.nodepool import NodePool
from autoctl.api.quantity import whole
from autoctl.controllers.disruption.static import is_staying, members, requirements_of
from autoctl.controllers.provisioning.claims import ClaimCreator, ClaimTemplate
from autoctl.ports.kubernetes import ApiError
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS = 60.0
_UNSYNCED_SECONDS = 1.0


def missing_nodes(replicas: int, staying: int, total: int, limit: int | None) -> int:
    """How many NodeClaims to create.

    `staying` are those that are not being deleted or replaced, `total` includes the others, which
    still count for `limits.nodes`.
    """
    wanted = max(0, replicas - staying)
    return wanted if limit is None else max(0, min(wanted, limit - total))


@dataclass
class StaticProvisioner:
    """Periodic; woken by changes of NodePools and NodeClaims."""

    state: ClusterState
    creator: ClaimCreator
    name: str = "static.provisioning"

    async def run_once(self) -> float:
        if not self.state.synced:
            return _UNSYNCED_SECONDS
        snapshot = self.state.snapshot()
        for pool in snapshot.node_pools.values():
            replicas = pool.spec.replicas
            if replicas is None or pool.deleting or not pool.ready:
                continue
            claims = members(snapshot, pool)
            staying = sum(1 for c in claims if is_staying(c))
            limit = pool.spec.limits.get("nodes")
            count = missing_nodes(
                replicas, staying, len(claims), None if limit is None else whole(limit)
            )
            await self._create(pool, count)
        return PERIOD_SECONDS

    async def _create(self, pool: NodePool, count: int) -> None:
        template = ClaimTemplate(requirements_of(pool).specs(), {})
        for created in range(count):
            try:
                await self.creator.create(pool, template, "provisioned")
            except ApiError:
                _log.warning("static pool not filled", node_pool=pool.name, missing=count - created)
                raise
