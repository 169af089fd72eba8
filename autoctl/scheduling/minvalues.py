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


def flexible_rows(
    feasibility: Feasibility,
    rows: Mask,
    minimums: Mapping[int, Mapping[str, int]],
    *,
    domains: Iterable[str] = (),
    within: Mask | None = None,
) -> Mask:
    """Those of `rows` that leave enough choice if a node is filled to their size.

    A row is kept when the rows of its pool, variant and `domains` (topology keys that will be held
    to one value) that are at least as large in every resource have enough distinct values for each
    minimum. Where no row of a group is, those are kept that leave enough choice for a single pod:
    how full such nodes may be is then seen when they are full (`dividing`). `within` (O,) are the
    offers that limits still allow; a node planned into a reservation is of one type.
    """
    if not minimums:
        return rows
    offers = feasibility.offers
    kept = rows.copy()
    columns = [offers.variant, *(offers.table.codes(key) for key in domains)]
    for pool, asked in minimums.items():
        mine = np.flatnonzero(rows & (offers.pool == pool))
        kept[mine] = False
        if max(asked.values()) <= 1:
            kept[mine] = True
            continue
        usable = offers.reservation[mine] < 0
        if within is not None:
            usable &= within[mine]
        mine = mine[usable]
        if not len(mine):
            continue
        groups = np.unique(
            np.stack([c[mine] for c in columns], axis=1), axis=0, return_inverse=True
        )[1].ravel()
        for number in range(int(groups.max()) + 1):
            group = mine[groups == number]
            kept[group] = _flexible(feasibility, group, asked)
    return kept


def _flexible(feasibility: Feasibility, group: Ints, asked: Mapping[str, int]) -> Mask:
    """Which offers of a group may be filled so that enough of the group still holds the pods."""
    offers = feasibility.offers
    if shortfall(offers, group, asked):
        return np.zeros(len(group), np.bool_)
    machines, first, place = np.unique(
        offers.machine[group], return_index=True, return_inverse=True
    )
    net = feasibility.net[group[first]]
    large: Mask = np.all(net[None, :, :] >= net[:, None, :], axis=2)
    enough: Mask = np.ones(len(machines), np.bool_)
    for key, least in asked.items():
        if key in (labels.ZONE, labels.CAPACITY_TYPE):
            continue
        codes = offers.table.codes(key)[group[first]]
        for i in range(len(machines)):
            some = codes[large[i]]
            enough[i] &= len(np.unique(some[some >= 0])) >= least
    if not enough.any():
        enough[:] = True
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
