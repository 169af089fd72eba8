"""Column generation over whole nodes: what the relaxation cannot see, how pods really fit together.

A pattern is the content of one node. The master program buys fractions of patterns to cover all
pods; its prices of pods ask every offer for a more valuable node (a heuristic knapsack, all offers
at once); new nodes worth more than their price enter the master. Rounding keeps whole multiples and
leaves the rest to be packed again.
"""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.fill import fill_best
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import FloatArray, IntArray
from autoctl.scheduling.packing.plan import Plan, Row, repeats
from autoctl.scheduling.packing.simplex import INFINITE, Simplex
from autoctl.scheduling.packing.stock import Stock

_PER_ROUND = 40
_REFINE = 3
_TOLERANCE = 1e-3
_SMOOTH = 0.6


class Master:
    """min price . x subject to patterns . x >= wanted, x >= 0; patterns are added as found."""

    def __init__(self, market: Market, wanted: IntArray) -> None:
        self.market = market
        self.wanted = wanted
        self.active = np.flatnonzero(wanted)
        self.patterns: list[tuple[int, IntArray]] = []
        self._seen: set[tuple[int, bytes]] = set()
        self._position = np.full(len(wanted), -1)
        self._position[self.active] = np.arange(len(self.active))
        self._lp = Simplex()
        asked = wanted[self.active].astype(np.float64)
        self._lp.add_rows(asked, np.full(len(asked), INFINITE))

    def add(self, column: int, pods: IntArray) -> bool:
        """Add a node of market column `column` with `pods` (K,); False if it is known."""
        key = (column, pods.tobytes())
        if key in self._seen:
            return False
        self._seen.add(key)
        some = np.flatnonzero(pods)
        self._lp.add_columns(
            self.market.price[[column]],
            np.array([INFINITE]),
            np.zeros(1, np.int64),
            self._position[some],
            pods[some].astype(np.float64),
        )
        self.patterns.append((column, pods))
        return True

    def solve(self, budget: Budget) -> tuple[float, FloatArray, FloatArray]:
        """Objective, (K,) value of a pod, (patterns,) nodes bought of each."""
        solved = self._lp.run(budget)
        value = np.zeros(len(self.wanted))
        value[self.active] = np.maximum(solved.dual, 0.0)
        return solved.objective, value, solved.columns


def generate(
    market: Market,
    wanted: IntArray,
    start: list[Row],
    centre: FloatArray,
    budget: Budget,
    rounds: int,
) -> tuple[Master, FloatArray, FloatArray]:
    """Run column generation for at most `rounds` rounds.

    Args:
        start: nodes of a complete plan for `wanted`.
        centre: (K,) values the prices are drawn towards, so that they do not swing.

    Returns:
        the master, the (K,) value of a pod and the (patterns,) nodes bought.
    """
    master = Master(market, wanted)
    column_of = {int(offer): column for column, offer in enumerate(market.offers)}
    for row in start:
        if row.offer in column_of:
            master.add(column_of[row.offer], row.pods)
    columns = np.arange(len(market.price))
    price = np.maximum(market.price, 1e-9)
    _, value, bought = master.solve(budget)
    for _ in range(rounds):
        if not budget.left:
            break
        added = 0
        for trial in (_SMOOTH * centre + (1 - _SMOOTH) * value, value):
            pods, _ = fill_best(market, wanted, trial, columns, _REFINE)
            budget.spend_fill(len(columns), len(master.active), _REFINE)
            ratio = (pods @ value) / price
            for column in np.argsort(-ratio, kind="stable")[:_PER_ROUND]:
                if ratio[column] > 1 + _TOLERANCE:
                    added += master.add(int(column), pods[column])
            if added:
                centre = 0.8 * centre + 0.2 * trial / max(1.0, float(ratio.max()))
                break
        if not added:
            break
        _, value, bought = master.solve(budget)
    return master, value, bought


def round_down(master: Master, bought: FloatArray, stock: Stock, keep: float) -> Plan:
    """Whole multiples of the bought patterns, and one more where the fraction is over `keep`.

    `stock` is drawn down; what is not covered stays in the plan's `left`.
    """
    plan = Plan(master.wanted.copy())
    whole = np.floor(bought + 1e-6)
    ranked = np.lexsort((np.arange(len(bought)), -bought))
    fraction = bought - whole
    extra = np.lexsort((np.arange(len(bought)), -fraction))
    steps = [(int(j), int(whole[j])) for j in ranked if whole[j] >= 1]
    steps += [(int(j), 1) for j in extra if fraction[j] >= keep]
    for index, nodes in steps:
        column, pods = master.patterns[index]
        offer = int(master.market.offers[column])
        nodes = min(nodes, repeats(pods, plan.left), stock.room(offer))
        if nodes > 0:
            plan.add(offer, float(master.market.price[column]), pods, nodes)
            stock.take(offer, nodes)
    return plan
