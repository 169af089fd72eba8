"""minValues: a NodeClaim must be able to become types with that many distinct label values.

A pool asks for it in its requirements. Whether a node keeps enough choice depends on what is put on
it, so offers too large to leave enough types at least as large are not used in the first place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from autoctl.api import labels
from autoctl.scheduling.feasibility import Feasibility, Ints
from autoctl.scheduling.offers import Offers
from autoctl.scheduling.tables import Mask


def pool_minimums(offers: Offers) -> dict[int, dict[str, int]]:
    """For each pool that has them (by index): label key -> distinct values asked for."""
    found: dict[int, dict[str, int]] = {}
    for index, requirements in enumerate(offers.requirements):
        asked = {k: r.min_values for k, r in requirements.items() if r.min_values is not None}
        if asked:
            found[index] = asked
    return found


def shortfall(offers: Offers, rows: Ints, minimums: Mapping[str, int]) -> dict[str, int]:
    """Label key -> distinct values among the rows, where that is less than asked."""
    found = {}
    for key, least in minimums.items():
        codes = offers.table.codes(key)[rows]
        number = len(np.unique(codes[codes >= 0]))
        if number < least:
            found[key] = number
    return found


_MOST_GROUPS = 64
"""Judgements kept: what limits allow changes with every node, labels of pods are few."""


class Flexibility:
    """Which offers leave enough choice of instance types. What it works out it keeps.

    `minimums`: for each pool (by index) that has any, label key -> distinct values asked for.
    """

    def __init__(self, feasibility: Feasibility, minimums: Mapping[int, Mapping[str, int]]) -> None:
        self._feasibility = feasibility
        self._minimums = minimums
        self._groups: dict[object, tuple[Mask, Ints, Mask]] = {}

    def rows(
        self, rows: Mask, static: Mask, *, domains: tuple[str, ...] = (), within: Mask
    ) -> Mask:
        """Those of `rows` that leave enough choice if a node is filled to their size.

        A row is kept when the rows of its pool, variant and `domains` (topology keys that will be
        held to one value) that are at least as large in every resource have enough distinct values
        for each minimum. Where no row of a group is, those are kept that leave enough choice for a
        single pod: how full such nodes may be is then seen when they are full (`dividing`).

        Args:
            rows: (O,) those of `static` on which the pod fits.
            static: (O,) offers that may be used whatever the size.
            within: (O,) offers that limits still allow.
        """
        if not self._minimums:
            return rows
        offers = self._feasibility.offers
        kept = rows.copy()
        for pool, asked in self._minimums.items():
            mine = np.flatnonzero(rows & (offers.pool == pool))
            if max(asked.values()) <= 1 or not len(mine):
                continue
            kept[mine] = False
            usable, group, enough = self._judged(pool, static, domains, within)
            mine = mine[usable[mine]]
            for number in np.unique(group[mine]).tolist():
                some = mine[group[mine] == number]
                if not shortfall(offers, some, asked):
                    kept[some] = enough[some] if enough[some].any() else True
        return kept

    def _judged(
        self, pool: int, static: Mask, domains: tuple[str, ...], within: Mask
    ) -> tuple[Mask, Ints, Mask]:
        """(O,) usable offers of the pool, the group of each, and whether it leaves enough choice.

        Pods of every size share this: what is as large as an offer that a pod fits on, it fits on.
        A node planned into a reservation is of one type, so those are not usable.
        """
        key = (pool, static.tobytes(), domains, within.tobytes())
        found = self._groups.get(key)
        if found is None:
            offers = self._feasibility.offers
            usable = static & within & (offers.pool == pool) & (offers.reservation < 0)
            group = np.full(len(offers), -1, np.int64)
            enough = np.zeros(len(offers), np.bool_)
            mine = np.flatnonzero(usable)
            columns = [offers.variant, *(offers.table.codes(domain) for domain in domains)]
            group[mine] = np.unique(
                np.stack([c[mine] for c in columns], axis=1), axis=0, return_inverse=True
            )[1].ravel()
            for number in range(int(group.max(initial=-1)) + 1):
                some = np.flatnonzero(group == number)
                enough[some] = _enough(self._feasibility, some, self._minimums[pool])
            if len(self._groups) >= _MOST_GROUPS:
                self._groups.clear()
            found = self._groups[key] = (usable, group, enough)
        return found


def _enough(feasibility: Feasibility, group: Ints, asked: Mapping[str, int]) -> Mask:
    """Which offers of a group have enough values among those of the group that are as large."""
    offers = feasibility.offers
    _, first, place = np.unique(offers.machine[group], return_index=True, return_inverse=True)
    net = feasibility.net[group[first]]
    large: Mask = np.ones((len(net), len(net)), np.bool_)
    for room in net.T:
        large &= room[None, :] >= room[:, None]
    enough: Mask = np.ones(len(net), np.bool_)
    for key, least in asked.items():
        if key in (labels.ZONE, labels.CAPACITY_TYPE):
            continue
        codes = offers.table.codes(key)[group[first]]
        order = np.argsort(codes, kind="stable")
        order = order[codes[order] >= 0]
        if not len(order):  # no type has the label
            enough[:] = False
            continue
        begins = np.flatnonzero(np.diff(codes[order], prepend=-1))
        valued = np.logical_or.reduceat(large[:, order], begins, axis=1)
        enough &= valued.sum(axis=1) >= least
    found: Mask = enough[place.ravel()]
    return found


def choose_types(
    types: Iterable[tuple[int, Mapping[str, str]]], most: int, minimums: Mapping[str, int]
) -> tuple[list[int], dict[str, int]]:
    """The first `most` types, with later ones swapped in where minimums need their values.

    `types` has (type, its value for each key of `minimums`), best first. Returns the types in their
    order, and the distinct values of each key that is still short.
    """
    everything = list(types)
    needed: list[int] = []
    for key, least in minimums.items():
        seen: set[str] = set()
        for position, (_, values) in enumerate(everything):
            value = values.get(key)
            if value is not None and value not in seen and len(seen) < least:
                seen.add(value)
                needed.append(position)
    wanted = dict.fromkeys(needed)
    chosen = set(wanted)
    for position in range(len(everything)):
        if len(chosen) >= most:
            break
        chosen.add(position)
    ordered = sorted(chosen)[: max(most, len(wanted))]
    short = {}
    for key, least in minimums.items():
        number = len({everything[p][1][key] for p in ordered if key in everything[p][1]})
        if number < least:
            short[key] = number
    return [everything[p][0] for p in ordered], short
