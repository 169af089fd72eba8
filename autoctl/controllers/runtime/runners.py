"""How one controller runs: workers on a queue, or a loop over passes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TypeAlias

import structlog

from autoctl.aws.errors import CloudError
from autoctl.controllers.runtime.controller import Controller, Periodic, Registration
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.runtime.workqueue import ShutDown, WorkQueue
from autoctl.ports.kubernetes import ApiError, Conflict, NotFound

ErrorObserver: TypeAlias = Callable[[str, Exception], None]
"""Hears of the exception that a controller's reconcile or pass ended with, and of its name."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def is_defect(error: Exception) -> bool:
    """Whether an error is none that the API server or AWS may cause, but a defect of the code."""
    return not isinstance(error, ApiError | CloudError)


def _count_failure(metrics: Metrics, name: str, error: Exception) -> None:
    metrics.reconcile_total.labels(name, "error").inc()
    metrics.reconcile_errors.labels(name).inc()
    if is_defect(error):
        metrics.reconcile_panics.labels(name).inc()


class ControllerRunner:
    """The queue of one controller and the workers on it."""

    def __init__(
        self, controller: Controller, registration: Registration, metrics: Metrics
    ) -> None:
        self._controller = controller
        self._concurrency = registration.concurrency
        self._metrics = metrics
        self.queue = WorkQueue(
            base_delay=registration.base_delay,
            max_delay=registration.max_delay,
            observer=_QueueMetrics(controller.name, metrics),
        )
        self.on_error: ErrorObserver | None = None
        self._numbers = itertools.count(1)
        metrics.max_concurrent_reconciles.labels(controller.name).set(registration.concurrency)
        for result in ("success", "error", "requeue", "requeue_after"):
            metrics.reconcile_total.labels(controller.name, result)
        metrics.reconcile_errors.labels(controller.name)
        metrics.reconcile_panics.labels(controller.name)

    def enqueue(self, key: str) -> None:
        self.queue.add(key)

    def idle(self) -> bool:
        return not self.queue and not self.queue.working

    def shut_down(self) -> None:
        self.queue.shut_down()

    def report(self, now: float) -> None:
        """Set the gauges that change with time alone."""
        name = self._controller.name
        started = self.queue.work_started()
        self._metrics.queue_unfinished_work.labels(name, name).set(sum(now - s for s in started))
        self._metrics.queue_longest_running.labels(name, name).set(now - min(started, default=now))

    async def run(self) -> None:
        """Work until the queue is shut down. Cancellation ends the reconciles under way."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._concurrency):
                group.create_task(self._work(), name=f"{self._controller.name}/{number}")

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: str) -> None:
        name = self._controller.name
        metrics = self._metrics
        loop = asyncio.get_running_loop()
        started = loop.time()
        metrics.active_workers.labels(name).inc()
        with structlog.contextvars.bound_contextvars(
            controller=name, object=key, reconcile=next(self._numbers)
        ):
            try:
                result = await self._controller.reconcile(key)
            except Conflict as error:
                # Somebody else wrote first: routine, and the next try reads the newer object.
                _log.debug("conflict, trying again", error=str(error))
                self._again(key)
            except NotFound as error:
                if self.queue.failures(key):
                    self._failed(key, error)
                else:
                    # Gone just now. When the mirror knows too, there is nothing left to do.
                    _log.debug("gone meanwhile, looking again", error=str(error))
                    self._again(key)
            except Exception as error:  # noqa: BLE001 - logged, counted, and tried again
                self._failed(key, error)
            else:
                self.queue.forget(key)
                if result.requeue_after is not None:
                    metrics.reconcile_total.labels(name, "requeue_after").inc()
                    self.queue.add_after(key, result.requeue_after)
                else:
                    metrics.reconcile_total.labels(name, "success").inc()
            finally:
                metrics.active_workers.labels(name).dec()
                metrics.reconcile_time.labels(name).observe(loop.time() - started)

    def _again(self, key: str) -> None:
        """Try a key again that somebody else's change was in the way of."""
        self._metrics.reconcile_total.labels(self._controller.name, "requeue").inc()
        self.queue.add_rate_limited(key)

    def _failed(self, key: str, error: Exception) -> None:
        """Log, count, and try again later. Called where `error` is handled."""
        name = self._controller.name
        _log.exception("reconcile failed", failures=self.queue.failures(key) + 1)
        if self.on_error is not None:
            self.on_error(name, error)
        _count_failure(self._metrics, name, error)
        self.queue.add_rate_limited(key)


class PeriodicRunner:
    """The loop of one periodic controller."""

    def __init__(self, controller: Periodic, registration: Registration, metrics: Metrics) -> None:
        self._controller = controller
        self._base_delay = registration.base_delay
        self._max_delay = registration.max_delay
        self._rest = registration.rest
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._running = False
        self.on_error: ErrorObserver | None = None
        metrics.max_concurrent_reconciles.labels(controller.name).set(1)
        for result in ("success", "error", "requeue_after"):
            metrics.reconcile_total.labels(controller.name, result)
        metrics.reconcile_errors.labels(controller.name)
        metrics.reconcile_panics.labels(controller.name)

    def enqueue(self, key: str) -> None:  # noqa: ARG002 - a pass looks at everything
        self._wake.set()

    def idle(self) -> bool:
        return not self._running

    def shut_down(self) -> None:
        self._stop.set()
        self._wake.set()

    def report(self, now: float) -> None:
        """Nothing waits in a queue here."""

    async def run(self) -> None:
        """Run passes until told to shut down; the pass under way is finished."""
        failures = 0
        while not self._stop.is_set():
            self._wake.clear()
            delay = await self._run_once()
            if delay is None:
                delay = min(self._max_delay, self._base_delay * 2.0 ** min(failures, 63))
                failures += 1
                await self._pause(delay, wakeable=False)
            else:
                failures = 0
                await self._pause(delay, wakeable=True)

    async def _pause(self, delay: float, *, wakeable: bool) -> None:
        """Wait, at least one turn of the loop; a failed pass is not retried early by a change."""
        await asyncio.sleep(0)
        if wakeable:
            rest = min(self._rest, delay)
            await _wait(self._stop, rest)
            await _wait(self._wake, delay - rest)
        else:
            await _wait(self._stop, delay)

    async def _run_once(self) -> float | None:
        """One pass: the seconds until the next, or None when it failed."""
        name = self._controller.name
        metrics = self._metrics
        loop = asyncio.get_running_loop()
        started = loop.time()
        metrics.active_workers.labels(name).inc()
        self._running = True
        with structlog.contextvars.bound_contextvars(controller=name):
            try:
                delay = await self._controller.run_once()
            except Conflict as error:
                _log.debug("conflict, trying again", error=str(error))
                metrics.reconcile_total.labels(name, "requeue").inc()
                return None
            except Exception as error:  # noqa: BLE001 - logged, counted, and tried again
                _log.exception("pass failed")
                if self.on_error is not None:
                    self.on_error(name, error)
                _count_failure(metrics, name, error)
                return None
            else:
                metrics.reconcile_total.labels(name, "requeue_after").inc()
                return delay
            finally:
                self._running = False
                metrics.active_workers.labels(name).dec()
                metrics.reconcile_time.labels(name).observe(loop.time() - started)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but no longer than `seconds`."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class _QueueMetrics:
    """Turns what a queue does into client-go's `workqueue_*` metrics."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._depth = metrics.queue_depth.labels(name, name)
        self._adds = metrics.queue_adds.labels(name, name)
        self._retries = metrics.queue_retries.labels(name, name)
        self._waited = metrics.queue_duration.labels(name, name)
        self._worked = metrics.queue_work_duration.labels(name, name)

    def added(self, depth: int) -> None:
        self._adds.inc()
        self._depth.set(depth)

    def taken(self, depth: int, waited: float) -> None:
        self._depth.set(depth)
        self._waited.observe(waited)

    def done(self, worked: float) -> None:
        self._worked.observe(worked)

    def retried(self) -> None:
        self._retries.inc()
