"""From a run to a Solution: pods by name, nodes as NodeClaims, reasons for what is left over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from autoctl.scheduling.bound import lower_bound
from autoctl.scheduling.explain import Explainer
from autoctl.scheduling.launch import Launch
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.problem import NewNode, Solution, Unschedulable
from autoctl.scheduling.run import Run
from autoctl.scheduling.world import World

OUT_OF_WORK = (
    "the solver's work budget was used up before the pod's turn; it is considered again with the "
    "next batch"
)
"""The reason of pods that were not looked at."""


class Outcome:
    """The end of a run, as a Solution on request."""

    def __init__(self, world: World, run: Run) -> None:
        self._world = world
        self._board = run.board
        self._demands = run.demands
        self._run = run
        placed = [0] * len(world.shapes)
        for content in run.board.contents:
            for index, count in content.items():
                placed[run.demands[index].shape.index] += count
        self.left = any(placed[s.index] < len(s.pods) for s in world.shapes if s.error is None)
        """Whether pods are left over that could be read."""

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
            work=self._run.effort.spent,
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
        self._run.effort.spend(budget.spent)
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
        own = (d for d in self._demands if d.index not in self._run.held)
        last = {d.shape.index: d for d in own}
        found: dict[str, Unschedulable] = {}
        for shape, queue in zip(self._world.shapes, queues, strict=True):
            reason: Unschedulable | None = None
            for pod in queue:
                if reason is None:
                    if shape.error is not None:
                        reason = Unschedulable(shape.error)
                    elif shape.index in self._run.cut:
                        reason = Unschedulable(OUT_OF_WORK)
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
