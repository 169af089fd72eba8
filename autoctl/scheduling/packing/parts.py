"""One large exchange of nodes as several small ones.

Nodes that go hold pods, nodes that come have room planned for pods, and pods of one shape are
interchangeable. A *part* is some of both that hold exactly the same pods: it can be carried out, or
fail, without the rest, and moves nothing that the whole would not move. Parts are found by an
integer programme over distinct contents, which stops at the first answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from autoctl.scheduling.packing.model import FloatArray, IntArray

_MOST_NODES = 60
"""Branch-and-bound nodes for one part; most are found at the root."""

_MOST_PARTS = 24

_MOST_KINDS = 600
"""Distinct contents and patterns above which the search would take longer than it is worth."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of nodes that go, and of nodes that come in their place."""

    going: tuple[int, ...]
    coming: tuple[int, ...]


def divide(
    contents: IntArray,
    patterns: IntArray,
    price: FloatArray,
    cost: FloatArray,
    *,
    least_saving: float,
    most_coming: int,
) -> tuple[Part, ...]:
    """Split the exchange into parts, each of which saves by itself; the last is what is left.

    Args:
        contents: (N, C) pods of each shape on the nodes that go.
        patterns: (M, C) pods planned on the nodes that come; column sums equal those of `contents`.
        price: (N,) USD/hour of the nodes that go.
        cost: (M,) USD/hour of the nodes that come.
        least_saving: part of its price that each part has to save.
        most_coming: most nodes that come in one part, save the last.
    """
    assert (contents.sum(axis=0) == patterns.sum(axis=0)).all(), "every pod has a place"
    going = _Kinds(contents, price, dearest_first=True)
    coming = _Kinds(patterns, cost, dearest_first=False)
    parts: list[Part] = []
    small = len(going.rows) + len(coming.rows) <= _MOST_KINDS
    while small and len(parts) < _MOST_PARTS and coming.left > most_coming:
        found = _balanced(going, coming, least_saving, most_coming)
        if found is None:
            break
        parts.append(Part(going.take(found[0]), coming.take(found[1])))
    if going.left or coming.left:
        parts.append(Part(going.take(going.counts), coming.take(coming.counts)))
    return tuple(parts)


class _Kinds:
    """Rows with equal contents, and which of them are not in a part yet."""

    def __init__(self, contents: IntArray, price: FloatArray, *, dearest_first: bool) -> None:
        self.rows, kind = np.unique(contents, axis=0, return_inverse=True)
        self._price = price
        order = np.lexsort((np.arange(len(price)), -price if dearest_first else price))
        self._members: list[list[int]] = [[] for _ in self.rows]
        for row in order:
            self._members[int(kind.reshape(-1)[row])].append(int(row))

    @property
    def counts(self) -> IntArray:
        return np.array([len(m) for m in self._members], np.int64)

    @property
    def left(self) -> int:
        return sum(len(m) for m in self._members)

    @property
    def worth(self) -> FloatArray:
        """USD/hour of the mean row of each kind."""
        return np.array([self._price[m].mean() if m else 0.0 for m in self._members])

    def take(self, counts: Sequence[int] | IntArray) -> tuple[int, ...]:
        taken: list[int] = []
        for members, count in zip(self._members, counts, strict=True):
            taken += members[: int(count)]
            del members[: int(count)]
        return tuple(sorted(taken))


def _balanced(
    going: _Kinds, coming: _Kinds, least_saving: float, most_coming: int
) -> tuple[IntArray, IntArray] | None:
    """Rows of each kind that hold the same pods and save enough; None where none were found.

    What is left must save enough too.
    """
    first, second = len(going.rows), len(coming.rows)
    bounds = np.r_[going.counts, coming.counts].astype(np.float64)
    lp: Any = highspy.Highs()  # type: ignore[no-untyped-call] # highspy has no types
    for name, setting in (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("mip_max_nodes", _MOST_NODES),
        ("mip_rel_gap", 1e6),
    ):
        lp.setOptionValue(name, setting)
    columns = np.arange(first + second, dtype=np.int32)
    lp.addVars(len(columns), np.zeros(len(columns)), bounds)
    lp.changeColsIntegrality(
        len(columns), columns, np.array([highspy.HighsVarType.kInteger] * len(columns))
    )
    lp.changeColsCost(len(columns), columns, np.r_[np.ones(first), np.zeros(second)])
    difference = np.vstack([going.rows, -coming.rows]).astype(np.float64)
    for shape in range(difference.shape[1]):
        some = np.flatnonzero(difference[:, shape]).astype(np.int32)
        if len(some):
            lp.addRow(0.0, 0.0, len(some), some, difference[some, shape])
    saved = np.r_[going.worth * (1 - least_saving), -coming.worth]
    whole = float(saved @ bounds)
    if whole <= 0:
        return None
    lp.addRow(1e-6, whole - 1e-6, len(columns), columns, saved)
    lp.addRow(1.0, float(most_coming), second, columns[first:], np.ones(second))
    lp.run()
    if lp.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    chosen = np.rint(np.array(lp.getSolution().col_value)).astype(np.int64)
    if (chosen @ difference.astype(np.int64)).any() or (chosen > bounds).any():
        return None
    return chosen[:first], chosen[first:]
