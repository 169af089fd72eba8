"""The work budget is a cap for everything a solve packs and proves."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from scheduling_worlds import GIB, HOSTNAME, make_pod, pool, spread

from autoctl.api import core
from autoctl.scheduling import solve as solving
from autoctl.scheduling.outcome import OUT_OF_WORK
from autoctl.scheduling.problem import SchedulingProblem, SolverOptions
from autoctl.simulate.bench_schedule import fake_types


def wish(name: str, weight: int) -> dict[str, object]:
    """A preference that no node meets together with the next one."""
    expression = {
        "key": "node.kubernetes.io/instance-type",
        "operator": "In",
        "values": [name],
    }
    return {"weight": weight, "preference": {"matchExpressions": [expression]}}


def awkward() -> SchedulingProblem:
    """No two pods alike, many priorities, limits too small for all, preferences that conflict."""
    rng = random.Random(3)
    types = fake_types(60)
    pods: list[core.Pod] = []
    for i in range(120):
        wishes = [wish(types[rng.randrange(60)].name, rng.randint(1, 100)) for _ in range(3)]
        pods.append(
            make_pod(
                f"p{i:03d}",
                cpu=f"{rng.randint(100, 3000)}m",
                memory=f"{rng.randint(100, 9000)}Mi",
                priority=rng.randrange(40),
                affinity={
                    "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wishes}
                },
            )
        )
    heavy = pool("heavy", types=types, weight=10, limits={"cpu": 60_000})
    light = pool("light", types=types, limits={"cpu": 40_000, "memory": 200 * GIB})
    return SchedulingProblem(tuple(pods), (heavy, light))


def test_all_rounds_of_a_solve_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = awkward()
    budget = 80_000
    free = solving.solve(replace(problem, options=SolverOptions(budget=50_000_000)))
    assert free.work > 2 * budget, "the problem is too easy to show anything"
    monkeypatch.setattr(solving, "LEAST_WORK", 0)
    capped = solving.solve(replace(problem, options=SolverOptions(budget=budget)))
    assert capped.work <= budget
    assert len(capped.unschedulable) <= 1.1 * len(free.unschedulable)


def spread_out(pods: int, wishes: int) -> SchedulingProblem:
    """Pods of one app over all nodes, no two alike, each with wishes no node meets together."""
    rng = random.Random(5)
    types = fake_types(60)
    made = []
    for i in range(pods):
        terms = [wish(types[rng.randrange(60)].name, rng.randint(1, 100)) for _ in range(wishes)]
        made.append(
            make_pod(
                f"p{i:03d}",
                cpu=f"{100 + i}m",
                labels={"app": "web"},
                **spread(HOSTNAME, skew=3),
                affinity={
                    "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}
                },
            )
        )
    return SchedulingProblem(tuple(made), (pool("default", types=types),))


def test_placing_by_turns_ends_with_the_budget_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = spread_out(150, wishes=0)
    free = solving.solve(problem)
    assert not free.unschedulable
    budget = free.work // 2
    monkeypatch.setattr(solving, "LEAST_WORK", 0)
    monkeypatch.setattr(solving, "LEAST_PER_POD", 0)
    capped = solving.solve(replace(problem, options=SolverOptions(budget=budget)))
    assert capped.work <= budget
    placed = {pod for node in capped.new_nodes for pod in node.pods}
    assert placed, "a solve that is cut short still places what it got to"
    assert placed | capped.unschedulable.keys() == {p.key for p in problem.pods}
    assert {u.reason for u in capped.unschedulable.values()} == {OUT_OF_WORK}
    assert capped == solving.solve(replace(problem, options=SolverOptions(budget=budget)))


def test_a_pass_over_all_pods_fits_into_any_budget() -> None:
    problem = spread_out(150, wishes=0)
    assert not solving.solve(replace(problem, options=SolverOptions(budget=0))).unschedulable


def test_short_of_work_preferences_are_given_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying every set of six wishes for every pod would take longer than placing them."""
    problem = spread_out(40, wishes=6)
    free = solving.solve(problem)
    most = {len(given_up) for given_up in free.relaxed.values()}
    assert max(most) < 6, "some wish of each pod can be had"
    monkeypatch.setattr(solving, "LEAST_WORK", 0)
    monkeypatch.setattr(solving, "LEAST_PER_POD", 0)
    budget = free.work // 2
    capped = solving.solve(replace(problem, options=SolverOptions(budget=budget)))
    assert capped.work <= budget
    assert any(len(given_up) == 6 for given_up in capped.relaxed.values())
