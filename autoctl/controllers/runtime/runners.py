"""How one controller runs: workers on a queue, or a loop over passes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from autoctl.aws.errors import CloudError
from autoctl.controllers.runtime.controller import Controller, Periodic, Registration
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.runtime.workqueue import ShutDown, WorkQueue
from autoctl.ports.kubernetes import ApiError, Conflict, NotFound

ErrorObserver: TypeAlias = Callable[[str, Exception], None]
"""Hears of the exception that a controller's reconcile or pass ended with, and of its name."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

_LEAST_WAIT: Final = 1e-3
"""Seconds."""


def is_defect(error: Exception) -> bool:
    """Whether an error is none that the API server or AWS may cause, but a defect of the code."""
    return not isinstance(error, ApiError | CloudError)


def _tell(what: str, error: Exception, **more: int) -> None:
    """Log an exception; where it was raised matters only for defects."""
    if is_defect(error):
        _log.error(what, exc_info=error, **more)
    else:
        _log.warning(what, error=str(error), **more)


class ControllerRunner:
    """The queue of one controller and the workers on it."""

    def __init__(
        self, controller: Controller, registration: Registration, metrics: Metrics
    ) -> None:
        self._controller = controller
        self._concurrency = registration.concurrency
        self._outcomes = _Outcomes(controller.name, metrics)
        self._unfinished = metrics.queue_unfinished_work.labels(controller.name, controller.name)
        self._longest = metrics.queue_longest_running.labels(controller.name, controller.name)
        self.queue = WorkQueue(
            base_delay=registration.base_delay,
            max_delay=registration.max_delay,
            observer=_QueueMetrics(controller.name, metrics),
        )
        self.on_error: ErrorObserver | None = None
        self._numbers = itertools.count(1)
        metrics.max_concurrent_reconciles.labels(controller.name).set(registration.concurrency)

    def enqueue(self, key: str) -> None:
        self.queue.add(key)

    def idle(self) -> bool:
        return not self.queue and not self.queue.working

    def shut_down(self) -> None:
        self.queue.shut_down()

    def report(self, now: float) -> None:
        """Set the gauges that change with time alone."""
        started = self.queue.work_started()
        self._unfinished.set(sum(now - s for s in started))
        self._longest.set(now - min(started, default=now))

    async def run(self) -> None:
        """Work until the queue is shut down. Cancellation ends the reconciles under way."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._concurrency):
                group.create_task(self._work(), name=f"{self._controller.name}/{number}")

    async def _work(self) -> None:
        # A worker is a task, and what is bound in a task goes into the log lines of it alone.
        structlog.contextvars.bind_contextvars(controller=self._controller.name)
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
        outcomes = self._outcomes
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcomes.active.inc()
        structlog.contextvars.bind_contextvars(object=key, reconcile=next(self._numbers))
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
                outcomes.requeue_after.inc()
                self.queue.add_after(key, result.requeue_after)
            else:
                outcomes.success.inc()
        finally:
            outcomes.active.dec()
            outcomes.time.observe(loop.time() - started)

    def _again(self, key: str) -> None:
        """Try a key again that somebody else's change was in the way of."""
        self._outcomes.requeue.inc()
        self.queue.add_rate_limited(key)

    def _failed(self, key: str, error: Exception) -> None:
        """Log, count, and try again later."""
        _tell("reconcile failed", error, failures=self.queue.failures(key) + 1)
        if self.on_error is not None:
            self.on_error(self._controller.name, error)
        self._outcomes.failed(error)
        self.queue.add_rate_limited(key)


class PeriodicRunner:
    """The loop of one periodic controller."""

    def __init__(self, controller: Periodic, registration: Registration, metrics: Metrics) -> None:
        self._controller = controller
        self._base_delay = registration.base_delay
        self._max_delay = registration.max_delay
        self._rest = registration.rest
        self._outcomes = _Outcomes(controller.name, metrics)
        self._woken = False
        self._stopping = False
        self._pause = _Pause()
        self._running = False
        self.on_error: ErrorObserver | None = None
        metrics.max_concurrent_reconciles.labels(controller.name).set(1)

    def enqueue(self, key: str) -> None:  # noqa: ARG002 - a pass looks at everything
        if not self._woken:
            self._woken = True
            self._pause.hasten()

    def idle(self) -> bool:
        return not self._running

    def shut_down(self) -> None:
        self._stopping = True
        self._pause.end()

    def report(self, now: float) -> None:
        """Nothing waits in a queue here."""

    async def run(self) -> None:
        """Run passes until told to shut down; the pass under way is finished."""
        failures = 0
        structlog.contextvars.bind_contextvars(controller=self._controller.name)
        while not self._stopping:
            self._woken = False
            delay = await self._run_once()
            # At least one turn of the loop for others, whatever the delay.
            await asyncio.sleep(0)
            if delay is None:
                # A failed pass is not tried again early by a change.
                delay = min(self._max_delay, self._base_delay * 2.0 ** min(failures, 63))
                failures += 1
                await self._pause.wait(delay, delay)
            else:
                failures = 0
                rest = min(self._rest, delay)
                await self._pause.wait(rest, rest if self._woken else delay)

    async def _run_once(self) -> float | None:
        """One pass: the seconds until the next, or None when it failed."""
        outcomes = self._outcomes
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcomes.active.inc()
        self._running = True
        try:
            delay = await self._controller.run_once()
        except Conflict as error:
            _log.debug("conflict, trying again", error=str(error))
            outcomes.requeue.inc()
            return None
        except Exception as error:  # noqa: BLE001 - logged, counted, and tried again
            _tell("pass failed", error)
            if self.on_error is not None:
                self.on_error(self._controller.name, error)
            outcomes.failed(error)
            return None
        else:
            outcomes.requeue_after.inc()
            return delay
        finally:
            self._running = False
            outcomes.active.dec()
            outcomes.time.observe(loop.time() - started)


class _Pause:
    """A wait that may be cut short, down to a shortest time; one timer at any moment."""

    def __init__(self) -> None:
        self._over: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._earliest = 0.0
        self._ended = False

    async def wait(self, shortest: float, seconds: float) -> None:
        """Wait for `seconds`, or for `shortest` when hastened meanwhile."""
        if seconds <= 0 or self._ended:
            return
        # What is left of a time may be less than the loop's clock can tell, and would never pass.
        seconds = max(seconds, _LEAST_WAIT)
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._earliest = now + shortest
        self._over = loop.create_future()
        self._timer = loop.call_at(now + seconds, self._ring)
        try:
            await self._over
        finally:
            self._timer.cancel()
            self._over = self._timer = None

    def hasten(self) -> None:
        """Let the wait under way last no longer than its shortest time."""
        if self._timer is not None and self._timer.when() > self._earliest:
            loop = asyncio.get_running_loop()
            self._timer.cancel()
            self._timer = loop.call_at(max(self._earliest, loop.time()), self._ring)

    def end(self) -> None:
        """End the wait under way now, and all others at once."""
        self._ended = True
        self._ring()

    def _ring(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


class _Outcomes:
    """The series of one controller, looked up once: each lookup costs more than counting."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        total = metrics.reconcile_total
        self.success = total.labels(name, "success")
        self.requeue = total.labels(name, "requeue")
        self.requeue_after = total.labels(name, "requeue_after")
        self.active = metrics.active_workers.labels(name)
        self.time = metrics.reconcile_time.labels(name)
        self._error = total.labels(name, "error")
        self._errors = metrics.reconcile_errors.labels(name)
        self._panics = metrics.reconcile_panics.labels(name)

    def failed(self, error: Exception) -> None:
        """Count a reconcile or pass that ended with an exception."""
        self._error.inc()
        self._errors.inc()
        if is_defect(error):
            self._panics.inc()


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
