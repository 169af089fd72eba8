"""How many nodes of each NodePool may be under disruption at once.

Rules: Karpenter's `BuildDisruptionBudgetMapping`. A pool's total counts its managed, initialized
nodes whose instances are not terminating; nodes that are not ready or already leaving use the
budget up, whatever makes them leave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from autoctl.api.nodeclaim import INSTANCE_TERMINATING
from autoctl.api.nodepool import UNLIMITED, NodePool
from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.model import PoolBlocked, Reason
from autoctl.state.snapshot import Snapshot


class BudgetLedger:
    """What is left of every pool's budgets while one pass takes nodes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._total: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()
        self._unready: Counter[str] = Counter()
        """Those that are not ready, of nodes that stay."""
        for node in snapshot.state_nodes.values():
            if node.claim is None or node.pool is None or not node.initialized:
                continue
            if node.claim_condition(INSTANCE_TERMINATING):
                continue
            self._total[node.pool] += 1
            if node.deleting or node.disrupted or node.claim.metadata.name in snapshot.disrupting:
                self._leaving[node.pool] += 1
            elif not node.ready:
                self._unready[node.pool] += 1

    def allowed(self, pool: NodePool, reason: Reason) -> int:
        """How many more nodes of `pool` may go now for `reason`."""
        limit = self._limit(pool, reason)
        if limit >= UNLIMITED:
            return UNLIMITED
        return max(0, limit - self.disrupting(pool.metadata.name))

    def _limit(self, pool: NodePool, reason: Reason) -> int:
        """How many nodes may go at once by the budgets, whatever uses them up."""
        total = self._total[pool.metadata.name]
        return pool.spec.disruption.allowed(reason, total, self._snapshot.now)

    def total(self, pool: str) -> int:
        """How many nodes of the pool percentages are of."""
        return self._total[pool]

    def disrupting(self, pool: str) -> int:
        """How many of the pool's nodes use its budgets up, whatever makes them leave."""
        return self._leaving[pool] + self._unready[pool]

    def allows(self, candidates: Iterable[Candidate], reason: Reason) -> bool:
        """Whether all of `candidates` may go together."""
        wanted = Counter(c.pool.metadata.name for c in candidates)
        pools = self._snapshot.node_pools
        return all(self.allowed(pools[name], reason) >= count for name, count in wanted.items())

    def take(self, candidates: Iterable[Candidate]) -> None:
        """Count `candidates` as leaving."""
        for candidate in candidates:
            self._leaving[candidate.pool.metadata.name] += 1

    def trim(self, candidates: Iterable[Candidate], reason: Reason) -> list[Candidate]:
        """The leading candidates of each pool that its budget has room for (nothing is taken)."""
        room: dict[str, int] = {}
        kept = []
        for candidate in candidates:
            name = candidate.pool.metadata.name
            left = room.setdefault(name, self.allowed(candidate.pool, reason))
            if left > 0:
                room[name] = left - 1
                kept.append(candidate)
        return kept

    def blocked(self) -> list[PoolBlocked]:
        """The pools whose budgets by themselves let nothing go for a reason: the event's text.

        As upstream, what uses a budget up does not make it a blocking one (see `spent`).
        """
        result = []
        for pool, reason in self._bounded():
            if self._limit(pool, reason) > 0:
                continue
            message = (
                f"No allowed disruptions for disruption reason {reason.value} "
                "due to blocking budget"
            )
            unreadable = pool.spec.disruption.faults()
            if unreadable:
                message += f": {unreadable[0]}"
            result.append(PoolBlocked(pool.metadata.name, reason, message))
        return result

    def spent(self) -> list[PoolBlocked]:
        """The pools with nodes that stay for now because others use the budget for a reason up."""
        result = []
        for pool, reason in self._bounded():
            name = pool.metadata.name
            limit = self._limit(pool, reason)
            leaving, unready = self._leaving[name], self._unready[name]
            if limit <= 0 or self.allowed(pool, reason) > 0 or leaving >= self._total[name]:
                continue
            users = ((leaving, "leaving"), (unready, "not ready"))
            message = (
                f"The budget of {limit} for disruption reason {reason.value} is used up by nodes: "
                + ", ".join(f"{count} {what}" for count, what in users if count)
            )
            result.append(PoolBlocked(name, reason, message))
        return result

    def _bounded(self) -> Iterator[tuple[NodePool, Reason]]:
        """The pools that have nodes, by name, with each reason that budgets bound by default."""
        for name, pool in sorted(self._snapshot.node_pools.items()):
            if self._total[name]:
                for reason in (Reason.UNDERUTILIZED, Reason.EMPTY, Reason.DRIFTED):
                    yield pool, reason
