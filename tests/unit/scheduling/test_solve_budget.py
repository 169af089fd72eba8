"""The work budget is a cap for everything a solve packs and proves."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from scheduling_worlds import GIB, make_pod, pool

from autoctl.api import core
from autoctl.scheduling import solve as solving
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
