"""A bound that knows that the dearest pod of a node is whole.

The relaxation fills a node with halves of two large pods and the room beside both. Here the nodes
of each offer are told apart by their lead: the pod of the class that costs most by itself. What is
beside a lead may still be split, but has to fit beside it::

    minimise    price . y
    subject to  y[c, *] + sum_p x[c, p] >= count[c]                             (value v[c])
                sum_c request[c, d] * x[c, p] <= room[p, d] * y[p]              (value u[p, d])

over pairs p of a lead and an offer, where room[p] is what the lead leaves, and x[c, p] are pods of
classes no dearer than the lead of which one fits beside it. Few pairs matter; they are added where
their nodes are worth more than they cost.

As in the relaxation, the bound trusts no solver: any values v of pods, under which no node is worth
more than its price, prove sum_c count[c] * v[c]. What a node of p is worth at most is, for any u,
v[lead] + u . room[p] + sum_c fit[c, p] * max(0, v[c] - u . request[c]); the u tried for each pair
are those of all pairs in the program, and where a node comes out dearer, all v are scaled down.
"""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.market import Market, fits
from autoctl.scheduling.packing.model import BoolArray, FloatArray, IntArray
from autoctl.scheduling.packing.simplex import INFINITE, Simplex

_PER_ROUND = 100
_ROUNDS = 20
_TOLERANCE = 1e-4
_LARGEST = 8_000_000
"""Pairs x classes above which no bound is sought: it would take too much memory."""


def bound(market: Market, wanted: IntArray, budget: Budget, *, enough: float) -> float:
    """USD/hour below which no nodes hold the `wanted` (K,) pods that run anywhere; 0 if unknown.

    Ends when the bound is no less than `enough`, when it is the program's optimum, or with the
    budget. Availability, reservations and limits are left out.
    """
    active = np.flatnonzero((wanted > 0) & market.fit.any(axis=1))
    pairs = int((market.fit[active] > 0).sum())
    if not pairs or pairs * len(active) > _LARGEST:
        return 0.0
    program = _Program(market, active, wanted[active].astype(np.float64))
    best = 0.0
    for _ in range(_ROUNDS):
        value, unit, objective = program.solve(budget)
        worth = program.worth(value, unit, budget)
        most = float(worth.max())
        if most > 0:
            best = max(best, float(value @ program.count) / most)
        if best >= min(enough, objective * (1 - _TOLERANCE)) or not budget.left:
            break
        if not program.add(worth):
            break
    return best


class _Program:
    """The linear program over the pairs added so far.

    Attributes:
        count: (K,) pods of each class that is asked for and runs somewhere.
    """

    def __init__(self, market: Market, active: IntArray, count: FloatArray) -> None:
        self.count = count
        self._requests = market.requests[active]
        fit = market.fit[active]
        self._lead, offer = np.nonzero(fit > 0)
        self._price = market.price[offer]
        self._held = np.maximum(market.allocatable[offer], 1e-9)
        """(P, D) what rows of the program are scaled by: units differ by many orders."""
        self._room = market.allocatable[offer] - self._requests[self._lead]
        self._fit = self._beside(market, active, fit[:, offer] > 0).astype(np.float64)
        self._row = np.full(len(offer), -1)
        """(P,) first row of the pair's resources, -1 for pairs that are not in the program."""
        self._lp = Simplex()
        self._lp.add_rows(count, np.full(len(count), INFINITE))
        # each class can be bought: on what costs least, and on what costs least for its share
        share = np.full(fit.shape, np.inf)
        whole = share.copy()
        share[self._lead, offer] = self._price * (1 - (self._room / self._held).min(axis=1))
        whole[self._lead, offer] = self._price
        number = np.full(fit.shape, -1)
        number[self._lead, offer] = np.arange(len(offer))
        classes = np.arange(len(count))
        first = np.r_[number[classes, share.argmin(axis=1)], number[classes, whole.argmin(axis=1)]]
        self._enter(np.unique(first))

    def _beside(self, market: Market, active: IntArray, runs: BoolArray) -> IntArray:
        """(K, P) most pods of each class beside each pair's lead."""
        order = np.lexsort((np.arange(len(active)), -market.unit[active]))
        rank = np.empty(len(active), np.int64)
        rank[order] = np.arange(len(active))
        follows = runs & (rank[:, None] >= rank[self._lead][None, :])
        if market.conflict is not None:
            follows &= ~market.conflict[np.ix_(active, active)][:, self._lead]
        cap = market.cap[active]
        beside = fits(self._requests, follows, self._room, cap)
        pairs = np.arange(len(self._lead))
        own = np.minimum(beside[self._lead, pairs], cap[self._lead] - 1)
        beside[self._lead, pairs] = own
        return beside

    def solve(self, budget: Budget) -> tuple[FloatArray, FloatArray, float]:
        """(K,) value of a pod, (U, D) values of resources that pairs have, the objective."""
        solved = self._lp.run(budget)
        dual = solved.dual
        here = np.flatnonzero(self._row >= 0)
        rows = self._row[here][:, None] + np.arange(self._room.shape[1])
        unit = np.unique(np.maximum(-dual[rows], 0.0) / self._held[here], axis=0)
        value = np.maximum(dual[: len(self.count)], 0.0)
        return value, unit, solved.objective

    def worth(self, value: FloatArray, unit: FloatArray, budget: Budget) -> FloatArray:
        """(P,) what a node of each pair is worth at most, as a part of its price."""
        budget.spend(7e-4 * self._fit.size * len(unit))
        beyond = np.maximum(value[:, None] - self._requests @ unit.T, 0.0)
        beside = (self._room @ unit.T + self._fit.T @ beyond).min(axis=1)
        worth: FloatArray = (value[self._lead] + beside) / np.maximum(self._price, 1e-9)
        return worth

    def add(self, worth: FloatArray) -> bool:
        """Add pairs whose nodes are worth more than they cost; False if there are none."""
        over = np.flatnonzero((worth > 1 + _TOLERANCE) & (self._row < 0))
        over = over[np.argsort(-worth[over], kind="stable")][:_PER_ROUND]
        self._enter(np.sort(over))
        return len(over) > 0

    def _enter(self, pairs: IntArray) -> None:
        depth = self._room.shape[1]
        total = len(pairs) * depth
        self._row[pairs] = self._lp.rows + np.arange(len(pairs)) * depth
        self._lp.add_rows(np.full(total, -INFINITE), np.zeros(total))
        self._columns(self._price[pairs], self._lead[pairs], pairs, -self._room[pairs])
        some, place = np.nonzero(self._fit[:, pairs] > 0)
        self._columns(np.zeros(len(some)), some, pairs[place], self._requests[some])

    def _columns(
        self, cost: FloatArray, classes: IntArray, pairs: IntArray, taken: FloatArray
    ) -> None:
        """Add columns that hold a pod of `classes` and take `taken` (n, D) of `pairs`' room."""
        height = 1 + taken.shape[1]
        total = len(pairs)
        index = np.column_stack(
            [classes, self._row[pairs][:, None] + np.arange(taken.shape[1])[None, :]]
        )
        entries = np.column_stack([np.ones(total), taken / self._held[pairs]])
        self._lp.add_columns(
            cost,
            np.full(total, INFINITE),
            np.arange(total) * height,
            index.ravel(),
            entries.ravel(),
        )
