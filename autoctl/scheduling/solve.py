"""`solve`: a scheduling problem in, the cheapest valid set of nodes found out."""

from __future__ import annotations

from collections.abc import Sequence

from autoctl.scheduling.outcome import Outcome
from autoctl.scheduling.problem import SchedulingProblem, Solution
from autoctl.scheduling.reserve import solve_with_reserve
from autoctl.scheduling.run import Run
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.world import World

LEAST_WORK = 1_000_000
"""Work units that a solve may spend whatever its budget is: greedy packing needs them."""

LEAST_PER_POD = 100
"""And at least so many for each pod: a single pass over pods that all differ takes that."""

_KEPT_BACK = 16
"""This part of the budget is for the last pass over what is left when all else is used up."""


def solve(problem: SchedulingProblem) -> Solution:
    """Place the problem's pods on its nodes and on new nodes of its pools.

    Always answers, the same for the same problem: pods that cannot be placed are in
    `unschedulable` with the reason, and never keep others from being placed.
    """
    if problem.reserve:
        return solve_with_reserve(problem, solve)
    world = World(problem)
    budget = max(problem.options.budget, LEAST_WORK, LEAST_PER_POD * len(problem.pods))
    budget -= budget // _KEPT_BACK
    several = len({s.template.priority for s in world.shapes}) > 1
    run = Run(world, budget // 2 if several else budget)
    run.place([world.shapes])
    outcome = Outcome(world, run)
    if outcome.left and several:
        run = Run(world, budget, run.effort.spent)
        run.place(_by_priority(world.shapes))
        outcome = Outcome(world, run)
    return outcome.solution()


def _by_priority(shapes: Sequence[Shape]) -> list[list[Shape]]:
    found: dict[int, list[Shape]] = {}
    for shape in shapes:
        found.setdefault(shape.template.priority, []).append(shape)
    return [found[priority] for priority in sorted(found, reverse=True)]
