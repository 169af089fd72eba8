"""Topology domains for a demand: which it may use now, in what order, how many pods in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import product

import numpy as np

from autoctl.scheduling.board import Board, Where
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.tables import UNDEFINED, Mask
from autoctl.scheduling.topology import Gauge, Spread

Option = tuple[tuple[object, ...], Where, int]
"""A rank, the domains, and the most pods to place there at once."""


def options_of(board: Board, demand: Demand, domains: Sequence[Domains]) -> list[Option]:
    """The combinations of domains that exist, best first.

    Where several keys meet, a domain that has few partners is used before one that has many, which
    others may need (a zone without spot capacity can only do with on-demand).
    """
    keys = tuple(d.key for d in domains)
    if len(keys) == 1:
        found: list[Option] = [
            ((rank,), ((keys[0], code),), most) for code, rank, most in domains[0].options
        ]
        return sorted(found, key=lambda option: option[:2])
    existing = board.meeting(demand, keys)
    partners: Counter[tuple[int, int]] = Counter(
        (position, code) for codes in existing for position, code in enumerate(codes)
    )
    found = []
    for combination in product(*(d.options for d in domains)):
        codes = tuple(code for code, _, _ in combination)
        if codes in existing:
            rank = (
                tuple(r[:2] for _, r, _ in combination),
                tuple(partners[position, code] for position, code in enumerate(codes)),
                tuple(r[2:] for _, r, _ in combination),
            )
            where = tuple(zip(keys, codes, strict=True))
            found.append((rank, where, min(n for _, _, n in combination)))
    return sorted(found, key=lambda option: option[:2])


class Domains:
    """The domains of one key a demand may use now: (code, rank, most pods at once)."""

    def __init__(
        self,
        board: Board,
        demand: Demand,
        key: str,
        count: int,
        rooms: tuple[Ints, Ints],
        *,
        alone: bool = True,
        used_up: Collection[int] = (),
    ) -> None:
        """`rooms` are bins that can take pods, and how many.

        `alone`: no other key matters. `used_up`: domains without room, which get no share.
        """
        self.board = board
        self.key = key
        constraints = demand.constraints
        size = len(board.offers.table.vocabulary.values(key))
        own = [s for s in constraints.spread if s.gauge.key == key]
        mind = [s for s in constraints.mind if s.gauge.key == key]
        moved = {g.index for g in constraints.moves}
        usable, prices = board.reachable(demand, key)
        allowed = usable.copy()
        most = np.full(size, count, np.int64)
        for gauge in constraints.apart:
            if gauge.key == key:
                allowed &= board.counts[gauge.index] == 0
                if gauge.index in moved:
                    np.minimum(most, 1, out=most)
        allowed = self._attracted(demand, key, allowed)
        for spread in own:
            allowed &= board.universe(spread.gauge)
            quota = self._quota(spread)
            allowed &= quota > 0
        candidates = np.flatnonzero(allowed)
        if used_up:
            candidates = candidates[~np.isin(candidates, sorted(used_up))]
        level: Spread | None = next((s for s in (*own, *mind) if s.self_match), None)
        self.levels = level is not None
        self.free = not own
        """No spread constraint of the pods themselves is about this key."""
        self.at_once = False
        held = not alone or bool((most[candidates] < count).any()) or bool(constraints.together)
        late = np.zeros(size, np.bool_)
        for spread in mind:
            late |= self._quota(spread) <= 0
        base = board.counts[level.gauge.index] if level else np.zeros(size, np.int64)
        room = self._room(rooms, candidates, count)
        values = board.offers.table.vocabulary.values(key)
        ranked = sorted(
            ((int(late[c]), int(base[c]), -int(room[c]), float(prices[c]), values[c]), c)
            for c in candidates.tolist()
        )
        candidates = np.array([code for _, code in ranked], np.int64)
        plan = self._plan(demand, level, own, candidates, count, held=held)
        self.options: list[tuple[int, tuple[float | int | str, ...], int]] = []
        for position, (rank, code) in enumerate(ranked):
            number = plan[position] if self.at_once else max(1, plan[position])
            self.options.append((code, rank, min(int(most[code]), number)))
        attracted = any(g.key == key for g in constraints.together)
        if not own and not attracted:
            self.options.append((UNDEFINED, (0, 0, 0, 0.0, ""), count))

    def _room(self, rooms: tuple[Ints, Ints], candidates: Ints, count: int) -> Ints:
        """How many of the pods the nodes of each domain can take: such a domain comes first."""
        board = self.board
        room = np.zeros(len(board.offers.table.vocabulary.values(self.key)), np.int64)
        if len(candidates) > 1:
            bins, counts = rooms
            codes = board.codes(self.key)[bins]
            known = codes >= 0
            np.add.at(room, codes[known], np.minimum(counts[known], count))
        found: Ints = np.minimum(room, count)
        return found

    def _attracted(self, demand: Demand, key: str, allowed: Mask) -> Mask:
        board = self.board
        constraints = demand.constraints
        gauges = [g for g in constraints.together if g.key == key]
        if not gauges:
            return allowed
        counted = any(board.totals[g.index] for g in constraints.together)
        if not counted and constraints.bootstrap:
            return allowed
        for gauge in gauges:
            allowed = allowed & (board.counts[gauge.index] > 0)
        return allowed

    def _floor(self, spread: Spread) -> int:
        """The least count over the constraint's domains."""
        board = self.board
        universe = board.universe(spread.gauge)
        domains = int(universe.sum())
        if not domains or (spread.min_domains is not None and domains < spread.min_domains):
            return 0
        return int(board.counts[spread.gauge.index][universe].min())

    def _quota(self, spread: Spread) -> Ints:
        """Pods that each domain can still take before others must catch up."""
        counts = self.board.counts[spread.gauge.index]
        quota = self._floor(spread) + spread.max_skew - counts
        if not spread.self_match:
            return np.where(quota >= 0, 1 << 40, 0)
        return quota

    def _plan(
        self,
        demand: Demand,
        level: Spread | None,
        own: Sequence[Spread],
        candidates: Ints,
        count: int,
        *,
        held: bool,
    ) -> list[int]:
        """Pods for each candidate domain: what levels the counts, as far as that is safe.

        `held`: other rules may keep pods out of domains, so that no domain can count on the others.
        """
        if level is None or not len(candidates):
            return [count] * len(candidates)
        counts = self.board.counts[level.gauge.index]
        shares = _level([int(counts[c]) for c in candidates], count)
        levelling = [s for s in own if s.self_match]
        if not levelling:
            self.at_once = not held
            return shares
        if not held and len(levelling) == 1 and self._ample(demand, level.gauge, candidates):
            self.at_once = True
            return shares
        quotas = np.min([self._quota(s) for s in levelling], axis=0)
        return [
            max(1, min(share, int(quotas[c])))
            for share, c in zip(shares, candidates.tolist(), strict=True)
        ]

    def _ample(self, demand: Demand, gauge: Gauge, candidates: Ints) -> bool:
        """Whether every domain of the constraint can take any number of the pods."""
        board = self.board
        universe = np.flatnonzero(board.universe(gauge))
        if len(universe) != len(candidates) or self._floor_is_zero(gauge, demand):
            return False
        rows = demand.rows & ~board.limits.bounded
        return len(np.unique(board.row_codes[self.key][rows])) == len(universe) and not any(
            s.gauge.host is False and s.gauge.key != self.key for s in demand.constraints.spread
        )

    def _floor_is_zero(self, gauge: Gauge, demand: Demand) -> bool:
        """Whether minDomains asks for more domains than there are, so that none may fill up."""
        domains = int(self.board.universe(gauge).sum())
        return any(
            s.gauge is gauge and s.min_domains is not None and domains < s.min_domains
            for s in demand.constraints.spread
        )


def _level(counts: Sequence[int], number: int) -> list[int]:
    """How many of `number` pods each domain gets so that counts end as equal as can be."""
    order = sorted(range(len(counts)), key=lambda i: (counts[i], i))
    left = number
    shares = [0] * len(counts)
    for width in range(1, len(order) + 1):
        base = counts[order[width - 1]]
        top = counts[order[width]] if width < len(order) else None
        if top is None or (top - base) * width >= left:
            each, odd = divmod(left, width)
            for position in range(width):
                shares[order[position]] += each + (position < odd)
            return shares
        for position in range(width):
            shares[order[position]] += top - base
        left -= (top - base) * width
    return shares
