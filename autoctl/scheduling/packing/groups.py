"""Classes that share a rule or a direction: cliques of a node, groups of the fractional problem."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.classes import NO_CAP, row_ids
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import IntArray

_GROUPS = 120


def cliques(market: Market) -> list[IntArray]:
    """Sets of classes of which one node holds at most one; each class is in at most one set."""
    found: list[IntArray] = []
    taken = np.zeros(len(market.cap), np.bool_)
    if market.conflict is not None:
        degree = market.conflict.sum(axis=1)
        for row in np.lexsort((np.arange(len(degree)), -degree)):
            if taken[row] or not degree[row]:
                continue
            members = [int(row)]
            open_rows = np.flatnonzero(market.conflict[row] & ~taken)
            while len(open_rows):
                pick = int(open_rows[degree[open_rows].argmax()])
                members.append(pick)
                open_rows = open_rows[market.conflict[pick, open_rows]]
            taken[members] = True
            found.append(np.array(sorted(members)))
    found += [np.array([row]) for row in np.flatnonzero((market.cap < NO_CAP) & ~taken)]
    return found


def groups(market: Market, wanted: IntArray, clique: list[IntArray]) -> IntArray:
    """(K,) group of each class, -1 without pods: alike in offers and in the ratio of resources.

    At a fractional level only the direction of a request matters, so classes of one direction can
    share their variables. Members of cliques are kept apart from others.
    """
    active = np.flatnonzero(wanted > 0)
    group = np.full(len(wanted), -1, np.int64)
    if len(active) <= _GROUPS:
        group[active] = np.arange(len(active))
        return group
    home = np.zeros(len(wanted), np.int64)
    for number, members in enumerate(clique, start=1):
        home[members] = number
    sign = row_ids(market.fit[active] > 0)
    requests = market.requests[active]
    scale = np.maximum(requests.mean(axis=0), 1e-9)
    relative = requests / scale
    relative /= relative.sum(axis=1, keepdims=True).clip(1e-12)
    step = 0.02
    while True:
        bucket = np.floor(np.sqrt(relative) / step).astype(np.int64)
        numbered = _numbered(np.column_stack([sign, home[active], bucket]))
        if int(numbered.max()) < _GROUPS or step > 0.5:
            group[active] = numbered
            return group
        step *= 1.3


def _numbered(rows: IntArray) -> IntArray:
    """Numbers for the rows (n, d) of whole numbers >= 0, in their lexical order, equal for equal.

    `np.unique(axis=0)` answers the same, ten times slower: it compares rows as raw bytes.
    """
    found = np.zeros(len(rows), np.int64)
    for column in rows.T:
        keys = found * (int(column.max(initial=0)) + 1) + column
        found = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    return found
