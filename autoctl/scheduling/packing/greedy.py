"""Greedy: fill a node of every offer, buy the one with the most value for its price, repeat."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.fill import fill_best
from autoctl.scheduling.packing.market import Market, capacity, shares
from autoctl.scheduling.packing.model import FloatArray, IntArray
from autoctl.scheduling.packing.plan import Plan, Row, repeats
from autoctl.scheduling.packing.stock import Stock

_NEAR_BEST = 0.995
_NEAR_BEST_WIDE = 0.97
_AT_ONCE = 12
_AT_ONCE_WIDE = 60

_NEAR_BEST_LATE = 0.5
"""When the budget is overrun every offer half as good as the best is bought in the same round."""

_WIDE = 8000
"""Classes x offers above which only a shortlist of offers is filled."""

_STEPS = 20
_PER_STEP = 6


def shortlist(market: Market, left: IntArray, columns: IntArray) -> IntArray:
    """Offers worth filling: the cheapest home of each class, and the best rates of every size.

    Sizes are steps of the price on a logarithmic scale; the rate is the price of the resources the
    pods in `left` ask for, in the mixture they ask for.
    """
    active = np.flatnonzero(left)
    fit = market.fit[np.ix_(active, columns)]
    by_price = np.argsort(market.price[columns], kind="stable")
    home = by_price[(fit[:, by_price] > 0).argmax(axis=1)]
    part = shares(
        market.requests[active],
        market.allocatable[columns],
        market.price[columns],
        fit,
        market.cap[active],
    )
    total = left @ market.requests
    rate = market.price[columns] / np.maximum(
        (market.allocatable[columns][:, total > 0] / total[total > 0]).sum(axis=1), 1e-12
    )
    size = np.log(np.maximum(market.price[columns], 1e-9))
    step = np.floor((size - size.min()) / max(np.ptp(size), 1e-9) * _STEPS)
    order = np.lexsort((columns, rate, step))
    place = np.arange(len(order)) - np.searchsorted(step[order], step[order], side="left")
    kept = np.r_[home, part.argmin(axis=1), order[place < _PER_STEP]]
    chosen: IntArray = columns[np.unique(kept)]
    return chosen


def greedy(
    market: Market,
    left: IntArray,
    stock: Stock,
    budget: Budget,
    *,
    value: FloatArray | None = None,
    rounds: int = 1,
) -> Plan:
    """Pack `left` (K,) until nothing more fits; `stock` is drawn down.

    One round of fills buys every node about as good as its best; of many classes, more at once, and
    most of all when the budget is overrun: all pods must be placed, but in few rounds. When it is
    exhausted, each class gets nodes of its own.

    Args:
        value: (K,) what one pod is worth, USD/hour; by default its cheapest fraction of a node.
        rounds: re-weighting rounds of each fill.
    """
    plan = Plan(left.copy())
    worth = np.where(np.isfinite(market.unit), market.unit, 0.0)
    if value is not None:
        worth = np.maximum(value, 1e-6 * worth)
    worth = np.maximum(worth, 1e-9)
    while not budget.exhausted:
        near, batch = _NEAR_BEST, _AT_ONCE
        active = plan.left > 0
        rooms = stock.rooms(market.offers)
        columns = np.flatnonzero((rooms > 0) & market.fit[active].any(axis=0))
        if len(columns) * int(active.sum()) > _WIDE:
            budget.spend(0.004 * len(columns) * int(active.sum()))
            columns = shortlist(market, plan.left, columns)
            near, batch = _NEAR_BEST_WIDE, _AT_ONCE_WIDE
        if budget.overrun:
            near, batch, rounds = _NEAR_BEST_LATE, len(columns), 1
        if not len(columns):
            return plan
        budget.spend_fill(len(columns), int(active.sum()), rounds)
        pods, gain = fill_best(market, plan.left, worth, columns, rounds)
        # a free offer (a reservation paid for) is always worth its price
        ratio = gain / np.maximum(market.price[columns], 1e-9)
        best = ratio.max()
        if best <= 0:
            return plan
        ranked = np.lexsort((columns, -np.round(ratio / best, 6), -gain * (ratio >= near * best)))[
            :batch
        ]
        for spot in ranked:
            if ratio[spot] < near * best:
                break
            column = columns[spot]
            offer, price = int(market.offers[column]), float(market.price[column])
            node = np.minimum(pods[spot], plan.left)
            if node @ worth < near * best * max(price, 1e-9):
                continue  # another node of this round took what made it good
            nodes = min(repeats(node, plan.left), stock.room(offer))
            if nodes > 0:
                plan.add(offer, price, node, nodes)
                stock.take(offer, nodes)
    singly(market, plan, stock, budget)
    return plan


def singly(
    market: Market,
    plan: Plan,
    stock: Stock,
    budget: Budget,
    priority: IntArray | None = None,
) -> None:
    """Nodes for each class by itself, of the offer that is cheapest for a pod: one pass, no search.

    Classes go by falling `priority` (K,), then size. The last node of a class is filled up with the
    classes that follow. `plan` grows and `stock` is drawn down.
    """
    if not len(market.offers):
        return
    ranks = np.zeros(len(plan.left), np.int64) if priority is None else -priority
    size = (market.requests / np.maximum(market.requests.max(axis=0), 1.0)).max(axis=1)
    order = np.lexsort((np.arange(len(size)), -size, ranks))
    order = order[plan.left[order] > 0]
    budget.spend(len(order) * (10 + 0.01 * len(market.price)))
    open_pods: IntArray | None = None
    column = -1
    for row in order.tolist():
        if open_pods is not None and plan.left[row] and market.fit[row, column]:
            open_pods = _add_to_last(market, plan, row, column, open_pods)
        while plan.left[row]:
            fit = np.minimum(market.fit[row], plan.left[row])
            fit = np.where(stock.rooms(market.offers) > 0, fit, 0)
            if not fit.any():
                break
            price = np.where(fit > 0, market.price / np.maximum(fit, 1), np.inf)
            column = int(price.argmin())
            pods = np.zeros(len(size), np.int64)
            pods[row] = fit[column]
            offer = int(market.offers[column])
            nodes = min(repeats(pods, plan.left), stock.room(offer))
            plan.add(offer, float(market.price[column]), pods, nodes)
            stock.take(offer, nodes)
            open_pods = pods


def _add_to_last(market: Market, plan: Plan, row: int, column: int, pods: IntArray) -> IntArray:
    """Put pods of a class into the room of the last node bought, split off from others like it."""
    if market.conflict is not None and (pods > 0)[market.conflict[row]].any():
        return pods
    room = market.allocatable[column] - pods @ market.requests
    most = float(capacity(market.requests[row], room))
    count = int(min(most, market.fit[row, column], plan.left[row]))
    if count <= 0:
        return pods
    last = plan.rows.pop()
    fuller = pods.copy()
    fuller[row] += count
    if last.nodes > 1:
        plan.rows.append(Row(last.offer, last.price, last.pods, last.nodes - 1))
    plan.rows.append(Row(last.offer, last.price, fuller, 1))
    plan.left[row] -= count
    return fuller
