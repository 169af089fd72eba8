"""When to stop collecting pods and decide: a pure clockwork.

A first pod opens the window; every further new one holds it open a little longer, so that a
deployment's pods are planned together, but not for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_RESOLUTION = 0.001
"""Less than this is rounding, which a timer could wait for in vain."""


@dataclass
class BatchWindow:
    """Collects the pods (UIDs) that wait for a decision. Times are seconds of one clock."""

    idle: float = 1.0
    longest: float = 10.0
    _opened: float | None = None
    _latest: float = 0.0
    _seen: set[str] = field(default_factory=set)

    def add(self, uid: str, now: float) -> None:
        """A pod waits; one that the window has already does not prolong it."""
        if uid in self._seen:
            return
        self._seen.add(uid)
        self._latest = now
        if self._opened is None:
            self._opened = now

    def closes_in(self, now: float) -> float | None:
        """Seconds until it is time to decide (0: now); None while nothing waits."""
        if self._opened is None:
            return None
        due = min(self._latest + self.idle, self._opened + self.longest)
        left = due - now
        return left if left > _RESOLUTION else 0.0

    def take(self) -> None:
        """What was collected is being decided: begin anew."""
        self._opened = None
        self._seen.clear()
