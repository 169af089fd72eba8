"""Placing demands one after the other, each exactly: domains by level, bins in order, new nodes.

This is the path for everything other pods bear on. A demand is placed as a whole (its pods are
alike), so the work grows with the number of shapes and nodes, not of pods.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoctl.scheduling.board import Board, Where
from autoctl.scheduling.buying import Buyer
from autoctl.scheduling.domains import Domains, Option, options_of
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.outlook import Outlook
from autoctl.scheduling.packing.budget import Budget

_LOOK = 50
_BIN = 0.02
"""Work units of a question about one demand, and what each bin adds to it."""


class Placer:
    """Places demands on a board."""

    def __init__(
        self, board: Board, outlook: Outlook, effort: Budget, *, defer: bool = False
    ) -> None:
        """`defer`: leave pods whose domains are decided to the packing kernel, in `deferred`.

        `effort` is where work is booked; when it is exhausted, nothing more is placed.
        """
        self.board = board
        self.effort = effort
        self.outlook = outlook
        self.defer = defer
        self._buyer = Buyer(board, outlook, effort)
        self.deferred: list[tuple[Demand, Where, int]] = []

    def place(self, demand: Demand, count: int) -> int:
        """Place up to `count` pods where every rule holds; how many were placed."""
        if count <= 0 or self.effort.exhausted:
            return 0
        constraints = demand.constraints
        if constraints.free and not demand.pinned:
            return self._fill_and_open(demand, count, ())
        keys = sorted(
            {s.gauge.key for s in (*constraints.spread, *constraints.mind) if not s.gauge.host}
            | {g.key for g in (*constraints.apart, *constraints.together) if not g.host}
        )
        if not keys:
            return self._fill_and_open(demand, count, demand.pinned)
        placed = 0
        exhausted: set[Where] = set()
        while placed < count and not self.effort.exhausted:
            step = self._step(demand, count - placed, keys, exhausted)
            if not step:
                break
            placed += step
        return placed

    def _step(self, demand: Demand, count: int, keys: Sequence[str], exhausted: set[Where]) -> int:
        """Place a few pods in the best domain that still has room; 0 when none has."""
        alone = len(keys) == 1
        self.effort.spend(_LOOK * len(keys))
        rooms = self._candidates(demand, demand.pinned, mind=True)
        used_up = {code for where in exhausted for _, code in where} if alone else set()
        domains = [
            Domains(self.board, demand, key, count, rooms, alone=alone, used_up=used_up)
            for key in keys
        ]
        options = options_of(self.board, demand, domains)
        options = [option for option in options if option[1] not in exhausted]
        if len(keys) == 1 and domains[0].at_once:
            free = domains[0].free
            return self._all_at_once(demand, count, options, exhausted, rooms, free=free)
        for _, where, most in options:
            number = min(count, most if len(keys) == 1 else min(most, 1))
            if len(keys) > 1 and not any(d.levels for d in domains):
                number = min(count, most)
            placed = self._fill_and_open(demand, number, (*demand.pinned, *where), rooms)
            if placed < number:
                exhausted.add(where)
            if placed:
                return placed
        return 0

    def _all_at_once(
        self,
        demand: Demand,
        count: int,
        options: Sequence[Option],
        exhausted: set[Where],
        rooms: tuple[Ints, Ints],
        *,
        free: bool,
    ) -> int:
        """Give every domain its share of the pods; nodes outside of all domains may take any.

        Where only others would like the pods level (`free`), what one domain refuses another may
        take. `rooms` are the bins there are: what is placed in one domain changes no other.
        """
        placed = 0
        for _, where, most in options:
            share = min(most, count - placed)
            if share:
                number = self._fill_and_open(demand, share, (*demand.pinned, *where), rooms)
                if number < share:
                    exhausted.add(where)
                placed += number
        for _, where, _ in options:
            if placed < count and where not in exhausted and free:
                placed += self._fill_and_open(demand, count - placed, (*demand.pinned, *where))
        return placed

    def _fill_and_open(
        self, demand: Demand, count: int, where: Where, rooms: tuple[Ints, Ints] | None = None
    ) -> int:
        """`rooms`: the demand's candidates in its pinned domains, if they are known."""
        board = self.board
        rules = board.rules(demand)
        if rules.need:
            return self._gather(demand, count, where)
        if rooms is None:
            placed = self._fill(demand, count, where, mind=True)
        else:
            placed = self._spill(demand, count, *self._inside(rooms, where))
        if placed < count and self.defer and self._deferrable(demand, where):
            board.expect(demand, where, count - placed)
            self.deferred.append((demand, where, count - placed))
            return count
        if placed < count:
            placed += self._buyer.buy(demand, count - placed, where)
        if placed < count and rules.minded:
            placed += self._fill(demand, count - placed, where, mind=False)
        return placed

    def _deferrable(self, demand: Demand, where: Where) -> bool:
        """Whether only the domains matter of the nodes bought, of which there is no end."""
        board = self.board
        if not within_domains(board, demand) or {k for k, _ in where} < set(demand.domains):
            return False
        rows = board.within(demand, where)
        if any(board.counted_on(g, rows) is None for g in demand.constraints.moves):
            return False
        return not board.limits.bounded[rows].all()

    def _fill(self, demand: Demand, count: int, where: Where, *, mind: bool) -> int:
        bins, rooms = self._candidates(demand, where, mind=mind)
        return self._spill(demand, count, bins, rooms)

    def _candidates(self, demand: Demand, where: Where, *, mind: bool) -> tuple[Ints, Ints]:
        self.effort.spend(_LOOK + _BIN * self.board.size)
        return self.board.candidates(demand, where, mind=mind)

    def _inside(self, rooms: tuple[Ints, Ints], where: Where) -> tuple[Ints, Ints]:
        """Those of the bins that are in the given domains."""
        bins, counts = rooms
        inside = np.ones(len(bins), np.bool_)
        for key, code in where:
            inside &= self.board.codes(key)[bins] == code
        return bins[inside], counts[inside]

    def _spill(self, demand: Demand, count: int, bins: Ints, rooms: Ints) -> int:
        if not len(bins):
            return 0
        before = np.cumsum(rooms) - rooms
        last = int(np.searchsorted(before, count, side="left"))
        bins, rooms, before = bins[:last], rooms[:last], before[:last]
        taken = np.minimum(rooms, count - before)
        self.effort.spend(_LOOK + last)
        self.board.put(demand, bins, taken)
        number = int(taken.sum())
        self.outlook.placed(demand, number, int(taken[bins < self.board.existing].sum()))
        return number

    def _gather(self, demand: Demand, count: int, where: Where) -> int:
        """Hostname affinity: beside pods that are there, or together on one node.

        What other pods' spread constraints would like goes first, as far as that leaves a place.
        """
        board = self.board
        rules = board.rules(demand)
        minded = self._candidates(demand, where, mind=True)
        everything = self._candidates(demand, where, mind=False) if rules.minded else minded
        for bins, rooms in (minded, everything):
            beside = np.ones(len(bins), np.bool_)
            for column in rules.need:
                beside &= board.host[bins, column] > 0
            placed = self._spill(demand, count, bins[beside], rooms[beside])
            if placed:
                return placed
        if not demand.constraints.bootstrap or any(
            board.totals[g.index] for g in demand.constraints.together
        ):
            return 0
        return (
            self._on_one(demand, count, *minded)
            or self._buyer.buy(demand, count, where, nodes=1)
            or self._on_one(demand, count, *everything)
        )

    def _on_one(self, demand: Demand, count: int, bins: Ints, rooms: Ints) -> int:
        """Place pods on the first bin that takes the most of them."""
        if not len(bins):
            return 0
        best = int(np.flatnonzero(rooms >= min(count, int(rooms.max())))[0])
        return self._spill(demand, count, bins[best : best + 1], rooms[best : best + 1])


def within_domains(board: Board, demand: Demand) -> bool:
    """Whether no rule within a node binds the demand's pods, or others because of them."""
    rules = board.rules(demand)
    return not (
        rules.zero
        or rules.caps
        or rules.minded
        or rules.need
        or len(rules.moves)
        or demand.shape.shared
    )
