"""What the machines of each NodePool have together, kept up to date as they come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.catalog.units import amount
from autoctl.ports.kubernetes import EventType
from autoctl.state.reflector import Change, Reflector
from autoctl.state.tables import Index

NODES = "nodes"
"""Counts the machines, as a resource."""


@dataclass(frozen=True, slots=True)
class _Share:
    """What one NodeClaim's machine adds to its pool."""

    pool: str
    capacity: Mapping[str, str | int | float]
    amounts: Mapping[str, int]


class _Total:
    """Sums of those resources that any machine has, be it 0 of it."""

    def __init__(self) -> None:
        self.sums: dict[str, int] = {}
        self._machines: Counter[str] = Counter()

    def add(self, amounts: Mapping[str, int], sign: int) -> None:
        for resource, quantity in amounts.items():
            self.sums[resource] = self.sums.get(resource, 0) + sign * quantity
            self._machines[resource] += sign
            if not self._machines[resource]:
                del self.sums[resource], self._machines[resource]


class PoolTotals:
    """Sums over the NodeClaims of each NodePool; a change costs the claims that it touches."""

    def __init__(
        self,
        nodes: Reflector[core.Node],
        claims: Reflector[NodeClaim],
        nodes_of: Callable[[NodeClaim], Sequence[core.Node]],
        claims_by_provider: Index[NodeClaim],
    ) -> None:
        """The index, and what `nodes_of` reads, hear of changes before this does."""
        self._nodes_of = nodes_of
        self._claims = claims_by_provider
        self._shares: dict[str, _Share] = {}
        self._totals: dict[str, _Total] = {}
        nodes.subscribe(self._nodes_changed)
        claims.subscribe(self._claims_changed)

    def of(self, pool: str) -> Mapping[str, int]:
        """Resource -> base units of the pool's machines, with their number as `nodes`.

        A machine has the capacity that its Node tells, and until then what its NodeClaim expects.
        """
        total = self._totals.get(pool)
        return {NODES: 0} if total is None else total.sums

    def _claims_changed(self, changes: Sequence[Change[NodeClaim]]) -> None:
        for change in changes:
            claim = None if change.type is EventType.DELETED else change.object
            self._count(change.key, claim)

    def _nodes_changed(self, changes: Sequence[Change[core.Node]]) -> None:
        for change in changes:
            states = [n for n in (change.previous, change.object) if n is not None]
            for provider in {n.spec.provider_id for n in states if n.spec.provider_id}:
                for name, claim in self._claims[provider].items():
                    self._count(name, claim)

    def _count(self, name: str, claim: NodeClaim | None) -> None:
        known = self._shares.get(name)
        share = None if claim is None or claim.node_pool is None else self._share(claim, known)
        if share is known:
            return
        if known is not None:
            del self._shares[name]
            self._totals[known.pool].add(known.amounts, -1)
            if not self._totals[known.pool].sums:
                del self._totals[known.pool]
        if share is not None:
            self._shares[name] = share
            self._totals.setdefault(share.pool, _Total()).add(share.amounts, 1)

    def _share(self, claim: NodeClaim, known: _Share | None) -> _Share:
        pool = claim.node_pool
        assert pool is not None, "only NodeClaims of a pool add to one"
        nodes = self._nodes_of(claim)
        capacity = (nodes[0].status.capacity if nodes else None) or claim.status.capacity
        if known is not None and known.pool == pool and known.capacity == capacity:
            return known
        amounts = {resource: amount(resource, text) for resource, text in capacity.items()}
        return _Share(pool, capacity, {NODES: 1, **amounts})
