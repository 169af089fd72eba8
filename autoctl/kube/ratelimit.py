"""A client-side limit on requests, so that one operator cannot drown an API server."""

from __future__ import annotations

import asyncio


class RateLimiter:
    """Lets `burst` requests through at once and `qps` a second after that, in order of arrival."""

    def __init__(self, qps: float, burst: int) -> None:
        if qps <= 0 or burst < 1:
            raise ValueError(f"need qps > 0 and burst >= 1, got {qps} and {burst}")
        self._interval = 1.0 / qps
        self._slack = (burst - 1) * self._interval
        self._next = float("-inf")

    async def wait(self) -> None:
        """Return when the next request may be sent."""
        now = asyncio.get_running_loop().time()
        # The theoretical arrival time of the generic cell rate algorithm: requests may be ahead of
        # it by the burst, and each moves it on by one interval.
        self._next = max(self._next, now) + self._interval
        delay = self._next - self._interval - self._slack - now
        if delay > 0:
            await asyncio.sleep(delay)
