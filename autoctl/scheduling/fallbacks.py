"""The instance types a launch may fall back to: which, in what order, within which limits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autoctl.api import labels
from autoctl.catalog.model import RESERVED
from autoctl.scheduling.feasibility import Ints
from autoctl.scheduling.limits import Limits
from autoctl.scheduling.minvalues import choose_types, shortfall
from autoctl.scheduling.offers import Offers
from autoctl.scheduling.tables import Mask


class Fallbacks:
    """Narrows the offers that hold a node's pods to those its NodeClaim may leave open."""

    def __init__(self, offers: Offers, limits: Limits) -> None:
        self._offers = offers
        self._limits = limits
        self._zone = offers.table.codes(labels.ZONE)
        self._capacity = offers.table.codes(labels.CAPACITY_TYPE)

    def free(self, row: int, rows: Ints) -> Ints:
        """Offers of one set of zones and capacity types, each type of which may be used freely.

        Reserved capacity is counted, so a node planned into a reservation asks for that one alone,
        and no other node may be launched into one.
        """
        offers = self._offers
        if offers.offerings[row].capacity_type == RESERVED:
            same = (offers.reservation[rows] == offers.reservation[row]) & (
                offers.machine[rows] == offers.machine[row]
            )
            reserved: Ints = rows[same]
            return reserved
        rows = rows[offers.reservation[rows] < 0]
        if row not in rows:
            rows = np.append(rows, row)
        zone, capacity = self._zone, self._capacity
        alike = rows[capacity[rows] == capacity[row]]
        own = rows[offers.machine[rows] == offers.machine[row]]
        options = (
            (zone[rows], capacity[rows]),
            (zone[alike], capacity[own]),
            (zone[[row]], capacity[own]),
        )
        for zones, kinds in options:
            if self._closed(rows, row, zones, kinds):
                inside = _among(zone, zones)[rows] & _among(capacity, kinds)[rows]
                free: Ints = rows[inside]
                return free
        one: Ints = rows[(zone[rows] == zone[row]) & (capacity[rows] == capacity[row])]
        return one

    def _closed(self, rows: Ints, row: int, zones: Ints, kinds: Ints) -> bool:
        """Whether every offer of the types in these zones and capacity types is allowed.

        A pod's alternatives (zone a with amd64, or zone b with arm64) need not form a product.
        """
        offers = self._offers
        types = np.zeros(len(offers.machines), np.bool_)
        types[offers.machine[rows]] = True
        inside = (
            types[offers.machine]
            & _among(self._zone, zones)
            & _among(self._capacity, kinds)
            & (offers.variant == offers.variant[row])
            & offers.available
            & (offers.reservation < 0)
        )
        inside[rows] = False
        return not inside.any()

    def machines(
        self, rows: Ints, row: int, minimums: Mapping[str, int], most: int
    ) -> tuple[list[int], dict[str, int]]:
        """`most` machines (more if minimums need them), and what each label is short of.

        Cheapest first, as `rows` are; the planned one at their head.
        """
        offers = self._offers
        ordered = np.concatenate(([row], rows))
        given = offers.machine[ordered]
        first = np.full(len(offers.machines), len(ordered))
        first[given[::-1]] = np.arange(len(ordered))[::-1]  # of several the last write stays
        machines = np.flatnonzero(first < len(ordered))
        machines = machines[np.argsort(first[machines])]
        if not minimums:
            return machines[:most].tolist(), {}
        keys = [k for k in minimums if k not in (labels.ZONE, labels.CAPACITY_TYPE)]
        vocabulary = offers.table.vocabulary
        valued = []
        for machine in machines.tolist():
            values = {}
            for key in keys:
                code = int(offers.table.codes(key)[ordered[first[machine]]])
                if code >= 0:
                    values[key] = vocabulary.values(key)[code]
            valued.append((machine, values))
        chosen, short = choose_types(valued, most, {k: minimums[k] for k in keys})
        spread = {k: v for k, v in minimums.items() if k not in keys}
        short.update(shortfall(offers, rows, spread))
        return chosen, short

    def of_machines(self, rows: Ints, machines: list[int]) -> Ints:
        """Those of the rows that are offers of the machines."""
        kept = np.zeros(len(self._offers.machines), np.bool_)
        kept[machines] = True
        found: Ints = rows[kept[self._offers.machine[rows]]]
        return found

    def within_limits(self, rows: Ints, row: int) -> Ints:
        """Offers whose launch instead of the planned one still keeps the pool's limits."""
        limits = self._limits
        most = limits.usage[row] + np.maximum(limits.remaining, 0)
        inside: Ints = rows[(limits.usage[rows] <= most).all(axis=1) | (rows == row)]
        return inside

    def beyond(self, machines: list[int], rows: Ints, row: int) -> Ints:
        """The most that one of the machines takes of the limits, beyond what the row takes."""
        limits = self._limits
        own = limits.usage[row]
        most: Ints = limits.usage[self.of_machines(rows, machines)].max(axis=0, initial=0)
        more: Ints = np.maximum(most, own) - own
        return more


def _among(codes: Ints, wanted: Ints) -> Mask:
    """(len(codes),) whether each code is one of `wanted`; both may have UNDEFINED."""
    flags = np.zeros(int(codes.max(initial=0)) + 3, np.bool_)
    flags[wanted] = True
    found: Mask = flags[codes]
    return found
