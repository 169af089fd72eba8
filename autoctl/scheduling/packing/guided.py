"""Rounding the relaxation: each offer gets its share of the pods, in balanced nodes."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.fill import fill_node
from autoctl.scheduling.packing.groups import cliques
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import FloatArray, IntArray
from autoctl.scheduling.packing.plan import Plan, repeats
from autoctl.scheduling.packing.relaxation import Relaxed, relax
from autoctl.scheduling.packing.stock import Stock

_GOLDEN = 0.6180339887498949
_FILL = (0.96, 0.9, 0.8)
"""What a node must be worth of its price to be bought, round after round."""
_SAMPLE = 0.6
_CHOSEN = 16
"""Of its fair share of pods a node gets at least this part unseen, and all but so many pods; the
rest is chosen to fit. A few good choices even out any node, and keep the mixture of the rest."""
_ONE_BY_ONE = 64
_SCARCE = 4


def guided(
    market: Market,
    left: IntArray,
    stock: Stock,
    budget: Budget,
    first: Relaxed,
    thresholds: tuple[float, ...] = _FILL,
) -> tuple[Plan, Relaxed]:
    """Pack what the relaxation packs well; the rest stays in the plan's `left`.

    `first` is the relaxation of `left` (K,); `stock` is drawn down. In each round a node is bought
    if it is worth that round's threshold of its price.

    Returns:
        the plan and the last relaxation solved.
    """
    plan = Plan(left.copy())
    relaxed = first
    clique = cliques(market)
    for turn, threshold in enumerate(thresholds):
        if turn:
            relaxed = again(market, plan.left, stock, budget, relaxed)
        mine = _deal(plan.left, relaxed.share)
        for spot, column in enumerate(relaxed.columns):
            _nodes_of(
                market, int(column), mine[:, spot], plan, stock, budget, relaxed, clique, threshold
            )
        if not plan.left.any() or not budget.left:
            break
    return plan, relaxed


def again(market: Market, left: IntArray, stock: Stock, budget: Budget, last: Relaxed) -> Relaxed:
    """A guide for `left` (K,): the `last` one where nothing was bought since."""
    if (left == last.wanted).all():
        return last
    return relax(market, left, stock, budget, tolerance=5e-3, rounds=6, prove=False)


def _deal(left: IntArray, share: FloatArray) -> IntArray:
    """(K, U) whole pods for each offer in proportion to `share` (K, U), nobody's pods lost.

    Each class starts at another point of the rounding, so that classes of a single pod do not all
    end up with the same offer.
    """
    offset = (np.arange(len(left)) * _GOLDEN) % 1.0
    upto = np.cumsum(share, axis=1) * left[:, None] + offset[:, None]
    whole = np.minimum(np.floor(upto + 1e-9), left[:, None]).astype(np.int64)
    dealt: IntArray = np.diff(whole, axis=1, prepend=0)
    return dealt


def _nodes_of(
    market: Market,
    column: int,
    mine: IntArray,
    plan: Plan,
    stock: Stock,
    budget: Budget,
    relaxed: Relaxed,
    clique: list[IntArray],
    threshold: float,
) -> None:
    """Buy nodes of one offer for its share `mine` (K,) while they are worth their price."""
    offer, room = int(market.offers[column]), market.allocatable[column]
    fit = market.fit[:, column]
    mine = np.minimum(mine, plan.left)
    together = np.zeros((len(clique), len(mine)))
    for number, members in enumerate(clique):
        here = members[fit[members] > 0]
        together[number, here] = 1.0 / fit[here]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(market.requests > 0, market.requests / room, 0.0)
    part[fit <= 0] = 0.0
    size = part.max(axis=1)
    order = np.lexsort((np.arange(len(size)), -size))
    order = order[(mine[order] > 0) & (fit[order] > 0)]
    while mine.any() and not budget.pressed:
        nodes = max(1, int(np.ceil((mine @ part).max() - 1e-9)))
        nodes = max(nodes, int(np.ceil((together @ mine).max(initial=0.0) - 1e-9)))
        pods = _balanced(market, room, order, mine, fit, nodes, budget)
        budget.spend(120 + 0.3 * len(order))
        worth = float(pods @ relaxed.value)
        if not pods.any() or worth < threshold * relaxed.price[column]:
            return
        count = min(repeats(pods, mine), stock.room(offer))
        if count <= 0:
            return
        plan.add(offer, float(market.price[column]), pods, count)
        stock.take(offer, count)
        mine = mine - count * pods
        order = order[mine[order] > 0]


def _balanced(
    market: Market,
    room: FloatArray,
    order: IntArray,
    mine: IntArray,
    fit: IntArray,
    nodes: int,
    budget: Budget,
) -> IntArray:
    """One of `nodes` nodes that share `mine` evenly: a fair sample first, then what fits best.

    Whole shares are given out as they are; of the fractions, systematic sampling along the classes
    takes as many as they add up to, so that the node has the mixture of the whole. The sample is
    only a part of the node: what the rest is filled with decides how even its resources run out.
    """
    pods = np.zeros(len(mine), np.int64)
    free = room.copy()
    sample = np.zeros(len(mine), np.int64)
    seen = 1.0 if market.conflict is not None else max(_SAMPLE, 1 - _CHOSEN * nodes / mine.sum())
    part = seen * mine[order] / nodes
    drawn = np.floor(np.cumsum(part - np.floor(part)) + 0.5).astype(np.int64)
    sample[order] = np.floor(part).astype(np.int64) + np.diff(drawn, prepend=0)
    most = np.minimum(mine, fit)
    fill_node(market.requests, free, order, np.minimum(sample, most), pods, market.conflict)
    if market.conflict is None:
        _even_out(market, room, free, order, mine / nodes, most, pods, budget)
    for limit in (-(-mine // nodes), mine):
        fill_node(
            market.requests, free, order, np.minimum(limit, fit) - pods, pods, market.conflict
        )
    return pods


def _even_out(
    market: Market,
    room: FloatArray,
    free: FloatArray,
    order: IntArray,
    share: FloatArray,
    most: IntArray,
    pods: IntArray,
    budget: Budget,
) -> None:
    """Add pods one by one, each time the one after which the least of any resource is left over.

    Resources of which the node's `share` (K,) of the pods asks little hardly count. `free` and
    `pods` are changed in place.
    """
    scale = 1.0 / np.maximum(room, 1e-9)
    part = market.requests * scale
    asked = share @ part
    weight = (asked / max(float(asked.max()), 1e-9)) ** _SCARCE
    for _ in range(_ONE_BY_ONE):
        able = order[pods[order] < most[order]]
        able = able[(market.requests[able] <= free).all(axis=1)]
        budget.spend(10 + 0.03 * len(able))
        if not len(able):
            return
        rest = ((free * scale - part[able]) * weight).max(axis=1)
        pick = able[int(rest.argmin())]
        pods[pick] += 1
        free -= market.requests[pick]
