"""New nodes for demands that are placed one after the other."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.board import Board, Where
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.outlook import Outlook
from autoctl.scheduling.packing.budget import Budget

_TIE = 1e-9
_PLENTY = 1 << 40
_BATCH = 150
_OFFER = 0.05
"""Work units of buying a batch of nodes, and what each offer looked at adds to it."""


class Buyer:
    """Buys nodes for one demand at a time, with an eye on what is still to come."""

    def __init__(self, board: Board, outlook: Outlook, effort: Budget) -> None:
        """`effort` is where work is booked."""
        self._board = board
        self._outlook = outlook
        self._effort = effort
        self._shelves: dict[object, tuple[Demand, list[tuple[Ints, Ints]]]] = {}

    def buy(self, demand: Demand, count: int, where: Where, nodes: int | None = None) -> int:
        """Buy nodes (at most `nodes`) for up to `count` pods, tier by tier; how many pods."""
        placed = 0
        opened = 0
        for rows, fit in self._shelf(demand, where):
            while placed < count and (nodes is None or opened < nodes):
                step, bought = self._buy(demand, count - placed, rows, fit, nodes)
                if not step:
                    break
                placed += step
                opened += bought
        return placed

    def _shelf(self, demand: Demand, where: Where) -> list[tuple[Ints, Ints]]:
        """What is on sale, as (offers, pods on an empty node of each) of one tier at a time.

        Within a tier, unusual hardware comes last. Demands of one size share the answer.
        """
        board = self._board
        rules = board.rules(demand)
        most = min([n for _, n, own in rules.caps if own], default=_PLENTY)
        most = min(most, rules.most or _PLENTY)
        key = (id(demand.rows), most, where)
        found = self._shelves.get(key)
        if found is None:
            rows = board.within(demand, where)
            fit = np.full(len(rows), most, np.int64)
            for d in demand.dims.tolist():
                np.minimum(fit, board.feasibility.net[rows, d] // demand.requests[d], out=fit)
            rows, fit = rows[fit > 0], fit[fit > 0]
            tier, exotic = board.offers.tier[rows], board.offers.exotic[rows]
            shelf = []
            for number in np.unique(tier).tolist():
                for unusual in (False, True):
                    chosen = (tier == number) & (exotic == unusual)
                    if chosen.any():
                        shelf.append((rows[chosen], fit[chosen]))
            found = self._shelves[key] = (demand, shelf)  # the demand keeps its rows' id taken
        return found[1]

    def _buy(
        self, demand: Demand, count: int, rows: Ints, fit: Ints, nodes: int | None
    ) -> tuple[int, int]:
        """Buy one batch of equal nodes: (pods placed, nodes bought)."""
        board = self._board
        self._effort.spend(_BATCH + _OFFER * len(rows))
        rooms = board.limits.rooms(rows)
        rows, fit, rooms = rows[rooms > 0], fit[rooms > 0], rooms[rooms > 0]
        if not len(rows):
            return 0, 0
        each = np.minimum(fit, count)
        if nodes is not None:
            rows, rooms = rows[each == each.max()], rooms[each == each.max()]
            each = each[each == each.max()]
        first, place = self._twins(rows)
        nodes_of, batch = self._outlook.nodes(demand, rows[first], each[first], count)
        cost = board.offers.price[rows] * nodes_of[place]
        best = np.flatnonzero(cost <= cost.min() * (1 + _TIE))
        best = best[each[best] == each[best].max()]
        choice = int(self._even(rows, best))
        number = min(-(-count // int(each[choice])), int(batch[place[choice]]), int(rooms[choice]))
        if len(best) > 1:
            number = -(-number // len(best))
        number = max(1, number if nodes is None else min(number, nodes))
        row = int(rows[choice])
        bins = board.open(row, number)
        zone = board.offers.offerings[row].zone
        board.opened[zone] = board.opened.get(zone, 0) + number
        taken = np.full(number, each[choice], np.int64)
        taken[-1] = min(int(each[choice]), count - int(each[choice]) * (number - 1))
        board.put(demand, bins, taken)
        placed = int(taken.sum())
        self._outlook.bought(demand, row, number)
        self._outlook.placed(demand, placed, 0)
        return placed, number

    def _twins(self, rows: Ints) -> tuple[Ints, Ints]:
        """The first of each set of offers with equal nodes, and for each row the number of its set.

        As `np.unique` would have it, for numbers that are few.
        """
        twins = self._board.feasibility.twins[rows]
        seen = np.full(int(twins.max()) + 1, -1)
        seen[twins[::-1]] = np.arange(len(rows))[::-1]
        there = seen >= 0
        first: Ints = seen[there]
        place: Ints = (np.cumsum(there) - 1)[twins]
        return first, place

    def _even(self, rows: Ints, best: Ints) -> int:
        """Of equally good offers, the one in the zone with the fewest new nodes."""
        if len(best) == 1:
            return int(best[0])
        offerings = self._board.offers.offerings
        opened = self._board.opened
        ranked: list[int] = best.tolist()
        return min(
            ranked, key=lambda i: (opened.get(offerings[int(rows[i])].zone, 0), int(rows[i]))
        )
