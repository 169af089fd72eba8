"""Placing demands one after the other, each exactly: domains by level, bins in order, new nodes.

This is the path for everything other pods bear on. A demand is placed as a whole (its pods are
alike), so the work grows with the number of shapes and nodes, not of pods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import product

import numpy as np

from autoctl.scheduling.board import Board, Where
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.outlook import Outlook
from autoctl.scheduling.tables import UNDEFINED, Mask
from autoctl.scheduling.topology import Gauge, Spread

_TIE = 1e-9


class Placer:
    """Places demands on a board."""

    def __init__(self, board: Board, outlook: Outlook, *, defer: bool = False) -> None:
        """`defer`: leave pods whose domains are decided to the packing kernel, in `deferred`."""
        self.board = board
        self.outlook = outlook
        self.defer = defer
        self.deferred: list[tuple[Demand, Where, int]] = []

    def place(self, demand: Demand, count: int) -> int:
        """Place up to `count` pods where every rule holds; how many were placed."""
        if count <= 0:
            return 0
        constraints = demand.constraints
        if constraints.free and not demand.pinned:
            return self._fill_and_open(demand, count, ())
        keys = sorted(
            {s.gauge.key for s in (*constraints.spread, *constraints.mind) if not s.gauge.host}
            | {g.key for g in (*constraints.apart, *constraints.together) if not g.host}
        )
        if not keys:
            return self._fill_and_open(demand, count, demand.pinned)
        placed = 0
        exhausted: set[Where] = set()
        while placed < count:
            step = self._step(demand, count - placed, keys, exhausted)
            if not step:
                break
            placed += step
        return placed

    def _step(self, demand: Demand, count: int, keys: Sequence[str], exhausted: set[Where]) -> int:
        """Place a few pods in the best domain that still has room; 0 when none has."""
        alone = len(keys) == 1
        rooms = self.board.candidates(demand, demand.pinned, mind=True)
        used_up = {code for where in exhausted for _, code in where} if alone else set()
        domains = [
            _Domains(self.board, demand, key, count, rooms, alone=alone, used_up=used_up)
            for key in keys
        ]
        options = _options(self.board, demand, domains)
        options = [option for option in options if option[1] not in exhausted]
        if len(keys) == 1 and domains[0].at_once:
            free = domains[0].free
            return self._all_at_once(demand, count, options, exhausted, rooms, free=free)
        for _, where, most in options:
            number = min(count, most if len(keys) == 1 else min(most, 1))
            if len(keys) > 1 and not any(d.levels for d in domains):
                number = min(count, most)
            placed = self._fill_and_open(demand, number, (*demand.pinned, *where), rooms)
            if placed < number:
                exhausted.add(where)
            if placed:
                return placed
        return 0

    def _all_at_once(
        self,
        demand: Demand,
        count: int,
        options: Sequence[_Option],
        exhausted: set[Where],
        rooms: tuple[Ints, Ints],
        *,
        free: bool,
    ) -> int:
        """Give every domain its share of the pods; nodes outside of all domains may take any.

        Where only others would like the pods level (`free`), what one domain refuses another may
        take. `rooms` are the bins there are: what is placed in one domain changes no other.
        """
        placed = 0
        for _, where, most in options:
            share = min(most, count - placed)
            if share:
                number = self._fill_and_open(demand, share, (*demand.pinned, *where), rooms)
                if number < share:
                    exhausted.add(where)
                placed += number
        for _, where, _ in options:
            if placed < count and where not in exhausted and free:
                placed += self._fill_and_open(demand, count - placed, (*demand.pinned, *where))
        return placed

    def _fill_and_open(
        self, demand: Demand, count: int, where: Where, rooms: tuple[Ints, Ints] | None = None
    ) -> int:
        """`rooms`: the demand's candidates in its pinned domains, if they are known."""
        board = self.board
        rules = board.rules(demand)
        if rules.need:
            return self._gather(demand, count, where)
        if rooms is None:
            placed = self._fill(demand, count, where, mind=True)
        else:
            placed = self._spill(demand, count, *self._inside(rooms, where))
        if placed < count and self.defer and self._deferrable(demand, where):
            board.expect(demand, where, count - placed)
            self.deferred.append((demand, where, count - placed))
            return count
        if placed < count:
            placed += self._open(demand, count - placed, where)
        if placed < count and rules.minded:
            placed += self._fill(demand, count - placed, where, mind=False)
        return placed

    def _deferrable(self, demand: Demand, where: Where) -> bool:
        """Whether only the domains matter of the nodes bought, of which there is no end."""
        board = self.board
        if not within_domains(board, demand) or {k for k, _ in where} < set(demand.domains):
            return False
        rows = board.within(demand, where)
        if any(board.counted_on(g, rows) is None for g in demand.constraints.moves):
            return False
        return not board.limits.bounded[rows].all()

    def _fill(self, demand: Demand, count: int, where: Where, *, mind: bool) -> int:
        bins, rooms = self.board.candidates(demand, where, mind=mind)
        return self._spill(demand, count, bins, rooms)

    def _inside(self, rooms: tuple[Ints, Ints], where: Where) -> tuple[Ints, Ints]:
        """Those of the bins that are in the given domains."""
        bins, counts = rooms
        inside = np.ones(len(bins), np.bool_)
        for key, code in where:
            inside &= self.board.codes(key)[bins] == code
        return bins[inside], counts[inside]

    def _spill(self, demand: Demand, count: int, bins: Ints, rooms: Ints) -> int:
        if not len(bins):
            return 0
        before = np.cumsum(rooms) - rooms
        last = int(np.searchsorted(before, count, side="left"))
        bins, rooms, before = bins[:last], rooms[:last], before[:last]
        taken = np.minimum(rooms, count - before)
        self.board.put(demand, bins, taken)
        number = int(taken.sum())
        self.outlook.placed(demand, number, int(taken[bins < self.board.existing].sum()))
        return number

    def _gather(self, demand: Demand, count: int, where: Where) -> int:
        """Hostname affinity: beside pods that are there, or together on one node.

        What other pods' spread constraints would like goes first, as far as that leaves a place.
        """
        board = self.board
        rules = board.rules(demand)
        minded = board.candidates(demand, where, mind=True)
        everything = board.candidates(demand, where, mind=False) if rules.minded else minded
        for bins, rooms in (minded, everything):
            beside = np.ones(len(bins), np.bool_)
            for column in rules.need:
                beside &= board.host[bins, column] > 0
            placed = self._spill(demand, count, bins[beside], rooms[beside])
            if placed:
                return placed
        if not demand.constraints.bootstrap or any(
            board.totals[g.index] for g in demand.constraints.together
        ):
            return 0
        return (
            self._on_one(demand, count, *minded)
            or self._open(demand, count, where, nodes=1)
            or self._on_one(demand, count, *everything)
        )

    def _on_one(self, demand: Demand, count: int, bins: Ints, rooms: Ints) -> int:
        """Place pods on the first bin that takes the most of them."""
        if not len(bins):
            return 0
        best = int(np.flatnonzero(rooms >= min(count, int(rooms.max())))[0])
        return self._spill(demand, count, bins[best : best + 1], rooms[best : best + 1])

    def _open(self, demand: Demand, count: int, where: Where, nodes: int | None = None) -> int:
        """Buy nodes for up to `count` pods, tier by tier."""
        board = self.board
        rows = board.within(demand, where)
        if not len(rows):
            return 0
        fit = self._fit(demand)[rows]
        rows, fit = rows[fit > 0], fit[fit > 0]
        placed = 0
        opened = 0
        for tier in np.unique(board.offers.tier[rows]).tolist():
            mine = board.offers.tier[rows] == tier
            for exotic in (False, True):
                chosen = mine & (board.offers.exotic[rows] == exotic)
                while placed < count and (nodes is None or opened < nodes):
                    step, bought = self._buy(
                        demand, count - placed, rows[chosen], fit[chosen], nodes
                    )
                    if not step:
                        break
                    placed += step
                    opened += bought
        return placed

    def _buy(
        self, demand: Demand, count: int, rows: Ints, fit: Ints, nodes: int | None
    ) -> tuple[int, int]:
        """Buy one batch of equal nodes: (pods placed, nodes bought)."""
        board = self.board
        if not len(rows):
            return 0, 0
        rooms = board.limits.rooms(rows)
        rows, fit, rooms = rows[rooms > 0], fit[rooms > 0], rooms[rooms > 0]
        if not len(rows):
            return 0, 0
        each = np.minimum(fit, count)
        if nodes is not None:
            rows, rooms = rows[each == each.max()], rooms[each == each.max()]
            each = each[each == each.max()]
        cost, batch = self.outlook.cost(demand, rows, each, count)
        best = np.flatnonzero(cost <= cost.min() * (1 + _TIE))
        best = best[each[best] == each[best].max()]
        choice = int(self._even(rows, best))
        number = min(-(-count // int(each[choice])), int(batch[choice]), int(rooms[choice]))
        if len(best) > 1:
            number = -(-number // len(best))
        number = max(1, number if nodes is None else min(number, nodes))
        row = int(rows[choice])
        bins = board.open(row, number)
        zone = board.offers.offerings[row].zone
        board.opened[zone] = board.opened.get(zone, 0) + number
        taken = np.full(number, each[choice], np.int64)
        taken[-1] = min(int(each[choice]), count - int(each[choice]) * (number - 1))
        board.put(demand, bins, taken)
        placed = int(taken.sum())
        self.outlook.bought(demand, row, number)
        self.outlook.placed(demand, placed, 0)
        return placed, number

    def _even(self, rows: Ints, best: Ints) -> int:
        """Of equally good offers, the one in the zone with the fewest new nodes."""
        if len(best) == 1:
            return int(best[0])
        offerings = self.board.offers.offerings
        opened = self.board.opened
        ranked: list[int] = best.tolist()
        return min(
            ranked, key=lambda i: (opened.get(offerings[int(rows[i])].zone, 0), int(rows[i]))
        )

    def _fit(self, demand: Demand) -> Ints:
        if demand.fit is None:
            net = self.board.feasibility.net
            fit = np.full(len(net), self.board.rules(demand).most or (1 << 40), np.int64)
            for d in demand.dims:
                np.minimum(fit, net[:, d] // demand.requests[d], out=fit)
            for _, most, own in self.board.rules(demand).caps:
                if own:
                    np.minimum(fit, most, out=fit)
            fit[~demand.rows] = 0
            demand.fit = np.maximum(fit, 0)
        return demand.fit


def within_domains(board: Board, demand: Demand) -> bool:
    """Whether no rule within a node binds the demand's pods, or others because of them."""
    rules = board.rules(demand)
    return not (
        rules.zero
        or rules.caps
        or rules.minded
        or rules.need
        or len(rules.moves)
        or demand.shape.shared
    )


_Option = tuple[tuple[object, ...], Where, int]
"""A rank, the domains, and the most pods to place there at once."""


def _options(board: Board, demand: Demand, domains: Sequence[_Domains]) -> list[_Option]:
    """The combinations of domains that exist, best first.

    Where several keys meet, a domain that has few partners is used before one that has many, which
    others may need (a zone without spot capacity can only do with on-demand).
    """
    keys = tuple(d.key for d in domains)
    if len(keys) == 1:
        found: list[_Option] = [
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


class _Domains:
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
