"""The lease kept in a thread of its own, with its own event loop and connection.

A garbage collection or a solve may hold up the operator's loop for a second; renewing must not wait
for it. And should that loop hang for good, this thread ends the process: a replica that cannot stop
writing by itself must not live on beside its successor.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from autoctl.kube.client import KubeClient
from autoctl.kube.config import ConnectionConfig
from autoctl.operator.leader import LeaseKeeper, LeaseTerms, NotLeadingError
from autoctl.ports.clock import Clock

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

_EXIT_SHARE = 0.8
"""Part of what is left of the lease when renewing is given up (duration - renew deadline), after
which the process is ended by force: the successor starts into silence."""
_JOIN_SECONDS = 5.0
LOST_EXIT_CODE = 1


class LeaderThread:
    """Runs a `LeaseKeeper` in a thread; its own methods belong to the operator's loop."""

    def __init__(
        self,
        config: ConnectionConfig,
        terms: LeaseTerms,
        clock: Clock,
        *,
        rng: random.Random,
        heard: Callable[[datetime], None] | None = None,
        on_late: Callable[[], None] | None = None,
        kill: Callable[[int], None] = os._exit,
    ) -> None:
        """In this thread, `heard` is told the API server's time with every answer, and `on_late` of
        each renewal whose first try failed.
        """
        self._config = config
        self._terms = terms
        self._clock = clock
        self._rng = rng
        self._heard = heard
        self._on_late = on_late
        self._kill = kill
        self.elected = asyncio.Event()
        self.lost = asyncio.Event()
        self._keeper: LeaseKeeper | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._exited = threading.Event()
        self._thread = threading.Thread(target=self._main, name="leader", daemon=True)

    def start(self) -> None:
        """Begin to compete for the lease."""
        self._home = asyncio.get_running_loop()
        self._thread.start()

    def leading(self) -> bool:
        """Whether this replica may write now; checked against the clock, not against a flag."""
        return self._keeper is not None and self._keeper.leading()

    def check(self) -> None:
        """The write gate. Raises `NotLeadingError`."""
        if self._keeper is None:
            raise NotLeadingError("the election has not begun")
        self._keeper.check()

    async def stop(self) -> None:
        """Release the lease, if held, and end the thread."""
        self._exited.set()
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        join = self._thread.join
        await asyncio.get_running_loop().run_in_executor(None, join, _JOIN_SECONDS)

    def _main(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # One try for each request: the keeper repeats them itself, in time for its deadline.
        async with KubeClient(
            self._config,
            rng=self._rng,
            attempts=1,
            timeout=self._terms.retry_period * 2,
            heard=self._heard,
        ) as api:
            self._keeper = LeaseKeeper(
                api,
                self._terms,
                self._clock,
                rng=self._rng,
                on_change=self._changed,
                on_late=self._on_late,
            )
            keeping = asyncio.create_task(self._keeper.run())
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                keeping.cancel()
                await self._keeper.release()
                return
            stopping.cancel()
            self._watch_the_end()
            keeping.result()

    def _changed(self, leads: bool) -> None:
        assert self._home is not None
        event = self.elected if leads else self.lost
        try:
            self._home.call_soon_threadsafe(event.set)
        except RuntimeError:
            # The operator's loop is closed: the process is ending anyway.
            _log.debug("leadership changed while ending", leads=leads)

    def _watch_the_end(self) -> None:
        """End the process by force unless it ended itself within the grace."""
        left = self._terms.duration - self._terms.renew_deadline
        if not self._exited.wait(left * _EXIT_SHARE):
            _log.critical("still running after the lease was lost, ending by force")
            self._kill(LOST_EXIT_CODE)
