"""The search for cheap new nodes: several packers, finished the same way, the cheapest wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoctl.scheduling.packing import exact, leads
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.greedy import greedy, shortlist
from autoctl.scheduling.packing.guided import again, guided
from autoctl.scheduling.packing.improve import downsize
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import FloatArray, IntArray, Method, PackingOptions
from autoctl.scheduling.packing.patterns import generate, round_down
from autoctl.scheduling.packing.plan import Plan
from autoctl.scheduling.packing.relaxation import Relaxed, relax
from autoctl.scheduling.packing.stock import Stock

_EXACT_STATES = 4096
_WIDE = 60_000
"""Classes x offers above which the packers see only a shortlist of offers; the bound sees all."""

_POOR = 1.05
"""From here over the bound greedy has its turn even when the budget is used up: rules between pods
that fix the number of nodes are where it does better than rounding."""

_PATTERN_CLASSES = 250
_PATTERN_ROUNDS = 40
_KEEP = (0.95, 0.75, 0.55)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search ended with: a plan, a bound on any plan for the same pods, the method."""

    plan: Plan
    bound: float
    method: Method


def search(
    market: Market,
    wanted: IntArray,
    stock: Stock,
    budget: Budget,
    options: PackingOptions,
    *,
    mind_limits: bool,
) -> Found:
    """The cheapest nodes found for `wanted` (K,) pods of the market's classes.

    Among plans of about the same price (`options.spread_premium`) the one whose nodes hold at most
    `options.spread_share` of the batch is taken. `bound` holds if the plan leaves no pod.
    """
    if budget.pressed:
        plan = greedy(market, wanted, stock.copy(), budget)
        return Found(plan, 0.0, "greedy")
    few = exact.sub_batches(wanted) <= _EXACT_STATES
    if few and budget.affords(2 * _exact_work(market, wanted)):
        best = _solve_exactly(market, wanted, budget)
        if best is not None and affordable(best, stock):
            narrow = _spread(market, wanted, options)
            spread = None if narrow is None else _solve_exactly(narrow, wanted, budget)
            if (
                spread is not None
                and spread.cost <= best.cost * (1 + options.spread_premium)
                and affordable(spread, stock)
            ):
                return Found(spread, best.cost, "exact")
            return Found(best, best.cost, "exact")
    relaxed = relax(
        market, wanted, stock, budget, tolerance=1e-3, rounds=20, mind_limits=mind_limits
    )
    active = int((wanted > 0).sum())
    bound, whole = relaxed.bound, market
    if active * len(market.price) > _WIDE:
        kept = shortlist(market, wanted, np.arange(len(market.price)))
        kept = np.union1d(kept, relaxed.columns)
        market, relaxed = market.restrict(kept), relaxed.restrict(kept)
    plan, method = _spread_or_not(market, wanted, stock, budget, options, relaxed, bound)
    enough = plan.cost / (1 + options.good_enough)
    if options.prove and bound < enough and not plan.left.any() and budget.left:
        bound = max(bound, leads.bound(whole, wanted, budget, enough=enough))
    return Found(plan, bound, method)


def _solve_exactly(market: Market, wanted: IntArray, budget: Budget) -> Plan | None:
    budget.spend(_exact_work(market, wanted))
    return exact.solve(market, wanted)


def _exact_work(market: Market, wanted: IntArray) -> float:
    return 0.02 * exact.splits(wanted) + 30 * float(wanted.sum()) + 10 * len(market.price)


def _spread_or_not(
    market: Market,
    wanted: IntArray,
    stock: Stock,
    budget: Budget,
    options: PackingOptions,
    relaxed: Relaxed,
    bound: float,
) -> tuple[Plan, Method]:
    """The best plan of nodes that each hold a small part of the batch, if it costs no more."""
    narrow = _spread(market, wanted, options)
    if narrow is None:
        return _Contest(market, wanted, stock, budget, options).run(relaxed, bound)
    second = relax(narrow, wanted, stock, budget, tolerance=5e-3, rounds=20, prove=False)
    if second.objective > relaxed.objective * (1 + options.spread_premium):
        return _Contest(market, wanted, stock, budget, options).run(relaxed, bound)
    plan, method = _Contest(narrow, wanted, stock, budget, options).run(second, bound)
    near = plan.cost <= bound * (1 + options.spread_premium + 4 * options.good_enough)
    if near and not plan.left.any():
        return plan, method
    wide, by = _Contest(market, wanted, stock, budget, options).run(relaxed, bound)
    if wide.left.any() or plan.cost <= wide.cost * (1 + options.spread_premium):
        return plan, method
    return wide, by


def affordable(plan: Plan, stock: Stock) -> bool:
    """Whether the stock has all the nodes of a plan made without looking at it."""
    trial = stock.copy()
    for row in plan.rows:
        if trial.room(row.offer) < row.nodes:
            return False
        trial.take(row.offer, row.nodes)
    return True


def _spread(market: Market, wanted: IntArray, options: PackingOptions) -> Market | None:
    """The market with nodes filled no further than the spread allows; None if nothing changes.

    What counts is the load of a node in any resource, not what it could hold. A node may always
    hold one pod of any class.
    """
    if options.spread_share >= 1 or wanted.sum() < options.spread_min_pods:
        return None
    most = np.maximum(
        options.spread_share * (wanted @ market.requests),
        market.requests[wanted > 0].max(axis=0, initial=0),
    )
    room = np.minimum(market.allocatable, most)
    if (room == market.allocatable).all():
        return None
    return market.with_room(room)


class _Contest:
    """Plans for one task are proposed; the best one stays."""

    def __init__(
        self,
        market: Market,
        wanted: IntArray,
        stock: Stock,
        budget: Budget,
        options: PackingOptions,
    ) -> None:
        self._market = market
        self._wanted = np.where(market.fit.any(axis=1), wanted, 0)
        self._rest = wanted - self._wanted
        self._stock = stock
        self._budget = budget
        self._good_enough = options.good_enough
        self._best = Plan(self._wanted.copy())
        self._method: Method = "greedy"

    def run(self, relaxed: Relaxed, bound: float) -> tuple[Plan, Method]:
        """Try the packers, cheap ones first, until one is good enough or the budget is used up."""
        active = int((self._wanted > 0).sum())
        trial = self._stock.copy()
        plan, last = guided(self._market, self._wanted, trial, self._budget, relaxed)
        value = last.value
        if plan.left.any():
            # all that is left in the relaxation's proportions; offers are downsized afterwards
            rest = again(self._market, plan.left, trial, self._budget, last)
            end, _ = guided(self._market, plan.left, trial, self._budget, rest, thresholds=(0.0,))
            self._finish(Plan(end.left, plan.rows + end.rows), "lp", [(value, 1)], bound)
        if not self._good(bound) and self._greedy_work(plan.left) < self._budget.left:
            self._finish(plan, "lp+greedy", [(None, 2), (value, 1)], bound)
        poor = bool(self._best.left.any()) or self._best.cost > _POOR * bound
        if self._budget.pressed and self._best.rows and not self._best.left.any():
            poor = False
        if poor or (not self._good(bound) and self._greedy_work(self._wanted) < self._budget.left):
            self._finish(
                Plan(self._wanted.copy()),
                "greedy",
                [(None, 1) if poor else (relaxed.value, 2)],
                bound,
            )
        if not self._good(bound) and active <= _PATTERN_CLASSES and self._budget.left:
            master, value, bought = generate(
                self._market,
                self._wanted,
                self._best.rows,
                relaxed.value,
                self._budget,
                _PATTERN_ROUNDS,
            )
            for keep in _KEEP:
                plan = round_down(master, bought, self._stock.copy(), keep)
                self._finish(plan, "lp", [(None, 2), (value, 1)], bound)
        self._best.left = self._best.left + self._rest
        return self._best, self._method

    def _greedy_work(self, pods: IntArray) -> float:
        """Rough work of a greedy run: a fill for every few nodes of the best plan, per its pods."""
        active = int((pods > 0).sum())
        fill = 4000 + active * (12 + 0.08 * min(len(self._market.price), 150)) * 2
        share = float(pods.sum()) / max(1.0, float(self._wanted.sum()))
        return fill * max(4.0, share * len(self._best.rows))

    def _good(self, bound: float) -> bool:
        return not self._best.left.any() and self._best.cost <= bound * (1 + self._good_enough)

    def _finish(
        self,
        plan: Plan,
        method: Method,
        tails: list[tuple[FloatArray | None, int]],
        bound: float,
    ) -> None:
        """Pack what `plan` leaves by greedy, for each (value, rounds) until one is good enough."""
        if not plan.left.any():
            tails = [(None, 1)]
        for value, rounds in tails:
            stock = self._stock.copy()
            for row in plan.rows:
                stock.take(row.offer, row.nodes)
            tail = greedy(self._market, plan.left, stock, self._budget, value=value, rounds=rounds)
            whole = downsize(
                self._market, Plan(tail.left, plan.rows + tail.rows), stock, self._budget
            )
            if not self._best.rows or whole.rank() < self._best.rank():
                self._best, self._method = whole, method
            if self._good(bound):
                break
