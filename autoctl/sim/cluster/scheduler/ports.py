"""Host ports in use, by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from autoctl.sim.cluster.scheduler.nodetable import Ints
from autoctl.sim.cluster.scheduler.podinfo import Shape


class PortTable:
    """Which rows use which (protocol, port), on which address ("" for all)."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, int], dict[int, Counter[str]]] = {}

    def place(self, row: int, shape: Shape, sign: int) -> None:
        """Take (+1) or give back (-1) a pod's host ports on a row."""
        for address, protocol, port in shape.host_ports:
            rows = self._used.setdefault((protocol, port), {})
            addresses = rows.setdefault(row, Counter())
            addresses[address] += sign
            if addresses[address] == 0:
                del addresses[address]
            if not addresses:
                del rows[row]

    def conflicts(self, ports: Iterable[tuple[str, str, int]]) -> Ints:
        """Rows where one of the ports is taken; "" conflicts with every address."""
        found = {
            row
            for address, protocol, port in ports
            for row, addresses in self._used.get((protocol, port), {}).items()
            if address == "" or "" in addresses or address in addresses
        }
        return np.array(sorted(found), dtype=np.int64)
