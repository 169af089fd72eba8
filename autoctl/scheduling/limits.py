"""What NodePool limits and reservations leave of offers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoctl.scheduling.feasibility import Ints
from autoctl.scheduling.offers import Offers
from autoctl.scheduling.problem import Pool


class Limits:
    """What NodePool limits and reservations leave."""

    def __init__(self, offers: Offers, pools: Sequence[Pool]) -> None:
        self._offers = offers
        self._rows: list[Ints] = []
        columns: list[Ints] = []
        remaining: list[int] = []
        self.names: list[tuple[int, str]] = []
        for index, pool in enumerate(pools):
            mine = offers.pool == index
            for name in sorted(pool.limits):
                usage = (
                    np.ones(len(offers), np.int64)
                    if name == "nodes"
                    else offers.amount(name, capacity=True)
                )
                columns.append(np.where(mine, usage, 0))
                remaining.append(pool.limits[name] - pool.usage.get(name, 0))
                self.names.append((index, name))
        self.usage = np.stack(columns, axis=1) if columns else np.zeros((len(offers), 0), np.int64)
        self.remaining = np.array(remaining, np.int64)
        self.reserved = offers.reserved_room.copy()
        self.bounded = (offers.reservation >= 0) | (self.usage > 0).any(axis=1)
        """(O,) offers of which there may be an end."""

    def rooms(self, rows: Ints) -> Ints:
        """(len(rows),) nodes that may still be had of each offer."""
        rooms = np.full(len(rows), 1 << 40, np.int64)
        reservation = self._offers.reservation[rows]
        held = reservation >= 0
        if held.any():
            rooms[held] = self.reserved[reservation[held]]
        for column in range(self.usage.shape[1]):
            usage = self.usage[rows, column]
            taking = usage > 0
            if taking.any():
                left = max(int(self.remaining[column]), 0)
                rooms[taking] = np.minimum(rooms[taking], left // usage[taking])
        return np.maximum(rooms, 0)

    def take(self, row: int, nodes: int) -> None:
        """Book new nodes of an offer."""
        reservation = self._offers.reservation[row]
        if reservation >= 0:
            self.reserved[reservation] -= nodes
        if len(self.remaining):
            self.remaining -= nodes * self.usage[row]
