"""A solve is a function of its problem, and the order of nodes and pools is no part of it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, seed
from verifier_replay import dump, load
from verifier_worlds import examples, worlds

from autoctl.scheduling.problem import SchedulingProblem
from autoctl.scheduling.solve import solve


@seed(100)
@examples(60)
@given(worlds())
def test_the_same_world_is_solved_the_same_way(problem: SchedulingProblem) -> None:
    assert solve(problem) == solve(load(dump(problem)))


@seed(101)
@examples(60)
@given(worlds())
def test_the_order_of_nodes_and_pools_does_not_matter(problem: SchedulingProblem) -> None:
    turned = dataclasses.replace(
        problem, nodes=problem.nodes[::-1], pools=problem.pools[::-1], daemons=problem.daemons[::-1]
    )
    one, two = solve(problem), solve(turned)
    assert one.cost == pytest.approx(two.cost)
    assert len(one.unschedulable) == len(two.unschedulable)
