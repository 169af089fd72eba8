"""The work budget: effort counted from array sizes, so that a solve depends on its input alone."""

from __future__ import annotations

_GRACE = 1_000_000


class Budget:
    """Work units: one is about a microsecond of one core."""

    def __init__(self, units: int) -> None:
        self._units = units
        self.spent = 0

    @property
    def left(self) -> int:
        """Units that may still be spent, never negative."""
        return max(0, self._units - self.spent)

    @property
    def overrun(self) -> bool:
        """Whether far more is spent than was given: what must still be done has to be done fast."""
        return self.spent > 2 * self._units + _GRACE

    def spend(self, units: float) -> None:
        """Book work that is about to be done."""
        self.spent += int(units)

    def spend_fill(self, offers: int, classes: int, rounds: int) -> None:
        """Book a fill of `offers` nodes from `classes` classes, `rounds` times."""
        self.spend(rounds * (30 + classes * (12 + 0.08 * offers)))

    def spend_simplex(self, iterations: int, rows: int) -> None:
        """Book a run of the simplex method."""
        self.spend(200 + iterations * (2 + 0.02 * rows))
