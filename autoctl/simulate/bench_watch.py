"""Waiting for a simulated cluster that is being measured, and telling how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from autoctl.simulate.world import World

Progress = Callable[[str, int, int], None]
"""Hears what is under way, how much of it is done, and of how much."""


class BenchError(Exception):
    """The cluster did not get to where the measurement begins, or never came to rest."""


@dataclass(frozen=True)
class Watch:
    """One measurement's patience, in words for people, and who hears of its progress."""

    world: World
    progress: Progress | None
    seconds: float
    patience: str
    """What `seconds` is called in an error."""

    async def until(self, what: str, state: Callable[[], tuple[int, int]]) -> None:
        """Let time pass until as much is done as is wanted. Raises `BenchError`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep(1.0)
            self.world.check()
            done, wanted = state()
            self.tell(what, done, wanted)
            if done >= wanted:
                return
            if loop.time() - began > self.seconds:
                raise BenchError(
                    f"{what}: {done} of {wanted} after {self.patience} of cluster time"
                )

    def tell(self, what: str, done: int, wanted: int) -> None:
        """Say how far it is."""
        if self.progress is not None:
            self.progress(what, done, wanted)
