"""Time as a seam.

Deadlines and sleeps use the asyncio loop's own time, which the simulator runs virtually. What is
written into objects or compared with their timestamps is wall-clock time and comes from here; no
other module reads a clock.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day (UTC, timezone-aware)."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)


class LoopClock:
    """A clock that starts at `start` and runs with the running event loop's time.

    Under `looptime` the loop's time is virtual, so that days pass in seconds and two runs of one
    scenario read the same instants.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start must be timezone-aware, got {start!r}")
        self._start = start
        self._read = 0.0, start
        """The loop's time that was last read, and the instant it is: virtual time often stands."""

    def now(self) -> datetime:
        seconds, instant = self._read
        elapsed = asyncio.get_running_loop().time()
        if elapsed != seconds:
            instant = self._start + timedelta(seconds=elapsed)
            self._read = elapsed, instant
        return instant


class FixedClock:
    """A clock that stands still: `plan --now` and tests."""

    def __init__(self, instant: datetime) -> None:
        if instant.tzinfo is None:
            raise ValueError(f"instant must be timezone-aware, got {instant!r}")
        self.instant = instant

    def now(self) -> datetime:
        return self.instant
