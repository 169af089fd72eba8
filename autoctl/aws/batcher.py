"""Merges requests that come close together into one call.

A batch closes `idle` seconds after its last request, `longest` seconds after its first, or when it
holds `most` of them, whichever comes first. Requests with different keys never meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class _Batch(Generic[Q, A]):
    def __init__(self, opened_at: float) -> None:
        self.opened_at = opened_at
        self.requests: list[Q] = []
        self.answers: list[asyncio.Future[A]] = []
        self.timer: asyncio.TimerHandle | None = None


class Batcher(Generic[Q, A]):
    """Answers `submit` through `execute`, which gets a batch and returns one answer a request.

    An answer that is an exception is raised to its own caller only; when `execute` raises, every
    caller of the batch gets that exception. A caller that is cancelled leaves the batch as it is:
    the others still want their answers, and a call under way cannot be taken back.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]],
        *,
        key: Callable[[Q], Hashable] = lambda _: None,
        idle: float,
        longest: float,
        most: int,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        """`observe` hears of each closed batch: its size and the seconds it was open."""
        self._execute = execute
        self._key = key
        self._idle = idle
        self._longest = longest
        self._most = most
        self._observe = observe
        self._open: dict[Hashable, _Batch[Q, A]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, request: Q) -> A:
        """Join (or open) the batch of the request's key and wait for the answer."""
        loop = asyncio.get_running_loop()
        key = self._key(request)
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _Batch(loop.time())
        answer: asyncio.Future[A] = loop.create_future()
        batch.requests.append(request)
        batch.answers.append(answer)
        if batch.timer is not None:
            batch.timer.cancel()
        if len(batch.requests) >= self._most:
            self._close(key)
        else:
            due = min(loop.time() + self._idle, batch.opened_at + self._longest)
            batch.timer = loop.call_at(due, self._close, key)
        return await answer

    def _close(self, key: Hashable) -> None:
        loop = asyncio.get_running_loop()
        batch = self._open.pop(key)
        if self._observe is not None:
            self._observe(len(batch.requests), loop.time() - batch.opened_at)
        task = loop.create_task(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, batch: _Batch[Q, A]) -> None:
        try:
            answers = await self._execute(batch.requests)
        except Exception as error:  # noqa: BLE001 - every caller gets it
            answers = [error] * len(batch.requests)
        assert len(answers) == len(batch.requests), "one answer a request"
        for future, answer in zip(batch.answers, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
