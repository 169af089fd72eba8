"""What pods cost at least, whatever other pods have to say about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
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

_MOST_REPELLING = 8
"""Kinds of pods that repel each other of which the bound knows: each is one more resource."""


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

    Of topology only required anti-affinity between nodes is minded, where pods repel their own
    kind; the rest, limits and weights are left out, which can only make the bound lower. Pods of
    equal size that may use the same offers and repel each other are one group.
    """
    given = list(placed)
    alone = _repelling(given)
    groups: dict[tuple[int, bytes, tuple[int, ...]], tuple[Demand, int]] = {}
    for demand, count in given:
        repels = tuple(i for i in _repels(demand) if i in alone)
        key = (demand.kind, demand.requests.tobytes(), repels)
        first, before = groups.get(key, (demand, 0))
        groups[key] = (first, before + count)
    if not groups or budget.pressed:
        return 0.0
    members = list(groups.values())
    feasible = np.stack([d.rows for d, _ in members])
    rows = np.flatnonzero(feasible.any(axis=0))
    counts = np.array([n for _, n in members], np.int64)
    # a node has one place for each kind of pods that repel each other, and each of them takes it
    places = np.array([[i in repels for i in alone] for _, _, repels in groups], np.float64)
    requests = np.stack([d.requests for d, _ in members]).astype(np.float64)
    room = np.maximum(board.feasibility.net[rows], 0).astype(np.float64)
    question = PackingInput(
        requests=np.hstack([requests, places.reshape(len(members), len(alone))]),
        counts=counts,
        allocatable=np.hstack([room, np.ones((len(rows), len(alone)))]),
        price=board.offers.paid[rows],
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


def _repels(demand: Demand) -> tuple[int, ...]:
    """Gauges of the pods' own required anti-affinity that matches themselves, node by node."""
    constraints = demand.constraints
    own = {g.index for g in constraints.moves if g.owners and g.host}
    return tuple(sorted({g.index for g in constraints.apart if g.index in own}))


def _repelling(placed: Sequence[tuple[Demand, int]]) -> tuple[int, ...]:
    """Those of these gauges that most pods are about."""
    pods: Counter[int] = Counter()
    for demand, count in placed:
        for index in _repels(demand):
            pods[index] += count
    most = sorted((-n, index) for index, n in pods.items() if n > 1)[:_MOST_REPELLING]
    return tuple(sorted(index for _, index in most))
