"""One operator of the simulated world: its assembly, its lease, its machine's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from autoctl.operator.assembly import Assembly
from autoctl.operator.leader import NotLeadingError
from autoctl.ports.clock import Clock


class MachineClock:
    """The clock of the operators' machine, which may be wrong by `offset`."""

    def __init__(self, right: Clock) -> None:
        self._right = right
        self.offset = timedelta(0)

    def now(self) -> datetime:
        """See `Clock`."""
        return self._right.now() + self.offset


class Lease:
    """Whether one operator may write; `check` is its gate (see `autoctl.operator.gate`)."""

    def __init__(self) -> None:
        self.held = False

    def check(self) -> None:
        """Raises `NotLeadingError` unless the lease is held."""
        if not self.held:
            raise NotLeadingError("another replica leads")


class OperatorRun:
    """One process: the assembly and its tasks. It stands by until told to lead."""

    def __init__(self, assembly: Assembly, lease: Lease) -> None:
        self.assembly = assembly
        self._lease = lease
        self.on_end: Callable[[], None] | None = None
        """Called once when the process has ended."""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to mirror."""
        self._tasks = [
            asyncio.create_task(self.assembly.state.run(), name="mirror"),
            asyncio.create_task(self.assembly.events.run(), name="events"),
        ]

    def lead(self) -> None:
        """Take the lease; act as soon as the mirror is complete."""
        self._lease.held = True
        self._tasks.append(asyncio.create_task(self._act(), name="manager"))

    async def _act(self) -> None:
        await self.assembly.state.wait_synced()
        self.assembly.state.listen(self.assembly.manager.notify)
        await self.assembly.manager.run()

    def cut_off(self) -> None:
        """The lease is lost: what is under way goes on, but writes nothing any more."""
        self._lease.held = False

    async def kill(self) -> None:
        """End at once, wherever it is: nothing is finished, nothing handed over."""
        self._lease.held = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.on_end is not None:
            self.on_end()
            self.on_end = None

    def check(self) -> None:
        """Raise what ended a task, if anything did: a defect, not a fault of the scenario."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is not None:
                    raise RuntimeError(f"the operator's {task.get_name()} failed") from error
