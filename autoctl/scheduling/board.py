"""The state of a solve: bins (existing nodes, then nodes to buy), their room, and the gauges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from autoctl.scheduling.feasibility import Demand, Feasibility, Ints
from autoctl.scheduling.hostrules import HostColumns, HostRules
from autoctl.scheduling.limits import Limits
from autoctl.scheduling.nodes import Nodes
from autoctl.scheduling.offers import Offers
from autoctl.scheduling.problem import Pool
from autoctl.scheduling.shapes import Attachment, Shape
from autoctl.scheduling.tables import UNDEFINED, Mask
from autoctl.scheduling.topology import Gauge, NodeFilter, Topology
from autoctl.scheduling.volumes import ATTACH_PREFIX

Where = tuple[tuple[str, int], ...]
"""Topology domains a placement is held to: (label key, code)."""


class Board:
    """Bins with room, labels, pods and gauges; placements change it."""

    def __init__(
        self,
        feasibility: Feasibility,
        topology: Topology,
        shapes: Sequence[Shape],
        pools: Sequence[Pool],
    ) -> None:
        """`pools` are those of the offers, in the same order, with their limits and usage now."""
        self.feasibility = feasibility
        self.offers: Offers = feasibility.offers
        self.nodes: Nodes = feasibility.nodes
        self.topology = topology
        self.pools = tuple(pools)
        self.limits = Limits(self.offers, self.pools)
        self.existing = len(self.nodes)
        self.size = self.existing
        space = max(64, self.existing + 256)
        depth = len(feasibility.resources)
        # both are read by column, for all bins at once
        self._free = np.zeros((space, depth), np.int64, order="F")
        self._free[: self.existing] = feasibility.free
        self._row = np.full(space, -1, np.int64)
        self._sealed: set[int] = set()
        self.contents: list[dict[int, int]] = [{} for _ in range(self.existing)]
        self._columns = HostColumns(topology.gauges, shapes)
        self._host = np.zeros((space, max(1, len(self._columns))), np.int32, order="F")
        self.domain_keys = tuple(sorted({g.key for g in topology.gauges if not g.host}))
        self._codes: dict[str, Ints] = {}
        self.row_codes: dict[str, Ints] = {}
        for key in self.domain_keys:
            self.row_codes[key] = self.offers.table.codes(key)
            codes = np.full(space, -1, np.int64)
            codes[: self.existing] = self.nodes.table.codes(key)
            self._codes[key] = codes
        vocabulary = self.offers.table.vocabulary
        self.counts: dict[int, Ints] = {
            g.index: np.zeros(len(vocabulary.values(g.key)), np.int64)
            for g in topology.gauges
            if not g.host
        }
        self.totals: dict[int, int] = {g.index: 0 for g in topology.gauges}
        self._filters: dict[int, tuple[Mask, Mask]] = {}
        self._universe: dict[int, Mask] = {}
        self._rules: dict[int, HostRules] = {}
        self._meetings: dict[object, dict[tuple[int, ...], None]] = {}
        self._reachable: dict[object, tuple[Mask, NDArray[np.float64]]] = {}
        self.attached: dict[int, set[Attachment]] = {}
        self._shared = any(s.shared for s in shapes)
        self.opened: dict[str, int] = {}
        self._count_running()

    # views of the bins in use

    @property
    def free(self) -> Ints:
        """(B, D) free room."""
        return self._free[: self.size]

    @property
    def row(self) -> Ints:
        """(B,) offer of each bin, -1 for existing nodes."""
        return self._row[: self.size]

    @property
    def host(self) -> NDArray[np.int32]:
        """(B, H) gauges of hostname domains, host ports."""
        return self._host[: self.size]

    def codes(self, key: str) -> Ints:
        """(B,) domain of each bin."""
        return self._codes[key][: self.size]

    # set-up

    def _count_running(self) -> None:
        gauges = self.topology.gauges
        if gauges:
            for labels_, tally in self.nodes.census.items():
                for index in self.topology.matched_set(labels_):
                    if not gauges[index].owners:
                        self._gauge_up(gauges[index], *tally)
            for gauge, tally in self.topology.running:
                self._gauge_up(gauge, *tally)
        if self._columns.ports:
            for i, info in enumerate(self.nodes.info):
                for port in info.ports:
                    for column in self._columns.meeting(port):
                        self._host[i, column] += 1
            for daemon in self.feasibility.daemons:
                for port in daemon.template.ports:
                    coming = self.nodes.table.any_mask(daemon.template.terms)
                    for column in self._columns.meeting(port):
                        self._host[: self.existing, column] += coming.astype(np.int32)

    def _gauge_up(self, gauge: Gauge, nodes: Ints, numbers: Ints) -> None:
        """Count pods that run: `numbers` of them on each of the (different) `nodes`."""
        if gauge.filter is not None:
            eligible = self._eligible(gauge)[0][nodes]
            nodes, numbers = nodes[eligible], numbers[eligible]
        if gauge.host:
            self._host[nodes, self._columns.of(gauge)] += numbers.astype(np.int32)
        else:
            codes = self._codes[gauge.key][nodes]
            known = codes >= 0
            numbers = numbers[known]
            np.add.at(self.counts[gauge.index], codes[known], numbers)
        self.totals[gauge.index] += int(numbers.sum())

    def _eligible(self, gauge: Gauge) -> tuple[Mask, Mask]:
        """Nodes (N,) and offers (O,) that a spread gauge counts."""
        found = self._filters.get(gauge.index)
        if found is None:
            only = gauge.filter or NodeFilter(None, None)
            nodes = np.ones(self.existing, np.bool_)
            rows = np.ones(len(self.offers), np.bool_)
            if only.terms is not None:
                nodes = nodes & self.nodes.table.any_mask(only.terms)
                rows = rows & self.offers.table.any_mask(only.terms)
            for key in only.keys:
                nodes = nodes & (self.nodes.table.codes(key) != UNDEFINED)
                rows = rows & (self.offers.table.codes(key) != UNDEFINED)
            if only.tolerations is not None:
                hard = self.nodes.tolerated_hard(only.tolerations)
                nodes = nodes & hard
                rows = rows & self.feasibility.tolerated_rows(only.tolerations, False)
            found = self._filters[gauge.index] = (nodes, rows)
        return found

    def universe(self, gauge: Gauge) -> Mask:
        """Which codes of the gauge's key are domains: of nodes there are or can be bought."""
        found = self._universe.get(gauge.index)
        if found is None:
            nodes, rows = self._eligible(gauge)
            found = np.zeros(len(self.counts[gauge.index]), np.bool_)
            if self.feasibility.allow_new:
                _mark(found, self.row_codes[gauge.key][rows & self.offers.available])
            _mark(found, self._codes[gauge.key][: self.existing][nodes])
            self._universe[gauge.index] = found
        return found

    def rules(self, demand: Demand) -> HostRules:
        """The demand's rules within a node; compiled once."""
        found = self._rules.get(demand.index)
        if found is None:
            found = self._rules[demand.index] = self._columns.rules(demand)
        return found

    def reachable(self, demand: Demand, key: str) -> tuple[Mask, NDArray[np.float64]]:
        """Domains of a key the demand may use by itself, and the lowest price of a node in each."""
        place = (key, id(demand.static), id(demand.nodes), demand.rows.any())
        found = self._reachable.get(place)
        if found is None:
            size = len(self.offers.table.vocabulary.values(key))
            usable = np.zeros(size, np.bool_)
            price = np.full(size, np.inf)
            codes = self.row_codes[key]
            rows = np.flatnonzero(demand.static & (codes >= 0))
            np.minimum.at(price, codes[rows], self.offers.price[rows])
            _mark(usable, codes[rows])
            _mark(usable, self._codes[key][: self.existing][demand.nodes])
            found = self._reachable[place] = (usable, price)
        return found

    def meeting(self, demand: Demand, keys: tuple[str, ...]) -> dict[tuple[int, ...], None]:
        """Combinations of domains of several keys in which the demand has nodes or offers."""
        place = (keys, id(demand.static), id(demand.nodes))
        found = self._meetings.get(place)
        if found is None:
            rows = np.flatnonzero(demand.static)
            nodes = np.flatnonzero(demand.nodes)
            both = np.stack(
                [
                    np.concatenate(
                        (self.row_codes[k][rows], self._codes[k][: self.existing][nodes])
                    )
                    for k in keys
                ],
                axis=1,
            )
            unique: list[list[int]] = np.unique(both, axis=0).tolist()
            found = self._meetings[place] = dict.fromkeys(map(tuple, unique))
        return found

    # questions

    def candidates(self, demand: Demand, where: Where, *, mind: bool) -> tuple[Ints, Ints]:
        """Bins that can take a pod of the demand, in filling order, and how many each."""
        size, first = self.size, self.existing
        if size == 0:
            return _NONE, _NONE
        fits = np.empty(size, np.bool_)
        fits[:first] = demand.nodes
        fits[first:] = demand.rows[self._row[first:size]]
        if self._sealed:
            fits[list(self._sealed)] = False
        for key, code in where:
            fits &= self._codes[key][:size] == code
        requests = demand.requests
        for d in demand.dims:
            fits &= self._free[:size, d] >= requests[d]
        rules = self.rules(demand)
        host = self._host
        for column in rules.zero:
            fits &= host[:size, column] == 0
        for column, most, own in rules.caps:
            fits &= host[:size, column] <= most - own
        if mind:
            for owners, column, most in rules.minded:
                fits &= (host[:size, owners] == 0) | (host[:size, column] < most)
        bins = np.flatnonzero(fits)
        if not len(bins):
            return bins, _NONE
        counts = np.full(len(bins), rules.most or _ANY, np.int64)
        for d in demand.dims:
            np.minimum(counts, self._free[bins, d] // requests[d], out=counts)
        for column, most, own in rules.caps:
            if own:
                np.minimum(counts, most - host[bins, column], out=counts)
        if mind:
            for owners, column, most in rules.minded:
                room = most - host[bins, column].astype(np.int64)
                room[host[bins, owners] == 0] = _ANY
                np.minimum(counts, room, out=counts)
        if demand.shape.shared:
            bins, counts = self._with_shared(demand, bins, counts)
        return bins, counts

    def _with_shared(self, demand: Demand, bins: Ints, counts: Ints) -> tuple[Ints, Ints]:
        """Volumes shared with other pods take an attachment only where they are not attached."""
        kept, rooms = [], []
        for b, count in zip(bins.tolist(), counts.tolist(), strict=True):
            room = self._shared_room(demand, b, count)
            if room > 0:
                kept.append(b)
                rooms.append(room)
        return np.array(kept, np.int64), np.array(rooms, np.int64)

    def _shared_room(self, demand: Demand, b: int, count: int) -> int:
        for d, name in enumerate(self.feasibility.resources):
            if name.startswith(ATTACH_PREFIX):
                driver = name.removeprefix(ATTACH_PREFIX)
                new = sum(
                    1 for a in demand.shape.shared if a[0] == driver and a not in self._attached(b)
                )
                room = int(self._free[b, d]) - new
                each = int(demand.requests[d])
                if room < 0:
                    return 0
                if each:
                    count = min(count, room // each)
        return count

    def _attached(self, b: int) -> set[Attachment]:
        found = self.attached.get(b)
        if found is None:
            there = self.nodes.attached(b, self.feasibility.volumes) if b < self.existing else ()
            found = self.attached[b] = set(there)
        return found

    # changes

    def open(self, row: int, number: int) -> Ints:
        """Add empty new nodes of an offer; their bins."""
        first = self.size
        self._grow(first + number)
        self.size = first + number
        self._free[first : self.size] = self.feasibility.net[row]
        self._row[first : self.size] = row
        self._host[first : self.size] = 0
        for key, codes in self.row_codes.items():
            self._codes[key][first : self.size] = codes[row]
        self.contents.extend({} for _ in range(number))
        self.limits.take(row, number)
        return np.arange(first, self.size)

    def close(self, b: int) -> None:
        """Give up a new node on which there is nothing."""
        assert b >= self.existing, "a node that is there is given up"
        assert not self.contents[b], "a node in use is given up"
        self.seal(b)
        self.limits.take(int(self._row[b]), -1)

    def seal(self, b: int) -> None:
        """Let no more pods onto a bin."""
        self._sealed.add(b)

    def move(self, b: int, row: int) -> None:
        """Make a new bin one of another offer of the same domains."""
        self._free[b] += self.feasibility.net[row] - self.feasibility.net[self._row[b]]
        self._row[b] = row

    def put(self, demand: Demand, bins: Ints, counts: Ints) -> None:
        """Place `counts` pods of the demand on the bins (each bin at most once)."""
        assert (counts > 0).all(), "a placement of no pods"
        self._book(demand, bins, counts)
        index = demand.index
        for b, count in zip(bins.tolist(), counts.tolist(), strict=True):
            held = self.contents[b]
            held[index] = held.get(index, 0) + count
            if demand.shape.shared:
                self._attach(demand, b)

    def take(self, demand: Demand, b: int, count: int) -> None:
        """Take `count` pods of the demand off a bin; volumes they shared stay booked."""
        held = self.contents[b]
        assert held[demand.index] >= count > 0, "more pods taken than there are"
        self._book(demand, np.array([b]), np.array([-count]))
        held[demand.index] -= count
        if not held[demand.index]:
            del held[demand.index]

    def _book(self, demand: Demand, bins: Ints, counts: Ints) -> None:
        self._free[bins] -= counts[:, None] * demand.requests
        moves = self.rules(demand).moves
        if len(moves):
            self._host[bins[:, None], moves] += counts[:, None].astype(np.int32)
        for gauge in demand.constraints.moves:
            number = self._counted(gauge, bins, counts)
            self.totals[gauge.index] += number

    def expect(self, demand: Demand, where: Where, count: int) -> None:
        """Count pods (or, negative, no longer) whose domains are decided but not their nodes."""
        codes = dict(where)
        for gauge in demand.constraints.moves:
            if codes[gauge.key] >= 0 and self.counted_on(gauge, self.within(demand, where)):
                self.counts[gauge.index][codes[gauge.key]] += count
                self.totals[gauge.index] += count

    def within(self, demand: Demand, where: Where) -> Ints:
        """Offers the demand may use in the given domains."""
        rows = demand.rows
        for key, code in where:
            rows = rows & (self.row_codes[key] == code)
        return np.flatnonzero(rows)

    def counted_on(self, gauge: Gauge, rows: Ints) -> bool | None:
        """Whether the gauge counts pods on new nodes of these offers; None if on some only."""
        if gauge.filter is None:
            return True
        counted = self._eligible(gauge)[1][rows]
        return bool(counted.all()) if counted.all() or not counted.any() else None

    def _counted(self, gauge: Gauge, bins: Ints, counts: Ints) -> int:
        if gauge.filter is not None:
            nodes, rows = self._eligible(gauge)
            old = bins < self.existing
            keep = np.empty(len(bins), np.bool_)
            keep[old] = nodes[bins[old]]
            keep[~old] = rows[self._row[bins[~old]]]
            bins, counts = bins[keep], counts[keep]
        if not gauge.host:
            codes = self._codes[gauge.key][bins]
            known = codes >= 0
            if not known.all():
                counts, codes = counts[known], codes[known]
            if len(codes) and (codes == codes[0]).all():
                self.counts[gauge.index][codes[0]] += counts.sum()
            else:
                np.add.at(self.counts[gauge.index], codes, counts)
        return int(counts.sum())

    def _attach(self, demand: Demand, b: int) -> None:
        there = self._attached(b)
        for attachment in demand.shape.shared:
            if attachment not in there:
                there.add(attachment)
                name = ATTACH_PREFIX + attachment[0]
                if name in self.feasibility.resources:
                    self._free[b, self.feasibility.resources.index(name)] -= 1

    def _grow(self, size: int) -> None:
        space = len(self._row)
        if size <= space:
            return
        space = max(size, 2 * space)
        self._free = _extended(self._free, space)
        self._row = _extended(self._row, space)
        self._host = _extended(self._host, space)
        self._codes = {key: _extended(codes, space) for key, codes in self._codes.items()}


_NONE = np.zeros(0, np.int64)
_ANY = 1 << 40
_Scalar = TypeVar("_Scalar", np.int64, np.int32)


def _extended(array: NDArray[_Scalar], space: int) -> NDArray[_Scalar]:
    out = np.zeros((space, *array.shape[1:]), array.dtype, order="F")
    out[: len(array)] = array
    return out


def _mark(flags: Mask, codes: Ints) -> None:
    flags[np.unique(codes[codes >= 0])] = True
