"""Nodes as rows of arrays: what they offer, what is taken, which domain they are in."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.scheduler.podinfo import Shape, as_integer

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

_FIRST_ROWS = 64


class Domains:
    """The values of one topology key, numbered; `of_row` is -1 for nodes without the label.

    Numbers of values that no node has any more are used again: host names come and go for ever.
    """

    def __init__(self, rows: int) -> None:
        self.of_row: Ints = np.full(rows, -1, dtype=np.int64)
        self._numbers: dict[str, int] = {}
        self._values: list[str] = []
        self._nodes: list[int] = []
        self._free: list[int] = []

    def set(self, row: int, value: str | None) -> None:
        """File a row under a value (`None`: the node has no such label)."""
        old = int(self.of_row[row])
        number = -1 if value is None else self._number(value)
        if number == old:
            return
        self.of_row[row] = number
        if number >= 0:
            self._nodes[number] += 1
        if old >= 0:
            self._nodes[old] -= 1
            if self._nodes[old] == 0:
                del self._numbers[self._values[old]]
                self._free.append(old)

    def _number(self, value: str) -> int:
        found = self._numbers.get(value)
        if found is None:
            if self._free:
                found = self._free.pop()
                self._values[found] = value
            else:
                found = len(self._values)
                self._values.append(value)
                self._nodes.append(0)
            self._numbers[value] = found
        return found

    def sums(self, rows: Ints, counts: Ints) -> Ints:
        """Sum `counts` (one per given row) by domain; one entry per number."""
        domains = self.of_row[rows]
        known = domains >= 0
        return np.bincount(
            domains[known], weights=counts[known], minlength=len(self._values)
        ).astype(np.int64)


class NodeTable:
    """Rows are reused after a node is gone. `version` of a row moves when its node changes."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.nodes: list[Object | None] = [None] * _FIRST_ROWS
        self.version: Ints = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self.columns: dict[str, int] = {"cpu": 0, "memory": 1, "pods": 2}
        self.allocatable: Ints = np.zeros((_FIRST_ROWS, 3), dtype=np.int64)
        self.used: Ints = np.zeros((_FIRST_ROWS, 3), dtype=np.int64)
        self.nonzero: Ints = np.zeros((_FIRST_ROWS, 2), dtype=np.int64)
        self.domains: dict[str, Domains] = {}
        self.topology_version = 0
        self._free: list[int] = list(range(_FIRST_ROWS))[::-1]
        self._active: Ints | None = None
        self._clock = 0

    @property
    def size(self) -> int:
        """Rows that arrays over nodes must have."""
        return len(self.nodes)

    def active(self) -> Ints:
        """The rows that hold a node, ascending."""
        if self._active is None:
            self._active = np.array(sorted(self.rows.values()), dtype=np.int64)
        return self._active

    def put(self, node: Object) -> int:
        """Add or update a node; its row."""
        name = node["metadata"]["name"]
        row = self.rows.get(name)
        if row is None:
            if not self._free:
                self._grow()
            row = self.rows[name] = self._free.pop()
            self._active = None
        old = self.nodes[row]
        labels = node["metadata"].get("labels") or {}
        if old is None or (old["metadata"].get("labels") or {}) != labels:
            self.topology_version += 1
            for key, domains in self.domains.items():
                domains.set(row, labels.get(key))
        self.nodes[row] = node
        self._clock += 1
        self.version[row] = self._clock
        self.allocatable[row] = 0
        for resource, quantity in ((node.get("status") or {}).get("allocatable") or {}).items():
            column = self.column(resource)
            self.allocatable[row, column] = as_integer(resource, quantity)
        return row

    def remove(self, name: str) -> int | None:
        """Forget a node; the row it had. Its pods must have been taken off before."""
        row = self.rows.pop(name, None)
        if row is None:
            return None
        assert not self.used[row].any(), f"node {name} is removed with pods on it"
        self.nodes[row] = None
        self._free.append(row)
        self._active = None
        self._clock += 1
        self.version[row] = self._clock
        self.topology_version += 1
        self.allocatable[row] = 0
        for domains in self.domains.values():
            domains.set(row, None)
        return row

    def charge(self, row: int, shape: Shape, sign: int) -> None:
        """Add (+1) or take off (-1) a pod's requests."""
        for resource, amount in shape.requests.items():
            column = self.column(resource)
            self.used[row, column] += sign * amount
        self.nonzero[row, 0] += sign * shape.nonzero[0]
        self.nonzero[row, 1] += sign * shape.nonzero[1]

    def column(self, resource: str) -> int:
        """The column of a resource, made on first use."""
        found = self.columns.get(resource)
        if found is None:
            found = self.columns[resource] = len(self.columns)
            pad = ((0, 0), (0, 1))
            self.allocatable = np.pad(self.allocatable, pad)
            self.used = np.pad(self.used, pad)
        return found

    def domains_of(self, key: str) -> Domains:
        """The domains of a topology key, numbered on first use."""
        found = self.domains.get(key)
        if found is None:
            found = self.domains[key] = Domains(self.size)
            for row in self.active():
                node = self.nodes[row]
                assert node is not None
                found.set(int(row), (node["metadata"].get("labels") or {}).get(key))
        return found

    def _grow(self) -> None:
        before = self.size
        self.nodes.extend([None] * before)
        self._free = list(range(before, 2 * before))[::-1]
        self.version = padded(self.version, 2 * before)
        self.allocatable = padded(self.allocatable, 2 * before)
        self.used = padded(self.used, 2 * before)
        self.nonzero = padded(self.nonzero, 2 * before)
        for domains in self.domains.values():
            domains.of_row = padded(domains.of_row, 2 * before, fill=-1)


def padded(array: NDArray[Any], rows: int, fill: int = 0) -> NDArray[Any]:
    """The array with at least that many rows."""
    missing = rows - len(array)
    if missing <= 0:
        return array
    return np.concatenate([array, np.full((missing, *array.shape[1:]), fill, dtype=array.dtype)])
