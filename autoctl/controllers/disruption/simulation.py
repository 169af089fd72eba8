"""Asking the scheduler what happens when nodes go.

One `Simulator` serves one pass over one snapshot: it knows the rules that every simulated move
keeps (no pods onto nodes that are not initialized, or that pods have just come to) and remembers
the rooms that earlier moves of the pass have promised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from autoctl.controllers.disruption.candidates import Candidate, consolidatable_in
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.scheduling.problem import ExistingNode, Pool, SchedulingProblem, Solution
from autoctl.scheduling.solve import solve
from autoctl.state.nodes import StateNode
from autoctl.state.pods import unbound
from autoctl.state.problem import pools, scheduling_problem
from autoctl.state.snapshot import Snapshot


class Simulator:
    """Solves "where would these nodes' pods go" on one snapshot."""

    def __init__(self, snapshot: Snapshot, options: DisruptionOptions) -> None:
        self._snapshot = snapshot
        self._options = options
        self._nominations = dict(snapshot.nominations)
        self._gone: set[str] = set()
        self._base: SchedulingProblem | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot with what this pass has promised so far."""
        return replace(self._snapshot, nominations=dict(self._nominations))

    def commit(self, candidates: Iterable[Candidate], solution: Solution | None = None) -> None:
        """Count the candidates as gone and the solution's placements as promised."""
        self._gone.update(c.name for c in candidates)
        if solution is not None:
            self._nominations.update(solution.placements)
        self._base = None

    def problem(
        self, candidates: Sequence[Candidate], *, quiet_only: bool, new_nodes: bool = True
    ) -> SchedulingProblem:
        """The question for these candidates.

        `quiet_only` leaves out destinations still within their NodePool's `consolidateAfter`, as
        consolidation does: filling them would start their quiet period again.
        """
        base = self._problem()
        names = {c.name for c in candidates}
        return replace(
            base,
            pods=tuple(unbound(p) for c in candidates for p in c.movable),
            nodes=tuple(
                self._destination(n, quiet_only=quiet_only)
                for n in base.nodes
                if n.name not in names
            ),
            pools=self._without_usage(names) if names else base.pools,
            options=replace(self._options.solver, allow_new_nodes=new_nodes),
        )

    def as_it_is(self, candidates: Sequence[Candidate]) -> SchedulingProblem:
        """All nodes with their pods, and the pods of the candidates as those that could move."""
        base = self._problem()
        return replace(
            base,
            pods=tuple(p for c in candidates for p in c.movable),
            nodes=tuple(self._destination(n, quiet_only=True) for n in base.nodes),
            options=self._options.solver,
        )

    def solve(
        self, candidates: Sequence[Candidate], *, quiet_only: bool, new_nodes: bool = True
    ) -> Solution:
        """Where the candidates' pods would go."""
        return solve(self.problem(candidates, quiet_only=quiet_only, new_nodes=new_nodes))

    def _problem(self) -> SchedulingProblem:
        if self._base is None:
            self._base = scheduling_problem(
                self.snapshot,
                pods=(),
                exclude_nodes=self._gone,
                options=self._options.solver,
            )
        return self._base

    def _without_usage(self, names: Collection[str]) -> tuple[Pool, ...]:
        """The pools with what these nodes take of limits given back."""
        return pools(self._snapshot, self._gone | set(names))

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
        wait = consolidatable_in(node.claim, pool, self._snapshot.now)
        return wait is not None and wait.total_seconds() > 0
