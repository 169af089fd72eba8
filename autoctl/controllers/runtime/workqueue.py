"""A work queue for level-triggered controllers.

The rules are those of client-go's `workqueue`: a key waits at most once; a key that is being worked
on is never handed to a second worker, but is queued again when it was added meanwhile; failures
come back with a delay that doubles for each key on its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol


class QueueObserver(Protocol):
    """Hears what a queue does, for metrics. Durations are seconds."""

    def added(self, depth: int) -> None: ...

    def taken(self, depth: int, waited: float) -> None: ...

    def done(self, worked: float) -> None: ...

    def retried(self) -> None: ...


class ShutDown(Exception):  # the name client-go gives the state
    """The queue is closed and empty: the worker should end."""


class WorkQueue:
    """Keys to reconcile, in the order in which they came due."""

    def __init__(
        self,
        *,
        base_delay: float = 1.0,
        max_delay: float = 60.0,
        observer: QueueObserver | None = None,
    ) -> None:
        """`base_delay` and `max_delay` bound the seconds a failed key waits."""
        if not 0 < base_delay <= max_delay:
            raise ValueError(f"need 0 < base_delay <= max_delay, got {base_delay}, {max_delay}")
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._observer = observer
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._working: dict[str, float] = {}
        self._again: set[str] = set()
        self._since: dict[str, float] = {}
        self._delayed: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._wake: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """Keys that wait to be taken, without the delayed ones."""
        return len(self._ready)

    @property
    def working(self) -> frozenset[str]:
        """Keys that workers hold now."""
        return frozenset(self._working)

    def work_started(self) -> list[float]:
        """Loop times at which the work under way began."""
        return list(self._working.values())

    def failures(self, key: str) -> int:
        """How often the key failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def add(self, key: str) -> None:
        """Queue the key now; a delayed addition of it is brought forward."""
        if self._closed:
            return
        handle = self._delayed.pop(key, None)
        if handle is not None:
            handle.cancel()
        if key in self._waiting:
            return
        if key in self._working:
            self._again.add(key)
            return
        self._push(key)

    def add_after(self, key: str, delay: float) -> None:
        """Queue the key in `delay` seconds, unless it is queued or due earlier."""
        if self._closed:
            return
        if delay <= 0:
            self.add(key)
            return
        if key in self._waiting or key in self._again:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        handle = self._delayed.get(key)
        if handle is not None:
            if handle.when() <= due:
                return
            handle.cancel()
        self._delayed[key] = loop.call_at(due, self.add, key)

    def add_rate_limited(self, key: str) -> None:
        """Queue the key after the delay of one more failure."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if self._observer is not None:
            self._observer.retried()
        self.add_after(key, min(self._max_delay, self._base_delay * 2.0 ** min(failures, 63)))

    def forget(self, key: str) -> None:
        """Take back the failures of a key: its next failure waits `base_delay` again."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """Wait for a key and hold it until `done`. Raises `ShutDown` when closed and empty."""
        while not self._ready:
            if self._closed:
                raise ShutDown
            waiter = asyncio.get_running_loop().create_future()
            self._wake.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    # Woken and cancelled at once: the key is still there, tell another worker.
                    self._wake_one()
                elif waiter in self._wake:
                    self._wake.remove(waiter)
                raise
        key = self._ready.popleft()
        self._waiting.discard(key)
        now = asyncio.get_running_loop().time()
        self._working[key] = now
        if self._observer is not None:
            self._observer.taken(len(self._ready), now - self._since.pop(key))
        else:
            del self._since[key]
        return key

    def done(self, key: str) -> None:
        """Give the key back; it is queued again at once when it was added meanwhile."""
        started = self._working.pop(key)
        if self._observer is not None:
            self._observer.done(asyncio.get_running_loop().time() - started)
        if key in self._again:
            self._again.discard(key)
            if not self._closed:
                self._push(key)

    def shut_down(self) -> None:
        """Take no more keys, drop those that wait, and let every waiting worker end."""
        self._closed = True
        for handle in self._delayed.values():
            handle.cancel()
        self._delayed.clear()
        self._ready.clear()
        self._waiting.clear()
        self._again.clear()
        self._since.clear()
        while self._wake:
            self._wake_one()

    def _push(self, key: str) -> None:
        self._waiting.add(key)
        self._ready.append(key)
        self._since[key] = asyncio.get_running_loop().time()
        if self._observer is not None:
            self._observer.added(len(self._ready))
        self._wake_one()

    def _wake_one(self) -> None:
        while self._wake:
            waiter = self._wake.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
