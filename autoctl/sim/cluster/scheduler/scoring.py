"""Scores of feasible nodes, with the plugins and weights that kube-scheduler enables by default.

Left out: image locality (there are no images) and the sampling of nodes in large clusters.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoctl.sim.cluster.scheduler.counting import Counting, LabelClass
from autoctl.sim.cluster.scheduler.nodetable import Ints, NodeTable
from autoctl.sim.cluster.scheduler.podinfo import Constraints, Shape
from autoctl.sim.cluster.scheduler.static import StaticFilters

Floats: TypeAlias = NDArray[np.float64]
_HARD_AFFINITY_WEIGHT = 1
_MAX = 100.0


def score(
    rows: Ints,
    columns: Ints,
    table: NodeTable,
    counting: Counting,
    shape: Shape,
    constraints: Constraints,
    label_class: LabelClass,
) -> Floats:
    """One score a row (0-100 a plugin, times its weight); `columns` are their static columns."""
    total = _least_allocated(rows, table, shape) + _balanced(rows, table, shape)
    soft = columns[:, StaticFilters.SOFT_TAINTS].astype(np.float64)
    if soft.any():
        total += 3 * (_MAX - _MAX * soft / soft.max())
    else:
        total += 3 * _MAX
    preference = columns[:, StaticFilters.PREFERENCE].astype(np.float64)
    if preference.any():
        total += 2 * _MAX * preference / preference.max()
    total += 2 * _spread(rows, table, counting, constraints)
    return total + 2 * _inter_pod(rows, table, counting, constraints, label_class)


def _least_allocated(rows: Ints, table: NodeTable, shape: Shape) -> Floats:
    wanted = np.array(shape.nonzero, dtype=np.int64)
    capacity = table.allocatable[rows, :2]
    left = capacity - table.nonzero[rows] - wanted
    share = np.where(left > 0, left * _MAX / np.maximum(capacity, 1), 0.0)
    scores: Floats = np.floor(share).sum(axis=1) // 2
    return scores


def _balanced(rows: Ints, table: NodeTable, shape: Shape) -> Floats:
    wanted = np.array([shape.requests.get("cpu", 0), shape.requests.get("memory", 0)])
    capacity = np.maximum(table.allocatable[rows, :2], 1)
    share = np.minimum((table.used[rows, :2] + wanted) / capacity, 1.0)
    spread: Floats = np.floor((1 - np.abs(share[:, 0] - share[:, 1]) / 2) * _MAX)
    return spread


def _spread(rows: Ints, table: NodeTable, counting: Counting, constraints: Constraints) -> Floats:
    """Soft spread: the fewer matching pods the better; keys with many domains weigh more."""
    soft = [c for c in constraints.spread if not c.hard]
    raw = np.zeros(len(rows))
    if not soft:
        return raw
    known = np.ones(len(rows), dtype=np.bool_)
    active = table.active()
    for constraint in soft:
        domains = table.domains_of(constraint.topology_key)
        domain = domains.of_row[rows]
        known &= domain >= 0
        counts = np.append(
            domains.sums(active, counting.counter((constraint.term,)).live[active]), 0
        )
        size = int(np.count_nonzero(np.bincount(domain[domain >= 0])))
        raw += counts[domain] * math.log(size + 2) + (constraint.max_skew - 1)
    raw = np.round(raw)
    if not known.any():
        return np.zeros(len(rows))
    least, most = raw[known].min(), raw[known].max()
    if most == 0:
        return np.where(known, _MAX, 0.0)
    return np.where(known, np.floor(_MAX * (most + least - raw) / most), 0.0)


def _inter_pod(
    rows: Ints,
    table: NodeTable,
    counting: Counting,
    constraints: Constraints,
    label_class: LabelClass,
) -> Floats:
    raw = np.zeros(len(rows))
    active = table.active()
    for item in constraints.preferred:
        domains = table.domains_of(item.topology_key)
        counts = domains.sums(active, counting.counter((item.term,)).total[active])
        raw += item.weight * np.append(counts, 0)[domains.of_row[rows]]
    for carried in label_class.meant_by:
        if carried.kind == "anti":
            continue
        weight = carried.item.weight if carried.kind == "preferred" else _HARD_AFFINITY_WEIGHT
        domains = table.domains_of(carried.item.topology_key)
        counts = domains.sums(active, carried.rows[active])
        raw += weight * np.append(counts, 0)[domains.of_row[rows]]
    spread = raw.max() - raw.min() if len(raw) else 0
    if spread == 0:
        return np.zeros(len(rows))
    scores: Floats = np.floor(_MAX * (raw - raw.min()) / spread)
    return scores
