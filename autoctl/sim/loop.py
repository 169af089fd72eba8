"""An event loop in virtual time: where nothing is ready, time jumps to the next timer.

The simulated world reads no sockets and starts no threads, so that nothing can happen while the
loop waits. It therefore needs no look at the operating system between two steps.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import FileDescriptorLike

_MICROSECONDS: Final = 1_000_000


class _Jumps(selectors.BaseSelector):
    """A selector without files: waiting moves the time, by whole microseconds."""

    def __init__(self) -> None:
        self._files: dict[FileDescriptorLike, selectors.SelectorKey] = {}
        self.now = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for another one, and no timer is set")
        if timeout > 0:
            self.now += max(1, round(timeout * _MICROSECONDS))
        return []

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        # The loop's own pipe, by which threads and signals would wake it.
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._files[fileobj] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._files.pop(fileobj)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._files


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0 and is counted in whole microseconds.

    A run that waits for what never comes ends with `RuntimeError`. Not for executors, sockets,
    subprocesses or signals: time does not pass while they work.
    """

    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)
        # Timers due within a step of the clock are due: 1e-9 gets lost in a sum after some months.
        self._clock_resolution = 1 / _MICROSECONDS

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._jumps.now / _MICROSECONDS
