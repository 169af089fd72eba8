"""Small batches: the cheapest set of nodes by dynamic programming over sub-batches."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.classes import Keys
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import FloatArray, IntArray
from autoctl.scheduling.packing.plan import Plan

_NODE_FEE = 1e-7
"""Added per node, relative to the dearest offer: among plans of equal price, the fewest nodes."""


def sub_batches(counts: IntArray) -> int:
    """How many different sub-batches a batch of `counts` pods per class has."""
    size = 1
    for count in counts:
        size *= int(count) + 1
        if size > 1 << 40:
            break
    return size


def splits(counts: IntArray) -> int:
    """How many pairs there are of a sub-batch and a part of it: the work of `solve`."""
    size = 1
    for count in counts:
        size *= (int(count) + 1) * (int(count) + 2) // 2
        if size > 1 << 40:
            break
    return size


def cheapest(market: Market, states: IntArray) -> tuple[FloatArray, IntArray]:
    """For each row of `states` (M, K): price and column of the cheapest offer that holds it all.

    Price is inf where no offer does. Ties go to the offer with the most room, then the first.
    """
    room = market.allocatable
    keys: list[Keys] = [np.arange(len(market.price))]
    keys += [-room[:, d] for d in reversed(range(room.shape[1]))]
    order = np.lexsort([*keys, market.price])
    need = states @ market.requests
    possible = np.ones(len(states), np.bool_)
    if market.conflict is not None:
        present = (states > 0).astype(np.float32)
        possible = ((present @ market.conflict.astype(np.float32)) * present).sum(axis=1) == 0
    room, fit = room[order], market.fit[:, order]
    possible &= (states > 0).any(axis=1)
    holds = np.repeat(possible[:, None], len(order), axis=1)
    for d in range(room.shape[1]):
        holds &= need[:, d, None] <= room[None, :, d]
    for row in np.flatnonzero(states.any(axis=0)):
        holds &= states[:, row, None] <= fit[None, row]
    first = holds.argmax(axis=1)
    found = holds[np.arange(len(states)), first]
    column = np.where(found, order[first], -1)
    price = np.where(found, market.price[column], np.inf)
    return price, column


def solve(market: Market, counts: IntArray) -> Plan | None:
    """The cheapest plan for all of `counts` (K,), offers in any number; None if there is none.

    Sub-batches are numbered in mixed radix, the first class the lowest digit, and done class by
    class. Of a sub-batch, the node looked at is the one with a pod of its highest class, so that
    what remains is known already: fewer of that class, any of the lower ones.
    """
    active = np.flatnonzero(counts)
    sizes = counts[active] + 1
    total = int(np.prod(sizes))
    stride = np.cumprod(np.r_[1, sizes[:-1]])
    states = np.zeros((total, len(counts)), np.int64)
    states[:, active] = (np.arange(total)[:, None] // stride[None, :]) % sizes[None, :]
    price, column = cheapest(market, states)
    step = price + _NODE_FEE * float(market.price.max(initial=0.0))
    best = np.full(total, np.inf)
    best[0] = 0.0
    choice = np.full(total, -1, np.int64)
    # every sub-batch of the classes so far with every part of it that one node may hold
    whole, part = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for size, low in zip(sizes.tolist(), stride.tolist(), strict=True):
        begins = np.flatnonzero(np.diff(whole, prepend=-1))
        lengths = np.diff(begins, append=len(whole))
        pairs = np.arange(len(whole))
        for number in range(1, size):
            here = np.arange(1, number + 1)[:, None]
            cost = step[here * low + part] + best[(number - here) * low + (whole - part)]
            pick = cost.argmin(axis=0)
            cheap = cost[pick, pairs]
            least = np.minimum.reduceat(cheap, begins)
            first = np.flatnonzero(cheap == np.repeat(least, lengths))
            first = first[np.searchsorted(first, begins)]
            block = slice(number * low, (number + 1) * low)
            best[block] = least
            choice[block] = np.where(least < np.inf, (pick[first] + 1) * low + part[first], -1)
        if (size * low) < total:
            whole, part = _split(whole, part, size, low, price)
    if not np.isfinite(best[-1]):
        return None
    plan = Plan(counts.copy())
    state = total - 1
    while state:
        node = int(choice[state])
        plan.add(int(market.offers[column[node]]), float(price[node]), states[node].copy(), 1)
        state -= node
    return plan


def _split(
    whole: IntArray, part: IntArray, size: int, low: int, price: FloatArray
) -> tuple[IntArray, IntArray]:
    """The pairs of sub-batch and part with one class more, still grouped by sub-batch."""
    wholes, parts = [], []
    for number in range(size):
        here = part[:, None] + low * np.arange(number + 1)
        fits = np.isfinite(price[here]) | (here == 0)
        wholes.append(np.broadcast_to(whole[:, None] + number * low, here.shape)[fits])
        parts.append(here[fits])
    return np.concatenate(wholes), np.concatenate(parts)
