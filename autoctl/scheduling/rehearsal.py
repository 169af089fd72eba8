"""Whether kube-scheduler, left to itself, would find room for pods that are about to move.

A solution says where pods could go; kube-scheduler does not know it and spreads pods over what has
room. A tight packing that it does not find leaves pods pending, and nodes bought for them. Here the
pods for nodes that are there are placed as it would place them, the largest first (as they are
evicted) and the largest last (as a PodDisruptionBudget may have it): once each on the node with the
most room left, and once away from its own kind, as its default spreading prefers. Only worlds that
come true in all these ways are chosen. Pods for new nodes are sent there, and those that
other pods have a say about stay where the solution put them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoctl.scheduling.bound import hard_demand
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.problem import SchedulingProblem, Solution
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.simple import is_simple
from autoctl.scheduling.world import World

_CORE: Final = 1000.0
_MEMORY_A_CORE: Final = 4 * 2.0**30
"""What weighs as much as a core when pods are ordered by size: general-purpose proportions."""


def size(requests: Mapping[str, int]) -> float:
    """How large a pod is, in cores: by CPU or memory, whichever is more of a general node."""
    return max(requests.get("cpu", 0) / _CORE, requests.get("memory", 0) / _MEMORY_A_CORE)


def comes_true(problem: SchedulingProblem, solution: Solution) -> bool:
    """Whether all pods of `problem` find room when kube-scheduler places them, in either order.

    `solution` is the problem's; its new nodes are there by then.
    """
    world = World(problem)
    demands = [(s, hard_demand(world, s)) for s in world.shapes]
    if any(d is None for _, d in demands):
        return False
    ordered = sorted(
        ((s, d) for s, d in demands if d is not None),
        key=lambda e: (-size(e[0].requests), e[0].index),
    )
    return all(
        _rehearse(_Stage(world, solution), order, apart=apart)
        for order in (ordered, ordered[::-1])
        for apart in (False, True)
    )


def _rehearse(stage: _Stage, ordered: Sequence[tuple[Shape, Demand]], *, apart: bool) -> bool:
    for shape, demand in ordered:
        if not is_simple(demand):
            stage.put_as_planned(demand, shape.pods)
    return all(
        stage.spread(demand, stage.for_existing(shape.pods), apart=apart)
        for shape, demand in ordered
        if is_simple(demand)
    )


class _Stage:
    """The room of the nodes that are there."""

    def __init__(self, world: World, solution: Solution) -> None:
        feasibility = world.feasibility
        self.free = feasibility.free.astype(np.float64)
        place = {n.name: index for index, n in enumerate(world.nodes.nodes)}
        self._planned = {pod: place[node] for pod, node in solution.placements.items()}
        weighed = [d for d, name in enumerate(feasibility.resources) if name in ("cpu", "memory")]
        self._weighed = np.array(weighed, np.int64)
        total = [
            [float(n.allocatable.get(r, 0)) for r in feasibility.resources]
            for n in world.nodes.nodes
        ]
        shape = (len(world.nodes), len(feasibility.resources))
        self._total = np.maximum(np.array(total, np.float64).reshape(shape), 1.0)

    def for_existing(self, pods: tuple[str, ...]) -> int:
        """How many of the pods are to go to nodes that are there."""
        return sum(pod in self._planned for pod in pods)

    def put_as_planned(self, demand: Demand, pods: tuple[str, ...]) -> None:
        """Place pods where the solution has them."""
        for pod in pods:
            if pod in self._planned:
                self.free[self._planned[pod]] -= demand.requests

    def spread(self, demand: Demand, count: int, *, apart: bool) -> bool:
        """Place `count` pods one by one where most is left; False when one finds no room.

        `apart`: where fewest of them are already, and only then where most is left.
        """
        dims = demand.dims
        requests = demand.requests.astype(np.float64)
        needed = requests[dims]
        fits = demand.nodes & (self.free[:, dims] >= needed).all(axis=1)
        bins = np.flatnonzero(fits)
        scores = self._scores(bins, requests)
        heap = [(0, -s, int(b)) for s, b in zip(scores.tolist(), bins.tolist(), strict=True)]
        heapq.heapify(heap)
        for _ in range(count):
            if not heap:
                return False
            own, _, chosen = heapq.heappop(heap)
            self.free[chosen] -= requests
            if (self.free[chosen, dims] >= needed).all():
                again = self._score(chosen, requests)
                heapq.heappush(heap, (own + 1 if apart else 0, -again, chosen))
        return True

    def _score(self, chosen: int, requests: NDArray[np.float64]) -> float:
        """`_scores` of one node, without the cost of arrays."""
        free, total = self.free[chosen], self._total[chosen]
        shares = [(free[d] - requests[d]) / total[d] for d in self._weighed]
        return float(sum(shares)) / len(shares) if shares else 0.0

    def _scores(self, bins: Ints, requests: NDArray[np.float64]) -> NDArray[np.float64]:
        """kube-scheduler's LeastAllocated: the mean share of CPU and memory left afterwards."""
        if not len(self._weighed):
            return np.zeros(len(bins))
        left = self.free[np.ix_(bins, self._weighed)] - requests[self._weighed]
        share: NDArray[np.float64] = (left / self._total[np.ix_(bins, self._weighed)]).mean(axis=1)
        return share
