"""Moves to nodes that are there must come true as kube-scheduler places the pods."""

from __future__ import annotations

from scheduling_worlds import GIB, make_pod, many, node, pool

from autoctl.api import core
from autoctl.scheduling.problem import ExistingNode, SchedulingProblem, SolverOptions
from autoctl.scheduling.rehearsal import comes_true
from autoctl.scheduling.solve import solve

ROOM = {"cpu": 4000, "memory": 16 * GIB, "pods": 110}


def outcome(pods: list[core.Pod], nodes: list[ExistingNode]) -> tuple[bool, bool]:
    """Whether the solver places all pods on the nodes, and whether that comes true."""
    problem = SchedulingProblem(
        tuple(pods), (pool(),), nodes=tuple(nodes), options=SolverOptions(allow_new_nodes=False)
    )
    solution = solve(problem)
    return not solution.unschedulable, comes_true(problem, solution)


def test_a_loose_plan_comes_true() -> None:
    pods = [*many(4, "large", cpu="1"), *many(4, "small", cpu="100m")]
    nodes = [node("a", allocatable=ROOM), node("b", allocatable=ROOM)]
    assert outcome(pods, nodes) == (True, True)


def test_a_tight_plan_that_spreading_would_spoil_does_not() -> None:
    """Small pods that come first spread over both nodes, and no hole is left for the large one."""
    pods = [make_pod("large", cpu="4"), *many(4, "small", cpu="1")]
    nodes = [node("a", allocatable=ROOM), node("b", allocatable=ROOM)]
    assert outcome(pods, nodes) == (True, False)


def test_pods_for_one_full_node_fit_in_any_order() -> None:
    pods = [make_pod("large", cpu="3"), make_pod("small", cpu="1")]
    assert outcome(pods, [node("a", allocatable=ROOM)]) == (True, True)
