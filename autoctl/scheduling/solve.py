"""`solve`: a scheduling problem in, the cheapest valid set of nodes found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from autoctl.scheduling.board import Board, Where
from autoctl.scheduling.bound import lower_bound
from autoctl.scheduling.dividing import divide
from autoctl.scheduling.explain import Explainer
from autoctl.scheduling.feasibility import Demand
from autoctl.scheduling.launch import Launch, Launcher
from autoctl.scheduling.minvalues import Flexibility
from autoctl.scheduling.outlook import Outlook
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.preferences import levels, preferences_of
from autoctl.scheduling.problem import (
    MinValuesPolicy,
    NewNode,
    PreferencePolicy,
    SchedulingProblem,
    Solution,
    Unschedulable,
)
from autoctl.scheduling.reserve import solve_with_reserve
from autoctl.scheduling.sequential import Placer, within_domains
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.simple import is_simple, may_be_unusual, pack_simple
from autoctl.scheduling.topology import Constraints, Gauge, Kept
from autoctl.scheduling.world import World


def solve(problem: SchedulingProblem) -> Solution:
    """Place the problem's pods on its nodes and on new nodes of its pools.

    Always answers, the same for the same problem: pods that cannot be placed are in
    `unschedulable` with the reason, and never keep others from being placed.
    """
    if problem.reserve:
        return solve_with_reserve(problem, solve)
    world = World(problem)
    budget = max(problem.options.budget, LEAST_WORK)
    several = len({s.template.priority for s in world.shapes}) > 1
    first = _Run(world, budget // 2 if several else budget)
    outcome = first.run([world.shapes])
    if outcome.left and several:
        outcome = _Run(world, budget, first.work).run(_by_priority(world.shapes))
    return outcome.solution()


def _by_priority(shapes: Sequence[Shape]) -> list[list[Shape]]:
    found: dict[int, list[Shape]] = {}
    for shape in shapes:
        found.setdefault(shape.template.priority, []).append(shape)
    return [found[priority] for priority in sorted(found, reverse=True)]


@dataclass(eq=False)
class _Pending:
    """A shape's pods still to be placed, and how far its preferences have been given up."""

    shape: Shape
    left: int
    levels: Iterator[tuple[Kept, tuple[str, ...]]]
    demand: Demand
    given_up: tuple[str, ...] = ()
    seen: int = 0
    """Pods that had been placed when it was given up."""


LEAST_WORK = 1_000_000
"""Work units that a solve may spend whatever its budget is: greedy packing needs them."""

_FEW = 64
_NO_CHOICE = 1 << 30
"""Rank of pods that no anti-affinity over domains is about."""
_MOST_DEFERRED = 500
"""Shapes whose nodes the kernel chooses once their domains are decided: always a few, more where
most shapes are of that kind; beyond, it would take longer than it saves."""

_DIVISIONS = 4
"""Rounds of dividing nodes that leave too few instance types, and placing pods that puts out."""


class _Run:
    """One pass over all pods."""

    def __init__(self, world: World, budget: int, spent: int = 0) -> None:
        """`spent` work units of the budget are gone already."""
        self._world = world
        self._budget = budget
        self._board = Board(world.feasibility, world.topology, world.shapes, world.pools)
        self._all_rows = np.arange(len(world.offers))
        self._demands: list[Demand] = []
        self.given_up: dict[int, tuple[str, ...]] = {}
        self.bound = 0.0
        self.bound_complete = True
        """Whether `bound` covers every new node."""
        self.work = spent
        self.methods: set[str] = set()
        self._ended: list[_Pending] = []
        self._placed = 0
        self.launcher = Launcher(self._board, self._demands, world.problem.options, world.minimums)
        policy = world.problem.options.min_values_policy
        self._strict = bool(world.minimums) and policy is MinValuesPolicy.STRICT
        self._flexibility = Flexibility(world.feasibility, world.minimums)

    def run(self, groups: Sequence[Sequence[Shape]]) -> _Outcome:
        for group in groups:
            self._go(
                [
                    p
                    for s in group
                    if s.error is None and (p := self._start(s, len(s.pods))) is not None
                ]
            )
        self._go(self._followers())
        if self._strict:
            self._divide()
        return _Outcome(self._world, self._board, self._demands, self)

    def _go(self, waiting: list[_Pending]) -> None:
        while waiting:
            self._round(waiting)
            waiting = [p for p in waiting if p.left and self._advance(p)]

    def _divide(self) -> None:
        """Keep enough types to choose from; pods that this puts out are placed once more.

        So are those left over before, for whom it may have freed some of the limits.
        Rounds end: the pods put out of one find their offers judged by what limits are left.
        """
        for rounds_left in range(_DIVISIONS, 0, -1):
            off = divide(self._board, self._demands, self.launcher)
            if not off:
                return
            self.bound_complete = False
            if rounds_left > 1:
                self._go(self._again(off) + self._followers(everyone=True))

    def _again(self, off: Mapping[int, int]) -> list[_Pending]:
        """Pods put out, by shape, to be placed from their first preferences on."""
        counts: Counter[int] = Counter()
        for index, count in off.items():
            counts[self._demands[index].shape.index] += count
        shapes = self._world.shapes
        started = (self._start(shapes[i], count) for i, count in sorted(counts.items()))
        return [pending for pending in started if pending is not None]

    def _followers(self, *, everyone: bool = False) -> list[_Pending]:
        """Pods left over that pods which came after them may have made room for (or `everyone`)."""
        again = []
        for late in tuple(self._ended):
            waits = late.seen < self._placed and _waits(late.demand)
            if late.left and (everyone or waits):
                count, late.left = late.left, 0
                pending = self._start(late.shape, count)
                if pending is not None:
                    again.append(pending)
        return again

    # preferences

    def _start(self, shape: Shape, count: int) -> _Pending | None:
        """`count` pods of the shape, with as many of its preferences as can be had at all."""
        options = self._world.problem.options
        chosen = preferences_of(shape.template, avoid_taints=self._world.avoid_taints)
        if options.preference_policy is PreferencePolicy.IGNORE:
            chosen = ()
        steps = levels(chosen)
        kept, given_up = next(steps)
        pending = _Pending(shape, count, steps, self._demand(shape, kept), given_up)
        while not self._possible(pending.demand):
            if not self._advance(pending):
                return None
        return pending

    def _advance(self, pending: _Pending) -> bool:
        """Go to the next set of preferences; False when there is none."""
        for kept, given_up in pending.levels:
            demand = self._demand(pending.shape, kept)
            if self._possible(demand):
                pending.demand, pending.given_up = demand, given_up
                return True
        pending.seen = self._placed
        self._ended.append(pending)
        return False

    @staticmethod
    def _possible(demand: Demand) -> bool:
        return bool(demand.rows.any() or demand.nodes.any())

    def _demand(self, shape: Shape, kept: Kept) -> Demand:
        world = self._world
        demand = world.feasibility.demand(
            len(self._demands), shape, kept, world.topology.constraints(shape, kept)
        )
        if self._strict:
            demand.rows = self._flexibility.rows(
                demand.rows,
                demand.static,
                domains=demand.domains,
                within=self._board.limits.rooms(self._all_rows) > 0,
            )
        self._demands.append(demand)
        return demand

    # placing

    def _round(self, waiting: Sequence[_Pending]) -> None:
        outlook = Outlook(self._board, [(p.demand, p.left) for p in waiting])
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
        free = sum(within_domains(self._board, p.demand) for p in bound_by_others)
        worth = free <= _FEW or (free <= _MOST_DEFERRED and 2 * free >= len(bound_by_others))
        placer = Placer(self._board, outlook, defer=worth)
        self._in_turn(placer, bound_by_others)
        self._pack([p for p in waiting if is_simple(p.demand)], placer, bound_by_others)
        if bound_by_others:
            self.bound_complete = False
            self.methods.add("greedy")
            self._in_turn(Placer(self._board, outlook), bound_by_others)

    def _choice(self, demand: Demand, avoided: Collection[Gauge]) -> int:
        """Of pods that keep each other out of domains, those with the fewest to choose from first.

        How many domains the demand's anti-affinity, or that of others against it, is decided among;
        `avoided` are the gauges of which somebody wants no pod beside its own.
        """
        moved = (g for g in demand.constraints.moves if g in avoided)
        keys = {g.key for g in (*demand.constraints.apart, *moved) if not g.host}
        counts = [int(self._board.reachable(demand, key)[0].sum()) for key in keys]
        return min(counts, default=_NO_CHOICE)

    def _in_turn(self, placer: Placer, waiting: Sequence[_Pending]) -> None:
        """Place demands one by one, again while that helps those that wait for others."""
        progress = True
        while progress:
            progress = False
            for pending in waiting:
                if pending.left:
                    placed = placer.place(pending.demand, pending.left)
                    self._settle(pending, placed)
                    progress = progress or bool(placed)
            if not any(p.left and _waits(p.demand) for p in waiting):
                break

    def _pack(self, simple: Sequence[_Pending], placer: Placer, owners: Sequence[_Pending]) -> None:
        """Hand what only price matters for to the packing kernel, and book what it placed."""
        task = [(p.demand, p.left) for p in simple]
        homes = {p.demand.index: p for p in owners}
        for demand, where, count in placer.deferred:
            held = self._held(demand, where)
            task.append((held, count))
        if not task:
            return
        placed_by = self._kernel(task)
        unusual = [
            (demand, count - placed_by[demand.index])
            for demand, count in task
            if placed_by[demand.index] < count and may_be_unusual(self._board, demand)
        ]
        if unusual:
            for index, more in self._kernel(unusual, unusual=True).items():
                placed_by[index] += more
        for pending in simple:
            self._settle(pending, placed_by[pending.demand.index])
        for (demand, where, count), (held, _) in zip(
            placer.deferred, task[len(simple) :], strict=True
        ):
            missing = count - placed_by[held.index]
            if missing:
                self._board.expect(demand, where, -missing)
                homes[demand.index].left += missing

    def allowance(self) -> int:
        """Work units that are left of this run's part of the budget."""
        return max(0, self._budget - self.work)

    def _kernel(
        self, task: Sequence[tuple[Demand, int]], *, unusual: bool = False
    ) -> dict[int, int]:
        """Pods placed by the packing kernel, by demand index."""
        placed, result = pack_simple(
            self._board,
            task,
            self._world.problem.options,
            work=self.allowance() // 2,
            unusual=unusual,
        )
        if self.bound and result.lower_bound:
            self.bound_complete = False  # together, pods may cost less than the sum of their bounds
        self.bound += result.lower_bound
        self.work += result.work
        self.methods.add(result.method)
        return placed

    def _held(self, demand: Demand, where: Where) -> Demand:
        """The demand in decided domains, to be placed by price alone."""
        rows = demand.rows
        for key, code in where:
            rows = rows & (self._board.row_codes[key] == code)
        held = replace(
            demand,
            index=len(self._demands),
            constraints=Constraints(),
            rows=rows,
            pinned=where,
        )
        self._demands.append(held)
        if demand.index in self.given_up:
            self.given_up[held.index] = self.given_up[demand.index]
        return held

    def _settle(self, pending: _Pending, placed: int) -> None:
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


class _Outcome:
    """The end of a run, as a Solution on request."""

    def __init__(self, world: World, board: Board, demands: Sequence[Demand], run: _Run) -> None:
        self._world = world
        self._board = board
        self._demands = demands
        self._run = run
        placed = [0] * len(world.shapes)
        for content in board.contents:
            for index, count in content.items():
                placed[demands[index].shape.index] += count
        self.left = any(placed[s.index] < len(s.pods) for s in world.shapes if s.error is None)
        self._placed = placed

    def solution(self) -> Solution:
        """Name the pods of every bin."""
        world, board = self._world, self._board
        launcher = self._run.launcher
        launcher.right_size()
        queues = [iter(s.pods) for s in world.shapes]
        placements: dict[str, str] = {}
        relaxed: dict[str, tuple[str, ...]] = {}
        new_nodes: list[NewNode] = []
        for b, content in enumerate(board.contents):
            if not content:
                continue
            pods = self._take(content, queues, relaxed)
            if b < board.existing:
                name = world.nodes.nodes[b].name
                placements.update(dict.fromkeys(pods, name))
            else:
                new_nodes.append(_new_node(launcher.launch(b), pods))
        unschedulable = self._unschedulable(queues)
        cost = float(sum(node.offer.price for node in new_nodes))
        bound = self._run.bound if self._run.bound_complete else self._bound()
        return Solution(
            new_nodes=tuple(new_nodes),
            placements=placements,
            unschedulable=unschedulable,
            cost=cost,
            lower_bound=min(bound, cost),
            method=self._method() if new_nodes else "none",
            work=self._run.work,
            relaxed=relaxed,
        )

    def _bound(self) -> float:
        """A bound for everything on new nodes."""
        if not self._world.problem.options.prove:
            return 0.0
        placed: dict[int, int] = {}
        for content in self._board.contents[self._board.existing :]:
            for index, count in content.items():
                placed[index] = placed.get(index, 0) + count
        demands = [(self._demands[i], n) for i, n in sorted(placed.items())]
        allowance = self._run.allowance()
        budget = Budget(min(allowance, self._world.problem.options.budget), allowance)
        found = lower_bound(self._board, demands, budget)
        self._run.work += budget.spent
        return found

    def _method(self) -> Literal["greedy", "lp", "lp+greedy"]:
        methods = self._run.methods
        if not any("lp" in m for m in methods):
            return "greedy"
        return "lp" if methods == {"lp"} else "lp+greedy"

    def _take(
        self,
        content: dict[int, int],
        queues: list[Iterator[str]],
        relaxed: dict[str, tuple[str, ...]],
    ) -> tuple[str, ...]:
        pods: list[str] = []
        for index in sorted(content):
            queue = queues[self._demands[index].shape.index]
            taken = [next(queue) for _ in range(content[index])]
            given_up = self._run.given_up.get(index)
            if given_up:
                relaxed.update(dict.fromkeys(taken, given_up))
            pods += taken
        return tuple(pods)

    def _unschedulable(self, queues: list[Iterator[str]]) -> dict[str, Unschedulable]:
        explainer = Explainer(self._board, self._world.minimums, self._world.problem.closed_pools)
        last = {d.shape.index: d for d in self._demands}
        found: dict[str, Unschedulable] = {}
        for shape, queue in zip(self._world.shapes, queues, strict=True):
            reason: Unschedulable | None = None
            for pod in queue:
                if reason is None:
                    if shape.error is not None:
                        reason = Unschedulable(shape.error)
                    else:
                        reason = explainer.unschedulable(last[shape.index])
                found[pod] = reason
        return found


def _new_node(launch: Launch, pods: tuple[str, ...]) -> NewNode:
    return NewNode(
        pool=launch.pool,
        pods=pods,
        requests=launch.requests,
        requirements=launch.requirements,
        instance_types=launch.instance_types,
        offer=launch.offer,
        min_values_relaxed=launch.min_values_relaxed,
    )
