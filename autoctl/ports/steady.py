"""The API server's time, on a machine whose own clock may be wrong.

Ages, deadlines and waiting periods are counted from timestamps that the API server wrote. A clock
that is stepped, or that stood still with its machine, must therefore not be compared with them.
`SteadyClock` follows the machine's clock as long as that runs evenly, and the API server where the
two disagree:

- A step of the machine's clock (against monotonic time) is taken out again at once.
- The `Date` of the API server's answers corrects what is left: at the first answer, and later when
  answers of `CONFIRM_SECONDS` agree that time is another one. A machine that slept, and an API
  server whose clock was set right, are told apart from one answer that is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from autoctl.ports.clock import Clock

STEP_SECONDS: Final = 1.0
"""More than a clock that is being slewed gains or loses between two looks."""
TOLERANCE_SECONDS: Final = 5.0
"""`Date` has whole seconds and answers take a while to arrive: less is agreement."""
CONFIRM_SECONDS: Final = 10.0
"""How long the API server's answers must disagree in the same way before they are believed."""
_HEAR_SECONDS: Final = 1.0


class Origin(StrEnum):
    """Whose time was not what it should have been."""

    MACHINE = "machine"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Jump:
    """A disagreement that was noticed at `at`: `seconds` is how far that clock went forward."""

    at: datetime
    origin: Origin
    seconds: float


@dataclass(frozen=True, slots=True)
class _Doubt:
    offset: float
    since: float


class SteadyClock:
    """A `Clock` for decisions; safe to share between threads.

    `wall` is the machine's clock, `mono` any steady clock's reading in seconds.
    """

    def __init__(self, wall: Clock, mono: Callable[[], float]) -> None:
        self._wall = wall
        self._mono = mono
        self._lock = threading.Lock()
        self._last = wall.now(), mono()
        self._correction = timedelta(0)
        self._heard_at: float | None = None
        self._doubt: _Doubt | None = None
        self._untold: list[Jump] = []
        self._skipped: list[tuple[datetime, datetime]] = []

    def now(self) -> datetime:
        """The API server's time, as well as it is known."""
        with self._lock:
            return self._now()

    def heard(self, server: datetime) -> None:
        """An answer of the API server says what time it is there (whole seconds, rounded down)."""
        with self._lock:
            mono = self._mono()
            first = self._heard_at is None
            if self._heard_at is not None and mono - self._heard_at < _HEAR_SECONDS:
                return
            self._heard_at = mono
            now = self._now()
            offset = (server - now).total_seconds()
            if abs(offset) <= TOLERANCE_SECONDS:
                self._doubt = None
                return
            if first:
                # Nothing has been decided by this clock yet: it was wrong from the start.
                self._untold.append(Jump(server, Origin.MACHINE, -offset))
                self._correct(offset)
                return
            doubt = self._doubt
            if doubt is None or abs(offset - doubt.offset) > TOLERANCE_SECONDS:
                self._doubt = _Doubt(offset, mono)
            elif mono - doubt.since >= CONFIRM_SECONDS:
                self._doubt = None
                self._correct(offset)
                self._untold.append(Jump(server, Origin.SERVER, offset))
                if offset > 0:
                    self._skipped.append((now, now + timedelta(seconds=offset)))

    def skipped(self, instant: datetime) -> bool:
        """Whether a jump of the API server's time, not its passing, brought `instant` into the
        past: many deadlines may have been reached at once."""
        with self._lock:
            return any(start < instant <= end for start, end in self._skipped)

    def take_jumps(self) -> list[Jump]:
        """The jumps since this was last asked, for those who tell people."""
        with self._lock:
            self._now()
            jumps, self._untold = self._untold, []
            return jumps

    @property
    def correction(self) -> timedelta:
        """What is added to the machine's clock."""
        return self._correction

    def _now(self) -> datetime:
        wall, mono = self._wall.now(), self._mono()
        last_wall, last_mono = self._last
        step = (wall - last_wall).total_seconds() - (mono - last_mono)
        self._last = wall, mono
        if abs(step) > STEP_SECONDS:
            self._correct(-step)
            self._untold.append(Jump(wall + self._correction, Origin.MACHINE, step))
        return wall + self._correction

    def _correct(self, seconds: float) -> None:
        self._correction += timedelta(seconds=seconds)
