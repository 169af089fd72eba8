"""Shapes whose pods are still to be placed, each with the preferences it still insists on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoctl.scheduling.board import Board
from autoctl.scheduling.feasibility import Demand
from autoctl.scheduling.minvalues import Flexibility
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.preferences import levels, preferences_of
from autoctl.scheduling.problem import MinValuesPolicy, PreferencePolicy
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.topology import Kept
from autoctl.scheduling.world import World


@dataclass(eq=False)
class Pending:
    """A shape's pods still to be placed, and how far its preferences have been given up."""

    shape: Shape
    left: int
    levels: Iterator[tuple[Kept, tuple[str, ...]]]
    demand: Demand
    given_up: tuple[str, ...] = ()
    seen: int = 0
    """Pods that had been placed when it was given up."""


class Prospects:
    """Turns shapes into demands, with ever fewer of their preferences as requirements.

    Attributes:
        demands: every demand made, by index.
        ended: pods whose preferences have all been given up and that found no place.
        strict: whether nodes must keep the choice that minValues ask for.
    """

    def __init__(self, world: World, board: Board, effort: Budget) -> None:
        self._world = world
        self._board = board
        self._effort = effort
        self._all_rows = np.arange(len(world.offers))
        self._flexibility = Flexibility(world.feasibility, world.minimums)
        policy = world.problem.options.min_values_policy
        self.strict = bool(world.minimums) and policy is MinValuesPolicy.STRICT
        self.demands: list[Demand] = []
        self.ended: list[Pending] = []

    def start(self, shape: Shape, count: int, placed: int) -> Pending | None:
        """`count` pods of the shape, with as many of its preferences as can be had at all.

        `placed` pods have been placed by now. None where no node can hold a pod of the shape.
        """
        options = self._world.problem.options
        chosen = preferences_of(shape.template, avoid_taints=self._world.avoid_taints)
        if options.preference_policy is PreferencePolicy.IGNORE:
            chosen = ()
        steps = levels(chosen)
        kept, given_up = next(steps)
        pending = Pending(shape, count, steps, self._demand(shape, kept), given_up)
        while not _possible(pending.demand):
            if not self.advance(pending, placed):
                return None
        return pending

    def advance(self, pending: Pending, placed: int) -> bool:
        """Go to the next set of preferences; False when there is none.

        There may be a hundred sets: when half the budget is spent, the rest is given up at once.
        """
        for kept, given_up in pending.levels:
            if self._effort.pressed:
                *_, (kept, given_up) = (kept, given_up), *pending.levels
            demand = self._demand(pending.shape, kept)
            if _possible(demand):
                pending.demand, pending.given_up = demand, given_up
                return True
        pending.seen = placed
        self.ended.append(pending)
        return False

    def _demand(self, shape: Shape, kept: Kept) -> Demand:
        world = self._world
        self._effort.spend(40 + 0.01 * len(self._all_rows))
        demand = world.feasibility.demand(
            len(self.demands), shape, kept, world.topology.constraints(shape, kept)
        )
        if self.strict:
            self._effort.spend(100 + 0.03 * len(self._all_rows))
            demand.rows = self._flexibility.rows(
                demand.rows,
                demand.static,
                domains=demand.domains,
                within=self._board.limits.rooms(self._all_rows) > 0,
            )
        self.demands.append(demand)
        return demand


def _possible(demand: Demand) -> bool:
    return bool(demand.rows.any() or demand.nodes.any())
