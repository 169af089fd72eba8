"""The work budget: effort counted from array sizes, so that a solve depends on its input alone."""

from __future__ import annotations


class Budget:
    """Work units: one is about a microsecond of one core."""

    def __init__(self, units: int) -> None:
        self._units = units
        self.spent = 0

    @property
    def left(self) -> int:
        """Units that may still be spent, never negative."""
        return max(0, self._units - self.spent)

    def spend(self, units: float) -> None:
        """Book work that is about to be done."""
        self.spent += int(units)

    def spend_fill(self, offers: int, classes: int, rounds: int) -> None:
        """Book a fill of `offers` nodes from `classes` classes, `rounds` times."""
        self.spend(rounds * (30 + classes * (12 + 0.08 * offers)))

    def spend_simplex(self, iterations: int, rows: int) -> None:
        """Book a run of the simplex method."""
        self.spend(200 + iterations * (2 + 0.02 * rows))
