"""Last touches: cheaper offers for what nodes really hold, and nodes emptied into others' room."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.classes import Classes
from autoctl.scheduling.packing.exact import cheapest
from autoctl.scheduling.packing.fill import fill_node
from autoctl.scheduling.packing.market import Market
from autoctl.scheduling.packing.model import BoolArray, FloatArray
from autoctl.scheduling.packing.plan import Plan, Row
from autoctl.scheduling.packing.stock import Stock


def downsize(market: Market, plan: Plan, stock: Stock, budget: Budget) -> Plan:
    """Each node on the cheapest offer that holds its pods; `stock` is kept in step."""
    if not plan.rows:
        return plan
    states = np.array([row.pods for row in plan.rows])
    price, column = cheapest(market, states)
    budget.spend(10 * len(market.price) + 0.01 * states.size * market.requests.shape[1])
    better = Plan(plan.left.copy())
    for spot, row in enumerate(plan.rows):
        if column[spot] >= 0 and price[spot] < row.price * (1 - 1e-9):
            offer = int(market.offers[column[spot]])
            nodes = min(row.nodes, stock.room(offer))
            if nodes:
                stock.take(offer, nodes)
                stock.take(row.offer, -nodes)
                better.rows.append(Row(offer, float(price[spot]), row.pods, nodes))
            if nodes < row.nodes:
                better.rows.append(Row(row.offer, row.price, row.pods, row.nodes - nodes))
        else:
            better.rows.append(row)
    return better


def top_up(classes: Classes, allocatable: FloatArray, plan: Plan, allowed: BoolArray) -> None:
    """Put more of `plan.left` into its nodes' room, of the `allowed` (K,) classes."""
    size = (classes.requests / np.maximum(classes.requests.max(axis=0), 1.0)).max(axis=1)
    order = np.lexsort((np.arange(len(size)), -size, -classes.priority))
    order = order[allowed[order]]
    rows: list[Row] = []
    for row in plan.rows:
        nodes = row.nodes
        while nodes:
            # all equal nodes get the same if there are enough pods, else one node is split off
            for same in (nodes, 1):
                pods = row.pods.copy()
                room = allocatable[row.offer][classes.resources] - pods @ classes.requests
                limit = np.minimum(plan.left // same, classes.cap - pods)
                limit[~classes.feasible[:, row.offer]] = 0
                fill_node(classes.requests, room, order, limit, pods, classes.conflict)
                if (pods > row.pods).any():
                    break
            added = pods - row.pods
            if not added.any():
                same = nodes
            plan.left -= added * same
            rows.append(Row(row.offer, row.price, pods, same))
            nodes -= same
    plan.rows[:] = rows
