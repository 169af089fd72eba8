"""From bins to NodeClaims: the right size, what the claim asks for, what it may fall back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoctl.api import labels
from autoctl.catalog.model import RESERVED
from autoctl.scheduling.board import Board
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.minvalues import choose_types, shortfall
from autoctl.scheduling.problem import MinValuesPolicy, Offer, RequirementSpec, SolverOptions
from autoctl.scheduling.requirements import Requirement, Requirements
from autoctl.scheduling.resources import total
from autoctl.scheduling.tables import Mask
from autoctl.scheduling.volumes import ATTACH_PREFIX


@dataclass(frozen=True, slots=True)
class Launch:
    """What a node to buy asks for; equal bins share one."""

    pool: str
    requests: Mapping[str, int]
    requirements: tuple[RequirementSpec, ...]
    instance_types: tuple[str, ...]
    offer: Offer
    min_values_relaxed: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Profile:
    """What bins with the same rules have in common.

    `rows` are the offers all pods accept, cheapest first (unusual hardware last); `net` their room.
    """

    rows: Ints
    net: Ints
    terms: tuple[Requirements, ...]
    pinned: tuple[str, ...]


class Launcher:
    """Turns filled bins into launches."""

    def __init__(
        self,
        board: Board,
        demands: Sequence[Demand],
        options: SolverOptions,
        minimums: Mapping[int, Mapping[str, int]],
    ) -> None:
        self._board = board
        self._demands = demands
        self._options = options
        self._minimums = minimums
        self._profiles: dict[object, _Profile] = {}
        self._asks: dict[object, tuple[tuple[RequirementSpec, ...], tuple[str, ...], bool]] = {}
        self._held: dict[int, Ints] = {}
        self._zone = board.offers.table.codes(labels.ZONE)
        self._capacity = board.offers.table.codes(labels.CAPACITY_TYPE)

    def right_size(self) -> None:
        """Give every new bin the cheapest offer that holds its pods where they must be."""
        board = self._board
        for b in range(board.existing, board.size):
            if not board.contents[b]:
                continue
            row = int(board.row[b])
            held = self._release(b)
            best = self._cheapest(row, self._load(b), self._profile(b))
            if best != row:
                self._move(b, best)
            if held and not self.hold(b):
                self._move(b, row)
                self.hold(b)

    def _move(self, b: int, row: int) -> None:
        self._board.limits.take(int(self._board.row[b]), -1)
        self._board.limits.take(row, 1)
        self._board.move(b, row)

    def launch(self, b: int) -> Launch:
        """The launch of a new bin."""
        board = self._board
        self._release(b)
        offers = board.offers
        row = int(board.row[b])
        profile = self._profile(b)
        load = self._load(b)
        holding = (profile.net >= load).all(axis=1)
        key = (id(profile), row, holding.tobytes())
        found = self._asks.get(key)
        if found is None or board.limits.bounded[row]:
            found = self._asks[key] = self._ask(row, profile, profile.rows[holding])
        requirements, names, relaxed = found
        offering = offers.offerings[row]
        return Launch(
            pool=offers.pools[int(offers.pool[row])].name,
            requests=self._requests(load, row),
            requirements=requirements,
            instance_types=names,
            offer=Offer(
                offers.machines[int(offers.machine[row])].name,
                offering.zone,
                offering.capacity_type,
                offering.price,
                offering.reservation_id,
            ),
            min_values_relaxed=relaxed,
        )

    def short(self, b: int) -> bool:
        """Whether a new bin leaves fewer types to choose from than its pool's minValues."""
        held = self._held.get(b)
        self._release(b)
        found = self._least(b) is None
        if held is not None:
            self._book(b, held)
        return found

    def hold(self, b: int) -> bool:
        """Keep for a new bin what a choice of types as its pool's minValues want may take.

        Any of them may be launched, so the limits must have room for the largest. Replaces what the
        bin held; False, with nothing held, where the limits or the pods leave too little choice.
        """
        self._release(b)
        amount = self._least(b)
        if amount is None:
            return False
        if amount.any():
            self._book(b, amount)
        return True

    def _book(self, b: int, amount: Ints) -> None:
        self._held[b] = amount
        self._board.limits.remaining -= amount

    def _release(self, b: int) -> bool:
        """Give back what the bin holds of the limits beyond its own offer; whether it did."""
        held = self._held.pop(b, None)
        if held is not None:
            self._board.limits.remaining += held
        return held is not None

    def _least(self, b: int) -> Ints | None:
        """What a least choice of types takes of the limits, beyond the bin's own; None if short."""
        limits = self._board.limits
        row = int(self._board.row[b])
        minimums = self._minimums.get(int(self._board.offers.pool[row]), {})
        nothing = np.zeros_like(limits.remaining)
        if not minimums:
            return nothing
        profile = self._profile(b)
        rows = self._choice(row, profile.rows[(profile.net >= self._load(b)).all(axis=1)])
        if limits.bounded[row]:
            rows = self._within_limits(rows, row)
        names, short = self._types(rows, row, minimums, 1)
        if short:
            return None
        return self._beyond(names, rows, row) if limits.bounded[row] else nothing

    def _load(self, b: int) -> Ints:
        board = self._board
        load: Ints = board.feasibility.net[board.row[b]] - board.free[b]
        return load

    def _profile(self, b: int) -> _Profile:
        """The bin's rules: pool variant, what its pods accept, its topology domains."""
        board = self._board
        row = int(board.row[b])
        members = [self._demands[i] for i in board.contents[b]]
        pinned = tuple(sorted({key for d in members for key in d.domains}))
        statics = {id(d.static): d for d in members}
        key = (
            int(board.offers.variant[row]),
            tuple(sorted(statics)),
            tuple((k, int(board.row_codes[k][row])) for k in pinned),
            row if any(len(d.terms) > 1 for d in statics.values()) else -1,
        )
        found = self._profiles.get(key)
        if found is None:
            found = self._profiles[key] = self._make_profile(row, list(statics.values()), pinned)
        return found

    def _make_profile(
        self, row: int, members: Sequence[Demand], pinned: tuple[str, ...]
    ) -> _Profile:
        board = self._board
        offers = board.offers
        usable: Mask = (offers.variant == offers.variant[row]) & offers.available
        terms: dict[Requirements, None] = {}
        for demand in members:
            usable = usable & demand.static
            term = next((t for t in demand.terms if offers.table.mask(t)[row]), demand.terms[0])
            terms[term] = None
            if len(demand.terms) > 1:
                usable = usable & offers.table.mask(term)
        for key in pinned:
            codes = board.row_codes[key]
            usable = usable & (codes == codes[row])
        rows = np.flatnonzero(usable)
        order = np.lexsort((rows, offers.price[rows], offers.exotic[rows]))
        rows = rows[order]
        unique = sorted(terms, key=lambda t: [str(r) for r in t.values()])
        return _Profile(rows, board.feasibility.net[rows], tuple(unique), pinned)

    def _cheapest(self, row: int, load: Ints, profile: _Profile) -> int:
        board = self._board
        offers = board.offers
        holding: Mask = np.all(profile.net >= load, axis=1)
        if not board.limits.bounded[row] and int(offers.pool[row]) not in self._minimums:
            first = int(holding.argmax())
            best = int(profile.rows[first])
            if not holding[first] or offers.price[best] >= offers.price[row] - _SAME_PRICE:
                return row
            if not board.limits.bounded[best]:
                return best
        rows = profile.rows[holding]
        if len(rows):
            board.limits.take(row, -1)
            rooms = board.limits.rooms(rows)
            board.limits.take(row, 1)
            rows = rows[(rooms > 0) | (rows == row)]
        minimums = self._minimums.get(int(offers.pool[row]), {})
        if max(minimums.values(), default=0) > 1:
            rows = rows[offers.reservation[rows] < 0]
        if not len(rows):
            return row
        strict = self._options.min_values_policy is MinValuesPolicy.STRICT
        if strict and minimums and shortfall(offers, rows, minimums):
            return row
        best = int(rows[0])
        return best if offers.price[best] < offers.price[row] - _SAME_PRICE else row

    def _ask(
        self, row: int, profile: _Profile, rows: Ints
    ) -> tuple[tuple[RequirementSpec, ...], tuple[str, ...], bool]:
        """Requirements, instance types in order, and whether minValues had to be lowered."""
        board = self._board
        offers = board.offers
        rows = self._choice(row, rows)
        if board.limits.bounded[row]:
            rows = self._within_limits(rows, row)
        minimums = self._minimums.get(int(offers.pool[row]), {})
        names, short = self._types(rows, row, minimums, self._options.max_instance_types)
        if board.limits.bounded[row]:
            board.limits.remaining -= self._beyond(names, rows, row)
        kept = set(names)
        used = rows[[offers.machines[m].name in kept for m in offers.machine[rows].tolist()]]
        requirements = self._requirements(row, profile, used, names, short)
        return requirements, tuple(names), bool(short)

    def _choice(self, row: int, rows: Ints) -> Ints:
        """Offers of one set of zones and capacity types, each type of which may be used freely.

        Reserved capacity is counted, so a node planned into a reservation asks for that one alone,
        and no other node may be launched into one.
        """
        offers = self._board.offers
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
        offers = self._board.offers
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

    def _types(
        self, rows: Ints, row: int, minimums: Mapping[str, int], most: int
    ) -> tuple[list[str], dict[str, int]]:
        """`most` instance types (more if minimums need them), and what each label is short of.

        Cheapest first, the planned one at their head.
        """
        offers = self._board.offers
        ordered = np.concatenate(([row], rows))
        machines, first = np.unique(offers.machine[ordered], return_index=True)
        by_price = np.argsort(first, kind="stable")
        machines, first = machines[by_price], first[by_price]
        if not minimums:
            return [offers.machines[m].name for m in machines[:most].tolist()], {}
        keys = [k for k in minimums if k not in (labels.ZONE, labels.CAPACITY_TYPE)]
        vocabulary = offers.table.vocabulary
        named = []
        for machine, r in zip(machines.tolist(), ordered[first].tolist(), strict=True):
            values = {}
            for key in keys:
                code = int(offers.table.codes(key)[r])
                if code >= 0:
                    values[key] = vocabulary.values(key)[code]
            named.append((offers.machines[machine].name, values))
        names, short = choose_types(named, most, {k: minimums[k] for k in keys})
        spread = {k: v for k, v in minimums.items() if k not in keys}
        short.update(shortfall(offers, rows, spread))
        return names, short

    def _within_limits(self, rows: Ints, row: int) -> Ints:
        """Offers whose launch instead of the planned one still keeps the pool's limits."""
        limits = self._board.limits
        most = limits.usage[row] + np.maximum(limits.remaining, 0)
        inside: Ints = rows[(limits.usage[rows] <= most).all(axis=1) | (rows == row)]
        return inside

    def _beyond(self, names: Sequence[str], rows: Ints, row: int) -> Ints:
        """The most that one of the named types takes of the limits, beyond what the row takes."""
        offers, limits = self._board.offers, self._board.limits
        kept = set(names)
        named = [offers.machines[m].name in kept for m in offers.machine[rows].tolist()]
        own = limits.usage[row]
        more: Ints = limits.usage[rows[named]].max(axis=0, initial=0).clip(own) - own
        return more

    def _requests(self, load: Ints, row: int) -> dict[str, int]:
        feasibility = self._board.feasibility
        pods = {
            name: amount
            for name, amount in zip(feasibility.resources, load.tolist(), strict=True)
            if amount and not name.startswith(ATTACH_PREFIX)
        }
        daemons = [
            daemon.template.requests
            for daemon, rows in zip(feasibility.daemons, feasibility.daemon_rows, strict=True)
            if rows[row]
        ]
        return total((pods, *daemons)) if daemons else pods

    def _requirements(
        self,
        row: int,
        profile: _Profile,
        rows: Ints,
        names: Sequence[str],
        short: Mapping[str, int],
    ) -> tuple[RequirementSpec, ...]:
        offers = self._board.offers
        pool = int(offers.pool[row])
        together = offers.requirements[pool]
        for term in profile.terms:
            together = together.add(*term.values())
        variant = offers.variants[int(offers.variant[row])]
        extra = [Requirement.of(k, "In", (v,)) for k, v in variant.items()]
        everything = (offers.pool == pool) & offers.available
        for key in dict.fromkeys((labels.ZONE, labels.CAPACITY_TYPE, *profile.pinned)):
            codes = offers.table.codes(key)
            mine = np.unique(codes[rows])
            narrower = len(mine) < len(np.unique(codes[everything]))
            if key in profile.pinned or narrower or key == labels.CAPACITY_TYPE:
                values = [offers.table.vocabulary.values(key)[c] for c in mine.tolist() if c >= 0]
                extra.append(Requirement.of(key, "In", values))
        reservation = offers.offerings[row].reservation_id
        if reservation is not None:
            extra.append(Requirement.of(labels.CAPACITY_RESERVATION_ID, "In", (reservation,)))
        together = together.add(*extra)
        specs: list[RequirementSpec] = []
        for key, requirement in together.items():
            least = short.get(key, requirement.min_values)
            if key == labels.INSTANCE_TYPE:
                continue
            for position, spec in enumerate(requirement.specs()):
                minimum = least if position == 0 else None
                specs.append(RequirementSpec(spec.key, spec.operator, spec.values, minimum))
        named = together.get(labels.INSTANCE_TYPE)
        least = short.get(labels.INSTANCE_TYPE, named.min_values if named else None)
        specs.append(RequirementSpec(labels.INSTANCE_TYPE, "In", tuple(names), least))
        return tuple(specs)


_SAME_PRICE = 1e-12


def _among(codes: Ints, wanted: Ints) -> Mask:
    """(len(codes),) whether each code is one of `wanted`; both may have UNDEFINED."""
    flags = np.zeros(int(codes.max(initial=0)) + 3, np.bool_)
    flags[wanted] = True
    found: Mask = flags[codes]
    return found
