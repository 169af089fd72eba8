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

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.classes import NO_CAP, row_ids
from autoctl.scheduling.packing.market import Market, shares
from autoctl.scheduling.packing.model import BoolArray, FloatArray, IntArray
from autoctl.scheduling.packing.stock import PLENTY, Stock

IntIndex = NDArray[np.int32]

_INF = highspy.kHighsInf
_START = 6
_PER_ROUND = 3
_GROUPS = 120
_PENALTY = 50.0
_AT_LEAST = 5
"""Rounds run even when the budget is used up: a poor guide costs more than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """A solved relaxation.

    Attributes:
        objective: USD/hour, of the columns generated so far.
        bound: USD/hour, proven.
        columns: (U,) market columns of the offers in the solution's basis, by falling nodes.
        nodes: (U,) fractional nodes of each.
        share: (K, U) part of each class's pods that goes to each of them.
        value: (K,) USD/hour one pod of each class is worth.
        price: (O,) price of each offer plus what its scarcity is worth.
    """

    objective: float
    bound: float
    columns: IntArray
    nodes: FloatArray
    share: FloatArray
    value: FloatArray
    price: FloatArray


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


class _Program:
    """The growing linear program over one market."""

    def __init__(
        self, market: Market, wanted: IntArray, stock: Stock, *, mind_limits: bool
    ) -> None:
        self.market = market
        self.wanted = wanted.astype(np.float64)
        self.clique = cliques(market)
        self.group = groups(market, wanted, self.clique)
        self.count = int(self.group.max(initial=-1)) + 1
        members = np.flatnonzero(self.group >= 0)
        self.members = members[np.argsort(self.group[members], kind="stable")]
        self.begins = np.searchsorted(self.group[self.members], np.arange(self.count))
        self.demand = self._sums(self.wanted[self.members])
        home = self.group[self.members]
        self.part = self.wanted[self.members] / self.demand[home].clip(1e-12)
        self.weight = np.zeros((self.count, len(wanted)))
        self.weight[home, self.members] = self.part
        self.stock = stock
        self.rooms = np.minimum(
            stock.available[market.offers],
            PLENTY,
        )
        self.books = stock.reservation[market.offers]
        self.limits = len(stock.remaining) if mind_limits else 0
        self.usage = stock.usage[market.offers][:, : self.limits]
        self.col_group = np.zeros(0, np.int64)
        self.col_offer = np.zeros(0, np.int64)
        self.first_row: dict[int, int] = {}
        self.extra: dict[int, FloatArray] = {}
        self.node_col: dict[int, int] = {}
        self.present = np.zeros((self.count, len(market.price)), np.bool_)
        self.lp: Any = highspy.Highs()  # type: ignore[no-untyped-call] # highspy has no types
        self.lp.setOptionValue("output_flag", False)
        self.lp.setOptionValue("threads", 1)
        self.lp.setOptionValue("random_seed", 0)
        self.lp.setOptionValue("presolve", "off")
        empty_i, empty_f = np.zeros(0, np.int32), np.zeros(0)
        self.reserve_rows = self.count
        self.limit_rows = self.count + len(stock.reserved)
        lower = np.r_[self.demand, np.full(len(stock.reserved) + self.limits, -_INF)]
        upper = np.r_[
            np.full(self.count, _INF),
            stock.reserved.astype(np.float64),
            stock.remaining[: self.limits].clip(0.0),
        ]
        total = len(lower)
        self.lp.addRows(total, lower, upper, 0, np.zeros(total, np.int32), empty_i, empty_f)
        self.rows = total
        finite = (self.rooms < PLENTY).any() or (self.books >= 0).any() or self.limits > 0
        if finite:
            unit = self.average(np.where(np.isfinite(market.unit), market.unit, 0.0))
            penalty = _PENALTY * np.maximum(unit, 1e-6)
            index = np.arange(self.count, dtype=np.int32)
            self._columns(penalty, np.full(self.count, _INF), index, index, np.ones(self.count))
            self.col_group = np.full(self.count, -1, np.int64)
            self.col_offer = np.full(self.count, -1, np.int64)

    def _sums(self, rows: FloatArray) -> FloatArray:
        """Sums over each group of `rows`, which are in the order of `members`."""
        if not len(rows):
            return np.zeros((self.count, *rows.shape[1:]))
        sums: FloatArray = np.add.reduceat(rows, self.begins, axis=0)
        return sums

    def average(self, by_class: FloatArray) -> FloatArray:
        """(G, ...) mean over the pods of each group of something known for each class (K, ...)."""
        some = by_class[self.members]
        return self._sums(some * self.part.reshape(-1, *[1] * (some.ndim - 1)))

    def allowed(self) -> BoolArray:
        """(G, O) offers on which every class of the group runs."""
        runs = self.market.fit[self.members] > 0
        if not len(runs):
            return runs
        every: BoolArray = np.logical_and.reduceat(runs, self.begins, axis=0)
        return every

    def _columns(
        self,
        cost: FloatArray,
        upper: FloatArray,
        starts: IntIndex,
        index: IntIndex,
        value: FloatArray,
    ) -> None:
        self.lp.addCols(
            len(cost), cost, np.zeros(len(cost)), upper, len(index), starts, index, value
        )

    def _coefficients(self, offer: int) -> FloatArray:
        """(rows of the offer, K) coefficients of one pod of each class."""
        if offer not in self.extra:
            market = self.market
            room = market.allocatable[offer]
            runs = market.fit[:, offer] > 0
            with np.errstate(divide="ignore", invalid="ignore"):
                base = np.where(market.requests > 0, market.requests / room, 0.0).T
            base = np.where(runs[None, :], base, 0.0)
            rows = [base[d] for d in range(len(room))]
            for members in self.clique:
                here = members[runs[members]]
                if len(here):
                    row = np.zeros(len(runs))
                    row[here] = 1.0 / market.fit[here, offer]
                    rows.append(row)
            self.extra[offer] = np.array(rows)
        return self.extra[offer]

    def add(self, pairs: list[tuple[int, int]]) -> None:
        """Add x columns for (group, offer) pairs, with the rows of offers not seen before."""
        pairs = [pair for pair in pairs if not self.present[pair]]
        fresh = sorted({offer for _, offer in pairs} - self.first_row.keys())
        if fresh:
            starts: list[int] = []
            index: list[int] = []
            value: list[float] = []
            for offer in fresh:
                rows = len(self._coefficients(offer))
                self.first_row[offer] = self.rows
                empty = np.zeros(0, np.int32)
                self.lp.addRows(
                    rows,
                    np.full(rows, -_INF),
                    np.zeros(rows),
                    0,
                    np.zeros(rows, np.int32),
                    empty,
                    np.zeros(0),
                )
                starts.append(len(index))
                index += range(self.rows, self.rows + rows)
                value += [-1.0] * rows
                self.rows += rows
                book = int(self.books[offer])
                if book >= 0:
                    index.append(self.reserve_rows + book)
                    value.append(1.0)
                for row in np.flatnonzero(self.usage[offer]):
                    index.append(self.limit_rows + int(row))
                    value.append(float(self.usage[offer, row]))
                self.node_col[offer] = len(self.col_group) + len(starts) - 1
            offers = np.array(fresh)
            upper = np.where(
                self.rooms[offers] < PLENTY, self.rooms[offers].astype(np.float64), _INF
            )
            self._columns(
                self.market.price[offers],
                upper,
                np.array(starts, np.int32),
                np.array(index, np.int32),
                np.array(value),
            )
            self.col_group = np.r_[self.col_group, np.full(len(fresh), -1)]
            self.col_offer = np.r_[self.col_offer, offers]
        if not pairs:
            return
        by_offer: dict[int, list[int]] = {}
        for one, offer in pairs:
            by_offer.setdefault(offer, []).append(one)
        starts, index, value, order = [], [], [], []
        for offer, members in sorted(by_offer.items()):
            table = self._coefficients(offer) @ self.weight[members].T
            first = self.first_row[offer]
            for spot, one in enumerate(members):
                starts.append(len(index))
                index.append(one)
                value.append(1.0)
                some = np.flatnonzero(table[:, spot])
                index += (first + some).tolist()
                value += table[some, spot].tolist()
                order.append((one, offer))
        count = len(order)
        self._columns(
            np.zeros(count),
            np.full(count, _INF),
            np.array(starts, np.int32),
            np.array(index, np.int32),
            np.array(value),
        )
        added = np.array(order)
        self.col_group = np.r_[self.col_group, added[:, 0]]
        self.col_offer = np.r_[self.col_offer, added[:, 1]]
        self.present[added[:, 0], added[:, 1]] = True

    def run(self, budget: Budget) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """Solve: objective, column values, row duals, reduced costs."""
        most = budget.iterations(self.rows)
        if most is not None:
            self.lp.setOptionValue("simplex_iteration_limit", most)
        self.lp.run()
        info = self.lp.getInfo()
        budget.spend_simplex(max(0, info.simplex_iteration_count), self.rows)
        solution = self.lp.getSolution()
        return (
            float(info.objective_function_value),
            np.array(solution.col_value),
            np.array(solution.row_dual),
            np.array(solution.col_dual),
        )

    def scarcity(self, dual: FloatArray, reduced: FloatArray) -> tuple[FloatArray, float]:
        """(O,) what scarcity adds to each price, and what all scarce nodes cost together."""
        extra = np.zeros(len(self.market.price))
        paid = 0.0
        for offer, column in self.node_col.items():
            if self.rooms[offer] < PLENTY:
                extra[offer] = max(0.0, -reduced[column])
                paid += extra[offer] * float(self.rooms[offer])
        reserved = np.maximum(-dual[self.reserve_rows : self.limit_rows], 0.0)
        if len(reserved):
            extra += np.where(self.books >= 0, reserved[self.books.clip(0)], 0.0)
            paid += float(reserved @ self.stock.reserved)
        if self.limits:
            tight = np.maximum(-dual[self.limit_rows : self.limit_rows + self.limits], 0.0)
            extra += self.usage @ tight
            paid += float(tight @ self.stock.remaining[: self.limits].clip(0.0))
        return extra, paid

    def pod_costs(self, dual: FloatArray, price: FloatArray, solution: FloatArray) -> FloatArray:
        """(K, O) least cost of a pod on each offer under feasible prices, inf if it cannot run."""
        market = self.market
        room = market.allocatable
        total = np.zeros(room.shape[1])
        worth = np.zeros(room.shape[1])
        known: dict[int, FloatArray] = {}
        for offer, first in self.first_row.items():
            prices = np.maximum(-dual[first : first + len(self._coefficients(offer))], 0.0)
            known[offer] = prices
            nodes = solution[self.node_col[offer]]
            worth += nodes * prices[: room.shape[1]]
            total += nodes * room[offer]
        per_unit = worth / total.clip(1e-9)
        if not (room @ per_unit > 0).all():
            per_unit = per_unit + 1e-9 / room.mean(axis=0).clip(1e-9)
        of_node = room @ per_unit
        # a node worth nothing holds nothing that is worth something: its pods cost nothing
        rate = np.divide(price, of_node, out=np.zeros(len(price)), where=of_node > 0)
        base = market.requests @ per_unit
        cost = base[:, None] * rate[None, :]
        for offer, prices in known.items():
            spent = float(prices.sum())
            if spent > price[offer]:
                prices = prices * (price[offer] / spent)
                spent = float(price[offer])
            pods = prices @ self._coefficients(offer)
            rest = 1.0 - spent / price[offer] if price[offer] > 0 else 0.0
            cost[:, offer] = pods + rest * rate[offer] * base
        return np.where(market.fit > 0, cost, np.inf)


def relax(
    market: Market,
    wanted: IntArray,
    stock: Stock,
    budget: Budget,
    *,
    tolerance: float,
    rounds: int,
    mind_limits: bool = True,
) -> Relaxed:
    """Solve the relaxation for `wanted` (K,) pods, generating columns for at most `rounds` rounds.

    Stops early once the proven bound is within `tolerance` (relative) of the objective.
    """
    wanted = np.where(market.fit.any(axis=1), wanted, 0)
    program = _Program(market, wanted, stock, mind_limits=mind_limits)
    unit = shares(market.requests, market.allocatable, market.price, market.fit, market.cap)
    allowed = program.allowed()
    mean = np.where(allowed, program.average(np.where(np.isfinite(unit), unit, 0.0)), np.inf)
    start = np.argsort(mean, axis=1, kind="stable")[:, :_START]
    program.add(
        [
            (one, int(offer))
            for one in range(program.count)
            for offer in start[one]
            if np.isfinite(mean[one, offer])
        ]
    )
    done = 0
    best = -np.inf
    value = np.zeros(len(wanted))
    while True:
        objective, solution, dual, reduced = program.run(budget)
        scarce, paid = program.scarcity(dual, reduced)
        price = market.price + scarce
        cost = program.pod_costs(dual, price, solution)
        cheapest = np.where(wanted > 0, cost.min(axis=1, initial=np.inf), 0.0)
        bound = float(cheapest @ wanted) - paid
        if bound > best:
            best, value = bound, cheapest
        budget.spend(0.004 * cost.size + 100)
        rounds -= 1
        done += 1
        if (
            best >= objective * (1 - tolerance)
            or rounds <= 0
            or (done >= _AT_LEAST and not budget.left)
            or budget.pressed
        ):
            break
        shadow = np.maximum(dual[: program.count], 0.0)
        group_cost = np.where(
            allowed & ~program.present,
            program.average(np.where(np.isfinite(cost), cost, 0.0)),
            np.inf,
        )
        gain = shadow[:, None] - group_cost
        picks = np.argsort(-gain, axis=1, kind="stable")[:, :_PER_ROUND]
        pairs = [
            (one, int(offer))
            for one in range(program.count)
            for offer in picks[one]
            if gain[one, offer] > 1e-4 * tolerance * shadow[one] + 1e-12
        ]
        if not pairs:
            break
        program.add(pairs)
    return _read(program, objective, max(0.0, best), solution, value, price)


def _read(
    program: _Program,
    objective: float,
    bound: float,
    solution: FloatArray,
    value: FloatArray,
    price: FloatArray,
) -> Relaxed:
    """Turn the program's columns into shares per class."""
    nodes = np.zeros(len(program.market.price))
    for offer, column in program.node_col.items():
        nodes[offer] = solution[column]
    columns = np.flatnonzero(nodes > 1e-7)
    columns = columns[np.lexsort((columns, -nodes[columns]))]
    position = np.full(len(nodes), -1)
    position[columns] = np.arange(len(columns))
    share = np.zeros((program.count, len(columns)))
    some = np.flatnonzero((program.col_group >= 0) & (solution > 1e-9))
    some = some[position[program.col_offer[some]] >= 0]
    share[program.col_group[some], position[program.col_offer[some]]] = solution[some]
    share /= program.demand[:, None].clip(1e-12)
    by_class = np.where(program.group[:, None] >= 0, share[program.group.clip(0)], 0.0)
    return Relaxed(objective, bound, columns, nodes[columns], by_class, value, price)
