"""Which nodes to give up: for these nodes and this room elsewhere, what is the cheapest world?

Two passes over one state. *Delete* takes nodes one by one, the least to move per dollar first, when
all their pods fit on nodes that stay. *Replace* looks at what is left together: the relaxation says
what each node's pods are worth, the nodes that cost much more than that are emptied as a set, and
the packer finds the cheapest home for their pods, in others' room and on new nodes (m nodes to n).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autoctl.scheduling.packing import classes as demand
from autoctl.scheduling.packing import market
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.model import (
    BoolArray,
    FloatArray,
    IntArray,
    NodePattern,
    PackingInput,
    PackingResult,
)
from autoctl.scheduling.packing.relaxation import relax
from autoctl.scheduling.packing.solve import pack
from autoctl.scheduling.packing.stock import Stock

_SHORTLIST = 256
"""Bins looked at for one shape of one node, fullest first."""

_GOOD_ENOUGH = 0.01
"""Within this of the bound the new homes are not improved further."""

_EFFICIENCY = (0.98, 0.85, 0.65)
"""Sets tried by the replace pass, until one pays: nodes whose pods are worth less than this part
of the price. A large set leaves the packer more freedom."""


@dataclass(frozen=True, slots=True, eq=False)
class RepackInput:
    """What may be given up.

    Attributes:
        question: shapes, offers and rules; `bin_free`, `bin_feasible` and `bin_cap` describe the N
            nodes as they are. `counts` is not used: every pod is on a node.
        contents: (N, C) pods that would have to move if the node went.
        node_price: (N,) USD/hour.
        removable: (N,) the node may go and all its `contents` may be evicted.
        moving_cost: (C,) USD/hour a saving must exceed for each pod moved.
        least_saving: part of the removed nodes' price that must be saved net of moving costs, so
            that the cluster comes to rest.
        group: (N,) budget group (NodePool) of each node; None: one group.
        group_budget: most nodes to give up in each group; None: any number.
        worth: (C,) USD/hour a pod of each shape costs in the cheapest fractional world, where an
            answer about the same pods, or most of them, has told it already.
        no_exchange: (N,) the node may go, but not for one new node with the same pods; None: none
            is such.
    """

    question: PackingInput
    contents: IntArray
    node_price: FloatArray
    removable: BoolArray
    moving_cost: FloatArray
    least_saving: float = 0.05
    group: IntArray | None = None
    group_budget: IntArray | None = None
    worth: FloatArray | None = None
    no_exchange: BoolArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Repack:
    """The pods of `removed` go to `existing` and `nodes`; pods of one shape are interchangeable.

    Attributes:
        removed: nodes to give up, ascending.
        existing: (bin, shape, count) pods added to nodes that stay.
        nodes: new nodes.
        saving: USD/hour, moving costs not deducted.
        moved: pods that move.
        worth: see `RepackInput`; None where it was not asked for.
        spared: nodes of `no_exchange` that would have been exchanged. They took others' budget:
            without them, the question may have a better answer.
    """

    removed: tuple[int, ...]
    existing: tuple[tuple[int, int, int], ...]
    nodes: tuple[NodePattern, ...]
    saving: float
    moved: int
    worth: FloatArray | None = None
    spared: tuple[int, ...] = ()


def choose_repack(case: RepackInput) -> Repack:
    """The nodes to give up, and where their pods go. Deterministic.

    Raises:
        ValueError: the question has no bins.
    """
    state = _State(case)
    state.delete_pass()
    answer = state.replace_pass()
    existing = {
        (int(where), int(shape)): int(state.added[where, shape])
        for where, shape in zip(*np.nonzero(state.added), strict=True)
    }
    removed = np.flatnonzero(state.gone)
    for where, shape, count in answer.existing if answer else ():
        existing[where, shape] = existing.get((where, shape), 0) + count
    return Repack(
        removed=tuple(int(node) for node in removed),
        existing=tuple((where, shape, n) for (where, shape), n in sorted(existing.items())),
        nodes=answer.nodes if answer else (),
        saving=float(case.node_price[removed].sum()) - (answer.cost if answer else 0.0),
        moved=int(case.contents[removed].sum()),
        worth=state.worth,
        spared=tuple(sorted(state.spared)),
    )


def waste(case: RepackInput) -> tuple[FloatArray, FloatArray]:
    """(N,) USD/hour a node costs beyond what its pods that may move are worth; `worth` (C,)."""
    state = _State(case)
    value = state.worth
    if value is None:
        value = state.values(state.contents[case.removable].sum(axis=0))
    return case.node_price - _total(state.contents, value), value


def _total(pods: IntArray, value: FloatArray) -> FloatArray:
    """(N,) what the pods (N, C) are worth; infinite where nothing on sale holds one of them."""
    unsold = np.isinf(value)
    worth = pods.astype(np.float64) @ np.where(unsold, 0.0, value)
    worth[pods[:, unsold].any(axis=1)] = np.inf
    return worth


def _holds(requests: FloatArray, free: FloatArray) -> BoolArray:
    """(C, N) whether one pod of the shape fits in the bin's free room."""
    holds = np.ones((len(requests), len(free)), np.bool_)
    for d in range(requests.shape[1]):
        holds &= requests[:, None, d] <= free[None, :, d]
    return holds


class _State:
    """Room, contents and permissions while nodes are given up."""

    def __init__(self, case: RepackInput) -> None:
        question = case.question
        if question.bin_free is None or question.bin_feasible is None:
            raise ValueError("a repack needs the nodes as bins")
        self.case = case
        self.worth = case.worth
        self.requests = question.requests.astype(np.float64)
        self.free = question.bin_free.astype(np.float64)
        self.feasible = question.bin_feasible.copy()
        self.conflict = question.conflict
        self.contents = case.contents.astype(np.int64)
        self.added = np.zeros_like(self.contents)
        self.gone = np.zeros(len(self.free), np.bool_)
        self.spared: set[int] = set()
        self.cap: IntArray | None = None
        if question.bin_cap is not None:
            self.cap = np.where(question.bin_cap < 0, demand.NO_CAP, question.bin_cap)
        elif question.node_cap is not None:
            here = question.node_cap[:, None] - self.contents.T
            bounded = question.node_cap[:, None] >= 0
            self.cap = np.where(bounded, np.maximum(here, 0), demand.NO_CAP)
        if question.conflict is not None:
            self.lonely = question.conflict.diagonal()
        else:
            self.lonely = np.zeros(len(self.requests), np.bool_)
        self.group = np.zeros(len(self.free), np.int64) if case.group is None else case.group
        self.budget = (
            case.group_budget.astype(np.int64).copy() if case.group_budget is not None else None
        )
        self.scale = 1.0 / np.maximum(self.free.max(axis=0, initial=0.0), 1.0)
        self.size = (self.requests * self.scale).max(axis=1)

    def delete_pass(self) -> None:
        """Give up nodes whose pods all fit elsewhere, least moving cost per dollar first."""
        case = self.case
        moving = self.contents @ case.moving_cost
        gain = case.node_price - moving
        ratio = moving / np.maximum(case.node_price, 1e-9) + 1e-9 * self.contents.sum(axis=1)
        room = self.feasible & _holds(self.requests, self.free)
        homes = room.sum(axis=1)
        total = np.maximum(self.free, 0.0).sum(axis=0)
        fullness = np.maximum(self.free, 0.0) @ self.scale
        for node in np.lexsort((np.arange(len(ratio)), ratio)):
            if not case.removable[node] or not self._allowed(int(node)):
                continue
            pods = self.contents[node]
            shapes = np.flatnonzero(pods)
            if gain[node] < case.least_saving * case.node_price[node]:
                continue
            need = pods[shapes] @ self.requests[shapes]
            if (homes[shapes] <= room[shapes, node]).any():
                continue
            if (need > total - np.maximum(self.free[node], 0.0)).any():
                continue
            if self.added[node].any():  # its room was just used: moving pods twice is no saving
                continue
            touched = self._empty(int(node), shapes, room, fullness)
            if touched is None:
                continue
            self.gone[node] = True
            if self.budget is not None:
                self.budget[self.group[node]] -= 1
            self.feasible[:, node] = False
            total -= need + np.maximum(self.free[node], 0.0)
            changed = np.unique(np.r_[touched, node]).astype(np.int64)
            homes -= room[:, changed].sum(axis=1)
            room[:, changed] = self.feasible[:, changed] & _holds(self.requests, self.free[changed])
            if self.cap is not None:
                room[:, changed] &= self.cap[:, changed] > 0
            homes += room[:, changed].sum(axis=1)

    def _allowed(self, node: int) -> bool:
        return self.budget is None or bool(self.budget[self.group[node]] > 0)

    def _empty(
        self, node: int, shapes: IntArray, room: BoolArray, fullness: FloatArray
    ) -> IntArray | None:
        """Move the pods of a node to other bins; None, and nothing changed, if they do not fit."""
        log: list[tuple[IntArray, IntArray, int]] = []
        barred: list[tuple[int, IntArray, BoolArray]] = []
        done = True
        for shape in shapes[np.argsort(-self.size[shapes], kind="stable")]:
            wanted = int(self.contents[node, shape])
            bins = np.flatnonzero(room[shape] & self.feasible[shape])
            bins = bins[bins != node]
            if len(bins) > _SHORTLIST:
                bins = np.sort(bins[np.argpartition(fullness[bins], _SHORTLIST - 1)[:_SHORTLIST]])
            # `room` is as it was before this node's first shape took some of it.
            bins = bins[(self.free[bins] >= self.requests[shape]).all(axis=1)]
            most = market.capacity(self.requests[shape], self.free[bins])
            if self.cap is not None:
                most = np.minimum(most, self.cap[shape, bins])
            if self.lonely[shape]:
                most = np.minimum(most, 1)
            most = np.minimum(most, wanted)
            ranked = np.lexsort((bins, fullness[bins]))
            upto = np.minimum(np.cumsum(most[ranked]), wanted)
            take = np.diff(upto, prepend=0).astype(np.int64)
            target, amount = bins[ranked][take > 0], take[take > 0]
            if len(target):
                self._put(target, amount, int(shape), fullness, 1)
                log.append((target, amount, int(shape)))
                if self.conflict is not None and self.conflict[shape].any():
                    rows = np.flatnonzero(self.conflict[shape])
                    before = self.feasible[np.ix_(rows, target)]
                    barred.append((int(shape), target, before))
                    self.feasible[np.ix_(rows, target)] = False
            if int(take.sum()) < wanted:
                done = False
                break
        if done:
            return (
                np.concatenate([target for target, _, _ in log]) if log else np.zeros(0, np.int64)
            )
        for target, amount, shape in log:
            self._put(target, amount, shape, fullness, -1)
        for shape, target, before in reversed(barred):
            if self.conflict is not None:
                self.feasible[np.ix_(np.flatnonzero(self.conflict[shape]), target)] = before
        return None

    def _put(
        self, bins: IntArray, amount: IntArray, shape: int, fullness: FloatArray, sign: int
    ) -> None:
        self.free[bins] -= sign * amount[:, None] * self.requests[shape]
        self.added[bins, shape] += sign * amount
        if self.cap is not None:
            self.cap[shape, bins] -= sign * amount
        fullness[bins] = np.maximum(self.free[bins], 0.0) @ self.scale

    def replace_pass(self) -> PackingResult | None:
        """Empty the least efficient of the nodes that are left as one set, if that pays.

        Pods the first pass meant for a node of the set go straight to their last home instead, so
        they move once, and their moving cost is paid already.
        """
        case = self.case
        held = self.contents + self.added
        open_nodes = np.flatnonzero(case.removable & ~self.gone & held.any(axis=1))
        if not len(open_nodes):
            return None
        if self.worth is None:
            self.worth = self.values(held[open_nodes].sum(axis=0))
        worth = _total(held[open_nodes], self.worth) + self.contents[open_nodes] @ case.moving_cost
        efficiency = worth / np.maximum(case.node_price[open_nodes], 1e-9)
        # Nodes that only go in company come last, lest they take others' budget.
        late = case.no_exchange[open_nodes] if case.no_exchange is not None else efficiency > np.inf
        sorted_by = np.lexsort((open_nodes, efficiency, late))
        order, ranked = open_nodes[sorted_by], efficiency[sorted_by]
        seen: set[bytes] = set()
        for limit in _EFFICIENCY:
            chosen = self._within_budget(order[ranked < limit])
            if not len(chosen) or chosen.tobytes() in seen:
                continue
            seen.add(chosen.tobytes())
            trial = self._rehome(chosen)
            if trial is None:
                continue
            chosen, trial = self._without_exchanges(chosen, trial)
            if not len(chosen):
                continue
            price = float(case.node_price[chosen].sum())
            moving = float((self.contents[chosen] @ case.moving_cost).sum())
            net = price - trial.cost - moving
            if net > case.least_saving * price:
                self.gone[chosen] = True
                self.added[chosen] = 0
                return trial
        return None

    def _without_exchanges(
        self, chosen: IntArray, trial: PackingResult
    ) -> tuple[IntArray, PackingResult]:
        """Without the nodes of `no_exchange` for each of which the answer buys just another one."""
        barred = self.case.no_exchange
        if barred is None or not barred[chosen].any():
            return chosen, trial
        bought: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for index, pattern in enumerate(trial.nodes):
            bought.setdefault(pattern.pods, []).extend([index] * pattern.multiplicity)
        held = self.contents + self.added
        kept: list[int] = []
        spared = [0] * len(trial.nodes)
        for node in chosen.tolist():
            shapes = np.flatnonzero(held[node])
            pods = tuple(zip(shapes.tolist(), held[node][shapes].tolist(), strict=True))
            if barred[node] and bought.get(pods):
                spared[bought[pods].pop()] += 1
                self.spared.add(node)
            else:
                kept.append(node)
        left = tuple(
            replace(pattern, multiplicity=pattern.multiplicity - less)
            for pattern, less in zip(trial.nodes, spared, strict=True)
            if pattern.multiplicity > less
        )
        price = self.case.question.price
        cost = float(sum(price[p.offer] * p.multiplicity for p in left))
        return np.array(kept, np.int64), replace(trial, nodes=left, cost=cost)

    def _within_budget(self, nodes: IntArray) -> IntArray:
        if self.budget is None:
            return nodes
        left = self.budget.copy()
        kept: list[int] = []
        for node in nodes:
            if left[self.group[node]] > 0:
                left[self.group[node]] -= 1
                kept.append(int(node))
        return np.array(kept, np.int64)

    def values(self, counts: IntArray) -> FloatArray:
        """(C,) what a pod of each shape costs in the cheapest fractional world of new nodes."""
        question = replace(
            self.case.question,
            counts=counts,
            bin_free=None,
            bin_feasible=None,
            bin_cap=None,
            bin_order=None,
        )
        classes = demand.build(question)
        stock = Stock.of(question)
        task = market.build(
            classes,
            classes.counts,
            question.allocatable,
            question.price,
            np.arange(len(question.price)),
            stock,
            mind_limits=False,
        )
        value = np.full(len(counts), np.inf)
        if not len(task.offers):
            return value
        relaxed = relax(
            task,
            classes.counts,
            stock,
            Budget(question.options.work_budget),
            tolerance=5e-3,
            rounds=10,
            mind_limits=False,
        )
        for row, members in enumerate(classes.members):
            runs = bool((task.fit[row] > 0).any())
            value[members] = relaxed.value[row] if runs else np.inf
        return np.where(counts > 0, value, 0.0)

    def _rehome(self, nodes: IntArray) -> PackingResult | None:
        """Pack the pods of `nodes` into the room of the others and new nodes; None if some fail."""
        feasible = self.feasible.copy()
        feasible[:, self.gone] = False
        feasible[:, nodes] = False
        question = replace(
            self.case.question,
            counts=(self.contents + self.added)[nodes].sum(axis=0),
            bin_free=self.free,
            bin_feasible=feasible,
            bin_cap=self.cap,
            options=replace(self.case.question.options, good_enough=_GOOD_ENOUGH),
        )
        answer = pack(question)
        return None if answer.unplaced.any() else answer
