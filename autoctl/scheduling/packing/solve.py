"""The packer's entry point: existing room first, then the cheapest new nodes, tier by tier."""

from __future__ import annotations

from collections import Counter

import numpy as np

from autoctl.scheduling.packing import classes as demand
from autoctl.scheduling.packing import exact, market
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.classes import Classes, Dealer
from autoctl.scheduling.packing.existing import fill_bins
from autoctl.scheduling.packing.greedy import greedy
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import (
    IntArray,
    Method,
    NodePattern,
    PackingInput,
    PackingResult,
)
from autoctl.scheduling.packing.plan import Plan, Row
from autoctl.scheduling.packing.stock import Stock

_EXACT_STATES = 4096


def pack(question: PackingInput) -> PackingResult:
    """Place every pod that can be placed, at the lowest cost found within the work budget.

    Bins are filled first. New nodes then come from the most preferred tier that has offers for a
    shape; later tiers take only what availability, reservations or limits leave over.
    """
    classes = demand.build(question)
    budget = Budget(question.options.work_budget)
    placed: list[tuple[int, int, int]] = []
    left = classes.counts.copy()
    if question.bin_free is not None and len(question.bin_free) and len(left):
        order = question.bin_order
        if order is None:
            order = np.zeros(len(question.bin_free), np.int64)
        free = question.bin_free[:, classes.resources].astype(np.float64)
        placed, left = fill_bins(classes, free, order, budget)
    stock = Stock.of(question)
    plan = Plan(left.copy())
    method: Method = "existing" if placed else "none"
    tiers = question.tier_index
    if tiers is None:
        tiers = np.zeros(len(question.price), np.int64)
    for tier in np.unique(tiers):
        if not plan.left.any():
            break
        offers = np.flatnonzero(tiers == tier)
        task = market.build(
            classes,
            plan.left,
            question.allocatable,
            question.price,
            offers,
            stock,
            mind_limits=False,
        )
        if not len(task.offers):
            continue
        method, rows = _buy(task, plan.left, stock, budget)
        for row in rows:
            plan.add(row.offer, row.price, row.pods, row.nodes)
            stock.take(row.offer, row.nodes)
    return _answer(question, classes, placed, plan, method, 0.0, budget)


def _buy(task: Market, left: IntArray, stock: Stock, budget: Budget) -> tuple[Method, list[Row]]:
    wanted = np.where(task.fit.any(axis=1), left, 0)
    if exact.sub_batches(wanted) <= _EXACT_STATES:
        best = exact.solve(task, wanted)
        if best is not None and _affordable(best, stock):
            return "exact", best.rows
    return "greedy", greedy(task, wanted, stock.copy(), budget, rounds=2).rows


def _affordable(plan: Plan, stock: Stock) -> bool:
    """Whether the stock has all the nodes of a plan made without looking at it."""
    trial = stock.copy()
    for row in plan.rows:
        if trial.room(row.offer) < row.nodes:
            return False
        trial.take(row.offer, row.nodes)
    return True


def _answer(
    question: PackingInput,
    classes: Classes,
    placed: list[tuple[int, int, int]],
    plan: Plan,
    method: Method,
    bound: float,
    budget: Budget,
) -> PackingResult:
    """Translate classes back to shapes."""
    dealer = Dealer(classes, question.counts)
    existing: list[tuple[int, int, int]] = []
    for where, row, count in placed:
        existing += [(where, shape, amount) for shape, amount in dealer.deal(row, count)]
    patterns: Counter[tuple[int, tuple[tuple[int, int], ...]]] = Counter()
    for entry in plan.rows:
        some = [int(row) for row in np.flatnonzero(entry.pods)]
        if all(dealer.uniform(row) for row in some):
            pods = tuple(
                sorted((int(classes.members[row][0]), int(entry.pods[row])) for row in some)
            )
            patterns[entry.offer, pods] += entry.nodes
            for row in some:
                dealer.deal(row, int(entry.pods[row]) * entry.nodes)
            continue
        for _ in range(entry.nodes):
            dealt: list[tuple[int, int]] = []
            for row in some:
                dealt += dealer.deal(row, int(entry.pods[row]))
            patterns[entry.offer, tuple(sorted(dealt))] += 1
    unplaced = np.zeros(len(question.counts), np.int64)
    for index in np.flatnonzero(plan.left):
        for shape, amount in dealer.deal(int(index), int(plan.left[index])):
            unplaced[shape] += amount
    return PackingResult(
        existing=tuple(sorted(existing)),
        nodes=tuple(NodePattern(offer, pods, n) for (offer, pods), n in patterns.items()),
        unplaced=unplaced,
        cost=plan.cost,
        lower_bound=bound,
        method=method,
        work=budget.spent,
    )
