"""The work budget: effort counted from array sizes, so that a solve depends on its input alone."""

from __future__ import annotations

_GRACE = 1_000_000
_PRESSED = 0.5
_EXHAUSTED = 0.8
"""Parts of the hard cap. From the first on only what an answer needs is done, in few steps; from
the second on in a single pass. The rest of the cap is room for that pass."""


class Budget:
    """Work units: one is about a microsecond of one core.

    `units` are what the search may use; `cap` is what nothing may pass, if given.
    """

    def __init__(self, units: int, cap: int | None = None) -> None:
        self._units = units if cap is None else min(units, cap)
        self._cap = cap
        self.spent = 0

    @property
    def left(self) -> int:
        """Units that may still be spent on a better answer, never negative."""
        return 0 if self.pressed else max(0, self._units - self.spent)

    @property
    def overrun(self) -> bool:
        """Whether far more is spent than was given: what must still be done has to be done fast."""
        return self.pressed or self.spent > 2 * self._units + _GRACE

    @property
    def pressed(self) -> bool:
        """Whether so much of the cap is spent that the search ends where it is."""
        return self._cap is not None and self.spent >= _PRESSED * self._cap

    @property
    def exhausted(self) -> bool:
        """Whether all that is left to do is one pass that places what can be placed."""
        return self._cap is not None and self.spent >= _EXHAUSTED * self._cap

    def affords(self, units: float) -> bool:
        """Whether work without which there may be no good answer still leaves room for others'."""
        return self._cap is None or self.spent + units < _PRESSED * self._cap

    def iterations(self, rows: int) -> int | None:
        """Most iterations a run of the simplex method may take; None for no end."""
        if self._cap is None:
            return None
        return max(1, int((_EXHAUSTED * self._cap - self.spent) / (2 + 0.02 * rows)))

    def spend(self, units: float) -> None:
        """Book work that is about to be done."""
        self.spent += int(units)

    def spend_fill(self, offers: int, classes: int, rounds: int) -> None:
        """Book a fill of `offers` nodes from `classes` classes, `rounds` times."""
        self.spend(rounds * (30 + classes * (12 + 0.08 * offers)))

    def spend_simplex(self, iterations: int, rows: int) -> None:
        """Book a run of the simplex method."""
        self.spend(200 + iterations * (2 + 0.02 * rows))
