"""What is still to come: the demand behind the pod at hand, by which node sizes are judged.

A node bought for one pod will be filled with others. An offer is therefore priced for the whole
remaining demand that could use it: how much the nodes of this offer alone would cost to hold it,
counting that rules of one-pod-a-node force a number of nodes anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from autoctl.scheduling.board import Board
from autoctl.scheduling.feasibility import Demand, Ints

_SIMILAR = 0.5
_SLACK = 1.5
"""Nodes that are bought for other reasons than room get this much more than the average share of
what is to come: other rules keep pods from filling them evenly, and what stays empty is cut off
when nodes get their final size."""


class Outlook:
    """Remaining demand by kind of demand."""

    def __init__(self, board: Board, demands: Iterable[tuple[Demand, int]]) -> None:
        self._board = board
        self._left: dict[int, NDArray[np.float64]] = {}
        self._examples: dict[int, Demand] = {}
        self._forced: dict[tuple[int, int], float] = {}
        self._spread_over: dict[int, list[tuple[int, int]]] = {}
        self._near: dict[int, list[int]] = {}
        for demand, count in demands:
            self.add(demand, count)

    def add(self, demand: Demand, count: int) -> None:
        """Take a demand into account."""
        left = self._left.get(demand.kind)
        if left is None:
            left = self._left[demand.kind] = np.zeros(len(demand.requests))
            self._examples[demand.kind] = demand
            self._near.clear()
        left += count * demand.requests
        rules = self._board.rules(demand)
        forcing: list[tuple[int, int]] = []
        if rules.most is not None:
            columns = [c for c in rules.zero if c in rules.moves]
            forcing = [(c, rules.most) for c in columns]
        forcing += [(column, most) for column, most, own in rules.caps if own]
        if forcing:
            self._spread_over[demand.index] = forcing
            for column, most in forcing:
                key = (demand.kind, column)
                self._forced[key] = self._forced.get(key, 0.0) + count / most

    def placed(self, demand: Demand, count: int, existing: int) -> None:
        """Pods of the demand that are no longer to come, `existing` of them on existing nodes.

        Those on new nodes use room that `bought` has taken off already.
        """
        left = self._left.get(demand.kind)
        if left is not None and existing:
            left -= existing * demand.requests
        for column, most in self._spread_over.get(demand.index, ()):
            self._forced[demand.kind, column] -= count / most

    def bought(self, demand: Demand, row: int, nodes: int) -> None:
        """New nodes of an offer, whose room is there for the demand's kind."""
        left = self._left.get(demand.kind)
        if left is not None:
            left -= nodes * self._board.feasibility.net[row]

    def nodes_forced(self, demand: Demand) -> float:
        """Nodes that rules within a node force for the demand's pods still to come."""
        return max(
            (self._forced[demand.kind, c] for c, _ in self._spread_over.get(demand.index, ())),
            default=0.0,
        )

    def nodes(
        self, demand: Demand, rows: Ints, each: Ints, count: int
    ) -> tuple[NDArray[np.float64], Ints]:
        """For each offer: nodes of it alone that hold what is left, to pay for and to buy."""
        board = self._board
        near = self._neighbours(demand.kind)
        left = np.maximum(sum(self._left[k] for k in near), count * demand.requests)
        forced = max((n for (kind, _), n in self._forced.items() if kind in near), default=0.0)
        slack = _SLACK if forced > 1 else 1.0
        net = board.feasibility.net[rows]
        nodes = np.maximum(np.ceil(count / each) if self._alone(demand) else 1.0, forced)
        nodes = np.broadcast_to(nodes, len(rows)).astype(np.float64)
        for d in np.flatnonzero(left > 0):
            room = net[:, d].astype(np.float64)
            if (room <= 0).all():
                continue
            with np.errstate(divide="ignore"):
                nodes = np.maximum(nodes, np.where(room > 0, slack * left[d] / room, np.inf))
        if not np.isfinite(nodes).any():
            nodes = np.ceil(count / each)
        whole = np.where(nodes < 16, np.ceil(nodes - 1e-9), nodes)
        return whole, np.maximum(np.minimum(np.ceil(nodes), 1 << 30), 1).astype(np.int64)

    def _alone(self, demand: Demand) -> bool:
        return bool((self._left[demand.kind] <= 0).any()) if demand.kind in self._left else True

    def _neighbours(self, kind: int) -> list[int]:
        """Kinds that ask for the same resources and may use largely the same offers."""
        found = self._near.get(kind)
        if found is None:
            if kind not in self._examples:
                return []
            mine = self._examples[kind]
            found = []
            for other, example in self._examples.items():
                same = len(example.dims) == len(mine.dims) and bool(
                    (example.dims == mine.dims).all()
                )
                if other == kind or (same and _overlap(mine, example) >= _SIMILAR):
                    found.append(other)
            self._near[kind] = found
        return found


def _overlap(a: Demand, b: Demand) -> float:
    either = int((a.rows | b.rows).sum())
    return int((a.rows & b.rows).sum()) / either if either else 0.0
