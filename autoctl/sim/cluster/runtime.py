"""How the built-in controllers run: a timer wheel and deduplicating queues, without tasks.

Everything is a callback of the event loop, so that one instant's work is done in one fixed order.
Timers are kept on a wheel of `TICK` seconds: thousands of pods that start in the same second cost
a few steps of virtual time, not thousands.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from autoctl.ports.kubernetes import AlreadyExists, Forbidden, Invalid
from autoctl.sim.cluster.server import Server
from autoctl.sim.cluster.store import Store
from autoctl.sim.cluster.timings import Timings

KeyT = TypeVar("KeyT", bound=Hashable)
TICK: Final = 0.1
_RETRY_SECONDS: Final = 5.0


class Wheel:
    """Calls functions after a delay, rounded up to a tick; same tick, order of registration."""

    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        self._on_failure = on_failure
        self._ticks: dict[int, list[Callable[[], None]]] = {}
        self._handles: dict[int, asyncio.TimerHandle] = {}
        self._stopped = False

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` once, `seconds` or a little later from now."""
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        tick = math.ceil((loop.time() + seconds) / TICK - 1e-6)
        waiting = self._ticks.get(tick)
        if waiting is None:
            waiting = self._ticks[tick] = []
            self._handles[tick] = loop.call_at(tick * TICK, self._run, tick)
        waiting.append(callback)

    @staticmethod
    def time() -> float:
        """The loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    def stop(self) -> None:
        """Cancel everything that waits; later calls of `after` do nothing."""
        self._stopped = True
        for handle in self._handles.values():
            handle.cancel()
        self._ticks.clear()
        self._handles.clear()

    def _run(self, tick: int) -> None:
        self._handles.pop(tick, None)
        for callback in self._ticks.pop(tick, ()):
            if self._stopped:
                return
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - kept, and raised by the next API call
                self._on_failure(error)


class Controller(ABC, Generic[KeyT]):
    """Keys in a deduplicating queue, reconciled one after the other a moment after the change."""

    def __init__(self, server: Server, wheel: Wheel, timings: Timings) -> None:
        self.server = server
        self.store: Store = server.store
        self.wheel = wheel
        self.timings = timings
        self._dirty: dict[KeyT, None] = {}

    @abstractmethod
    def start(self) -> None:
        """Subscribe to changes and enqueue what is there already."""

    @abstractmethod
    def reconcile(self, key: KeyT) -> None:
        """Bring one object nearer to what it should be."""

    def enqueue(self, key: KeyT) -> None:
        """Reconcile `key` after the controller's delay; once, however often it is asked for."""
        if not self._dirty:
            self.wheel.after(self.timings.controller_delay, self._run)
        self._dirty[key] = None

    def enqueue_after(self, seconds: float, key: KeyT) -> None:
        """Reconcile `key` in `seconds`."""
        self.wheel.after(seconds, lambda: self.enqueue(key))

    def _run(self) -> None:
        keys, self._dirty = list(self._dirty), {}
        for key in keys:
            # What the last reconciliation changed must be in the controllers' own indices.
            self.store.deliver()
            try:
                self.reconcile(key)
            except (AlreadyExists, Forbidden, Invalid):
                # A foreign object of that name, a namespace that is being deleted, a template that
                # admission refuses: users cause these, and controllers keep trying.
                self.enqueue_after(_RETRY_SECONDS, key)
