"""`nodeclaim.expiration`: removes nodes that have lived long enough; none passes 21 days.

Expiry deletes the NodeClaim and leaves the rest to its drain. When the cap comes near, what holds
the drain no longer counts: the termination timestamp is brought forward, and at the end the
instance is terminated directly, whatever finalizers are left on the objects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from autoctl.api.labels import TERMINATION_TIMESTAMP
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.candidates import make_candidate
from autoctl.controllers.disruption.expiration import (
    CAP_WARNINGS,
    Lifetime,
    catch_up_room,
    lifetime_of,
)
from autoctl.controllers.disruption.model import Reason
from autoctl.controllers.lifecycle.removal import count_disrupted
from autoctl.controllers.objects import reference, write_metadata
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.claim import termination_deadline
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

BUDGET_RETRY_SECONDS: Final = 60.0
FORCE_RETRY_SECONDS: Final = 30.0
STUCK_RETRY_SECONDS: Final = 300.0
"""After the cap the instance is gone, and only somebody's finalizer keeps the objects."""

Terminate = Callable[[str], Awaitable[None]]
"""Ends the instance of a provider id; one that is gone is no error."""


def _never(_: datetime) -> bool:
    return False


@dataclass
class ExpirationController:
    """One NodeClaim a reconcile.

    `skipped` tells of instants that a jump of the clock, not time, brought into the past
    (`SteadyClock.skipped`). Lifetimes that ended so are ended within the pools' budgets.
    """

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    terminate: Terminate
    skipped: Callable[[datetime], bool] = _never
    name: str = "nodeclaim.expiration"
    _begun: set[str] = field(default_factory=set)
    """NodeClaims whose deletion was asked for, until the mirror shows it."""
    _forced: set[str] = field(default_factory=set)
    """Instances ended at their cap, which is counted once however long their objects are kept."""

    async def reconcile(self, key: str) -> Result:
        claim = self.state.claim(key)
        lifetime = None if claim is None else lifetime_of(claim)
        if claim is None or lifetime is None:
            return DONE
        now = self.clock.now()
        self._warn(claim, lifetime, now)
        if now >= lifetime.forced:
            if self.skipped(lifetime.forced) and not self._may_catch_up(claim, due=True):
                return Result(BUDGET_RETRY_SECONDS)
            self._begun.add(claim.name)
            await self._force(claim)
            return Result(FORCE_RETRY_SECONDS if now < lifetime.cap else STUCK_RETRY_SECONDS)
        if lifetime.expired(now):
            wait = await self._expire(claim, lifetime, now)
            if wait is not None:
                return Result(wait)
        return Result(self._next(lifetime, now))

    async def _expire(self, claim: NodeClaim, lifetime: Lifetime, now: datetime) -> float | None:
        """Delete the NodeClaim if nothing bounds that; seconds to wait where a budget does."""
        near_cap = now >= lifetime.must_drain
        due = lifetime.must_drain if near_cap else lifetime.expires
        if not claim.deleting and due is not None and self.skipped(due):
            if not self._may_catch_up(claim, due=near_cap):
                return BUDGET_RETRY_SECONDS
        elif not claim.deleting and not near_cap and not self._budget_allows(claim):
            return BUDGET_RETRY_SECONDS
        # Before the next request: other keys are judged while it is under way.
        self._begun.add(claim.name)
        if near_cap:
            await self._bring_forward(claim, lifetime)
        if claim.deleting:
            return None
        _log.info("node expired", nodeclaim=claim.name, near_cap=near_cap)
        try:
            await self.api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid)
        except NotFound:
            return None
        count_disrupted(self.state, self.metrics, claim, "expired", "forceful")
        self.events.publish(
            Event(
                reference(NODE_CLAIMS, claim),
                "DisruptionTerminating",
                "Disrupting NodeClaim: Expired",
            )
        )
        return None

    def _observe(self, claim: NodeClaim) -> Snapshot:
        """The cluster, with the other deletions that were begun here taken for granted."""
        snapshot = self.state.snapshot()
        claims = snapshot.node_claims
        self._begun = {n for n in self._begun if n in claims and not claims[n].deleting}
        others = self._begun - {claim.name}
        return snapshot.but(disrupting=snapshot.disrupting | others)

    def _budget_allows(self, claim: NodeClaim) -> bool:
        """Budgets bound expiry only where one names the reason Expired."""
        snapshot = self._observe(claim)
        node = next(
            (n for n in snapshot.state_nodes.values() if n.claim and n.claim.name == claim.name),
            None,
        )
        pool = snapshot.node_pools.get(claim.node_pool or "")
        if node is None or pool is None:
            return True
        candidate = make_candidate(node, claim, pool, snapshot)
        return BudgetLedger(snapshot).allows([candidate], Reason.EXPIRED)

    def _may_catch_up(self, claim: NodeClaim, *, due: bool) -> bool:
        """Whether one more node of the pool may go that a jump of the clock made too old."""
        if claim.deleting:
            return True
        snapshot = self._observe(claim)
        pool = snapshot.node_pools.get(claim.node_pool or "")
        if pool is None:
            return True
        ledger = BudgetLedger(snapshot)
        name = pool.metadata.name
        total, leaving = ledger.total(name), ledger.disrupting(name)
        return catch_up_room(pool, total, leaving, snapshot.now, due=due) > 0

    async def _bring_forward(self, claim: NodeClaim, lifetime: Lifetime) -> None:
        """The drain ends at the cap at the latest."""
        latest = lifetime.forced
        known = termination_deadline(claim)
        if known is not None and known <= latest:
            return
        await write_metadata(
            self.api,
            NODE_CLAIMS,
            claim,
            annotations={
                TERMINATION_TIMESTAMP: latest.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            },
        )

    async def _force(self, claim: NodeClaim) -> None:
        """End the instance itself, and ask for the objects to go."""
        provider_id = claim.status.provider_id
        if provider_id:
            if provider_id not in self._forced:
                _log.warning("lifetime cap reached, ending the instance", nodeclaim=claim.name)
            await self.terminate(provider_id)
            if provider_id not in self._forced:
                self._forced.add(provider_id)
                self.metrics.lifetime_cap_forced.labels(claim.node_pool or "").inc()
        if not claim.deleting:
            try:
                await self.api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid)
            except NotFound:
                return

    def _warn(self, claim: NodeClaim, lifetime: Lifetime, now: datetime) -> None:
        """Tell ahead of time that the cap will not wait."""
        left = lifetime.cap - now
        due = [w for w in CAP_WARNINGS if left <= w]
        if due:
            self.events.publish(
                Event(
                    reference(NODE_CLAIMS, claim),
                    "LifetimeCapApproaching",
                    f"The instance is ended by {lifetime.cap:%Y-%m-%dT%H:%M:%SZ}, 21 days after "
                    "its creation, whatever budgets, PodDisruptionBudgets or do-not-disrupt say",
                    type="Warning",
                    dedupe_values=(str(min(due)),),
                    dedupe_seconds=24 * 3600.0,
                )
            )

    @staticmethod
    def _next(lifetime: Lifetime, now: datetime) -> float:
        """Seconds until something is due."""
        change = lifetime.next_change(now)
        return 1.0 if change is None else max(1.0, (change - now).total_seconds())
