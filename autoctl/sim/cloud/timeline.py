"""Things that happen later: an instance boots, terminates, an interruption strikes.

Events lie in a heap by time. They are carried out whenever the cloud is asked something, and by
`run`, which sleeps until the next one, so that they also happen while nobody asks. Both ways see
the same order: time first, then the order of planning.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

from autoctl.ports.clock import Clock

Event = Callable[[], None]


class Timeline:
    """Planned events of one simulated cloud.

    `lock` guards everything that events change; who calls `advance` from several threads holds it.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._events: list[tuple[datetime, int, Event]] = []
        self._numbers = count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self.lock = threading.RLock()

    def now(self) -> datetime:
        return self.clock.now()

    def after(self, seconds: float, event: Event) -> None:
        """Plan `event` for `seconds` from now; at once means at the next opportunity."""
        if seconds < 0:
            raise ValueError(f"an event cannot lie in the past: {seconds} s")
        self.at(self.now() + timedelta(seconds=seconds), event)

    def at(self, when: datetime, event: Event) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), event))
        if self._loop is not None and self._events[0][2] is event:
            self._rouse(self._loop)

    def advance(self) -> None:
        """Carry out every event that is due."""
        with self.lock:
            now = self.now()
            while self._events and self._events[0][0] <= now:
                _, _, event = heapq.heappop(self._events)
                event()

    async def run(self, after_each: Callable[[], None]) -> None:
        """Carry events out as they fall due, calling `after_each` every time; never returns."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                self.advance()
                after_each()
                await self._sleep()
        finally:
            self._loop = None

    async def _sleep(self) -> None:
        with self.lock:
            due = self._events[0][0] if self._events else None
        if due is None:
            await self._wake.wait()
            return
        seconds = (due - self.now()).total_seconds()
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def rouse(self) -> None:
        """Make `run` look again now."""
        if self._loop is not None:
            self._rouse(self._loop)

    def _rouse(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:  # another thread, which has no loop of its own
            here = False
        if here:
            self._wake.set()
        else:
            loop.call_soon_threadsafe(self._wake.set)
