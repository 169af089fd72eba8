"""Where boto3's blocking calls run.

Production gives them a bounded thread pool: clients are safe to share between threads, and a slow
call must not hold the event loop. In the simulated world nothing blocks, and a call made directly
keeps two runs of one scenario equal to the byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

THREADS = 32
"""Also the size of each client's connection pool."""


class Executor(Protocol):
    """Runs one blocking function."""

    async def run(self, function: Callable[..., Any], /, **arguments: Any) -> Any:
        """Return what the function returns; raise what it raises."""
        ...


class DirectExecutor:
    """Calls in the event loop; for functions that don't block.

    One that would block in production (a long poll) has an attribute `wait`, a coroutine function
    of the same arguments that waits in the loop's time.
    """

    async def run(self, function: Callable[..., Any], /, **arguments: Any) -> Any:
        wait = getattr(function, "wait", None)
        if wait is not None:
            await wait(**arguments)
        return function(**arguments)


class ThreadExecutor:
    """Calls in a pool of its own threads."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="aws")

    async def run(self, function: Callable[..., Any], /, **arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(**arguments))

    def shutdown(self) -> None:
        """Stop taking calls; those under way end on their own."""
        self._pool.shutdown(wait=False, cancel_futures=True)
