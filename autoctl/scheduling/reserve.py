"""Room to be kept, beside pods that need room now.

Pods come first: what is there is theirs. What they leave is looked through for the reserve, and
only then is bought, for the pods that found no place and the rest of the reserve together, so that
they may share new nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from autoctl.api import core
from autoctl.scheduling.problem import ExistingNode, SchedulingProblem, Solution


def solve_with_reserve(
    problem: SchedulingProblem, solve: Callable[[SchedulingProblem], Solution]
) -> Solution:
    """The answer for the problem's pods and its reserve.

    No pod is without a place because of the reserve: where limits do not bear both, the reserve's
    pods are among the unschedulable.
    """
    first = replace(problem, reserve=())
    alone = solve(first)
    reserved = {pod.key for pod in problem.reserve}
    pods = {pod.key: pod for pod in problem.pods}
    waiting = [pods[key] for node in alone.new_nodes for key in node.pods]
    rest = replace(
        first,
        pods=(*waiting, *problem.reserve),
        nodes=promised(problem.nodes, alone.placements, pods),
    )
    both = solve(rest)
    if any(key not in reserved for key in both.unschedulable):
        # What was bought for the pods alone may be all that limits allow.
        return _without(alone, problem.reserve, both)
    return replace(
        both,
        placements={**alone.placements, **both.placements},
        unschedulable={**alone.unschedulable, **both.unschedulable},
        work=alone.work + both.work,
        relaxed={**alone.relaxed, **both.relaxed},
    )


def without_placements(solution: Solution, reserved: Collection[str]) -> Solution:
    """The solution without what it says of the reserve's pods, but with the nodes it buys."""
    return replace(
        solution,
        placements={k: n for k, n in solution.placements.items() if k not in reserved},
        unschedulable={k: w for k, w in solution.unschedulable.items() if k not in reserved},
    )


def promised(
    nodes: Iterable[ExistingNode], placements: Mapping[str, str], pods: Mapping[str, core.Pod]
) -> tuple[ExistingNode, ...]:
    """The nodes with the pods that `placements` puts on them promised."""
    coming: dict[str, list[core.Pod]] = {}
    for key, node in placements.items():
        coming.setdefault(node, []).append(pods[key])
    return tuple(
        replace(n, nominated=(*n.nominated, *coming[n.name])) if n.name in coming else n
        for n in nodes
    )


def _without(alone: Solution, reserve: tuple[core.Pod, ...], both: Solution) -> Solution:
    """The answer for the pods alone, with the part of the reserve that is there already."""
    kept = {pod.key for pod in reserve}
    told = next(why for key, why in both.unschedulable.items() if key not in kept)
    held = {key: node for key, node in both.placements.items() if key in kept}
    left = {p.key: both.unschedulable.get(p.key, told) for p in reserve if p.key not in held}
    return replace(
        alone,
        placements={**alone.placements, **held},
        unschedulable={**alone.unschedulable, **left},
        work=alone.work + both.work,
    )
