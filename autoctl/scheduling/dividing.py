"""Nodes on which pods came together that leave too little choice of types: divided among several.

Pods that each leave enough choice may not do so on one node (one accepts families a and b, the
other b and c), and limits spent since may have taken choice away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from autoctl.scheduling.board import Board
from autoctl.scheduling.feasibility import Demand
from autoctl.scheduling.launch import Launcher


def divide(board: Board, demands: Sequence[Demand], launcher: Launcher) -> dict[int, int]:
    """Spread the pods of every new bin that is short of types over bins of its offer that are not.

    Each bin that stays holds what its least choice of types may take of the limits. Bins among
    which pods were divided take no more pods, which could undo it.

    Pods for which there is no such bin, and pods that must share one node, are taken off the board:
    how many, by demand index.
    """
    off: Counter[int] = Counter()
    for b in range(board.existing, board.size):
        if board.contents[b] and not launcher.hold(b):
            off.update(_Division(board, demands, launcher, b).run())
    return dict(off)


class _Division:
    def __init__(self, board: Board, demands: Sequence[Demand], launcher: Launcher, b: int) -> None:
        self._board = board
        self._launcher = launcher
        self._row = int(board.row[b])
        self._content = [(demands[i], n) for i, n in sorted(board.contents[b].items())]
        self._bins = [b]

    def run(self) -> dict[int, int]:
        """Divide; the pods that found no place, by demand index."""
        board = self._board
        (first,) = self._bins
        for demand, count in self._content:
            board.take(demand, first, count)
        gathered = [e for e in self._content if board.rules(e[0]).need]
        if gathered and not self._gather(gathered, first):
            board.close(first)
            return {demand.index: count for demand, count in self._content}
        off = {}
        for demand, count in self._content:
            left = 0 if (demand, count) in gathered else self._deal(demand, count)
            if left:
                off[demand.index] = left
        if not board.contents[first]:
            board.close(first)
        for b in self._bins:
            board.seal(b)
        return off

    def _gather(self, content: Sequence[tuple[Demand, int]], b: int) -> bool:
        """Keep pods that must share one node on it; False where even that cannot be."""
        board = self._board
        for demand, count in content:
            self._put(demand, b, count)
        together = all(board.host[b, c] > 0 for d, _ in content for c in board.rules(d).need)
        if together and self._launcher.hold(b):
            return True
        for demand, count in content:
            board.take(demand, b, count)
        return False

    def _deal(self, demand: Demand, count: int) -> int:
        """Put the pods on the bins there are, then on more of their offer; how many are left."""
        board = self._board
        for b in self._bins:
            count -= self._add(demand, b, count)
        while count and board.limits.rooms(np.array([self._row]))[0]:
            (b,) = board.open(self._row, 1).tolist()
            added = self._add(demand, b, count)
            if not added:
                board.close(b)
                break
            self._bins.append(b)
            count -= added
        return count

    def _add(self, demand: Demand, b: int, count: int) -> int:
        """Put as many of the pods as leave enough choice, found by halving."""
        least, most = 0, count
        while least < most:
            middle = (least + most + 1) // 2
            self._put(demand, b, middle)
            if self._launcher.short(b):
                most = middle - 1
            else:
                least = middle
            self._board.take(demand, b, middle)
        if least:
            self._put(demand, b, least)
            held = self._launcher.hold(b)
            assert held, "a bin judged to leave enough choice does not"
        return least

    def _put(self, demand: Demand, b: int, count: int) -> None:
        self._board.put(demand, np.array([b]), np.array([count]))
