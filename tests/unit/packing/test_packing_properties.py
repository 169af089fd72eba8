"""Every answer of the packer obeys every rule; its bound is below the true optimum."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing_checker import violations
from packing_mixes import MIB, ec2_catalog, sample

from autoctl.scheduling.packing import classes as demand_classes
from autoctl.scheduling.packing import leads, market
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.greedy import greedy
from autoctl.scheduling.packing.model import UNLIMITED, PackingInput, PackingOptions
from autoctl.scheduling.packing.relaxation import relax
from autoctl.scheduling.packing.solve import pack
from autoctl.scheduling.packing.stock import Stock


@st.composite
def questions(draw: st.DrawFn, most_pods: int = 40) -> PackingInput:
    """Small questions that mix every kind of rule."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes, offers = draw(st.integers(1, 7)), draw(st.integers(1, 8))
    bins = draw(st.integers(0, 5))
    resources = draw(st.integers(1, 4))
    requests = rng.integers(0, 9, (shapes, resources)).astype(float)
    if draw(st.booleans()):
        requests[:, -1] = 1.0
    counts = rng.integers(0, max(2, most_pods // shapes), shapes)
    conflict = None
    if draw(st.booleans()):
        upper = np.triu(rng.random((shapes, shapes)) < 0.25)
        conflict = upper | upper.T
    several = {}
    if draw(st.booleans()):
        several["available"] = rng.choice([UNLIMITED, 0, 1, 3], offers)
    if draw(st.booleans()):
        several["reservation_index"] = rng.choice([UNLIMITED, UNLIMITED, 0, 1], offers)
        several["reservation_capacity"] = rng.integers(0, 4, 2)
    if draw(st.booleans()):
        several["limit_usage"] = rng.integers(0, 10, (offers, 2)).astype(float)
        several["limit_remaining"] = rng.integers(0, 80, 2).astype(float)
    if draw(st.booleans()):
        several["tier_index"] = rng.integers(0, 3, offers)
    if draw(st.booleans()):
        several["node_cap"] = rng.choice([UNLIMITED, 1, 2, 5], shapes)
    if draw(st.booleans()):
        several["priority"] = rng.integers(0, 3, shapes)
    if bins:
        several["bin_free"] = rng.integers(-2, 20, (bins, resources)).astype(float)
        several["bin_feasible"] = rng.random((shapes, bins)) < 0.7
        if draw(st.booleans()):
            several["bin_cap"] = rng.choice([UNLIMITED, 0, 1, 2], (shapes, bins))
        if draw(st.booleans()):
            several["bin_order"] = rng.integers(0, 2, bins)
    return PackingInput(
        requests=requests,
        counts=counts,
        allocatable=rng.integers(0, 25, (offers, resources)).astype(float),
        price=np.round(rng.random(offers) * 3, draw(st.integers(0, 3))),
        feasible=rng.random((shapes, offers)) < 0.8,
        conflict=conflict,
        options=PackingOptions(spread_min_pods=draw(st.sampled_from([5, 50]))),
        **several,
    )


@settings(max_examples=400, deadline=None)
@given(questions())
def test_answers_obey_every_rule(question: PackingInput) -> None:
    assert violations(question, pack(question)) == []


@settings(max_examples=60, deadline=None)
@given(questions(most_pods=300))
def test_answers_to_larger_batches_obey_every_rule(question: PackingInput) -> None:
    assert violations(question, pack(question)) == []


@settings(max_examples=100, deadline=None)
@given(questions())
def test_nothing_fits_any_more_where_pods_are_left(question: PackingInput) -> None:
    """A pod is only unplaced when no bin takes it and no offer that is left holds it alone."""
    answer = pack(question)
    bought = np.zeros(len(question.price), np.int64)
    for pattern in answer.nodes:
        bought[pattern.offer] += pattern.multiplicity
    for shape in np.flatnonzero(answer.unplaced):
        for offer in range(len(question.price)):
            holds = (
                question.feasible[shape, offer]
                and (question.requests[shape] <= question.allocatable[offer]).all()
            )
            assert not (holds and _to_be_had(question, bought, offer)), (shape, offer)


def _to_be_had(question: PackingInput, bought: np.ndarray, offer: int) -> bool:
    if question.available is not None and 0 <= question.available[offer] <= bought[offer]:
        return False
    if question.reservation_index is not None and question.reservation_index[offer] >= 0:
        assert question.reservation_capacity is not None
        book = question.reservation_index[offer]
        if bought[question.reservation_index == book].sum() >= question.reservation_capacity[book]:
            return False
    if question.limit_usage is not None:
        assert question.limit_remaining is not None
        used = bought @ question.limit_usage + question.limit_usage[offer]
        own = question.limit_usage[offer] > 0
        if (used[own] > question.limit_remaining[own]).any():
            return False
    return True


def optimum(question: PackingInput) -> float:
    """The least cost of any plan for all pods, by trying every way to cover them."""
    counts = tuple(int(count) for count in question.counts)
    states = list(product(*(range(count + 1) for count in counts)))
    nodes: dict[tuple[int, ...], float] = {}
    for state in states:
        pods = np.array(state)
        need = pods @ question.requests
        runs = question.feasible[pods > 0].all(axis=0) & (need <= question.allocatable).all(axis=1)
        if question.conflict is not None:
            meets = np.outer(pods, pods) - np.diag(pods)
            runs &= not bool(meets[question.conflict].any())
        if question.node_cap is not None:
            runs &= bool(((pods <= question.node_cap) | (question.node_cap < 0)).all())
        if any(state) and runs.any():
            nodes[state] = float(question.price[runs].min())
    best = {tuple(0 for _ in counts): 0.0}
    for state in states[1:]:
        best[state] = min(
            (
                price + best[tuple(a - b for a, b in zip(state, node, strict=True))]
                for node, price in nodes.items()
                if all(b <= a for a, b in zip(state, node, strict=True))
            ),
            default=float("inf"),
        )
    return best[counts]


@st.composite
def tiny(draw: st.DrawFn) -> PackingInput:
    """Questions an exhaustive search can answer; all pods can be placed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes, offers = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    requests = rng.integers(1, 7, (shapes, 2)).astype(float)
    return PackingInput(
        requests=requests,
        counts=rng.integers(1, 5, shapes),
        allocatable=rng.integers(7, 16, (offers, 2)).astype(float),
        price=np.round(rng.random(offers) * 3 + 0.1, 2),
        feasible=np.ones((shapes, offers), np.bool_),
        node_cap=rng.choice([UNLIMITED, 1, 2], shapes) if draw(st.booleans()) else None,
    )


@settings(max_examples=60, deadline=None)
@given(tiny())
def test_small_batches_are_optimal(question: PackingInput) -> None:
    assert pack(question).cost == np.float64(optimum(question)).round(9) or np.isclose(
        pack(question).cost, optimum(question)
    )


@settings(max_examples=60, deadline=None)
@given(tiny())
def test_the_relaxation_is_never_above_the_optimum(question: PackingInput) -> None:
    """Availability makes the exact method step aside, so that the relaxation bounds alone."""
    scarce = replace(question, available=np.full(len(question.price), 1))
    best = optimum(question)
    assert relaxation_bound(question) <= best * (1 + 1e-9)
    answer = pack(scarce)
    assert violations(scarce, answer) == []


def relaxation_bound(question: PackingInput) -> float:
    """The bound of the relaxation alone, without the exact method."""
    task, demand = task_of(question)
    stock = Stock.of(question)
    return relax(
        task, demand.counts, stock, Budget(10**7), tolerance=1e-3, rounds=20, mind_limits=False
    ).bound


def leads_bound(question: PackingInput, enough: float = np.inf) -> float:
    """The bound that tells nodes apart by their dearest pod, alone."""
    task, demand = task_of(question)
    return leads.bound(task, demand.counts, Budget(10**7), enough=enough)


def task_of(question: PackingInput) -> tuple[market.Market, demand_classes.Classes]:
    demand = demand_classes.build(question)
    task = market.build(
        demand,
        demand.counts,
        question.allocatable,
        question.price,
        np.arange(len(question.price)),
        Stock.of(question),
        mind_limits=False,
    )
    return task, demand


@st.composite
def mixed(draw: st.DrawFn) -> PackingInput:
    """Tiny questions with a scarce resource, shapes that repel each other, and closed offers."""
    question = draw(tiny())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes, offers = len(question.counts), len(question.price)
    scarce = rng.integers(0, 3, (shapes, 1)).astype(float)
    feasible = rng.random((shapes, offers)) < 0.8
    feasible[:, 0] = True
    upper = np.triu(rng.random((shapes, shapes)) < 0.2)
    return replace(
        question,
        requests=np.hstack([question.requests, scarce]),
        allocatable=np.hstack([question.allocatable, rng.integers(2, 5, (offers, 1))]),
        feasible=feasible,
        conflict=(upper | upper.T) if draw(st.booleans()) else None,
    )


@settings(max_examples=200, deadline=None)
@given(mixed())
def test_the_bound_by_leads_is_never_above_the_optimum(question: PackingInput) -> None:
    best = optimum(question)
    assert np.isfinite(best)
    assert 0 < leads_bound(question) <= best * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(mixed())
def test_the_bound_by_leads_is_no_worse_than_the_relaxation(question: PackingInput) -> None:
    """Where no rule keeps pods apart: of such rules each knows others."""
    free = replace(question, conflict=None, node_cap=None)
    assert leads_bound(free) >= relaxation_bound(free) * (1 - 1e-3)


def test_the_bound_knows_that_a_lead_is_whole() -> None:
    """The relaxation fills the room beside a lead with parts of pods that do not fit there.

    Ten pods of 5 and ten of 4 of a scarce kind, one to a node, and nineteen ordinary ones of 2;
    nodes of 6. Beside a 5 nothing fits, beside a 4 one ordinary pod; the other nine share three.
    """
    question = PackingInput(
        requests=np.array([[5.0, 1.0], [4.0, 1.0], [2.0, 0.0]]),
        counts=np.array([10, 10, 19]),
        allocatable=np.array([[6.0, 1.0], [8.0, 1.0]]),
        price=np.array([1.0, 1.6]),
        feasible=np.ones((3, 2), np.bool_),
    )
    assert leads_bound(question) == pytest.approx(23.0)
    assert relaxation_bound(question) < 21.5
    answer = pack(question)
    assert answer.cost == pytest.approx(23.0)
    assert answer.lower_bound == pytest.approx(23.0)


def test_the_bound_by_leads_stops_where_it_is_enough() -> None:
    """What is asked for is proven, not what could be: the work is another's."""
    task, demand = task_of(sample("wild", 200, ec2_catalog(), seed=5))
    scarce = np.arange(len(demand.requests))[:, None] % 2
    offers = np.arange(len(task.price))[:, None] % 3
    task = replace(
        task,
        requests=np.hstack([task.requests, scarce]),
        allocatable=np.hstack([task.allocatable, offers]),
    ).with_fit(np.where(scarce <= offers.T, task.fit, 0))
    budgets = [Budget(10**9), Budget(10**9), Budget(0)]
    whole, part, cut = (
        leads.bound(task, demand.counts, budget, enough=enough)
        for budget, enough in zip(budgets, (np.inf, 1e-6, np.inf), strict=True)
    )
    assert 1e-6 <= part < whole
    assert cut == part, "without any work left it still answers"
    assert budgets[1].spent < budgets[0].spent


@settings(max_examples=40, deadline=None)
@given(questions())
def test_the_same_question_has_the_same_answer(question: PackingInput) -> None:
    one, two = pack(question), pack(question)
    assert (one.existing, one.nodes, one.cost) == (two.existing, two.nodes, two.cost)
    assert one.lower_bound == two.lower_bound
    assert one.work == two.work


@pytest.mark.parametrize(
    ("small_price", "pods", "share", "expected"),
    [
        pytest.param(2.4, 90, 0.5, {0: 2}, id="nodes of equal price: two halves"),
        pytest.param(2.6, 90, 0.5, {1: 1}, id="halves cost more"),
        pytest.param(2.4, 90, 1.0, {1: 1}, id="switched off"),
        pytest.param(2.4, 40, 0.5, {0: 1}, id="too few pods to care"),
        pytest.param(2.4, 9000, 0.5, {1: 100}, id="many nodes anyway"),
    ],
)
def test_a_batch_is_not_put_on_one_node_where_two_cost_the_same(
    small_price: float, pods: int, share: float, expected: dict[int, int]
) -> None:
    """Whichever method answers: small batches are solved exactly, large ones are not."""
    question = PackingInput(
        requests=np.array([[1.0]]),
        counts=np.array([pods]),
        allocatable=np.array([[45.0], [90.0]]),
        price=np.array([small_price, 4.8]),
        feasible=np.ones((1, 2), np.bool_),
        options=PackingOptions(spread_share=share),
    )
    answer = pack(question)
    nodes: Counter[int] = Counter()
    for pattern in answer.nodes:
        nodes[int(pattern.offer)] += pattern.multiplicity
    assert nodes == expected


@pytest.mark.parametrize(
    ("pods", "share", "loads"),
    [
        pytest.param(60, 0.5, [30, 30], id="halves on nodes that could hold more"),
        pytest.param(60, 1.0, [20, 40], id="switched off"),
        pytest.param(6000, 0.5, [40] * 150, id="many nodes anyway"),
    ],
)
def test_the_spread_counts_what_a_node_is_loaded_with(
    pods: int, share: float, loads: list[int]
) -> None:
    question = PackingInput(
        requests=np.array([[1.0]]),
        counts=np.array([pods]),
        allocatable=np.array([[28.0], [40.0]]),
        price=np.array([2.9, 2.9]),
        feasible=np.ones((1, 2), np.bool_),
        options=PackingOptions(spread_share=share),
    )
    found = [
        sum(count for _, count in pattern.pods)
        for pattern in pack(question).nodes
        for _ in range(pattern.multiplicity)
    ]
    assert sorted(found) == loads


def test_a_pod_larger_than_the_share_is_placed_all_the_same() -> None:
    question = PackingInput(
        requests=np.array([[1.0], [40.0]]),
        counts=np.array([59, 1]),
        allocatable=np.array([[28.0], [40.0]]),
        price=np.array([2.1, 3.0]),
        feasible=np.ones((2, 2), np.bool_),
        options=PackingOptions(spread_share=0.25),
    )
    assert not pack(question).unplaced.any()


def test_greedy_hurries_when_the_budget_is_overrun() -> None:
    """All pods are placed all the same, for a small part of the work."""
    asked = sample("wild", 3000, ec2_catalog(), 1)
    classes = demand_classes.build(asked)
    stock = Stock.of(asked)
    task = market.build(
        classes,
        classes.counts,
        asked.allocatable,
        asked.price,
        np.arange(len(asked.price)),
        stock,
        mind_limits=False,
    )
    work = []
    for spent in (0, 10_000_000):
        budget = Budget(0)
        budget.spend(spent)
        assert budget.overrun == bool(spent)
        plan = greedy(task, classes.counts, stock.copy(), budget)
        assert not plan.left.any()
        work.append(budget.spent - spent)
    assert work[1] < work[0] / 2, work


@settings(max_examples=200, deadline=None)
@given(questions(), st.sampled_from([0, 300, 3000, 30_000]))
def test_answers_under_a_cap_obey_every_rule(question: PackingInput, cap: int) -> None:
    options = replace(question.options, work_cap=cap)
    answer = pack(replace(question, options=options))
    assert violations(question, answer) == []


@pytest.mark.parametrize("cap", [0, 50_000, 200_000])
def test_a_pack_keeps_its_cap_of_work(cap: int) -> None:
    """Three hundred sizes of pods in as many priorities, and limits that cannot hold them all."""
    rng = np.random.default_rng(7)
    allocatable, price = ec2_catalog()
    shapes = 300
    question = PackingInput(
        requests=np.column_stack(
            [rng.integers(100, 3000, shapes), rng.integers(1, 9000, shapes) * MIB, np.ones(shapes)]
        ).astype(float),
        counts=np.ones(shapes, np.int64),
        allocatable=allocatable,
        price=price,
        feasible=np.ones((shapes, len(price)), np.bool_),
        priority=np.arange(shapes),
        limit_usage=allocatable[:, :1],
        limit_remaining=np.array([100_000.0]),
        options=PackingOptions(work_cap=cap),
    )
    answer = pack(question)
    one_pass = shapes * (10 + 0.02 * len(price)) + 20 * shapes
    assert answer.work <= max(cap, one_pass)
    assert answer.unplaced.any()
    # whoever is left out is no more important than all who are in
    placed = question.counts - answer.unplaced
    assert np.flatnonzero(placed).mean() > np.flatnonzero(answer.unplaced).mean()
