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
    price = np.full(len(states), np.inf)
    column = np.full(len(states), -1, np.int64)
    open_states = np.flatnonzero(possible & (states > 0).any(axis=1))
    for offer in order:
        if not len(open_states):
            break
        good = (need[open_states] <= room[offer]).all(axis=1)
        if good.any():
            good[good] = (states[open_states[good]] <= market.fit[:, offer]).all(axis=1)
            hit = open_states[good]
            price[hit], column[hit] = market.price[offer], offer
            open_states = open_states[~good]
    return price, column


def solve(market: Market, counts: IntArray) -> Plan | None:
    """The cheapest plan for all of `counts` (K,), offers in any number; None if there is none.

    Cost grows with the square of `sub_batches(counts)`: keep that below a few thousand.
    """
    active = np.flatnonzero(counts)
    sizes = counts[active] + 1
    total = int(np.prod(sizes))
    stride = np.cumprod(np.r_[1, sizes[:-1]])
    index = np.arange(total)
    digits = (index[:, None] // stride[None, :]) % sizes[None, :]
    states = np.zeros((total, len(counts)), np.int64)
    states[:, active] = digits
    price, column = cheapest(market, states)
    # each class gets a field of bits with a guard bit: T <= S per class is one subtraction
    bits = np.array([int(size - 1).bit_length() + 1 for size in sizes])
    if bits.sum() > 62:
        return None
    offset = np.cumsum(np.r_[0, bits[:-1]])
    packed = (digits << offset[None, :]).sum(axis=1)
    guard = int(sum(1 << int(end) for end in offset + bits - 1))
    useful = np.flatnonzero(np.isfinite(price))
    fee = _NODE_FEE * float(market.price.max(initial=0.0))
    step = price[useful] + fee
    word = packed[useful]
    best = np.full(total, np.inf)
    best[0] = 0.0
    choice = np.full(total, -1, np.int64)
    for state in range(1, total):
        stop = int(np.searchsorted(useful, state, side="right"))
        inside = (((packed[state] | guard) - word[:stop]) & guard) == guard
        options = np.flatnonzero(inside)
        if not len(options):
            continue
        cost = step[options] + best[state - useful[options]]
        pick = int(cost.argmin())
        if cost[pick] < np.inf:
            best[state], choice[state] = cost[pick], useful[options[pick]]
    if not np.isfinite(best[-1]):
        return None
    plan = Plan(counts.copy())
    state = total - 1
    while state:
        node = int(choice[state])
        plan.add(int(market.offers[column[node]]), float(price[node]), states[node].copy(), 1)
        state -= node
    return plan
