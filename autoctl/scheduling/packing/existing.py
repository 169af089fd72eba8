"""Existing room first: pending pods onto nodes that exist or are in flight, best fit."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.classes import Classes
from autoctl.scheduling.packing.model import FloatArray, IntArray


def fill_bins(
    classes: Classes, free: FloatArray, order: IntArray, budget: Budget
) -> tuple[list[tuple[int, int, int]], IntArray]:
    """Put as many pods as possible on bins: large pods first, fullest bin of the first rank first.

    Args:
        free: (N, D') room, reduced in place.
        order: (N,) rank of each bin, lower is filled first.

    Returns:
        (bin, class, count) triples and the (K,) pods that are left.
    """
    left = classes.counts.copy()
    placed: list[tuple[int, int, int]] = []
    scale = 1.0 / np.maximum(free.max(axis=0, initial=0.0), 1.0)
    fullness = np.maximum(free, 0.0) @ scale
    size = (classes.requests * scale).max(axis=1)
    barred: dict[int, set[int]] = {}
    for row in np.lexsort((np.arange(len(left)), -size, -classes.priority)):
        request = classes.requests[row]
        open_bins = np.flatnonzero(classes.bin_feasible[row])
        budget.spend(20 + 0.02 * len(open_bins))
        asked = np.flatnonzero(request > 0)
        for d in asked:
            open_bins = open_bins[free[open_bins, d] >= request[d]]
        if row in barred and len(open_bins):
            open_bins = open_bins[~np.isin(open_bins, np.fromiter(barred[row], np.int64))]
        if not len(open_bins):
            continue
        most = np.full(len(open_bins), float(left[row]))
        for d in asked:
            np.minimum(most, np.floor(free[open_bins, d] / request[d]), out=most)
        np.minimum(most, classes.cap[row], out=most)
        if classes.bin_cap is not None:
            most = np.minimum(most, classes.bin_cap[row, open_bins])
        ranked = np.lexsort((open_bins, fullness[open_bins], order[open_bins]))
        chosen, amount = open_bins[ranked], most[ranked].astype(np.int64)
        amount = np.diff(np.minimum(np.cumsum(amount), left[row]), prepend=0)
        chosen, amount = chosen[amount > 0], amount[amount > 0]
        if not len(chosen):
            continue
        free[chosen] -= amount[:, None] * request
        fullness[chosen] = np.maximum(free[chosen], 0.0) @ scale
        left[row] -= int(amount.sum())
        placed += [(int(b), int(row), int(a)) for b, a in zip(chosen, amount, strict=True)]
        if classes.conflict is not None:
            for other in np.flatnonzero(classes.conflict[row]):
                barred.setdefault(int(other), set()).update(int(b) for b in chosen)
    return placed, left
