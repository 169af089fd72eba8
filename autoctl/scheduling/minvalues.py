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
    feasibility: Feasibility, rows: Mask, minimums: Mapping[int, Mapping[str, int]]
) -> Mask:
    """Those of `rows` that leave enough choice if a node is filled to their size.

    A row is kept when the rows of its pool and variant that are at least as large in every resource
    have enough distinct values for each minimum.
    """
    if not minimums:
        return rows
    offers = feasibility.offers
    kept = rows.copy()
    for pool, asked in minimums.items():
        mine = np.flatnonzero(rows & (offers.pool == pool))
        for variant in np.unique(offers.variant[mine]).tolist():
            group = mine[offers.variant[mine] == variant]
            machines, first = np.unique(offers.machine[group], return_index=True)
            net = feasibility.net[group[first]]
            large = (net[None, :, :] >= net[:, None, :]).all(axis=2)
            enough = np.ones(len(machines), np.bool_)
            for key, least in asked.items():
                if key in (labels.ZONE, labels.CAPACITY_TYPE):
                    enough &= not shortfall(offers, group, {key: least})
                    continue
                codes = offers.table.codes(key)[group[first]]
                for i in range(len(machines)):
                    some = codes[large[i]]
                    enough[i] &= len(np.unique(some[some >= 0])) >= least
            place = np.searchsorted(machines, offers.machine[group])
            kept[group] = enough[place]
    return kept


def choose_types(
    names: Iterable[tuple[str, Mapping[str, str]]], most: int, minimums: Mapping[str, int]
) -> tuple[list[str], dict[str, int]]:
    """The first `most` types, with later ones swapped in where minimums need their values.

    `names` has (type, its value for each key of `minimums`), best first. Returns the types in their
    order, and the distinct values of each key that is still short.
    """
    everything = list(names)
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
