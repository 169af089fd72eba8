"""What can be bought: NodePool x instance type x zone x capacity type, as arrays.

An *offer* is one row. Where a NodePool leaves a custom label open (`team In [a, b]`) and pods care
about it, each value is a *variant* of the pool with rows of its own; a type that may run several
operating systems likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.problem import Pool
from autoctl.scheduling.requirements import Requirements
from autoctl.scheduling.tables import LabelTable, Mask
from autoctl.scheduling.volumes import ATTACH_PREFIX, UNLIMITED_ATTACHMENTS

_MASKS_AT_ONCE = 24
"""Masks of which a number of 64 bits keeps one bit each, beside the type."""


@dataclass(eq=False)
class Offers:
    """Every offer of every pool, O rows, ordered by pool, variant, type, offering.

    Attributes:
        pools: the pools, by ascending tier and name.
        pool: (O,) index into `pools`.
        tier: (O,) 0 for the pools of the highest weight.
        machine: (O,) index into `machines`: rows with equal type (of one tuple of types).
        offerings: O offerings.
        variant: (O,) index into `variants`: labels the node gets beyond pool and type.
        price: (O,) USD/hour, as choices weigh it (`Offering.weighed`).
        available: (O,) may be launched now.
        exotic: (O,) used for ordinary pods only when nothing else is left.
        reservation: (O,) index into `reservations`, -1 for none.
        reserved_room: nodes left in each reservation.
        table: the labels a node of each row will have.
    """

    pools: tuple[Pool, ...]
    pool: NDArray[np.int64]
    tier: NDArray[np.int64]
    machine: NDArray[np.int64]
    machines: tuple[InstanceType, ...]
    offerings: tuple[Offering, ...]
    variant: NDArray[np.int64]
    variants: tuple[Mapping[str, str], ...]
    price: NDArray[np.float64]
    available: Mask
    exotic: Mask
    reservation: NDArray[np.int64]
    reservations: tuple[str, ...]
    reserved_room: NDArray[np.int64]
    table: LabelTable
    requirements: tuple[Requirements, ...]
    """Each pool's requirements and template labels."""
    excluded: tuple[int, ...]
    """For each pool, how many rows its own requirements removed."""
    _amounts: dict[tuple[str, bool], NDArray[np.int64]] = field(default_factory=dict)
    _domains: dict[tuple[int, str], int] = field(default_factory=dict)

    @cached_property
    def paid(self) -> NDArray[np.float64]:
        """(O,) USD/hour that a node costs: `price` without what only tells offers apart."""
        return np.array([o.price for o in self.offerings], np.float64)

    @cached_property
    def by_price(self) -> NDArray[np.int64]:
        """(O,) all rows, ordinary hardware first, and of either the cheapest first."""
        return np.lexsort((self.price, self.exotic))

    @cached_property
    def _twins(self) -> NDArray[np.int64]:
        """(O,) a number for each type in each variant of a pool."""
        return self.variant * max(1, len(self.machines)) + self.machine

    def kinds(self, masks: Iterable[Mask]) -> NDArray[np.int64]:
        """(O,) numbers, equal for rows of one type and variant that are alike in all `masks`."""
        kind = self._twins
        for number, mask in enumerate(masks, start=1):
            kind = kind * 2 + mask
            if number % _MASKS_AT_ONCE == 0:
                kind = np.unique(kind, return_inverse=True)[1].astype(np.int64)
        return kind

    def cheapest(self, masks: Iterable[Mask]) -> NDArray[np.int64]:
        """The rows without those to which a cheaper one of the same type is equal in all `masks`.

        A type costs different in each zone, and most pods do not care. Offers that are counted
        stay, and so does the first of several at one price.
        """
        kind = self.kinds(masks)
        counted = self.reservation >= 0
        rows = self.by_price[~counted[self.by_price]]
        first = np.unique(kind[rows], return_index=True)[1]
        return np.sort(np.concatenate((rows[first], np.flatnonzero(counted))))

    @cached_property
    def launch(self) -> NDArray[np.int64]:
        """(O,) numbers, equal for rows that a launch chooses among: those that differ in zone."""
        found: dict[tuple[int, int, int, str], int] = {}
        rows = zip(
            self.pool.tolist(),
            self.machine.tolist(),
            self.variant.tolist(),
            (o.capacity_type for o in self.offerings),
            strict=True,
        )
        return np.array([found.setdefault(row, len(found)) for row in rows], np.int64)

    def domains(self, pool: int, key: str) -> int:
        """How many values of a label the offers have that the pool can launch now."""
        found = self._domains.get((pool, key))
        if found is None:
            mine = (self.pool == pool) & self.available
            found = self._domains[pool, key] = len(np.unique(self.table.codes(key)[mine]))
        return found

    def __len__(self) -> int:
        return len(self.price)

    def amount(self, resource: str, *, capacity: bool = False) -> NDArray[np.int64]:
        """(O,) allocatable (or capacity) of a resource, base units."""
        key = (resource, capacity)
        found = self._amounts.get(key)
        if found is None:
            absent = UNLIMITED_ATTACHMENTS if resource.startswith(ATTACH_PREFIX) else 0
            by_machine = np.array(
                [
                    (m.capacity if capacity else m.allocatable).get(resource, absent)
                    for m in self.machines
                ]
                or [0],
                np.int64,
            )
            found = self._amounts[key] = by_machine[self.machine]
        return found
