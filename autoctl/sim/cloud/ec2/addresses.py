"""The addresses of a subnet: single ones and /28 prefixes, each given out once."""

from __future__ import annotations

import heapq
from ipaddress import IPv4Address, IPv4Network

RESERVED_HEAD = 4
RESERVED_TAIL = 1
"""EC2 keeps a subnet's first four addresses and its last."""

PREFIX = 16
"""Addresses of a /28."""


class AddressesExhausted(Exception):
    """No address, or no whole /28, is free."""


class AddressPool:
    """Which addresses of an IPv4 subnet are free. The lowest goes first."""

    def __init__(self, cidr: str) -> None:
        self.network = IPv4Network(cidr)
        size = self.network.num_addresses
        self._base = int(self.network.network_address)
        self._used = bytearray(size)
        self._block_used = [0] * (size // PREFIX)
        self._heap = list(range(RESERVED_HEAD, size - RESERVED_TAIL))
        self.free = len(self._heap)
        for offset in (*range(RESERVED_HEAD), size - 1):
            self._mark(offset)

    def take(self) -> str:
        """One address; raises AddressesExhausted."""
        while self._heap:
            offset = heapq.heappop(self._heap)
            if not self._used[offset]:
                self._mark(offset)
                self.free -= 1
                return str(IPv4Address(self._base + offset))
        raise AddressesExhausted(f"no free address in {self.network}")

    def take_prefix(self) -> str:
        """One /28 that is wholly free; raises AddressesExhausted when the subnet is too
        fragmented, however many single addresses there are."""
        for block, used in enumerate(self._block_used):
            if not used:
                for offset in range(block * PREFIX, (block + 1) * PREFIX):
                    self._mark(offset)
                self.free -= PREFIX
                return f"{IPv4Address(self._base + block * PREFIX)}/28"
        raise AddressesExhausted(f"no free /28 in {self.network}")

    def release(self, address: str) -> None:
        """Give back an address or a prefix that was taken from here."""
        if "/" in address:
            network = IPv4Network(address)
            first = int(network.network_address) - self._base
            for offset in range(first, first + PREFIX):
                self._unmark(offset)
        else:
            self._unmark(int(IPv4Address(address)) - self._base)

    def _mark(self, offset: int) -> None:
        assert not self._used[offset], "an address is given out once"
        self._used[offset] = 1
        self._block_used[offset // PREFIX] += 1

    def _unmark(self, offset: int) -> None:
        assert self._used[offset], "only what was taken is given back"
        self._used[offset] = 0
        self._block_used[offset // PREFIX] -= 1
        heapq.heappush(self._heap, offset)
        self.free += 1
