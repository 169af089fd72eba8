"""Giving up nodes: no pod is lost, nothing overflows, and what is said to be saved is saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from packing_checker import violations
from packing_cluster import cluster

from autoctl.scheduling.packing.model import PackingInput, PackingResult
from autoctl.scheduling.packing.repack import Repack, RepackInput, choose_repack, waste


def check(case: RepackInput, answer: Repack) -> None:
    """The pods of the removed nodes are all somewhere else, by the checker of packings."""
    removed = list(answer.removed)
    assert case.removable[removed].all()
    assert case.question.bin_feasible is not None
    stays = case.question.bin_feasible.copy()
    stays[:, removed] = False
    question = replace(case.question, counts=case.contents[removed].sum(axis=0), bin_feasible=stays)
    cost = sum(p.multiplicity * float(question.price[p.offer]) for p in answer.nodes)
    as_packing = PackingResult(
        existing=answer.existing,
        nodes=answer.nodes,
        unplaced=np.zeros(len(question.counts), np.int64),
        cost=cost,
        lower_bound=0.0,
        method="none",
        work=0,
    )
    assert violations(question, as_packing) == []
    assert answer.saving == pytest.approx(float(case.node_price[removed].sum()) - cost)
    assert answer.moved == case.contents[removed].sum()


@pytest.mark.parametrize("seed", range(6))
def test_a_fragmented_cluster_gets_cheaper(seed: int) -> None:
    case = cluster(60, 30, seed)
    answer = choose_repack(case)
    check(case, answer)
    assert answer.saving > 0.2 * case.node_price.sum()
    moving = float((case.contents[list(answer.removed)] @ case.moving_cost).sum())
    assert answer.saving > moving


@pytest.mark.parametrize("seed", range(4))
def test_rules_between_pods_hold_while_nodes_are_emptied(seed: int) -> None:
    case = cluster(40, 12, seed, pods_per_node=4)
    rng = np.random.default_rng(seed)
    shapes = len(case.question.counts)
    upper = np.triu(rng.random((shapes, shapes)) < 0.2)
    conflict = upper | upper.T
    occupied = (case.contents > 0).astype(int)
    case = replace(
        case,
        question=replace(
            case.question,
            conflict=conflict,
            node_cap=rng.choice([-1, 1, 3], shapes),
            bin_feasible=(occupied @ conflict.astype(int)).T == 0,
            bin_cap=rng.choice([-1, 0, 1, 2], (shapes, 40)),
        ),
    )
    check(case, choose_repack(case))


def test_budgets_hold_in_each_group() -> None:
    case = cluster(60, 30, 1)
    group = np.arange(60) % 3
    budget = np.array([0, 2, 5])
    answer = choose_repack(replace(case, group=group, group_budget=budget))
    taken = np.bincount(group[list(answer.removed)], minlength=3)
    assert taken.tolist() == [0, 2, 5]


def test_a_node_that_may_not_go_stays() -> None:
    case = cluster(60, 30, 2)
    removable = np.arange(60) % 2 == 0
    check(case, choose_repack(replace(case, removable=removable)))


def test_dear_moves_are_not_made() -> None:
    case = cluster(60, 30, 3)
    occupied = case.contents.any(axis=1)
    dear = choose_repack(replace(case, moving_cost=np.full(case.contents.shape[1], 1000.0)))
    assert not occupied[list(dear.removed)].any()


def test_a_cluster_comes_to_rest() -> None:
    """Asked again about what it has just arranged, the packer finds little more to do."""
    case = cluster(60, 30, 4)
    first = choose_repack(case)
    assert first.removed
    second = choose_repack(_after(case, first))
    assert second.saving < 0.1 * first.saving


def test_three_dear_nodes_become_one_cheap_one() -> None:
    question = PackingInput(
        requests=np.array([[1.0, 1.0]]),
        counts=np.array([0]),
        allocatable=np.array([[4.0, 10.0], [64.0, 110.0]]),
        price=np.array([0.2, 3.0]),
        feasible=np.ones((1, 2), np.bool_),
        bin_free=np.full((3, 2), 0.0),
        bin_feasible=np.ones((1, 3), np.bool_),
    )
    case = RepackInput(
        question=question,
        contents=np.ones((3, 1), np.int64),
        node_price=np.full(3, 3.0),
        removable=np.ones(3, np.bool_),
        moving_cost=np.array([0.01]),
    )
    answer = choose_repack(case)
    assert answer.removed == (0, 1, 2)
    assert [(p.offer, p.pods, p.multiplicity) for p in answer.nodes] == [(0, ((0, 3),), 1)]
    assert answer.saving == pytest.approx(8.8)


def exchangeable(budget: int | None) -> RepackInput:
    """Four dear nodes with a pod each that only fits alone, and two dear ones with small pods."""
    question = PackingInput(
        requests=np.array([[4.0, 1.0], [1.0, 1.0]]),
        counts=np.array([0, 0]),
        allocatable=np.array([[4.0, 10.0], [2.0, 10.0]]),
        price=np.array([0.2, 0.12]),
        feasible=np.ones((2, 2), np.bool_),
        bin_free=np.zeros((6, 2)),
        bin_feasible=np.ones((2, 6), np.bool_),
    )
    return RepackInput(
        question=question,
        contents=np.array([[1, 0]] * 4 + [[0, 1]] * 2),
        node_price=np.array([3.0] * 4 + [0.3] * 2),
        removable=np.ones(6, np.bool_),
        moving_cost=np.full(2, 0.001),
        group_budget=None if budget is None else np.array([budget]),
    )


@pytest.mark.parametrize("budget", [None, 2])
def test_nodes_that_may_not_be_exchanged_go_in_company_only(budget: int | None) -> None:
    """Two small pods share a node; a node alone is not bought for another one's pods."""
    case = exchangeable(budget)
    free = choose_repack(case)
    check(case, free)
    assert free.removed == ((0, 1, 2, 3, 4, 5) if budget is None else (0, 1))
    barred = replace(case, no_exchange=np.array([True] * 6))
    answer = choose_repack(barred)
    check(barred, answer)
    assert answer.removed == (() if budget else (4, 5))
    assert answer.spared == ((0, 1) if budget else (0, 1, 2, 3))
    several = choose_repack(replace(case, no_exchange=np.array([True] * 4 + [False] * 2)))
    check(case, several)
    assert several.removed == (4, 5), "those that may be exchanged come first in a small budget"


def test_a_pod_that_nothing_sold_would_hold_keeps_its_own_node_only() -> None:
    """What it is worth is without bound; of other nodes it says nothing."""
    question = PackingInput(
        requests=np.array([[1.0, 1.0], [100.0, 1.0]]),
        counts=np.array([0, 0]),
        allocatable=np.array([[4.0, 10.0], [64.0, 110.0]]),
        price=np.array([0.2, 3.0]),
        feasible=np.array([[True, True], [False, False]]),
        bin_free=np.full((4, 2), 0.0),
        bin_feasible=np.ones((2, 4), np.bool_),
    )
    case = RepackInput(
        question=question,
        contents=np.array([[1, 0], [1, 0], [1, 0], [1, 1]]),
        node_price=np.full(4, 3.0),
        removable=np.ones(4, np.bool_),
        moving_cost=np.full(2, 0.01),
    )
    assert choose_repack(case).removed == (0, 1, 2)
    found, worth = waste(case)
    assert worth[1] == -found[3] == np.inf
    assert (found[:3] > 0.9 * case.node_price[:3]).all()


def _after(case: RepackInput, answer: Repack) -> RepackInput:
    """The cluster once the pods have moved."""
    question = case.question
    assert question.bin_free is not None
    contents, free = case.contents.copy(), question.bin_free.copy()
    for node, shape, count in answer.existing:
        contents[node, shape] += count
        free[node] -= count * question.requests[shape]
    keep = np.setdiff1d(np.arange(len(free)), answer.removed)
    contents, free = contents[keep], free[keep]
    price = case.node_price[keep]
    for pattern in answer.nodes:
        pods = np.zeros(contents.shape[1], np.int64)
        for shape, count in pattern.pods:
            pods[shape] = count
        for _ in range(pattern.multiplicity):
            contents = np.vstack([contents, pods])
            left = question.allocatable[pattern.offer] - pods @ question.requests
            free = np.vstack([free, left])
            price = np.append(price, question.price[pattern.offer])
    nodes = len(price)
    return replace(
        case,
        question=replace(
            question,
            bin_free=free,
            bin_feasible=np.ones((contents.shape[1], nodes), np.bool_),
        ),
        contents=contents,
        node_price=price,
        removable=np.ones(nodes, np.bool_),
    )
