"""Greedy: fill a node of every offer, buy the one with the most value for its price, repeat."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.fill import fill_best
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import FloatArray, IntArray
from autoctl.scheduling.packing.plan import Plan, repeats
from autoctl.scheduling.packing.stock import Stock

_NEAR_BEST = 0.995
_AT_ONCE = 12


def greedy(
    market: Market,
    left: IntArray,
    stock: Stock,
    budget: Budget,
    *,
    value: FloatArray | None = None,
    rounds: int = 1,
    batch: int = _AT_ONCE,
) -> Plan:
    """Pack `left` (K,) until nothing more fits; `stock` is drawn down.

    Args:
        value: (K,) what one pod is worth, USD/hour; by default its cheapest fraction of a node.
        rounds: re-weighting rounds of each fill.
        batch: patterns bought from one round of fills, all within half a per cent of the best.
    """
    plan = Plan(left.copy())
    worth = np.where(np.isfinite(market.unit), market.unit, 0.0)
    if value is not None:
        worth = np.maximum(value, 1e-6 * worth)
    worth = np.maximum(worth, 1e-9)
    while True:
        active = plan.left > 0
        rooms = stock.rooms(market.offers)
        columns = np.flatnonzero((rooms > 0) & market.fit[active].any(axis=0))
        if not len(columns):
            return plan
        budget.spend_fill(len(columns), int(active.sum()), rounds)
        pods, gain = fill_best(market, plan.left, worth, columns, rounds)
        # a free offer (a reservation paid for) is always worth its price
        ratio = gain / np.maximum(market.price[columns], 1e-9)
        best = ratio.max()
        if best <= 0:
            return plan
        ranked = np.lexsort((columns, -gain, -np.round(ratio / best, 6)))[:batch]
        for spot in ranked:
            if ratio[spot] < _NEAR_BEST * best:
                break
            offer = int(market.offers[columns[spot]])
            nodes = min(repeats(pods[spot], plan.left), stock.room(offer))
            if nodes > 0:
                plan.add(offer, float(market.price[columns[spot]]), pods[spot], nodes)
                stock.take(offer, nodes)
