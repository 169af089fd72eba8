"""The work queue under virtual time, and against a model of its rules."""

from __future__ import annotations

import asyncio

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoctl.controllers.runtime.workqueue import ShutDown, WorkQueue

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_key_waits_once() -> None:
    queue = WorkQueue()
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_under_work_is_not_handed_out_twice_but_comes_again() -> None:
    queue = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 5)
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_failures_double_the_delay_up_to_the_maximum_and_forget_resets_it() -> None:
    queue = WorkQueue(base_delay=1, max_delay=5)
    waits = []
    for _ in range(5):
        queue.add_rate_limited("a")
        start = now()
        assert await queue.get() == "a"
        waits.append(now() - start)
        queue.done("a")
    assert waits == pytest.approx([1, 2, 4, 5, 5])
    queue.forget("a")
    queue.add_rate_limited("a")
    start = now()
    await queue.get()
    assert now() - start == pytest.approx(1)


async def test_other_keys_do_not_share_the_delay() -> None:
    queue = WorkQueue(base_delay=1, max_delay=60)
    for _ in range(4):
        queue.add_rate_limited("bad")
        await queue.get()
        queue.done("bad")
    queue.add_rate_limited("bad")
    queue.add_rate_limited("good")
    start = now()
    assert await queue.get() == "good"
    assert now() - start == pytest.approx(1)


async def test_the_earliest_of_several_delays_wins_and_add_comes_first() -> None:
    queue = WorkQueue()
    start = now()
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    await queue.get()
    assert now() - start == pytest.approx(10)
    queue.done("a")
    queue.add_after("a", 30)
    queue.add("a")
    await queue.get()
    assert now() - start == pytest.approx(10)
    queue.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 60)


async def test_a_cancelled_waiter_does_not_swallow_a_key() -> None:
    queue = WorkQueue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


async def test_shut_down_ends_waiting_workers_and_drops_what_waits() -> None:
    queue = WorkQueue()
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("later", 10)
    queue.shut_down()
    with pytest.raises(ShutDown):
        await waiter
    queue.add("a")
    with pytest.raises(ShutDown):
        await queue.get()


KEYS = st.sampled_from(["a", "b", "c"])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS),
        st.tuples(st.just("later"), KEYS),
        st.tuples(st.just("fail"), KEYS),
        st.tuples(st.just("take"), st.none()),
        st.tuples(st.just("done"), KEYS),
        st.tuples(st.just("wait"), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(operations=OPERATIONS)
def test_every_added_key_is_worked_on_after_its_addition(
    operations: list[tuple[str, str | None]],
) -> None:
    """No addition is lost, and no key is ever held twice."""

    async def play() -> None:
        queue = WorkQueue(base_delay=1, max_delay=4)
        owed: set[str] = set()
        held: list[str] = []
        for operation, key in operations:
            if operation in ("add", "later", "fail"):
                assert key is not None
                owed.add(key)
                {"add": queue.add, "fail": queue.add_rate_limited}.get(
                    operation, lambda k: queue.add_after(k, 2)
                )(key)
            elif operation == "take" and len(queue):
                taken = await queue.get()
                assert taken not in held
                held.append(taken)
                owed.discard(taken)
            elif operation == "done" and key in held:
                held.remove(key)
                queue.done(key)
            elif operation == "wait":
                await asyncio.sleep(1)
        for key in held:
            queue.done(key)
        await asyncio.sleep(10)
        while len(queue):
            key = await queue.get()
            owed.discard(key)
            queue.done(key)
        assert not owed

    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(play())
    finally:
        loop.close()
