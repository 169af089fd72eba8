"""From bins to NodeClaims: the right size, what the claim asks for, what it may fall back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoctl.api import labels
from autoctl.scheduling.board import Board
from autoctl.scheduling.fallbacks import Fallbacks
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.minvalues import shortfall
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
        self._fallbacks = Fallbacks(board.offers, board.limits)
        self._profiles: dict[object, _Profile] = {}
        self._sizes: dict[object, int | None] = {}
        self._launches: dict[object, Launch] = {}
        self._asks: dict[object, tuple[tuple[RequirementSpec, ...], tuple[str, ...], bool]] = {}
        self._held: dict[int, Ints] = {}

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
        alike = (id(profile), row, load.tobytes())
        known = self._launches.get(alike)
        if known is not None:
            return known
        holding = (profile.net >= load).all(axis=1)
        key = (id(profile), row, holding.tobytes())
        found = self._asks.get(key)
        if found is None:
            found = self._ask(row, profile, profile.rows[holding])
        requirements, names, relaxed = found
        offering = offers.offerings[row]
        launch = Launch(
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
        if not board.limits.bounded[row]:  # what limits leave open shrinks with every launch
            self._asks[key] = found
            self._launches[alike] = launch
        return launch

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
        fallbacks = self._fallbacks
        rows = fallbacks.free(row, profile.rows[(profile.net >= self._load(b)).all(axis=1)])
        if limits.bounded[row]:
            rows = fallbacks.within_limits(rows, row)
        machines, short = fallbacks.machines(rows, row, minimums, 1)
        if short:
            return None
        return fallbacks.beyond(machines, rows, row) if limits.bounded[row] else nothing

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
        rows = offers.by_price[usable[offers.by_price]]
        unique = sorted(terms, key=lambda t: [str(r) for r in t.values()])
        return _Profile(rows, board.feasibility.net[rows], tuple(unique), pinned)

    def _cheapest(self, row: int, load: Ints, profile: _Profile) -> int:
        board = self._board
        offers = board.offers
        if not board.limits.bounded[row] and int(offers.pool[row]) not in self._minimums:
            key = (id(profile), row, load.tobytes())
            if key not in self._sizes:
                self._sizes[key] = self._cheapest_unbounded(row, load, profile)
            size = self._sizes[key]
            if size is not None:
                return size
        holding: Mask = np.all(profile.net >= load, axis=1)
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

    def _cheapest_unbounded(self, row: int, load: Ints, profile: _Profile) -> int | None:
        """The cheapest offer that holds the load; None if there may be an end of it."""
        board = self._board
        price = board.offers.price
        holding: Mask = np.all(profile.net >= load, axis=1)
        first = int(holding.argmax())
        best = int(profile.rows[first])
        if not holding[first] or price[best] >= price[row] - _SAME_PRICE:
            return row
        return None if board.limits.bounded[best] else best

    def _ask(
        self, row: int, profile: _Profile, rows: Ints
    ) -> tuple[tuple[RequirementSpec, ...], tuple[str, ...], bool]:
        """Requirements, instance types in order, and whether minValues had to be lowered."""
        board = self._board
        offers = board.offers
        fallbacks = self._fallbacks
        rows = fallbacks.free(row, rows)
        if board.limits.bounded[row]:
            rows = fallbacks.within_limits(rows, row)
        minimums = self._minimums.get(int(offers.pool[row]), {})
        most = self._options.max_instance_types
        machines, short = fallbacks.machines(rows, row, minimums, most)
        if board.limits.bounded[row]:
            board.limits.remaining -= fallbacks.beyond(machines, rows, row)
        names = tuple(offers.machines[m].name for m in machines)
        used = fallbacks.of_machines(rows, machines)
        return self._requirements(row, profile, used, names, short), names, bool(short)

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
        for key in dict.fromkeys((labels.ZONE, labels.CAPACITY_TYPE, *profile.pinned)):
            mine = np.unique(offers.table.codes(key)[rows])
            narrower = len(mine) < offers.domains(pool, key)
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
