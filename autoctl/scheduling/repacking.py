"""Which of many nodes to give up: the packer's view of a whole cluster.

`Proposer` lowers a problem (nodes as they are, and the pods that could move) to the arrays of the
packing kernel and names the nodes that a cheaper world would not have. Rules between pods are seen
only as bounds within one node, so the answer is a proposal: `solve` judges it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoctl.api import core
from autoctl.scheduling.board import Board
from autoctl.scheduling.bound import hard_demand
from autoctl.scheduling.feasibility import Demand
from autoctl.scheduling.hardware import Hardware, usable
from autoctl.scheduling.packing.model import UNLIMITED, PackingInput, PackingOptions
from autoctl.scheduling.packing.repack import RepackInput, choose_repack, waste
from autoctl.scheduling.problem import SchedulingProblem
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.world import World


@dataclass(frozen=True)
class Removable:
    """A node that may go: its price (USD/hour), the pods that would move, its budget's group.

    One that is not `exchangeable` may not go for a single new node with the same pods.
    """

    node: str
    price: float
    pods: tuple[core.Pod, ...]
    group: str
    exchangeable: bool = True


@dataclass(frozen=True)
class Proposal:
    """Nodes to give up, in the problem's order; `spared` ones would only have been exchanged."""

    going: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()


class Proposer:
    """Names nodes of one world to give up; asked again, of fewer, it keeps what it knows."""

    def __init__(
        self,
        problem: SchedulingProblem,
        removable: Sequence[Removable],
        budgets: Mapping[str, int],
        *,
        moving_cost: float,
        least_saving: float,
    ) -> None:
        """`problem.nodes` has all nodes as they are, `problem.pods` every pod of `removable`.

        `budgets` bounds the nodes given up in each group, `moving_cost` is USD/hour for each pod
        that moves and `least_saving` the part of the removed price to be saved.
        """
        self._names: list[str] = []
        self._case: RepackInput | None = None
        world = World(problem)
        if not world.shapes or not len(world.offers):
            return
        board = Board(world.feasibility, world.topology, world.shapes, world.pools)
        demands = [hard_demand(world, shape) for shape in world.shapes]
        known = [d for d in demands if d is not None]
        if len(known) < len(demands):
            return
        self._names = [n.name for n in world.nodes.nodes]
        position = {name: index for index, name in enumerate(self._names)}
        groups = sorted({r.group for r in removable})
        price = np.zeros(len(self._names))
        may_go = np.zeros(len(self._names), np.bool_)
        group = np.zeros(len(self._names), np.int64)
        no_exchange = np.zeros(len(self._names), np.bool_)
        for entry in removable:
            index = position[entry.node]
            price[index] = entry.price
            may_go[index] = True
            group[index] = groups.index(entry.group)
            no_exchange[index] = not entry.exchangeable
        self._case = RepackInput(
            question=_question(board, known, problem),
            contents=_contents(world.shapes, removable, position, len(self._names)),
            node_price=price,
            removable=may_go,
            moving_cost=np.full(len(known), moving_cost),
            least_saving=least_saving,
            group=group,
            group_budget=np.array([budgets[g] for g in groups], np.int64),
            no_exchange=no_exchange,
        )

    def waste(self) -> dict[str, float]:
        """USD/hour that each removable node costs beyond what its pods are worth, most first."""
        case = self._case
        if case is None:
            return {}
        found, worth = waste(case)
        self._case = replace(case, worth=worth)
        removable = np.flatnonzero(case.removable)
        order = removable[np.lexsort((removable, -found[removable]))]
        return {self._names[index]: float(found[index]) for index in order}

    def propose(self, among: Collection[str]) -> Proposal:
        """The nodes of `among` that a cheaper world would not have."""
        case = self._case
        if case is None:
            return Proposal()
        may_go = case.removable & np.array([n in among for n in self._names], np.bool_)
        answer = choose_repack(replace(case, removable=may_go))
        self._case = replace(case, worth=answer.worth)
        return Proposal(
            going=tuple(self._names[index] for index in answer.removed),
            spared=tuple(self._names[index] for index in answer.spared),
        )


def _contents(
    shapes: Sequence[Shape],
    removable: Sequence[Removable],
    position: Mapping[str, int],
    nodes: int,
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    home = {p.key: position[r.node] for r in removable for p in r.pods}
    contents = np.zeros((nodes, len(shapes)), np.int64)
    for shape in shapes:
        for pod in shape.pods:
            contents[home[pod], shape.index] += 1
    return contents


def _question(board: Board, demands: Sequence[Demand], problem: SchedulingProblem) -> PackingInput:
    offers, net = board.offers, board.feasibility.net
    feasible = np.stack(usable([d.rows for d in demands], offers.exotic, Hardware.SHARED))
    # A launch may end in the dearest of its zones.
    bought = np.flatnonzero(feasible.any(axis=0))
    price = np.zeros(int(offers.launch.max()) + 1)
    np.maximum.at(price, offers.launch[bought], offers.price[bought])
    rows = np.intersect1d(offers.cheapest(feasible), bought)
    most = [board.rules(d).most for d in demands]
    return PackingInput(
        requests=np.stack([d.requests for d in demands]).astype(np.float64),
        counts=np.zeros(len(demands), np.int64),
        allocatable=np.maximum(net[rows], 0).astype(np.float64),
        price=price[offers.launch[rows]],
        feasible=feasible[:, rows],
        tier_index=offers.tier[rows],
        limit_usage=board.limits.usage[rows].astype(np.float64),
        limit_remaining=np.maximum(board.limits.remaining, 0).astype(np.float64),
        node_cap=np.array([UNLIMITED if m is None else m for m in most], np.int64),
        bin_free=board.free.astype(np.float64),
        bin_feasible=np.stack([d.nodes for d in demands]),
        options=PackingOptions(
            work_budget=problem.options.budget,
            spread_share=problem.options.max_pod_share,
            prove=False,
        ),
    )
