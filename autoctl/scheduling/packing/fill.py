"""Filling: one node in a given order of classes, or one node of every offer at once."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.market import Market, capacity
from autoctl.scheduling.packing.model import BoolArray, FloatArray, IntArray


def fill_node(
    requests: FloatArray,
    room: FloatArray,
    order: IntArray,
    limit: IntArray,
    take: IntArray,
    conflict: BoolArray | None,
) -> None:
    """Add pods to one node, class by class in `order`, as many as fit, at most `limit` of each.

    Args:
        requests: (K, D).
        room: (D,) free room, reduced in place.
        order: classes to try, first choice first.
        limit: (K,) most pods to add.
        take: (K,) pods on the node, increased in place.
        conflict: (K, K) classes that may not share a node.
    """
    if conflict is not None:
        touchy: BoolArray = np.asarray(conflict.any(axis=1))
        for row in order[touchy[order]]:
            if limit[row] <= 0 or (take > 0)[conflict[row]].any():
                continue
            count = int(min(capacity(requests[row], room), limit[row]))
            if count:
                take[row] += count
                room -= count * requests[row]
        order = order[~touchy[order]]
    order = order[limit[order] > 0]
    order = order[(requests[order] <= room).all(axis=1)]
    while len(order):
        need = np.cumsum(requests[order] * limit[order, None], axis=0)
        over = (need > room).any(axis=1)
        whole = int(over.argmax()) if over.any() else len(order)
        if whole:
            take[order[:whole]] += limit[order[:whole]]
            room -= need[whole - 1]
        if whole == len(order):
            return
        row = order[whole]
        count = int(min(capacity(requests[row], room), limit[row]))
        if count:
            take[row] += count
            room -= count * requests[row]
        order = order[whole + 1 :]
        order = order[(requests[order] <= room).all(axis=1)]


def fill_offers(
    market: Market, left: IntArray, density: FloatArray, columns: IntArray
) -> tuple[IntArray, FloatArray]:
    """Fill one node of each offer in `columns`, classes by falling `density` (len(columns), K).

    Returns:
        (len(columns), K) pods and (len(columns), D) the room that is left.
    """
    limit = np.minimum(market.fit[:, columns].T, left[None, :])
    active = np.flatnonzero(limit.any(axis=0))
    rows = np.arange(len(columns))
    pods = np.zeros((len(columns), len(left)), np.int64)
    ranked = np.argsort(
        np.where(limit[:, active] > 0, -density[:, active], np.inf), axis=1, kind="stable"
    )
    depth = int((limit > 0).sum(axis=1).max(initial=0))
    # what each step reads lies together: a step is little arithmetic on few numbers, many times
    order = np.ascontiguousarray(active[ranked[:, :depth]].T)
    most = limit[rows, order].astype(np.float64)
    need = [each[order] for each in market.requests.T]
    free = [each.copy() for each in market.allocatable[columns].T]
    asked = [each > 0 for each in need]
    everywhere = [bool(each.all()) for each in asked]
    part = np.empty(len(columns))
    barred = None
    if market.conflict is not None:
        barred = np.zeros((len(columns), len(left)), np.bool_)
        touchy: BoolArray = np.asarray(market.conflict.any(axis=1))
    for step in range(depth):
        count = most[step]
        for d, room in enumerate(free):
            if everywhere[d]:
                np.divide(room, need[d][step], out=part)
                np.minimum(count, part, out=count)
            elif asked[d][step].any():
                part.fill(np.inf)
                np.divide(room, need[d][step], out=part, where=asked[d][step])
                np.minimum(count, part, out=count)
        np.floor(count, out=count)
        if barred is not None and market.conflict is not None:
            chosen = order[step]
            count[barred[rows, chosen]] = 0
            hit = np.flatnonzero(touchy[chosen] & (count > 0))
            if len(hit):
                barred[hit] |= market.conflict[chosen[hit]]
        for room, each in zip(free, need, strict=True):
            np.multiply(count, each[step], out=part)
            np.subtract(room, part, out=room)
    pods[rows, order] = most
    return pods, np.stack(free, axis=1)


def fill_best(
    market: Market, left: IntArray, value: FloatArray, columns: IntArray, rounds: int
) -> tuple[IntArray, FloatArray]:
    """The most valuable node found for each offer in `columns`, over `rounds` of re-weighting.

    Resources that ran out get dearer between rounds, so that later fills balance them.

    Returns:
        (len(columns), K) pods and (len(columns),) their value, USD/hour by `value` (K,).
    """
    base = market.allocatable[columns]
    safe = np.maximum(base, 1e-9)
    weight = np.where(base > 0, 1.0 / safe, 0.0)
    best = np.zeros((len(columns), len(left)), np.int64)
    worth = np.full(len(columns), -1.0)
    for _ in range(rounds):
        cost = weight @ market.requests.T
        density = value[None, :] / np.maximum(cost, 1e-12)
        pods, room = fill_offers(market, left, density, columns)
        now = pods @ value
        better = now > worth
        best = np.where(better[:, None], pods, best)
        worth = np.maximum(worth, now)
        used = 1.0 - room / safe
        weight = weight * np.clip(used, 0.02, 1.0) ** 2
        weight /= np.maximum((weight * base).sum(axis=1, keepdims=True), 1e-12)
    return best, worth
