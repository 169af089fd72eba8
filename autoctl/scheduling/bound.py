"""What pods cost at least, whatever other pods have to say about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from autoctl.scheduling.board import Board
from autoctl.scheduling.feasibility import Demand
from autoctl.scheduling.packing import classes as demand_classes
from autoctl.scheduling.packing import market
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.model import PackingInput
from autoctl.scheduling.packing.relaxation import relax
from autoctl.scheduling.packing.stock import Stock
from autoctl.scheduling.preferences import levels, preferences_of
from autoctl.scheduling.problem import SchedulingProblem
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.world import World

_ROUNDS = 30


def problem_bound(problem: SchedulingProblem) -> float:
    """USD/hour below which no set of new nodes holds all pods of the problem that any node can.

    Existing nodes are not looked at; preferences are taken as given up.
    """
    world = World(replace(problem, nodes=()))
    board = Board(world.feasibility, world.topology, world.shapes, world.pools)
    demands = ((hard_demand(world, shape), len(shape.pods)) for shape in world.shapes)
    placed = [(d, n) for d, n in demands if d is not None and d.rows.any()]
    return lower_bound(board, placed, Budget(problem.options.budget))


def hard_demand(world: World, shape: Shape) -> Demand | None:
    """The shape with all its preferences given up; None for one that cannot be placed at all."""
    if shape.error is not None:
        return None
    chosen = preferences_of(shape.template, avoid_taints=world.avoid_taints)
    *_, (kept, _) = levels(chosen)
    return world.feasibility.demand(
        shape.index, shape, kept, world.topology.constraints(shape, kept)
    )


def lower_bound(board: Board, placed: Iterable[tuple[Demand, int]], budget: Budget) -> float:
    """USD/hour below which no set of new nodes holds the given pods.

    Topology, limits and weights are left out, which can only make the bound lower; pods of equal
    size that may use the same offers are one group.
    """
    groups: dict[tuple[int, bytes], tuple[Demand, int]] = {}
    for demand, count in placed:
        key = (demand.kind, demand.requests.tobytes())
        first, before = groups.get(key, (demand, 0))
        groups[key] = (first, before + count)
    if not groups or budget.pressed:
        return 0.0
    members = list(groups.values())
    feasible = np.stack([d.rows for d, _ in members])
    rows = np.flatnonzero(feasible.any(axis=0))
    counts = np.array([n for _, n in members], np.int64)
    question = PackingInput(
        requests=np.stack([d.requests for d, _ in members]).astype(np.float64),
        counts=counts,
        allocatable=np.maximum(board.feasibility.net[rows], 0).astype(np.float64),
        price=board.offers.price[rows],
        feasible=feasible[:, rows],
    )
    classes = demand_classes.build(question)
    stock = Stock.of(question)
    task = market.build(
        classes,
        classes.counts,
        question.allocatable,
        question.price,
        np.arange(len(rows)),
        stock,
        mind_limits=False,
    )
    if not len(task.offers):
        return 0.0
    return relax(
        task,
        classes.counts,
        stock,
        budget,
        tolerance=1e-3,
        rounds=_ROUNDS,
        mind_limits=False,
    ).bound
