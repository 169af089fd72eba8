"""The loop of the simulated world: time passes only where everybody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from autoctl.sim.loop import VirtualLoop

T = TypeVar("T")


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def play(loop: VirtualLoop, work: Coroutine[Any, Any, T]) -> T:
    return loop.run_until_complete(work)


def test_months_pass_and_timers_keep_their_order(virtual: VirtualLoop) -> None:
    seen: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, virtual.time()))

    async def run() -> None:
        month = 30 * 86400.0
        await asyncio.gather(sleep("late", 5 * month), sleep("soon", 0.1), sleep("later", 0.3))

    play(virtual, run())
    assert seen == [("soon", 0.1), ("later", 0.3), ("late", 5 * 30 * 86400.0)]


def test_timers_closer_than_the_clocks_step_fire_after_half_a_year(virtual: VirtualLoop) -> None:
    """Sums of such floats are not exact: the loop must not wait in vain for the last digit."""

    async def run() -> float:
        await asyncio.sleep(15_000_000.123_456_7)
        for _ in range(100):
            await asyncio.sleep(1e-9)
            await asyncio.sleep(0.1 + 1e-8)
        return virtual.time()

    assert play(virtual, run()) == pytest.approx(15_000_010.123, abs=0.01)


def test_time_stands_still_while_anything_can_run(virtual: VirtualLoop) -> None:
    async def run() -> float:
        asyncio.get_running_loop().call_later(1, lambda: None)
        for _ in range(1000):
            await asyncio.sleep(0)
        return virtual.time()

    assert play(virtual, run()) == 0


def test_a_wait_for_what_never_comes_ends(virtual: VirtualLoop) -> None:
    async def run() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="every task waits"):
        play(virtual, run())
    for task in asyncio.all_tasks(virtual):
        task.cancel()
    play(virtual, asyncio.sleep(0))
