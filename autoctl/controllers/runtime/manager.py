"""Runs the controllers: workers on their queues, restarts with backoff, an orderly end.

Notifications may come before `run`: their keys wait, each once. A standby replica thus starts with
everything that changed before it was elected.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

import structlog

from autoctl.controllers.runtime.controller import Controller, Periodic, Registration, Watch
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.runtime.runners import ControllerRunner, ErrorObserver, PeriodicRunner
from autoctl.ports.kubernetes import Resource
from autoctl.state.reflector import Extent

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Manager:
    """Owns the queues of all controllers.

    `grace` is the number of seconds that reconciles under way get to finish after `stop`.
    """

    def __init__(
        self, registrations: Iterable[Registration], metrics: Metrics, *, grace: float = 20.0
    ) -> None:
        self._metrics = metrics
        self._grace = grace
        self._runners: dict[str, ControllerRunner | PeriodicRunner] = {}
        self._watches: dict[Resource, list[tuple[Watch, ControllerRunner | PeriodicRunner]]] = (
            defaultdict(list)
        )
        self._stopping = asyncio.Event()
        for registration in registrations:
            self._add(registration)

    def _add(self, registration: Registration) -> None:
        controller = registration.controller
        if isinstance(controller, Periodic) == isinstance(controller, Controller):
            raise TypeError(f"{controller!r} must have either `reconcile` or `run_once`")
        name = controller.name
        if name in self._runners:
            raise ValueError(f"two controllers are called {name!r}")
        runner: ControllerRunner | PeriodicRunner
        if isinstance(controller, Periodic):
            runner = PeriodicRunner(controller, registration, self._metrics)
        else:
            runner = ControllerRunner(controller, registration, self._metrics)
        self._runners[name] = runner
        for watch in registration.watches:
            self._watches[watch.resource].append((watch, runner))

    @property
    def names(self) -> list[str]:
        """The names of all controllers, in the order of registration."""
        return list(self._runners)

    @property
    def resources(self) -> frozenset[Resource]:
        """The resources whose changes somebody wants to hear of."""
        return frozenset(self._watches)

    def observe_errors(self, observer: ErrorObserver) -> None:
        """Call `observer` with every exception that a reconcile or a pass ended with."""
        for runner in self._runners.values():
            runner.on_error = observer

    def notify(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        extent: Extent = Extent.EXISTENCE,
    ) -> None:
        """Tell the controllers that watch `resource` that this object changed, or is gone."""
        for watch, runner in self._watches.get(resource, ()):
            if extent < watch.extent:
                continue
            for key in watch.keys(namespace, name):
                runner.enqueue(key)

    def enqueue(self, controller: str, key: str) -> None:
        """Queue one key of one controller. Raises `KeyError` when there is no such controller."""
        self._runners[controller].enqueue(key)

    def idle(self) -> bool:
        """Whether no key waits or is worked on (delayed ones and periodic controllers aside)."""
        return all(runner.idle() for runner in self._runners.values())

    def report(self) -> None:
        """Set those gauges of the queues that change with time alone."""
        now = asyncio.get_running_loop().time()
        for runner in self._runners.values():
            runner.report(now)

    async def run(self) -> None:
        """Run all controllers until `stop` (then return) or until cancelled (then stop at once)."""
        tasks = [
            asyncio.create_task(runner.run(), name=name) for name, runner in self._runners.items()
        ]
        try:
            stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
            try:
                await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
            if self._stopping.is_set() and tasks:
                _, late = await asyncio.wait(tasks, timeout=self._grace)
                if late:
                    names = sorted(task.get_name() for task in late)
                    _log.warning("reconciles cut off at the end of the grace", controllers=names)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def stop(self) -> None:
        """Begin no more work; `run` returns when what was begun is finished or the grace over."""
        self._stopping.set()
        for runner in self._runners.values():
            runner.shut_down()
