"""Nodes on which pods came together that leave too little choice of types: divided among several.

Pods that each leave enough choice may not do so on one node (one accepts families a and b, the
other b and c), and limits spent since may have taken choice away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autoctl.scheduling.board import Board
from autoctl.scheduling.feasibility import Demand


def divide(board: Board, demands: Sequence[Demand], short: Callable[[int], bool]) -> None:
    """Spread the pods of every new bin that is `short` over bins of its offer that are not.

    Pods for which there is no such bin, and pods that must share one node, are taken off the board.
    """
    for b in range(board.existing, board.size):
        if board.contents[b] and short(b):
            _Division(board, demands, short, b).run()


class _Division:
    def __init__(
        self, board: Board, demands: Sequence[Demand], short: Callable[[int], bool], b: int
    ) -> None:
        self._board = board
        self._short = short
        self._row = int(board.row[b])
        self._content = [(demands[i], n) for i, n in sorted(board.contents[b].items())]
        self._bins = [b]

    def run(self) -> None:
        board = self._board
        (first,) = self._bins
        for demand, count in self._content:
            board.take(demand, first, count)
        if any(board.rules(demand).need for demand, _ in self._content):
            board.limits.take(self._row, -1)
            return
        for demand, count in self._content:
            self._deal(demand, count)
        if not board.contents[first]:
            board.limits.take(self._row, -1)

    def _deal(self, demand: Demand, count: int) -> None:
        board = self._board
        for b in self._bins:
            count -= self._add(demand, b, count)
        while count and board.limits.rooms(np.array([self._row]))[0]:
            (b,) = board.open(self._row, 1).tolist()
            added = self._add(demand, b, count)
            if not added:
                board.limits.take(self._row, -1)
                return
            self._bins.append(b)
            count -= added

    def _add(self, demand: Demand, b: int, count: int) -> int:
        """Put as many of the pods as leave enough choice, found by halving."""
        least, most = 0, count
        while least < most:
            middle = (least + most + 1) // 2
            self._put(demand, b, middle)
            if self._short(b):
                most = middle - 1
            else:
                least = middle
            self._board.take(demand, b, middle)
        if least:
            self._put(demand, b, least)
        return least

    def _put(self, demand: Demand, b: int, count: int) -> None:
        self._board.put(demand, np.array([b]), np.array([count]))
