"""One pass over all pods of a problem: exactly and by turns, or all at once by price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from autoctl.scheduling.board import Board, Where
from autoctl.scheduling.dividing import divide
from autoctl.scheduling.feasibility import Demand
from autoctl.scheduling.hardware import Hardware
from autoctl.scheduling.launch import Launcher
from autoctl.scheduling.outlook import Outlook
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.pending import Pending, Prospects
from autoctl.scheduling.sequential import Placer, within_domains
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.simple import Packed, is_simple, may_be_unusual, pack_simple
from autoctl.scheduling.topology import Constraints, Gauge
from autoctl.scheduling.world import World

_FEW = 64
_NO_CHOICE = 1 << 30
"""Rank of pods that no anti-affinity over domains is about."""
_MOST_DEFERRED = 500
"""Shapes whose nodes the kernel chooses once their domains are decided: always a few, more where
most shapes are of that kind; beyond, it would take longer than it saves."""

_DIVISIONS = 4
"""Rounds of dividing nodes that leave too few instance types, and placing pods that puts out."""


class Run:
    """One pass over all pods.

    Attributes:
        board: what is placed where.
        demands: every demand made, by index.
        held: those of them that are parts of others in decided domains, without their constraints.
        given_up: the preferences given up for a demand's pods, by demand index.
        bound: USD/hour no set of new nodes goes below; of all of them if `bound_complete`.
        effort: the work done, and how much there may be. When half of it is spent, nothing is tried
            twice; at four fifths pods that others bear on are no longer placed.
        cut: shapes whose turn did not come before.
        methods: what the packing kernel used.
    """

    def __init__(self, world: World, budget: int, spent: int = 0) -> None:
        """`spent` work units of the budget are gone already."""
        self._world = world
        self._budget = budget
        self.effort = Budget(budget, budget)
        self.effort.spend(spent)
        self.board = Board(world.feasibility, world.topology, world.shapes, world.pools)
        self._prospects = Prospects(world, self.board, self.effort)
        self.demands = self._prospects.demands
        self.held: set[int] = set()
        self.given_up: dict[int, tuple[str, ...]] = {}
        self.bound = 0.0
        self.bound_complete = True
        self.methods: set[str] = set()
        self.cut: set[int] = set()
        self._tried: set[int] = set()
        self._placed = 0
        self.launcher = Launcher(self.board, self.demands, world.problem.options, world.minimums)

    def place(self, groups: Sequence[Sequence[Shape]]) -> None:
        """Place the pods of each group of shapes, one group after the other."""
        for group in groups:
            readable = [s for s in group if s.error is None]
            started = (self._prospects.start(s, len(s.pods), self._placed) for s in readable)
            self._go([pending for pending in started if pending is not None])
        if not self.effort.pressed:
            self._go(self._followers())
        if self._prospects.strict:
            self._divide()

    def _go(self, waiting: list[Pending]) -> None:
        while waiting:
            self._round(waiting)
            waiting = [p for p in waiting if p.left and self._prospects.advance(p, self._placed)]

    def _divide(self) -> None:
        """Keep enough types to choose from; pods that this puts out are placed once more.

        So are those left over before, for whom it may have freed some of the limits.
        Rounds end: the pods put out of one find their offers judged by what limits are left.
        """
        for rounds_left in range(_DIVISIONS, 0, -1):
            off = divide(self.board, self.demands, self.launcher)
            if not off:
                return
            self.bound_complete = False
            if rounds_left > 1 and not self.effort.pressed:
                self._go(self._again(off) + self._followers(everyone=True))

    def _again(self, off: Mapping[int, int]) -> list[Pending]:
        """Pods put out, by shape, to be placed from their first preferences on."""
        counts: Counter[int] = Counter()
        for index, count in off.items():
            counts[self.demands[index].shape.index] += count
        shapes = self._world.shapes
        started = (
            self._prospects.start(shapes[i], count, self._placed)
            for i, count in sorted(counts.items())
        )
        return [pending for pending in started if pending is not None]

    def _followers(self, *, everyone: bool = False) -> list[Pending]:
        """Pods left over that pods which came after them may have made room for (or `everyone`)."""
        again = []
        for late in tuple(self._prospects.ended):
            waits = late.seen < self._placed and _waits(late.demand)
            if late.left and (everyone or waits):
                count, late.left = late.left, 0
                pending = self._prospects.start(late.shape, count, self._placed)
                if pending is not None:
                    again.append(pending)
        return again

    def _round(self, waiting: Sequence[Pending]) -> None:
        outlook = Outlook(self.board, [(p.demand, p.left) for p in waiting])
        bound_by_others = [p for p in waiting if not is_simple(p.demand)]
        forced = {id(p): outlook.nodes_forced(p.demand) for p in bound_by_others}
        avoided = frozenset(g for p in bound_by_others for g in p.demand.constraints.apart)
        bound_by_others.sort(
            key=lambda p: (
                -p.shape.template.priority,
                _follows(p.demand),
                -forced[id(p)],
                self._choice(p.demand, avoided),
                _size(p.demand),
            )
        )
        free = sum(within_domains(self.board, p.demand) for p in bound_by_others)
        worth = free <= _FEW or (free <= _MOST_DEFERRED and 2 * free >= len(bound_by_others))
        placer = Placer(self.board, outlook, self.effort, defer=worth)
        self._in_turn(placer, bound_by_others)
        self._pack([p for p in waiting if is_simple(p.demand)], placer, bound_by_others)
        if bound_by_others:
            self.bound_complete = False
            self.methods.add("greedy")
            self._in_turn(Placer(self.board, outlook, self.effort), bound_by_others)

    def _choice(self, demand: Demand, avoided: Collection[Gauge]) -> int:
        """Of pods that keep each other out of domains, those with the fewest to choose from first.

        How many domains the demand's anti-affinity, or that of others against it, is decided among;
        `avoided` are the gauges of which somebody wants no pod beside its own.
        """
        moved = (g for g in demand.constraints.moves if g in avoided)
        keys = {g.key for g in (*demand.constraints.apart, *moved) if not g.host}
        counts = [int(self.board.reachable(demand, key)[0].sum()) for key in keys]
        return min(counts, default=_NO_CHOICE)

    def _in_turn(self, placer: Placer, waiting: Sequence[Pending]) -> None:
        """Place demands one by one, again while that helps those that wait for others."""
        progress = True
        while progress:
            progress = False
            for pending in waiting:
                if pending.left:
                    placed = placer.place(pending.demand, pending.left)
                    self._settle(pending, placed)
                    progress = progress or bool(placed)
                    if not self.effort.exhausted:
                        self._tried.add(pending.demand.index)
                    elif pending.left and pending.demand.index not in self._tried:
                        self.cut.add(pending.shape.index)
            if self.effort.pressed or not any(p.left and _waits(p.demand) for p in waiting):
                break

    def _pack(self, simple: Sequence[Pending], placer: Placer, owners: Sequence[Pending]) -> None:
        """Hand what only price matters for to the packing kernel, and book what it placed."""
        task = [(p.demand, p.left) for p in simple]
        homes = {p.demand.index: p for p in owners}
        for demand, where, count in placer.deferred:
            held = self._held(demand, where)
            task.append((held, count))
        if not task:
            return
        first = self._kernel(task, Hardware.SHARED)
        self._count(first)
        placed_by = Counter(first.placed)
        if first.strays:
            # The bound knows these pods already.
            strays = [(d, n) for d, _ in task if (n := first.strays[d.index])]
            again = self._kernel(strays, Hardware.ORDINARY)
            placed_by.update(again.placed)
        unusual = [
            (demand, count - placed_by[demand.index])
            for demand, count in task
            if placed_by[demand.index] < count and may_be_unusual(self.board, demand)
        ]
        if unusual:
            last = self._kernel(unusual, Hardware.ANY)
            self._count(last)
            placed_by.update(last.placed)
        for pending in simple:
            self._settle(pending, placed_by[pending.demand.index])
        for (demand, where, count), (held, _) in zip(
            placer.deferred, task[len(simple) :], strict=True
        ):
            missing = count - placed_by[held.index]
            if missing:
                self.board.expect(demand, where, -missing)
                homes[demand.index].left += missing

    def allowance(self) -> int:
        """Work units that are left of this run's part of the budget."""
        return max(0, self._budget - self.effort.spent)

    def _kernel(self, task: Sequence[tuple[Demand, int]], hardware: Hardware) -> Packed:
        options = self._world.problem.options
        packed = pack_simple(
            self.board, task, options, work=self.allowance() // 2, hardware=hardware
        )
        self.effort.spend(packed.result.work)
        self.methods.add(packed.result.method)
        return packed

    def _count(self, packed: Packed) -> None:
        """Add the bound of pods that no bound has known before."""
        lower = packed.result.lower_bound
        if self.bound and lower:
            self.bound_complete = False  # together, pods may cost less than the sum of their bounds
        self.bound += lower

    def _held(self, demand: Demand, where: Where) -> Demand:
        """The demand in decided domains, to be placed by price alone."""
        rows = demand.rows
        for key, code in where:
            rows = rows & (self.board.row_codes[key] == code)
        held = replace(
            demand,
            index=len(self.demands),
            constraints=Constraints(),
            rows=rows,
            pinned=where,
        )
        self.demands.append(held)
        self.held.add(held.index)
        if demand.index in self.given_up:
            self.given_up[held.index] = self.given_up[demand.index]
        return held

    def _settle(self, pending: Pending, placed: int) -> None:
        pending.left -= placed
        self._placed += placed
        if placed and pending.given_up:
            self.given_up[pending.demand.index] = pending.given_up


def _waits(demand: Demand) -> bool:
    """Whether pods placed later may make room for the demand's: to be near, or level with."""
    constraints = demand.constraints
    return bool(constraints.together) or any(not s.gauge.host for s in constraints.spread)


def _follows(demand: Demand) -> bool:
    """Whether the pods should come after those they want to be near to.

    Not where a single node is the domain: it must be chosen for all of them at once.
    """
    return any(not g.host for g in demand.constraints.together)


def _size(demand: Demand) -> tuple[int, ...]:
    return (*(-demand.requests).tolist(), demand.shape.index)
