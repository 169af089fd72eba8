"""The way to the packing kernel: demands that other pods have no bearing on, priced together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoctl.scheduling.board import Board
from autoctl.scheduling.bound import lower_bound
from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.hardware import Hardware, needing_unusual, needs_unusual, usable
from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.memory import pack_once
from autoctl.scheduling.packing.model import (
    UNLIMITED,
    PackingInput,
    PackingOptions,
    PackingResult,
)
from autoctl.scheduling.problem import SolverOptions
from autoctl.scheduling.tables import Mask

_NEARLY = 0.999
"""From this part on the price paid is what an offer is weighed by, as far as a bound goes."""
_FINE = 1e4
"""Price units in a USD where something is free."""


def is_simple(demand: Demand) -> bool:
    """Whether the demand's pods may be placed without regard to any other pod."""
    return (
        demand.constraints.free
        and not demand.constraints.moves
        and not demand.shape.template.ports
        and not demand.shape.shared
    )


@dataclass(frozen=True, slots=True)
class Packed:
    """What the kernel did with a task.

    Attributes:
        placed: pods put on the board, by demand index.
        strays: pods taken off it again, by demand index: they had unusual hardware to themselves.
        result: the kernel's answer.
    """

    placed: dict[int, int]
    strays: Counter[int]
    result: PackingResult


def pack_simple(
    board: Board,
    demands: Sequence[tuple[Demand, int]],
    options: SolverOptions,
    *,
    work: int,
    hardware: Hardware,
) -> Packed:
    """Pack demands onto the board; `hardware` says what may be bought for ordinary pods.

    `work` is the budget, in work units.
    """
    offers = board.offers
    net = board.feasibility.net
    masks = [d.rows for d, _ in demands]
    needing = needing_unusual(masks, offers.exotic)
    allowed = usable(masks, offers.exotic, hardware)
    plain = {id(d.rows): mask for (d, _), mask in zip(demands, allowed, strict=True)}
    static = {id(d.static): d.static for d, _ in demands}
    pinned = {id(d.rows): d.rows for d, _ in demands if d.pinned}
    told_apart = (*static.values(), *pinned.values(), *board.feasibility.daemon_rows)
    rows = offers.cheapest(told_apart)
    rows = rows[np.logical_or.reduce(list(plain.values()))[rows]]
    narrow = {key: mask[rows] for key, mask in plain.items()}
    question = PackingInput(
        requests=np.stack([d.requests for d, _ in demands]).astype(np.float64),
        counts=np.array([n for _, n in demands], np.int64),
        allocatable=np.maximum(net[rows], 0).astype(np.float64),
        price=offers.price[rows] * _unit(board, rows),
        feasible=np.stack([narrow[id(d.rows)] for d, _ in demands]),
        tier_index=offers.tier[rows],
        reservation_index=np.where(
            offers.reservation[rows] < 0, UNLIMITED, offers.reservation[rows]
        ),
        reservation_capacity=np.maximum(board.limits.reserved, 0),
        limit_usage=board.limits.usage[rows].astype(np.float64),
        limit_remaining=np.maximum(board.limits.remaining, 0).astype(np.float64),
        priority=np.array([d.shape.template.priority for d, _ in demands], np.int64),
        bin_free=board.free.astype(np.float64),
        bin_feasible=np.stack([_bins(board, d) for d, _ in demands]),
        bin_order=np.minimum(np.arange(board.size), board.existing),
        options=PackingOptions(
            work_budget=min(work, options.budget),
            work_cap=work,
            spread_share=options.max_pod_share,
            prove=options.prove,
        ),
    )
    result = pack_once(question)
    spare = max(0, work - result.work) if options.prove else 0
    result = _in_usd(result, board, rows, [d for d, _ in demands], spare)
    placed = {d.index: n for d, n in demands}
    for shape, left in enumerate(result.unplaced.tolist()):
        placed[demands[shape][0].index] -= left
    homes: dict[int, list[tuple[int, int]]] = {}
    for where, shape, count in result.existing:
        homes.setdefault(shape, []).append((where, count))
    strays: Counter[int] = Counter()
    for node in result.nodes:
        exotic = bool(offers.exotic[rows[node.offer]])
        if exotic and hardware is not Hardware.ANY and not any(needing[s] for s, _ in node.pods):
            for shape, count in node.pods:
                strays[demands[shape][0].index] += count * node.multiplicity
            continue
        bins = board.open(int(rows[node.offer]), node.multiplicity).tolist()
        for shape, count in node.pods:
            homes.setdefault(shape, []).extend((b, count) for b in bins)
    for shape, chosen in sorted(homes.items()):
        board.put(demands[shape][0], *np.array(chosen, np.int64).T)
    for index, count in strays.items():
        placed[index] -= count
    return Packed(placed, strays, result)


def _unit(board: Board, rows: Ints) -> float:
    """Price units in a USD.

    The kernel is exact to parts of a cent, and what a free node is weighed by is less than that.
    """
    weighed, paid = board.offers.price[rows], board.offers.paid[rows]
    return _FINE if (paid < _NEARLY * weighed).any() else 1.0


def _in_usd(
    result: PackingResult,
    board: Board,
    rows: Ints,
    demands: Sequence[Demand],
    spare: int,
) -> PackingResult:
    """The answer with cost and bound in USD that are paid, where offers are weighed by others.

    `spare` is what a new bound may cost, in work units.
    """
    weighed, paid = board.offers.price[rows], board.offers.paid[rows]
    if not (paid < weighed).any():
        return result
    cost = sum(float(paid[node.offer]) * node.multiplicity for node in result.nodes)
    least = float(np.divide(paid, weighed, out=np.ones(len(rows)), where=weighed > 0).min())
    if least >= _NEARLY:
        return replace(result, cost=cost, lower_bound=min(result.lower_bound * least, cost))
    # something is free: how much of the bound that is, prices alone do not tell
    budget, bound = Budget(spare, spare), 0.0
    if spare and cost > 0:
        counts: Counter[int] = Counter()
        for node in result.nodes:
            for shape, count in node.pods:
                counts[shape] += count * node.multiplicity
        new = [(demands[shape], n) for shape, n in sorted(counts.items())]
        bound = lower_bound(board, new, budget)
    return replace(result, cost=cost, lower_bound=min(bound, cost), work=result.work + budget.spent)


def may_be_unusual(board: Board, demand: Demand) -> bool:
    """Whether there is unusual hardware that would also hold the demand's pods."""
    exotic = board.offers.exotic
    return bool((demand.rows & exotic).any()) and not needs_unusual(demand.rows, exotic)


def _bins(board: Board, demand: Demand) -> Mask:
    bins, _ = board.candidates(demand, demand.pinned, mind=False)
    usable = np.zeros(board.size, np.bool_)
    usable[bins] = True
    return usable
