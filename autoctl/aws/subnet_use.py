"""Addresses that launches take from subnets before a new count of the free ones tells of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime, timedelta

from autoctl.ports.clock import Clock


class SubnetUse:
    """Who took how many addresses of which subnet since the free ones were counted.

    They are counted anew every `period`.
    """

    def __init__(self, clock: Clock, period: timedelta) -> None:
        self._clock = clock
        self._period = period
        self._launches: deque[tuple[datetime, str, int]] = deque()
        self._taken: Counter[str] = Counter()

    def take(self, subnet_id: str, addresses: int) -> None:
        """A machine was launched there that may take so many."""
        self._launches.append((self._clock.now() + self._period, subnet_id, addresses))
        self._taken[subnet_id] += addresses

    def taken(self) -> Mapping[str, int]:
        """Addresses by subnet that the last count may not know of."""
        now = self._clock.now()
        while self._launches and self._launches[0][0] <= now:
            _, subnet_id, addresses = self._launches.popleft()
            self._taken[subnet_id] -= addresses
        return self._taken
