"""The Balanced consolidation policy: savings in proportion to disruption.

A move is approved when the share of the pool's cost it saves is at least 1/k of the share of the
pool's total disruption it causes, k = 2 (Karpenter's design `balanced-consolidation`; Auto Mode
feature 58). A move over several pools is scored in each, its savings split by what each gives up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.cost import rescheduling_cost
from autoctl.controllers.disruption.split import Move
from autoctl.state.pricing import node_prices
from autoctl.state.snapshot import Snapshot

BALANCED_K: Final = 2.0
THRESHOLD: Final = 1.0 / BALANCED_K


@dataclass(frozen=True, slots=True)
class PoolTotals:
    """What a NodePool costs (USD/hour) and how much disruption moving all of it would be."""

    cost: float
    disruption: float


def pool_totals(snapshot: Snapshot) -> dict[str, PoolTotals]:
    """Totals of every NodePool that has nodes."""
    prices = node_prices(snapshot)
    cost: dict[str, float] = {}
    disruption: dict[str, float] = {}
    for node in snapshot.state_nodes.values():
        if node.claim is None or node.pool is None:
            continue
        cost[node.pool] = cost.get(node.pool, 0.0) + prices.get(node.name, 0.0)
        disruption[node.pool] = disruption.get(node.pool, 0.0) + rescheduling_cost(node.pods)
    return {name: PoolTotals(cost[name], disruption[name]) for name in cost}


def score(move: Move, totals: Mapping[str, PoolTotals]) -> float:
    """The move's lowest score over the pools it takes nodes of; infinite when nothing is moved."""
    by_pool: dict[str, list[Candidate]] = {}
    for candidate in move.candidates:
        by_pool.setdefault(candidate.pool.metadata.name, []).append(candidate)
    return min(_pool_score(move, by_pool[name], totals[name]) for name in by_pool)


def _pool_score(move: Move, members: Iterable[Candidate], totals: PoolTotals) -> float:
    members = list(members)
    given_up = sum(c.price for c in members)
    if move.price <= 0 or totals.cost <= 0:
        return 0.0
    savings = move.savings * given_up / move.price
    disruption = sum(c.cost for c in members)
    if totals.disruption <= 0 or disruption <= 0:
        return float("inf")
    return (savings / totals.cost) / (disruption / totals.disruption)
