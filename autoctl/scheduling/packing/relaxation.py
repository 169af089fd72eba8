"""The fractional problem: a guide for rounding and, through its prices, a proven lower bound.

Pods and nodes may be split. For each class c and offer o, x[c, o] pods of c run on y[o] nodes::

    minimise    price . y
    subject to  sum_o x[c, o] >= count[c]                                       (value v[c])
                sum_c request[c, d] / allocatable[o, d] * x[c, o] <= y[o]       (for each d)
                sum_c x[c, o] / fit[c, o] <= y[o]     (c in a clique: at most one class per node)
                y within availability, reservations and limits

Only few of the x matter, so they are generated: solve with the cheapest offers of each class, price
all others out at once with numpy, add what is too cheap, solve again.

The bound does not trust the solver's last digit nor that generation has finished: any prices of
resources under which no node is worth more than it costs prove sum_c count[c] * v[c], where v[c] is
the least a pod of c costs at those prices. `_prove` makes the prices feasible first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import FloatArray, IntArray
from autoctl.scheduling.packing.program import Program
from autoctl.scheduling.packing.simplex import Solved
from autoctl.scheduling.packing.stock import Stock

_START = 6
_PER_ROUND = 3
_GAIN = 0.02
"""Part of the tolerance that a round has to gain to be followed by another."""
_AT_LEAST = 5
"""Rounds run even when the budget is used up: a poor guide costs more than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """A solved relaxation.

    Attributes:
        wanted: (K,) the pods it is about, those that run nowhere included.
        objective: USD/hour, of the columns generated so far.
        bound: USD/hour, proven.
        columns: (U,) market columns of the offers in the solution's basis, by falling nodes.
        nodes: (U,) fractional nodes of each.
        share: (K, U) part of each class's pods that goes to each of them.
        value: (K,) USD/hour one pod of each class is worth.
        price: (O,) price of each offer plus what its scarcity is worth.
    """

    wanted: IntArray
    objective: float
    bound: float
    columns: IntArray
    nodes: FloatArray
    share: FloatArray
    value: FloatArray
    price: FloatArray

    def restrict(self, kept: IntArray) -> Relaxed:
        """The same for a market of the `kept` (ascending) columns, all of this one's among them."""
        columns = np.searchsorted(kept, self.columns)
        assert (kept[columns] == self.columns).all(), "a column in use is left out"
        return replace(self, columns=columns, price=self.price[kept])


def relax(
    market: Market,
    wanted: IntArray,
    stock: Stock,
    budget: Budget,
    *,
    tolerance: float,
    rounds: int,
    mind_limits: bool = True,
    prove: bool = True,
) -> Relaxed:
    """Solve the relaxation for `wanted` (K,) pods, generating columns for at most `rounds` rounds.

    Stops early once the proven bound is within `tolerance` (relative) of the objective. What only
    guides (`prove` false) also stops when a round gains little: the last digits take the longest.
    """
    given = wanted.copy()
    wanted = np.where(market.fit.any(axis=1), wanted, 0)
    program = Program(market, wanted, stock, mind_limits=mind_limits)
    group, offer, _ = _lowest(program.smallest_share(), _START)
    program.add(group, offer)
    done = 0
    best, before = -np.inf, np.inf
    value = np.zeros(len(wanted))
    while True:
        solved = program.run(budget)
        scarce, paid = program.scarcity(solved.dual, solved.reduced)
        price = market.price + scarce
        prices = program.prices(solved.dual, price, solved.columns)
        cost = program.class_costs(prices)
        cheapest = np.where(wanted > 0, cost.min(axis=1, initial=np.inf), 0.0)
        bound = float(cheapest @ wanted) - paid
        if bound > best:
            best, value = bound, cheapest
        budget.spend(0.004 * cost.size + 100)
        rounds -= 1
        done += 1
        if (
            best >= solved.objective * (1 - tolerance)
            or rounds <= 0
            or (done >= _AT_LEAST and not budget.left)
            or budget.pressed
            or not (prove or solved.objective < before * (1 - _GAIN * tolerance))
        ):
            break
        before = solved.objective
        shadow = np.maximum(solved.dual[: program.count], 0.0)
        group, offer, low = _lowest(program.group_costs(prices), _PER_ROUND)
        gain = shadow[group] - low
        worth = gain > 1e-4 * tolerance * shadow[group] + 1e-12
        if not worth.any():
            break
        program.add(group[worth], offer[worth])
    return _read(program, given, solved, max(0.0, best), value, price)


def _lowest(cost: FloatArray, most: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Row, column and value of the `most` lowest finite entries of each row, by row and value.

    `cost` is used up.
    """
    rows = np.arange(len(cost))
    taken: list[IntArray] = []
    values: list[FloatArray] = []
    for _ in range(min(most, cost.shape[1])):
        column = cost.argmin(axis=1)
        taken.append(column)
        values.append(cost[rows, column])
        cost[rows, column] = np.inf
    if not taken:
        return rows[:0], rows[:0], np.zeros(0)
    value = np.stack(values, axis=1).ravel()
    finite = np.isfinite(value)
    return (
        np.repeat(rows, len(taken))[finite],
        np.stack(taken, axis=1).ravel()[finite],
        value[finite],
    )


def _read(
    program: Program,
    wanted: IntArray,
    solved: Solved,
    bound: float,
    value: FloatArray,
    price: FloatArray,
) -> Relaxed:
    """Turn the program's columns into shares per class."""
    nodes = np.zeros(len(program.market.price))
    nodes[program.known] = solved.columns[program.node_col]
    columns = np.flatnonzero(nodes > 1e-7)
    columns = columns[np.lexsort((columns, -nodes[columns]))]
    position = np.full(len(nodes), -1)
    position[columns] = np.arange(len(columns))
    share = np.zeros((program.count, len(columns)))
    some = np.flatnonzero((program.col_group >= 0) & (solved.columns > 1e-9))
    some = some[position[program.col_offer[some]] >= 0]
    share[program.col_group[some], position[program.col_offer[some]]] = solved.columns[some]
    share /= program.demand[:, None].clip(1e-12)
    by_class = np.where(program.group[:, None] >= 0, share[program.group.clip(0)], 0.0)
    return Relaxed(wanted, solved.objective, bound, columns, nodes[columns], by_class, value, price)
