"""The growing linear program of the relaxation: groups of classes on the offers of one market."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.classes import NO_CAP
from autoctl.scheduling.packing.groups import cliques, groups
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import BoolArray, FloatArray, IntArray
from autoctl.scheduling.packing.simplex import INFINITE, Simplex, Solved
from autoctl.scheduling.packing.stock import PLENTY, Stock

_PENALTY = 50.0

IntIndex = NDArray[np.int32]
Entries = tuple[IntArray, IntArray, FloatArray]
"""Coefficients as (column, row, value), columns counted from the first of a batch."""


class Program:
    """Columns x[group, offer] and y[offer], added as they are asked for.

    Rows are the demand of each group, the reservations, the limits, and for each offer one a
    resource and one a clique that has classes which run there.

    Attributes:
        count: G groups.
        demand: (G,) pods.
        group: (K,) group of each class, -1 without pods.
        requests: (G, D) mean request of a group's pods.
        allowed: (G, O) offers on which every class of the group runs.
        present: (G, O) pairs that have a column.
        known: (U,) offers that have a column, in the order they came.
        node_col: (U,) their columns.
        col_group, col_offer: for each column, -1 where it has none.
    """

    def __init__(
        self, market: Market, wanted: IntArray, stock: Stock, *, mind_limits: bool
    ) -> None:
        self.market = market
        self.stock = stock
        clique = cliques(market)
        self.group = groups(market, wanted, clique)
        self.count = int(self.group.max(initial=-1)) + 1
        members = np.flatnonzero(self.group >= 0)
        self._members = members[np.argsort(self.group[members], kind="stable")]
        self._begins = np.searchsorted(self.group[self._members], np.arange(self.count))
        pods = wanted[self._members].astype(np.float64)
        self.demand = self._sums(pods)
        self._part = pods / self.demand[self.group[self._members]].clip(1e-12)
        self.requests = self.average(market.requests)
        self.allowed = self._all_run()
        self._homes(clique)
        self._rooms = np.minimum(stock.available[market.offers], PLENTY)
        self._books = stock.reservation[market.offers]
        self._limits = len(stock.remaining) if mind_limits else 0
        self._usage = stock.usage[market.offers][:, : self._limits]
        self.present = np.zeros((self.count, len(market.price)), np.bool_)
        self.col_group = np.zeros(0, np.int64)
        self.col_offer = np.zeros(0, np.int64)
        self.known = np.zeros(0, np.int64)
        self.node_col = np.zeros(0, np.int64)
        self._first_row = np.zeros(0, np.int64)
        self._clique_row = np.zeros((0, len(clique)), np.int64)
        """(U, cliques) row of each, -1 where no class of the clique runs."""
        self._place = np.full(len(market.price), -1, np.int64)
        self._lp = Simplex()
        self._reserve_rows = self.count
        self._limit_rows = self.count + len(stock.reserved)
        self._lp.add_rows(
            np.r_[self.demand, np.full(len(stock.reserved) + self._limits, -INFINITE)],
            np.r_[
                np.full(self.count, INFINITE),
                stock.reserved.astype(np.float64),
                stock.remaining[: self._limits].clip(0.0),
            ],
        )
        if (self._rooms < PLENTY).any() or (self._books >= 0).any() or self._limits > 0:
            # there may not be enough: pods may be left out, at a price
            unit = self.average(np.where(np.isfinite(market.unit), market.unit, 0.0))
            none = np.full(self.count, -1)
            index = np.arange(self.count)
            self._add_columns(
                _PENALTY * np.maximum(unit, 1e-6),
                np.full(self.count, INFINITE),
                (index, index, np.ones(self.count)),
                none,
                none,
            )

    def _sums(self, rows: FloatArray) -> FloatArray:
        """Sums over each group of `rows`, which are in the order of `_members`."""
        if not len(rows):
            return np.zeros((self.count, *rows.shape[1:]))
        sums: FloatArray = np.add.reduceat(rows, self._begins, axis=0)
        return sums

    def average(self, by_class: FloatArray) -> FloatArray:
        """(G, ...) mean over the pods of each group of something known for each class (K, ...)."""
        some = by_class[self._members]
        return self._sums(some * self._part.reshape(-1, *[1] * (some.ndim - 1)))

    def _all_run(self) -> BoolArray:
        runs = self.market.fit[self._members] > 0
        if not len(runs):
            return np.zeros((self.count, len(self.market.price)), np.bool_)
        every: BoolArray = np.logical_and.reduceat(runs, self._begins, axis=0)
        return every

    def _homes(self, clique: list[IntArray]) -> None:
        """Which clique classes and groups are in, -1 for none, and what part of a node a pod is."""
        self._class_home = np.full(len(self.market.cap), -1, np.int64)
        for number, members in enumerate(clique):
            self._class_home[members] = number
        leads = self._members[self._begins] if self.count else self._members
        self._group_home = self._class_home[leads]
        fit = self.market.fit
        if len(clique):
            self._class_slot = np.divide(1.0, fit, out=np.zeros(fit.shape), where=fit > 0)
            self._group_slot = self.average(self._class_slot)
            runs = fit > 0
            self._clique_runs = np.array([runs[members].any(axis=0) for members in clique])
        else:
            self._class_slot = self._group_slot = np.zeros((0, 0))
            self._clique_runs = np.zeros((0, len(self.market.price)), np.bool_)

    def smallest_share(self) -> FloatArray:
        """(G, O) USD/hour of the part of a node that a group's mean pod takes; inf if it cannot."""
        market = self.market
        cap = np.where(market.cap < NO_CAP, 1.0 / np.maximum(market.cap, 1), 0.0)
        part = np.repeat(self.average(cap)[:, None], len(market.price), axis=1)
        for need, room in zip(self.requests.T, market.allocatable.T, strict=True):
            asked = np.flatnonzero(need > 0)
            with np.errstate(divide="ignore"):
                part[asked] = np.maximum(part[asked], need[asked, None] / room[None, :])
        cost: FloatArray = np.where(self.allowed, part, np.inf)
        np.multiply(cost, market.price[None, :], out=cost, where=self.allowed)
        return cost

    # growing

    def add(self, group: IntArray, offer: IntArray) -> None:
        """Add x columns for pairs of group and offer, with the rows of offers not seen before."""
        new = ~self.present[group, offer]
        group, offer = group[new], offer[new]
        if not len(group):
            return
        self._add_offers(np.unique(offer[self._place[offer] < 0]))
        order = np.argsort(offer, kind="stable")
        group, offer = group[order], offer[order]
        each = np.arange(len(group))
        place = self._place[offer]
        columns, rows, values = [each], [group], [np.ones(len(group))]
        need = self.requests[group]
        for d in range(need.shape[1]):
            asked = np.flatnonzero(need[:, d])
            columns.append(asked)
            rows.append(self._first_row[place[asked]] + d)
            values.append(need[asked, d] / self.market.allocatable[offer[asked], d])
        home = self._group_home[group]
        held = np.flatnonzero(home >= 0)
        if len(held):
            columns.append(held)
            rows.append(self._clique_row[place[held], home[held]])
            values.append(self._group_slot[group[held], offer[held]])
        self._add_columns(
            np.zeros(len(group)),
            np.full(len(group), INFINITE),
            (np.concatenate(columns), np.concatenate(rows), np.concatenate(values)),
            group,
            offer,
        )
        self.present[group, offer] = True

    def _add_offers(self, fresh: IntArray) -> None:
        """Add y columns, and the rows that say how much their nodes hold."""
        if not len(fresh):
            return
        depth = self.market.requests.shape[1]
        runs = self._clique_runs[:, fresh].T
        height = depth + runs.sum(axis=1)
        total = int(height.sum())
        first = self._lp.rows + np.cumsum(height) - height
        each = np.arange(len(fresh))
        columns, rows = [np.repeat(each, height)], [self._lp.rows + np.arange(total)]
        values = [np.full(total, -1.0)]
        booked = np.flatnonzero(self._books[fresh] >= 0)
        columns.append(booked)
        rows.append(self._reserve_rows + self._books[fresh[booked]])
        values.append(np.ones(len(booked)))
        taking, limit = np.nonzero(self._usage[fresh])
        columns.append(taking)
        rows.append(self._limit_rows + limit)
        values.append(self._usage[fresh[taking], limit])
        self._lp.add_rows(np.full(total, -INFINITE), np.zeros(total))
        self.known = np.r_[self.known, fresh]
        self.node_col = np.r_[self.node_col, len(self.col_group) + each]
        self._place[fresh] = len(self._first_row) + each
        self._first_row = np.r_[self._first_row, first]
        cell = first[:, None] + depth + np.cumsum(runs, axis=1) - 1
        self._clique_row = np.vstack([self._clique_row, np.where(runs, cell, -1)])
        rooms = self._rooms[fresh]
        self._add_columns(
            self.market.price[fresh],
            np.where(rooms < PLENTY, rooms.astype(np.float64), INFINITE),
            (np.concatenate(columns), np.concatenate(rows), np.concatenate(values)),
            np.full(len(fresh), -1),
            fresh,
        )

    def _add_columns(
        self,
        cost: FloatArray,
        upper: FloatArray,
        entries: Entries,
        group: IntArray,
        offer: IntArray,
    ) -> None:
        column, row, value = entries
        order = np.argsort(column, kind="stable")
        starts = np.searchsorted(column[order], np.arange(len(cost)))
        self._lp.add_columns(cost, upper, starts, row[order], value[order])
        self.col_group = np.r_[self.col_group, group]
        self.col_offer = np.r_[self.col_offer, offer]

    # solving

    def run(self, budget: Budget) -> Solved:
        """Solve with the columns there are."""
        return self._lp.run(budget)

    def scarcity(self, dual: FloatArray, reduced: FloatArray) -> tuple[FloatArray, float]:
        """(O,) what scarcity adds to each price, and what all scarce nodes cost together."""
        extra = np.zeros(len(self.market.price))
        scarce = self._rooms[self.known] < PLENTY
        some = self.known[scarce]
        extra[some] = np.maximum(0.0, -reduced[self.node_col[scarce]])
        paid = float(extra[some] @ self._rooms[some])
        reserved = np.maximum(-dual[self._reserve_rows : self._limit_rows], 0.0)
        if len(reserved):
            extra += np.where(self._books >= 0, reserved[self._books.clip(0)], 0.0)
            paid += float(reserved @ self.stock.reserved)
        if self._limits:
            tight = np.maximum(-dual[self._limit_rows : self._limit_rows + self._limits], 0.0)
            extra += self._usage @ tight
            paid += float(tight @ self.stock.remaining[: self._limits].clip(0.0))
        return extra, paid

    def prices(self, dual: FloatArray, price: FloatArray, solution: FloatArray) -> Prices:
        """Prices of resources under which no node is worth more than its `price` (O,)."""
        room = self.market.allocatable
        depth = room.shape[1]
        resource = np.maximum(-dual[self._first_row[:, None] + np.arange(depth)], 0.0)
        slot = np.where(self._clique_row >= 0, np.maximum(-dual[self._clique_row], 0.0), 0.0)
        nodes = solution[self.node_col]
        total = nodes @ room[self.known]
        per_unit = (nodes @ resource) / total.clip(1e-9)
        if not (room @ per_unit > 0).all():
            per_unit = per_unit + 1e-9 / room.mean(axis=0).clip(1e-9)
        of_node = room @ per_unit
        # a node worth nothing holds nothing that is worth something: its pods cost nothing
        rate = np.divide(price, of_node, out=np.zeros(len(price)), where=of_node > 0)
        here = price[self.known]
        spent = resource.sum(axis=1) + slot.sum(axis=1)
        over = spent > here
        scale = np.where(over, here / np.where(over, spent, 1.0), 1.0)
        spent = np.where(over, here, spent)
        rest = np.where(here > 0, 1.0 - spent / np.where(here > 0, here, 1.0), 0.0)
        held = room[self.known]
        each = np.divide(resource * scale[:, None], held, out=np.zeros(held.shape), where=held > 0)
        each += (rest * rate[self.known])[:, None] * per_unit
        unit = rate[:, None] * per_unit
        unit[self.known] = each
        return Prices(unit, slot * scale[:, None])

    def class_costs(self, prices: Prices) -> FloatArray:
        """(K, O) least cost of a pod of each class on each offer, inf if it cannot run there."""
        cost = self._costs(prices, self.market.requests, self._class_home, self._class_slot)
        np.copyto(cost, np.inf, where=self.market.fit <= 0)
        return cost

    def group_costs(self, prices: Prices) -> FloatArray:
        """(G, O) the same for each group's mean pod, inf also for pairs that have a column."""
        cost = self._costs(prices, self.requests, self._group_home, self._group_slot)
        np.copyto(cost, np.inf, where=self.present | ~self.allowed)
        return cost

    def _costs(
        self, prices: Prices, requests: FloatArray, home: IntArray, slot: FloatArray
    ) -> FloatArray:
        cost: FloatArray = requests @ prices.unit.T
        held = np.flatnonzero(home >= 0)
        if len(held):
            cost[np.ix_(held, self.known)] += (
                prices.slot[:, home[held]].T * slot[np.ix_(held, self.known)]
            )
        return cost


class Prices:
    """`unit` (O, D) USD/hour of one unit of a resource on each offer, `slot` (U, cliques) of what a
    clique's pods take of a node of each offer known."""

    def __init__(self, unit: FloatArray, slot: FloatArray) -> None:
        self.unit = unit
        self.slot = slot
