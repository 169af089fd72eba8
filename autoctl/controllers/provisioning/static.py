"""`static.provisioning`: keeps the number of nodes that static pools ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.api.quantity import whole
from autoctl.controllers.disruption.static import members, requirements_of
from autoctl.controllers.objects import reference
from autoctl.controllers.provisioning.claims import ClaimCreator, ClaimTemplate
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.ports.kubernetes import NODE_POOLS, ApiError
from autoctl.state.cluster import ClusterState
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS = 60.0
LIMIT_REACHED = "StaticPoolLimited"
_UNSYNCED_SECONDS = 1.0
_FIRST_BACK_OFF = 2.0
_LONGEST_BACK_OFF = 60.0


def missing(snapshot: Snapshot, pool: NodePool) -> int:
    """How many NodeClaims to create for the pool to have its `replicas`.

    One that drifted is there until it is deleted: its replacement comes from disruption, and
    another would be one too many. Those that are being deleted still count for `limits.nodes`.
    """
    wanted, allowed = _room(snapshot, pool)
    return max(0, min(wanted, allowed))


def held_back(snapshot: Snapshot, pool: NodePool) -> str | None:
    """Why the pool does not come to its `replicas`, its own limit; None where it can.

    While NodeClaims that the limit counts are on their way out, it only waits for them.
    """
    wanted, allowed = _room(snapshot, pool)
    replicas, limit = pool.spec.replicas or 0, pool.spec.limits.get("nodes")
    if limit is None or wanted <= max(0, allowed) or replicas <= whole(limit):
        return None
    return f"limits.nodes {limit} keeps it from its {replicas} replicas"


def _room(snapshot: Snapshot, pool: NodePool) -> tuple[int, int]:
    """NodeClaims that a static pool lacks, and how many its limit lets it have beyond those."""
    claims = members(snapshot, pool)
    wanted = (pool.spec.replicas or 0) - sum(1 for c in claims if not c.deleting)
    limit = pool.spec.limits.get("nodes")
    return wanted, wanted if limit is None else whole(limit) - len(claims)


@dataclass
class _Attempts:
    """What came of a pool's NodeClaims that are not launched yet; times are the loop's."""

    open: set[str] = field(default_factory=set)
    delay: float = 0.0
    not_before: float = 0.0

    def judge(self, claims: Iterable[NodeClaim], now: float) -> float:
        """Seconds until new NodeClaims may be made: more each time that some could not launch."""
        known = {claim.name: claim for claim in claims}
        launched = {n for n in self.open if n in known and known[n].launched}
        failed = {n for n in self.open - launched if n not in known or known[n].deleting}
        self.open -= launched | failed
        if launched:
            self.delay = 0.0
        if failed and now >= self.not_before:
            self.delay = min(_LONGEST_BACK_OFF, max(_FIRST_BACK_OFF, 2 * self.delay))
            self.not_before = now + self.delay
        return max(0.0, self.not_before - now)


@dataclass
class StaticProvisioner:
    """Periodic; woken by changes of NodePools and NodeClaims."""

    state: ClusterState
    creator: ClaimCreator
    events: EventRecorder
    name: str = "static.provisioning"
    _attempts: dict[str, _Attempts] = field(default_factory=dict)

    async def run_once(self) -> float:
        if not self.state.synced:
            return _UNSYNCED_SECONDS
        if all(pool.spec.replicas is None for pool in self.state.node_pools.reflector):
            return PERIOD_SECONDS
        snapshot = self.state.snapshot()
        now = asyncio.get_running_loop().time()
        pause = PERIOD_SECONDS
        for pool in snapshot.node_pools.values():
            if not pool.is_static or pool.deleting or not pool.ready:
                continue
            if why := held_back(snapshot, pool):
                text = f"The pool is full: {why}"
                about = reference(NODE_POOLS, pool)
                self.events.publish(Event(about, LIMIT_REACHED, text, "Warning"))
            claims = members(snapshot, pool)
            count = missing(snapshot, pool)
            wait = self._attempts.setdefault(pool.name, _Attempts()).judge(claims, now)
            if count and wait > 0:
                pause = min(pause, wait)
                continue
            await self._create(pool, count)
        return pause

    async def _create(self, pool: NodePool, count: int) -> None:
        template = ClaimTemplate(requirements_of(pool).specs(), {})
        attempts = self._attempts[pool.name]
        for created in range(count):
            try:
                claim = await self.creator.create(pool, template, "provisioned")
                attempts.open.add(claim.name)
            except ApiError:
                _log.warning("static pool not filled", node_pool=pool.name, missing=count - created)
                raise
