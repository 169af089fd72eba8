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
from autoctl.scheduling.problem import Offer, RequirementSpec, SolverOptions
from autoctl.scheduling.requirements import Requirement, Requirements
from autoctl.scheduling.resources import total
from autoctl.scheduling.tables import Mask


@dataclass(frozen=True, slots=True)
class Launch:
    """What a node to buy asks for; equal bins share one."""

    pool: str
    requests: Mapping[str, int]
    requirements: tuple[RequirementSpec, ...]
    instance_types: tuple[str, ...]
    offer: Offer
    min_values_relaxed: bool


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
        self._sizes: dict[object, int] = {}
        self._launches: dict[object, Launch] = {}
        self._allowed_cache: dict[object, Ints] = {}

    def right_size(self) -> None:
        """Give every new bin the cheapest offer that holds its pods where they must be."""
        board = self._board
        for b in range(board.existing, board.size):
            row = int(board.row[b])
            load = self._load(b)
            allowed = self._allowed(b)
            key = (row, load.tobytes(), allowed.tobytes())
            best = self._sizes.get(key)
            if best is None or board.limits.bounded[best]:
                best = self._sizes[key] = self._cheapest(row, load, allowed)
            if best != row:
                board.limits.take(row, -1)
                board.limits.take(best, 1)
                board.move(b, best)

    def launch(self, b: int) -> Launch:
        """The launch of a new bin."""
        board = self._board
        key = (int(board.row[b]), tuple(sorted(board.contents[b].items())))
        found = self._launches.get(key)
        if found is None or board.limits.bounded[board.row[b]]:
            found = self._launches[key] = self._make(b)
        return found

    def _load(self, b: int) -> Ints:
        board = self._board
        load: Ints = board.feasibility.net[board.row[b]] - board.free[b]
        return load

    def _members(self, b: int) -> list[Demand]:
        return [self._demands[i] for i in sorted(self._board.contents[b])]

    def _allowed(self, b: int) -> Ints:
        """Offers of the bin's pool and variant that all its pods accept, in its domains."""
        board = self._board
        row = int(board.row[b])
        key = (row, tuple(sorted(board.contents[b])))
        found = self._allowed_cache.get(key)
        if found is None:
            offers = board.offers
            usable: Mask = (offers.variant == offers.variant[row]) & offers.available
            for demand in self._members(b):
                usable = usable & demand.rows
            for domain in self._pinned(b):
                codes = board.row_codes[domain]
                usable = usable & (codes == codes[row])
            for _, term in self._terms(b):
                usable = usable & offers.table.mask(term)
            found = self._allowed_cache[key] = np.flatnonzero(usable)
        return found

    def _pinned(self, b: int) -> tuple[str, ...]:
        """Topology keys whose domain the decision depends on."""
        keys: set[str] = set()
        for demand in self._members(b):
            constraints = demand.constraints
            keys.update(key for key, _ in demand.pinned)
            keys.update(s.gauge.key for s in (*constraints.spread, *constraints.mind))
            keys.update(
                g.key for g in (*constraints.apart, *constraints.together, *constraints.moves)
            )
        return tuple(sorted(keys - {labels.HOSTNAME}))

    def _terms(self, b: int) -> list[tuple[Demand, Requirements]]:
        """For each demand the alternative that the bin's offer satisfies."""
        board = self._board
        row = int(board.row[b])
        found = []
        for demand in self._members(b):
            terms = board.feasibility.terms(demand.shape, demand.kept)
            found.append(
                (
                    demand,
                    next((t for t in terms if board.offers.table.mask(t)[row]), terms[0]),
                )
            )
        return found

    def _holding(self, allowed: Ints, load: Ints) -> Ints:
        return allowed[(self._board.feasibility.net[allowed] >= load).all(axis=1)]

    def _cheapest(self, row: int, load: Ints, allowed: Ints) -> int:
        board = self._board
        offers = board.offers
        rows = self._holding(allowed, load)
        if len(rows):
            rooms = board.limits.rooms(rows)
            rows = rows[(rooms > 0) | (rows == row)]
        if board.limits.usage.shape[1]:
            spare = np.maximum(board.limits.remaining, 0) + board.limits.usage[row]
            rows = rows[(board.limits.usage[rows] <= spare).all(axis=1)]
        plain = rows[~offers.exotic[rows]]
        rows = plain if len(plain) else rows
        minimums = self._minimums.get(int(offers.pool[row]), {})
        if not len(rows) or (minimums and shortfall(offers, rows, minimums)):
            return row
        best = rows[np.argmin(offers.price[rows])]
        return int(best) if offers.price[best] < offers.price[row] - 1e-12 else row

    def _make(self, b: int) -> Launch:
        board = self._board
        offers = board.offers
        row = int(board.row[b])
        pool = int(offers.pool[row])
        load = self._load(b)
        rows = self._choice(row, self._holding(self._allowed(b), load))
        minimums = self._minimums.get(pool, {})
        names, short = self._types(rows, row, minimums)
        if board.limits.bounded[row]:
            names = self._within_limits(names, rows, row)
        rows = rows[np.isin(offers.machine[rows], self._machines(rows, names))]
        offering = offers.offerings[row]
        return Launch(
            pool=offers.pools[pool].name,
            requests=self._requests(b, row),
            requirements=self._requirements(b, rows, names, short),
            instance_types=tuple(names),
            offer=Offer(
                offers.machines[int(offers.machine[row])].name,
                offering.zone,
                offering.capacity_type,
                offering.price,
                offering.reservation_id,
            ),
            min_values_relaxed=bool(short),
        )

    def _choice(self, row: int, rows: Ints) -> Ints:
        """Offers of one set of zones and capacity types, each type of which may be used freely.

        Reserved capacity is counted, so a node planned into a reservation asks for that one alone,
        and no other node may be launched into one.
        """
        offers = self._board.offers
        offerings = offers.offerings
        if offerings[row].capacity_type == RESERVED:
            same = (offers.reservation[rows] == offers.reservation[row]) & (
                offers.machine[rows] == offers.machine[row]
            )
            reserved: Ints = rows[same]
            return reserved
        rows = rows[offers.reservation[rows] < 0]
        rows = np.unique(np.append(rows, row))
        zone = self._board.offers.table.codes(labels.ZONE)
        capacity = self._board.offers.table.codes(labels.CAPACITY_TYPE)
        everything = np.flatnonzero(
            (offers.variant == offers.variant[row]) & offers.available & (offers.reservation < 0)
        )
        alike = rows[capacity[rows] == capacity[row]]
        own = rows[offers.machine[rows] == offers.machine[row]]
        options = (
            (np.unique(zone[rows]), np.unique(capacity[rows])),
            (np.unique(zone[alike]), np.unique(capacity[own])),
            (zone[[row]], np.unique(capacity[own])),
        )
        zones, kinds = zone[[row]], capacity[[row]]
        for some_zones, some_kinds in options:
            if self._closed(rows, everything, some_zones, some_kinds):
                zones, kinds = some_zones, some_kinds
                break
        free: Ints = rows[np.isin(zone[rows], zones) & np.isin(capacity[rows], kinds)]
        return free

    def _closed(self, rows: Ints, everything: Ints, zones: Ints, kinds: Ints) -> bool:
        """Whether every offer of the types in these zones and capacity types is allowed.

        A pod's alternatives (zone a with amd64, or zone b with arm64) need not form a product.
        """
        offers = self._board.offers
        zone = offers.table.codes(labels.ZONE)
        capacity = offers.table.codes(labels.CAPACITY_TYPE)
        types = np.unique(offers.machine[rows])
        inside = everything[
            np.isin(offers.machine[everything], types)
            & np.isin(zone[everything], zones)
            & np.isin(capacity[everything], kinds)
        ]
        return bool(np.isin(inside, rows).all())

    def _types(
        self, rows: Ints, row: int, minimums: Mapping[str, int]
    ) -> tuple[list[str], dict[str, int]]:
        offers = self._board.offers
        order = rows[np.lexsort((rows, offers.price[rows], offers.exotic[rows]))]
        first: dict[int, int] = {int(offers.machine[row]): row}
        for r in order.tolist():
            first.setdefault(int(offers.machine[r]), r)
        keys = [k for k in minimums if k not in (labels.ZONE, labels.CAPACITY_TYPE)]
        vocabulary = offers.table.vocabulary
        named = []
        for machine, r in first.items():
            values = {}
            for key in keys:
                code = int(offers.table.codes(key)[r])
                if code >= 0:
                    values[key] = vocabulary.values(key)[code]
            named.append((offers.machines[machine].name, values))
        names, short = choose_types(
            named, self._options.max_instance_types, {k: minimums[k] for k in keys}
        )
        spread = {k: v for k, v in minimums.items() if k not in keys}
        short.update(shortfall(offers, rows, spread))
        return names, short

    def _machines(self, rows: Ints, names: Sequence[str]) -> Ints:
        offers = self._board.offers
        wanted = set(names)
        return np.array(
            [
                m
                for m in np.unique(offers.machine[rows]).tolist()
                if offers.machines[m].name in wanted
            ],
            np.int64,
        )

    def _within_limits(self, names: list[str], rows: Ints, row: int) -> list[str]:
        """Types whose launch instead of the planned one still keeps the pool's limits."""
        board = self._board
        offers = board.offers
        if not board.limits.usage.shape[1]:
            return names
        own = board.limits.usage[row]
        spare = np.maximum(board.limits.remaining, 0)
        kept: list[str] = []
        largest = own.copy()
        usage = {
            offers.machines[int(offers.machine[r])].name: board.limits.usage[r]
            for r in rows.tolist()
        }
        for name in names:
            if (usage.get(name, own) <= own + spare).all():
                kept.append(name)
                largest = np.maximum(largest, usage.get(name, own))
        board.limits.remaining -= largest - own
        return kept

    def _requests(self, b: int, row: int) -> dict[str, int]:
        board = self._board
        many = [
            {name: amount * count for name, amount in self._demands[i].shape.requests.items()}
            for i, count in board.contents[b].items()
        ]
        feasibility = board.feasibility
        many += [
            dict(daemon.template.requests)
            for daemon, rows in zip(feasibility.daemons, feasibility.daemon_rows, strict=True)
            if rows[row]
        ]
        return {
            name: amount
            for name, amount in sorted(total(many).items())
            if not name.startswith("attachable-volumes-csi-")
        }

    def _requirements(
        self, b: int, rows: Ints, names: Sequence[str], short: Mapping[str, int]
    ) -> tuple[RequirementSpec, ...]:
        board = self._board
        offers = board.offers
        row = int(board.row[b])
        pool = int(offers.pool[row])
        together = offers.requirements[pool]
        for _, term in self._terms(b):
            together = together.add(*term.values())
        extra = [
            Requirement.of(k, "In", (v,))
            for k, v in offers.variants[int(offers.variant[row])].items()
        ]
        everything = np.flatnonzero((offers.pool == pool) & offers.available)
        pinned = self._pinned(b)
        for key in dict.fromkeys((labels.ZONE, labels.CAPACITY_TYPE, *pinned)):
            codes = offers.table.codes(key)
            mine = np.unique(codes[rows])
            if (
                key in pinned
                or len(mine) < len(np.unique(codes[everything]))
                or key == labels.CAPACITY_TYPE
            ):
                values = [offers.table.vocabulary.values(key)[c] for c in mine.tolist() if c >= 0]
                extra.append(Requirement.of(key, "In", values))
        reservation = offers.offerings[row].reservation_id
        if reservation is not None:
            extra.append(Requirement.of(labels.CAPACITY_RESERVATION_ID, "In", (reservation,)))
        together = together.add(*extra)
        specs: list[RequirementSpec] = []
        for key, requirement in together.items():
            least = requirement.min_values
            if key in short:
                least = short[key]
            if key == labels.INSTANCE_TYPE:
                continue
            for position, spec in enumerate(requirement.specs()):
                minimum = least if position == 0 else None
                specs.append(RequirementSpec(spec.key, spec.operator, spec.values, minimum))
        least = (
            together[labels.INSTANCE_TYPE].min_values if labels.INSTANCE_TYPE in together else None
        )
        specs.append(
            RequirementSpec(
                labels.INSTANCE_TYPE, "In", tuple(names), short.get(labels.INSTANCE_TYPE, least)
            )
        )
        return tuple(specs)
