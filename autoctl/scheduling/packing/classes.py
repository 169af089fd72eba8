"""From the caller's shapes to packing classes: merged, in canonical order, needless resources cut.

Shapes that mean the same to the packer (same requests, offers, bins, priority, and no per-node rule
of their own) are one class. Classes are ordered by content, not by the caller's index, so that the
answer does not depend on the order of the question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoctl.scheduling.packing.model import BoolArray, FloatArray, IntArray, PackingInput

NO_CAP = np.iinfo(np.int32).max

Keys = FloatArray | IntArray
"""A column to sort by."""


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The demand side of a problem (K classes, D' resources that somebody requests).

    Attributes:
        resources: (D',) columns of the input that are kept.
        requests: (K, D').
        counts: (K,).
        feasible: (K, O).
        cap: (K,) most pods on one node, NO_CAP if any number.
        conflict: (K, K) without its diagonal (which is in `cap`), or None when nothing conflicts.
        priority: (K,).
        bin_feasible: (K, N).
        bin_cap: (K, N) or None when `cap` holds for bins too.
        members: for each class its shapes, ascending.
    """

    resources: IntArray
    requests: FloatArray
    counts: IntArray
    feasible: BoolArray
    cap: IntArray
    conflict: BoolArray | None
    priority: IntArray
    bin_feasible: BoolArray
    bin_cap: IntArray | None
    members: tuple[IntArray, ...]


def row_ids(flags: BoolArray) -> IntArray:
    """Number equal rows of a boolean matrix alike; numbers are ordered by the rows' content."""
    if flags.shape[1] == 0 or flags.shape[0] == 0:
        return np.zeros(flags.shape[0], np.int64)
    packed = np.ascontiguousarray(np.packbits(flags, axis=1))
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def build(question: PackingInput) -> Classes:
    """Merge the shapes of `question` that have pods into classes."""
    shapes = np.flatnonzero(question.counts > 0)
    requests = question.requests[shapes].astype(np.float64)
    resources = np.flatnonzero((requests > 0).any(axis=0))
    if not len(resources):  # nothing but empty requests: keep one column so that arrays stay 2-d
        resources = np.zeros(1, np.int64)
    requests = requests[:, resources]
    total = len(shapes)
    cap = np.full(total, NO_CAP, np.int64)
    if question.node_cap is not None:
        given = question.node_cap[shapes]
        cap = np.where(given >= 0, given, NO_CAP)
    conflict: BoolArray | None = None
    if question.conflict is not None:
        conflict = question.conflict[np.ix_(shapes, shapes)].copy()
        cap = np.where(conflict.diagonal(), np.minimum(cap, 1), cap)
        np.fill_diagonal(conflict, False)
        if not conflict.any():
            conflict = None
    priority = np.zeros(total, np.int64) if question.priority is None else question.priority[shapes]
    bins = 0 if question.bin_free is None else len(question.bin_free)
    bin_feasible = np.zeros((total, bins), np.bool_)
    if question.bin_feasible is not None:
        bin_feasible = question.bin_feasible[shapes]
    bin_cap: IntArray | None = None
    alone = cap < NO_CAP
    if conflict is not None:
        alone |= conflict.any(axis=1)
    if question.bin_cap is not None:
        given = question.bin_cap[shapes]
        bin_cap = np.where(given >= 0, given, NO_CAP)
        alone |= (given >= 0).any(axis=1)

    feasible = question.feasible[shapes]
    keys: list[Keys] = [row_ids(bin_feasible), row_ids(feasible)]
    keys += [-requests[:, d] for d in range(requests.shape[1])]
    keys += [-question.counts[shapes] * alone, cap, -priority]
    order = np.lexsort(keys)
    table = np.stack([key[order] for key in keys], axis=1).astype(np.float64)
    first = np.ones(total, np.bool_)
    first[1:] = (table[1:] != table[:-1]).any(axis=1) | alone[order][1:]
    starts = np.flatnonzero(first)
    members = tuple(np.sort(shapes[group]) for group in np.split(order, starts[1:]) if len(group))
    lead = order[starts]
    counts = np.array([int(question.counts[group].sum()) for group in members], np.int64)
    return Classes(
        resources=resources,
        requests=requests[lead],
        counts=counts,
        feasible=feasible[lead],
        cap=cap[lead],
        conflict=None if conflict is None else conflict[np.ix_(lead, lead)],
        priority=priority[lead],
        bin_feasible=bin_feasible[lead],
        bin_cap=None if bin_cap is None else bin_cap[lead],
        members=members,
    )


class Dealer:
    """Hands the pods of a class back to its shapes, in the order in which they are asked for."""

    def __init__(self, classes: Classes, counts: IntArray) -> None:
        self._members = classes.members
        self._left = {
            int(shape): int(counts[shape]) for group in classes.members for shape in group
        }

    def uniform(self, row: int) -> bool:
        """Whether the class is one shape, so that every deal looks alike."""
        return len(self._members[row]) == 1

    def deal(self, row: int, count: int) -> list[tuple[int, int]]:
        """Take `count` pods of class `row`: (shape, count) pairs."""
        dealt: list[tuple[int, int]] = []
        for shape in self._members[row]:
            here = min(count, self._left[int(shape)])
            if here:
                dealt.append((int(shape), here))
                self._left[int(shape)] -= here
                count -= here
            if not count:
                break
        if count:
            raise AssertionError("a class was dealt more pods than its shapes have")
        return dealt
