"""The manager: routing, retries, concurrency, passes, and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from autoctl.controllers.runtime.controller import DONE, Registration, Result, Watch
from autoctl.controllers.runtime.manager import Manager
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, PODS, Conflict, NotFound, Unavailable
from autoctl.state.reflector import Extent

pytestmark = pytest.mark.looptime


class Recorder:
    """A controller that notes when each key came, then does what it is told."""

    name = "recorder"

    def __init__(self, act: Callable[[str], Awaitable[Result]] | None = None) -> None:
        self.seen: list[tuple[float, str]] = []
        self._act = act

    async def reconcile(self, key: str) -> Result:
        self.seen.append((asyncio.get_running_loop().time(), key))
        return await self._act(key) if self._act else DONE


async def stop_after(manager: Manager, seconds: float) -> None:
    task = asyncio.create_task(manager.run())
    await asyncio.sleep(seconds)
    manager.stop()
    await task


async def test_notifications_before_the_start_wait_once_and_are_mapped_to_keys() -> None:
    controller = Recorder()
    manager = Manager(
        [
            Registration(
                controller,
                watches=(Watch(NODE_CLAIMS), Watch(NODES, lambda _, name: [f"claim-of-{name}"])),
            )
        ],
        Metrics(),
    )
    manager.notify(NODE_CLAIMS, None, "a")
    manager.notify(NODE_CLAIMS, None, "a")
    manager.notify(NODES, None, "n")
    manager.notify(PODS, "default", "nobody-cares")
    await stop_after(manager, 1)
    assert [key for _, key in controller.seen] == ["a", "claim-of-n"]


async def test_failures_back_off_and_are_counted_conflicts_are_not_errors() -> None:
    metrics = Metrics()
    outcomes: list[Exception | None] = [RuntimeError("x"), Unavailable("x"), Conflict("x"), None]

    async def act(key: str) -> Result:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return DONE

    controller = Recorder(act)
    manager = Manager([Registration(controller, base_delay=1, max_delay=60)], metrics)
    manager.enqueue("recorder", "a")
    await stop_after(manager, 30)
    assert [at for at, _ in controller.seen] == pytest.approx([0, 1, 3, 7])
    value = metrics.registry.get_sample_value
    assert value("controller_runtime_reconcile_errors_total", {"controller": "recorder"}) == 2
    assert value("controller_runtime_reconcile_panics_total", {"controller": "recorder"}) == 1
    labels = {"controller": "recorder", "result": "success"}
    assert value("controller_runtime_reconcile_total", labels) == 1
    assert value("workqueue_retries_total", {"name": "recorder", "controller": "recorder"}) == 3


@pytest.mark.parametrize(("misses", "errors"), [(1, 0), (3, 2)])
async def test_what_was_just_deleted_is_no_error_unless_it_stays_so(
    misses: int, errors: int
) -> None:
    """A mirror may lag behind a deletion for one try, not for several."""
    metrics = Metrics()
    outcomes = [NotFound("x")] * misses

    async def act(key: str) -> Result:
        if outcomes:
            raise outcomes.pop()
        return DONE

    manager = Manager([Registration(Recorder(act), base_delay=1, max_delay=60)], metrics)
    manager.enqueue("recorder", "a")
    await stop_after(manager, 30)
    value = metrics.registry.get_sample_value
    assert value("controller_runtime_reconcile_errors_total", {"controller": "recorder"}) == errors
    labels = {"controller": "recorder", "result": "success"}
    assert value("controller_runtime_reconcile_total", labels) == 1


async def test_requeue_after_comes_back_on_time() -> None:
    async def act(key: str) -> Result:
        return Result(requeue_after=10)

    controller = Recorder(act)
    manager = Manager([Registration(controller)], Metrics())
    manager.enqueue("recorder", "a")
    await stop_after(manager, 25)
    assert [at for at, _ in controller.seen] == pytest.approx([0, 10, 20])


async def test_no_more_than_concurrency_at_once_and_one_worker_a_key() -> None:
    running: set[str] = set()
    most = 0

    async def act(key: str) -> Result:
        nonlocal most
        assert key not in running
        running.add(key)
        most = max(most, len(running))
        await asyncio.sleep(1)
        running.remove(key)
        return DONE

    manager = Manager([Registration(Recorder(act), concurrency=3)], Metrics())
    for number in range(9):
        manager.enqueue("recorder", str(number))
    task = asyncio.create_task(manager.run())
    for _ in range(20):
        await asyncio.sleep(0.25)
        manager.enqueue("recorder", "0")
    manager.stop()
    await task
    assert most == 3


async def test_stopping_lets_begun_work_finish_and_begins_no_more() -> None:
    finished: list[str] = []

    async def act(key: str) -> Result:
        await asyncio.sleep(5)
        finished.append(key)
        return DONE

    manager = Manager([Registration(Recorder(act), concurrency=1)], Metrics(), grace=20)
    manager.enqueue("recorder", "begun")
    manager.enqueue("recorder", "waiting")
    await stop_after(manager, 1)
    assert finished == ["begun"]
    assert asyncio.get_running_loop().time() == pytest.approx(5)


async def test_work_that_outlasts_the_grace_is_cancelled() -> None:
    cancelled = []

    async def act(key: str) -> Result:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(key)
            raise
        return DONE

    manager = Manager([Registration(Recorder(act))], Metrics(), grace=20)
    manager.enqueue("recorder", "stuck")
    await stop_after(manager, 1)
    assert cancelled == ["stuck"]
    assert asyncio.get_running_loop().time() == pytest.approx(21)


class Passes:
    """A periodic controller that plays the given outcomes."""

    name = "passes"

    def __init__(self, outcomes: list[float | Exception]) -> None:
        self.outcomes = outcomes
        self.at: list[float] = []

    async def run_once(self) -> float:
        self.at.append(asyncio.get_running_loop().time())
        outcome = self.outcomes.pop(0) if self.outcomes else 1000.0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_passes_follow_their_own_delay_and_back_off_when_they_fail() -> None:
    passes = Passes([10, RuntimeError("x"), Unavailable("x"), 0])
    metrics = Metrics()
    manager = Manager([Registration(passes, base_delay=1)], metrics)
    await stop_after(manager, 60)
    assert passes.at == pytest.approx([0, 10, 11, 13, 13])
    value = metrics.registry.get_sample_value
    labels = {"controller": passes.name}
    assert value("controller_runtime_reconcile_errors_total", labels) == 2
    assert value("controller_runtime_reconcile_panics_total", labels) == 1


async def test_a_watched_change_wakes_a_waiting_pass_but_not_a_failed_one() -> None:
    passes = Passes([1000, RuntimeError("x"), 1000])
    manager = Manager([Registration(passes, watches=(Watch(PODS),), base_delay=8)], Metrics())
    task = asyncio.create_task(manager.run())
    await asyncio.sleep(5)
    manager.notify(PODS, "default", "p")
    await asyncio.sleep(1)
    manager.notify(PODS, "default", "q")
    await asyncio.sleep(20)
    manager.stop()
    await task
    assert passes.at == pytest.approx([0, 5, 13])


async def test_changes_do_not_wake_a_pass_that_rests() -> None:
    passes = Passes([1000, 1000, 3, 1000])
    manager = Manager([Registration(passes, watches=(Watch(PODS),), rest=10)], Metrics())
    task = asyncio.create_task(manager.run())
    for _ in range(13):
        await asyncio.sleep(1)
        manager.notify(PODS, "default", "p")
    await asyncio.sleep(30)
    manager.stop()
    await task
    # Woken at 10 and, for what changed meanwhile, at 20; then the controller itself asks for less.
    assert passes.at == pytest.approx([0, 10, 20, 23])


async def test_a_rest_too_short_for_the_clock_to_tell_passes_all_the_same() -> None:
    """What is left of a time by sums of floats may be 1e-17 s, which no clock ever shows."""
    passes = Passes([100, *[1e-17] * 40, 1000])
    manager = Manager([Registration(passes)], Metrics())
    await stop_after(manager, 200)
    assert len(passes.at) == 42
    assert all(later > earlier for earlier, later in pairwise(passes.at))


async def test_two_controllers_of_one_name_or_of_no_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="recorder"):
        Manager([Registration(Recorder()), Registration(Recorder())], Metrics())
    with pytest.raises(TypeError):
        Manager([Registration(object())], Metrics())  # type: ignore[arg-type]


async def test_changes_of_less_than_a_watch_asks_for_wake_nobody() -> None:
    controller = Recorder()
    watches = (Watch(NODE_CLAIMS, extent=Extent.SPEC), Watch(NODES, extent=Extent.EXISTENCE))
    manager = Manager([Registration(controller, watches=watches)], Metrics())
    for extent in Extent:
        manager.notify(NODE_CLAIMS, None, f"claim-{extent.name}", extent)
        manager.notify(NODES, None, f"node-{extent.name}", extent)
    manager.notify(NODES, None, "unknown")
    await stop_after(manager, 1)
    assert [key for _, key in controller.seen] == [
        "claim-SPEC",
        "claim-EXISTENCE",
        "node-EXISTENCE",
        "unknown",
    ]


async def test_a_pause_ends_at_once_when_told_to_stop_and_a_change_in_a_pass_is_not_lost() -> None:
    manager: Manager

    class Busy(Passes):
        async def run_once(self) -> float:
            if len(self.at) == 1:
                manager.notify(PODS, "default", "p")
            return await super().run_once()

    passes = Busy([1000, 1000, 1000, 1000])
    manager = Manager([Registration(passes, watches=(Watch(PODS),), rest=5)], Metrics())
    task = asyncio.create_task(manager.run())
    await asyncio.sleep(1)
    manager.notify(PODS, "default", "p")
    await asyncio.sleep(50)
    before = asyncio.get_running_loop().time()
    manager.stop()
    await task
    assert asyncio.get_running_loop().time() == before
    # Woken at 5 for what changed at 1, and at 10 for what changed while that pass ran.
    assert passes.at == pytest.approx([0, 5, 10])
