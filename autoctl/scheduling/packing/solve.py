"""The packer's entry point: existing room first, then the cheapest new nodes, tier by tier."""

from __future__ import annotations

from collections import Counter

import numpy as np

from autoctl.scheduling.packing import classes as demand
from autoctl.scheduling.packing import market
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.classes import Classes, Dealer
from autoctl.scheduling.packing.existing import fill_bins
from autoctl.scheduling.packing.greedy import singly
from autoctl.scheduling.packing.improve import top_up
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import (
    IntArray,
    Method,
    NodePattern,
    PackingInput,
    PackingResult,
)
from autoctl.scheduling.packing.plan import Plan
from autoctl.scheduling.packing.relaxation import relax
from autoctl.scheduling.packing.search import Found, search
from autoctl.scheduling.packing.stock import Stock


def pack(question: PackingInput) -> PackingResult:
    """Place every pod that can be placed, at the lowest cost found within the work budget.

    Bins are filled first. New nodes then come from the most preferred tier that has offers for a
    shape; later tiers take only what availability, reservations or limits leave over.
    """
    classes = demand.build(question)
    options = question.options
    units = options.work_base + options.work_per_pod * int(classes.counts.sum())
    budget = Budget(min(options.work_budget, units), options.work_cap)
    placed: list[tuple[int, int, int]] = []
    left = classes.counts.copy()
    if question.bin_free is not None and len(question.bin_free) and len(left):
        order = question.bin_order
        if order is None:
            order = np.zeros(len(question.bin_free), np.int64)
        free = question.bin_free[:, classes.resources].astype(np.float64)
        placed, left = fill_bins(classes, free, order, budget)
    purchase = _buy(question, classes, left, budget) if left.any() else None
    if purchase is None:
        return _answer(question, classes, placed, Plan(left), "existing", 0.0, budget)
    return _answer(question, classes, placed, *purchase, budget)


def _buy(
    question: PackingInput, classes: Classes, left: IntArray, budget: Budget
) -> tuple[Plan, Method, float]:
    """New nodes for `left` (K,) pods, tier by tier: the plan, the method and the bound."""
    stock = Stock.of(question)
    plan = Plan(left.copy())
    methods: list[Method] = []
    bound, complete = 0.0, True
    tiers = question.tier_index
    if tiers is None:
        tiers = np.zeros(len(question.price), np.int64)
    for tier in np.unique(tiers):
        if not plan.left.any():
            break
        offers = np.flatnonzero(tiers == tier)
        found = _tier(question, classes, plan.left, offers, stock, budget)
        if found is None:
            continue
        for row in found.plan.rows:
            plan.add(row.offer, row.price, row.pods, row.nodes)
            stock.take(row.offer, row.nodes)
        here = classes.feasible[:, offers].any(axis=1)
        complete &= not found.plan.left[here].any()
        bound += found.bound
        methods.append(found.method)
    if not complete:
        bound = _bound_of(question, classes, left, plan, tiers, budget)
    method: Method = methods[0] if methods else "none"
    return plan, method, min(bound, plan.cost)


def _tier(
    question: PackingInput,
    classes: Classes,
    wanted: IntArray,
    offers: IntArray,
    stock: Stock,
    budget: Budget,
) -> Found | None:
    """Nodes of one tier. Where they run short, pods of higher priority are served first."""

    def on_sale(pods: IntArray, book: Stock, *, mind_limits: bool) -> Market:
        budget.spend(0.002 * len(pods) * len(offers))
        return market.build(
            classes,
            pods,
            question.allocatable,
            question.price,
            offers,
            book,
            mind_limits=mind_limits,
        )

    def attempt(pods: IntArray, book: Stock, *, mind_limits: bool) -> Found | None:
        task = on_sale(pods, book, mind_limits=mind_limits)
        if not len(task.offers):
            return None
        return search(task, pods, book, budget, question.options, mind_limits=mind_limits)

    best = attempt(wanted, stock, mind_limits=False)
    if best is None:
        return None
    if not best.plan.left.any() or not stock.bounded(offers):
        return best
    placeable = market.placeable(classes, question.allocatable, offers)
    if not best.plan.left[placeable].any():
        return best
    if len(stock.remaining):
        again = attempt(wanted, stock, mind_limits=True)
        if again is not None and again.plan.rank() < best.plan.rank():
            best = again
    levels = np.unique(classes.priority[(wanted > 0) & placeable])[::-1]
    book = stock.copy()
    plan = Plan(wanted.copy())
    if len(levels) < 2:
        plan = best.plan.copy()
        for row in plan.rows:
            book.take(row.offer, row.nodes)
    for level in levels:
        if budget.exhausted:
            break
        top_up(classes, question.allocatable, plan, classes.priority >= level)
        pods = np.where(classes.priority == level, plan.left, 0)
        if not pods.any():
            continue
        found = attempt(pods, book, mind_limits=True)
        for row in found.plan.rows if found else ():
            plan.add(row.offer, row.price, row.pods, row.nodes)
            book.take(row.offer, row.nodes)
    # cheaper offers found for bought nodes may have freed what a limit or reservation had refused
    while plan.left.any() and not budget.pressed:
        found = attempt(plan.left, book, mind_limits=True)
        if found is None or not found.plan.rows:
            break
        for row in found.plan.rows:
            plan.add(row.offer, row.price, row.pods, row.nodes)
            book.take(row.offer, row.nodes)
    if plan.left.any() and budget.exhausted:
        top_up(classes, question.allocatable, plan, plan.left > 0)
        singly(on_sale(plan.left, book, mind_limits=True), plan, book, budget, classes.priority)
    return Found(plan, 0.0, best.method)


def _bound_of(
    question: PackingInput,
    classes: Classes,
    left: IntArray,
    plan: Plan,
    tiers: IntArray,
    budget: Budget,
) -> float:
    """A bound for the pods `plan` placed, when limits or availability kept others out.

    Every class may use every tier here, and limits are ignored: weaker, but true for any choice of
    the tier a pod spills to.
    """
    if budget.pressed:
        return 0.0
    pods = left - plan.left
    task = market.build(
        classes,
        pods,
        question.allocatable,
        question.price,
        np.arange(len(tiers)),
        Stock.of(question),
        mind_limits=False,
    )
    if not len(task.offers):
        return 0.0
    return relax(
        task,
        pods,
        Stock.of(question),
        budget,
        tolerance=1e-3,
        rounds=20,
        mind_limits=False,
    ).bound


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
