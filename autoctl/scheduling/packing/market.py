"""One tier's packing task: the classes against the offers that are worth a look."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autoctl.scheduling.packing.classes import NO_CAP, Classes, Keys, row_ids
from autoctl.scheduling.packing.model import BoolArray, FloatArray, IntArray
from autoctl.scheduling.packing.stock import Stock


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """K classes x O' offers of one tier, dominated offers left out.

    Attributes:
        requests: (K, D).
        cap: (K,) most pods on one node.
        conflict: (K, K) or None.
        offers: (O',) index of each offer in the question.
        allocatable: (O', D).
        price: (O',).
        fit: (K, O') most pods of the class that one empty node holds, 0 where it may not run.
        unit: (K,) cheapest USD/hour per pod when a node holds the class alone, fractions allowed.
    """

    requests: FloatArray
    cap: IntArray
    conflict: BoolArray | None
    offers: IntArray
    allocatable: FloatArray
    price: FloatArray
    fit: IntArray
    unit: FloatArray

    def restrict(self, keep: IntArray) -> Market:
        """The same task with fewer offers (`keep` indexes this market's)."""
        smaller = replace(
            self,
            offers=self.offers[keep],
            allocatable=self.allocatable[keep],
            price=self.price[keep],
        )
        return smaller.with_fit(self.fit[:, keep])

    def with_room(self, room: FloatArray) -> Market:
        """The same offers with `room` (O', D), no more than `allocatable`, for pods."""
        smaller = replace(self, allocatable=room)
        return smaller.with_fit(fits(self.requests, self.fit > 0, room, self.cap))

    def with_fit(self, fit: IntArray) -> Market:
        """The same offers with other pods-per-node limits (`fit` (K, O'), 0 forbids)."""
        part = shares(self.requests, self.allocatable, self.price, fit, self.cap)
        return replace(self, fit=fit, unit=part.min(axis=1, initial=np.inf))


def capacity(requests: FloatArray, room: FloatArray) -> FloatArray:
    """How many pods fit: `requests` (..., D) into `room` (..., D), broadcast; >= 0, inf if free.

    The division of whole numbers is exact enough for floor(): quotients are far below 2**53.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(requests > 0, room / np.where(requests > 0, requests, 1.0), np.inf)
    most: FloatArray = np.maximum(np.floor(ratio.min(axis=-1)), 0.0)
    return most


def fits(requests: FloatArray, feasible: BoolArray, room: FloatArray, cap: IntArray) -> IntArray:
    """(K, O) most pods of each class that each empty offer takes."""
    # one machine is offered in several zones and capacity types
    first, place = distinct(room)
    room = room[first]
    most = np.repeat(np.minimum(cap, NO_CAP).astype(np.float64)[:, None], len(room), axis=1)
    for d in range(requests.shape[1]):
        need = requests[:, d]
        asked = np.flatnonzero(need > 0)
        if len(asked) == len(need):
            np.minimum(most, room[None, :, d] / need[:, None], out=most)
        elif len(asked):
            most[asked] = np.minimum(most[asked], room[None, :, d] / need[asked, None])
    most[:, (room < 0).any(axis=1)] = 0
    whole = np.floor(np.maximum(most, 0, out=most), out=most).astype(np.int64)
    found: IntArray = np.where(feasible, whole[:, place], 0)
    return found


def shares(
    requests: FloatArray, room: FloatArray, price: FloatArray, fit: IntArray, cap: IntArray
) -> FloatArray:
    """(K, O) price of the part of a node one pod takes; inf where it cannot run."""
    part = np.repeat(
        np.where(cap < NO_CAP, 1.0 / np.maximum(cap, 1), 0.0)[:, None], len(price), axis=1
    )
    share = np.empty_like(part)
    for need, free in zip(requests.T, room.T, strict=True):
        with np.errstate(divide="ignore"):
            per_unit = 1.0 / free
        # where there is nothing of it, what asks for it does not fit; what does not may do so
        per_unit[free <= 0] = 0.0
        np.multiply(need[:, None], per_unit[None, :], out=share)
        np.maximum(part, share, out=part)
    np.multiply(part, price[None, :], out=part)
    np.copyto(part, np.inf, where=fit <= 0)
    return part


def undominated(
    price: FloatArray,
    room: FloatArray,
    feasible: BoolArray,
    counted: BoolArray,
    usage: FloatArray | None,
) -> IntArray:
    """Offers no other offer beats on price, on every resource and on every class accepted.

    An offer of which only so many nodes may be had beats nobody. `usage` (O, L), if given, must not
    be larger either. Among equals the first by price, size and index stays.
    """
    total = len(price)
    sign = row_ids(np.ascontiguousarray(feasible.T))
    keys: list[Keys] = [np.arange(total), sign]
    keys += [-room[:, d] for d in range(room.shape[1])]
    if usage is not None:
        keys += [usage[:, d] for d in range(usage.shape[1])]
    keys += [counted.astype(np.int64), price]
    order = np.lexsort(keys)
    # equal rows: only the first, unless it is counted
    columns = np.column_stack([room[order], sign[order]])
    if usage is not None:
        columns = np.column_stack([columns, usage[order]])
    free = ~counted[order]
    equal, _ = distinct(columns[free])
    keep = np.sort(np.r_[np.flatnonzero(free)[equal], np.flatnonzero(~free)])
    order = order[keep]
    total = len(order)
    sign, room, free = sign[order], room[order], free[keep]
    accepts = np.zeros((int(sign.max(initial=-1)) + 1, feasible.shape[0]), np.float32)
    accepts[sign] = feasible.T[order]
    missing = accepts @ (1.0 - accepts.T)  # [i, j] classes i takes and j does not
    covered = missing == 0
    alive = np.ones(total, np.bool_)
    block = 256
    for start in range(0, total, block):
        stop = min(start + block, total)
        better = np.arange(stop)[None, :] < np.arange(start, stop)[:, None]
        better &= free[None, :stop]
        for d in range(room.shape[1]):
            better &= room[None, :stop, d] >= room[start:stop, None, d]
        if usage is not None:
            spent = usage[order]
            for d in range(usage.shape[1]):
                better &= spent[None, :stop, d] <= spent[start:stop, None, d]
        better &= covered[sign[start:stop]][:, sign[:stop]]
        alive[start:stop] = ~better.any(axis=1)
    kept: IntArray = order[alive]
    return kept


def distinct(rows: FloatArray) -> tuple[IntArray, IntArray]:
    """The index of the first of each set of equal rows, and for each row the number of its set.

    `np.unique(axis=0)` answers the same, ten times slower: it compares rows as raw bytes.
    """
    order = np.lexsort(rows.T)
    ordered = rows[order]
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place = np.empty(len(rows), np.int64)
    place[order] = np.cumsum(begins) - 1
    first: IntArray = order[begins]
    return first, place


def build(
    classes: Classes,
    wanted: IntArray,
    allocatable: FloatArray,
    price: FloatArray,
    offers: IntArray,
    stock: Stock,
    *,
    mind_limits: bool,
) -> Market:
    """The market of the given offers for the classes that still have `wanted` (K,) pods.

    `mind_limits` keeps offers that are dearer but take less of a limit.
    """
    offers = offers[stock.rooms(offers) > 0]
    room = allocatable[offers][:, classes.resources]
    fit = fits(classes.requests, classes.feasible[:, offers], room, classes.cap)
    fit[wanted <= 0] = 0
    useful = fit.any(axis=0)
    offers, room, fit = offers[useful], room[useful], fit[:, useful]
    usage = stock.usage[offers] if mind_limits and len(stock.remaining) else None
    active = wanted > 0
    keep = undominated(
        price[offers], room, classes.feasible[active][:, offers], stock.counted()[offers], usage
    )
    offers, room, fit = offers[keep], room[keep], fit[:, keep]
    unit = shares(classes.requests, room, price[offers], fit, classes.cap).min(
        axis=1, initial=np.inf
    )
    return Market(
        classes.requests, classes.cap, classes.conflict, offers, room, price[offers], fit, unit
    )


def placeable(classes: Classes, allocatable: FloatArray, offers: IntArray) -> BoolArray:
    """(K,) whether the class fits on an empty node of any of the offers, in stock or not."""
    room = allocatable[offers][:, classes.resources]
    fit = fits(classes.requests, classes.feasible[:, offers], room, classes.cap)
    some: BoolArray = np.asarray((fit > 0).any(axis=1))
    return some
