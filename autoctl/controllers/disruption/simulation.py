"""Asking the scheduler what happens when nodes go.

One `Simulator` serves one pass over one snapshot: it knows the rules that every simulated move
keeps (no pods onto nodes that are not initialized, or that pods have just come to) and remembers
the rooms that earlier moves of the pass have promised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from autoctl.catalog.model import InstanceType, Resources
from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.youth import least_saving, next_in_a_row
from autoctl.scheduling.problem import ExistingNode, Pool, SchedulingProblem, Solution
from autoctl.scheduling.rehearsal import comes_true
from autoctl.scheduling.solve import solve
from autoctl.scheduling.world import World
from autoctl.state.nodes import StateNode
from autoctl.state.pods import unbound
from autoctl.state.problem import pool_usage, scheduling_problem
from autoctl.state.quiet import quiet_in
from autoctl.state.snapshot import Snapshot


class Simulator:
    """Solves "where would these nodes' pods go" on one snapshot."""

    def __init__(self, snapshot: Snapshot, options: DisruptionOptions) -> None:
        self._snapshot = snapshot
        # What a command costs at least is nobody's question; proving it costs as much as the move.
        self._solver = replace(options.solver, prove=False)
        self._options = options
        self._nominations = dict(snapshot.nominations)
        self._gone: set[str] = set()
        self._base: SchedulingProblem | None = None
        self._roomy: dict[
            tuple[float, int], tuple[tuple[InstanceType, ...], tuple[InstanceType, ...]]
        ] = {}

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot with what this pass has promised so far."""
        return self._snapshot.but(nominations=dict(self._nominations))

    def commit(self, candidates: Iterable[Candidate], solution: Solution | None = None) -> None:
        """Count the candidates as gone and the solution's placements as promised."""
        self._gone.update(c.name for c in candidates)
        if solution is not None:
            self._nominations.update(solution.placements)
        self._base = None

    def problem(
        self,
        candidates: Sequence[Candidate],
        *,
        quiet_only: bool,
        slack: float = 0.0,
    ) -> SchedulingProblem:
        """The question for these candidates.

        `quiet_only` leaves out destinations still within their NodePool's `consolidateAfter`, as
        consolidation does: filling them would start their quiet period again. `slack` is the part
        of every destination's CPU and memory that is to stay free.
        """
        base = self._problem()
        names = {c.name for c in candidates}
        nodes = (
            self._destination(n, quiet_only=quiet_only) for n in base.nodes if n.name not in names
        )
        limited = any(p.limits for p in base.pools)
        pools = self._without_usage(names) if names and limited else base.pools
        return replace(
            base,
            pods=tuple(unbound(p) for c in candidates for p in c.movable),
            nodes=tuple(_roomy_node(n, slack) for n in nodes),
            pools=tuple(self._roomy_pool(p, slack) for p in pools),
            options=self._solver,
        )

    def _roomy_pool(self, pool: Pool, slack: float) -> Pool:
        if not slack:
            return pool
        key = (slack, id(pool.instance_types))
        found = self._roomy.get(key)
        if found is None:
            # The original is kept as well: an id is only good while its object lives.
            found = (pool.instance_types, tuple(_roomy_type(t, slack) for t in pool.instance_types))
            self._roomy[key] = found
        return replace(pool, instance_types=found[1])

    def as_it_is(self, candidates: Sequence[Candidate]) -> SchedulingProblem:
        """All nodes with their pods, and the pods of the candidates as those that could move."""
        base = self._problem()
        return replace(
            base,
            pods=tuple(p for c in candidates for p in c.movable),
            nodes=tuple(self._destination(n, quiet_only=True) for n in base.nodes),
            options=self._solver,
        )

    def solve(
        self, candidates: Sequence[Candidate], *, quiet_only: bool, slack: float = 0.0
    ) -> Solution:
        """Where the candidates' pods would go."""
        return solve(self.problem(candidates, quiet_only=quiet_only, slack=slack))

    def comes_true(self, candidates: Sequence[Candidate], solution: Solution) -> bool:
        """Whether kube-scheduler, placing the candidates' pods itself, finds room for them all."""
        return comes_true(self.problem(candidates, quiet_only=False), solution)

    def shapes(self, candidates: Sequence[Candidate]) -> dict[str, int]:
        """A number for each of the candidates' pods, equal for those that are interchangeable."""
        world = World(self.problem(candidates, quiet_only=True))
        return {pod: shape.index for shape in world.shapes for pod in shape.pods}

    def least_saving(self, candidate: Candidate) -> float:
        """The least share of what goes that a move with this node must save, if it buys any."""
        return least_saving(candidate.node, self._snapshot.now, self._options)

    def in_a_row(self, candidates: Iterable[Candidate]) -> int:
        """How many consolidations in a row it would be to take these nodes now."""
        nodes = (c.node for c in candidates)
        return next_in_a_row(nodes, self._snapshot.now, self._options.young)

    def _problem(self) -> SchedulingProblem:
        if self._base is None:
            self._base = scheduling_problem(
                self.snapshot,
                pods=(),
                exclude_nodes=self._gone,
                options=self._solver,
            )
        return self._base

    def _without_usage(self, names: Collection[str]) -> tuple[Pool, ...]:
        """The pools with what these nodes take of limits given back."""
        usage = pool_usage(self._snapshot, self._gone | set(names))
        return tuple(replace(p, usage=usage.get(p.name, {})) for p in self._problem().pools)

    def _destination(self, node: ExistingNode, *, quiet_only: bool) -> ExistingNode:
        if not node.schedulable:
            return node
        state = self._snapshot.state_nodes[node.name]
        if not node.initialized or (quiet_only and self._fresh(state)):
            return replace(node, schedulable=False)
        return node

    def _fresh(self, node: StateNode) -> bool:
        if node.claim is None or node.pool is None:
            return False
        pool = self._snapshot.node_pools.get(node.pool)
        if pool is None:
            return False
        wait = quiet_in(node.quiet_since, pool, self._snapshot.now)
        return wait is not None and wait.total_seconds() > 0


def _roomy_node(node: ExistingNode, slack: float) -> ExistingNode:
    """The node with a part of its CPU and memory taken off."""
    return replace(node, allocatable=_less(node.allocatable, slack)) if slack else node


def _roomy_type(instance_type: InstanceType, slack: float) -> InstanceType:
    taken = {
        name: amount - _less(instance_type.allocatable, slack)[name]
        for name, amount in instance_type.allocatable.items()
    }
    overhead = {
        name: instance_type.overhead.get(name, 0) + taken.get(name, 0)
        for name in {*instance_type.overhead, *taken}
    }
    return replace(instance_type, overhead=overhead)


def _less(amounts: Resources, slack: float) -> dict[str, int]:
    return {
        name: int(amount * (1 - slack)) if name in ("cpu", "memory") else amount
        for name, amount in amounts.items()
    }
