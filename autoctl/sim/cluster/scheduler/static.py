"""What depends on the node alone: unschedulable, taints, node affinity; cached by shape and row."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.nodematch import matches_node, term_matches
from autoctl.sim.cluster.nodes import UNSCHEDULABLE, tolerates
from autoctl.sim.cluster.scheduler.nodetable import Ints, NodeTable, padded
from autoctl.sim.cluster.scheduler.podinfo import Shape

UNSCHEDULABLE_REASON = "node(s) were unschedulable"
AFFINITY_REASON = "node(s) didn't match Pod's node affinity/selector"


class RowCache:
    """Values per row of the node table, recomputed for rows whose node changed."""

    def __init__(
        self, table: NodeTable, width: int, compute: Callable[[Object], list[int]]
    ) -> None:
        self._table = table
        self._compute = compute
        self._seen: Ints = np.full(table.size, -1, dtype=np.int64)
        self._values: NDArray[np.int64] = np.zeros((table.size, width), dtype=np.int64)

    def values(self, rows: Ints) -> NDArray[np.int64]:
        """The values of the given rows, up to date; one row each."""
        self._seen = padded(self._seen, self._table.size, fill=-1)
        self._values = padded(self._values, self._table.size)
        stale = rows[self._seen[rows] != self._table.version[rows]]
        for row in stale.tolist():
            node = self._table.nodes[row]
            assert node is not None
            self._values[row] = self._compute(node)
            self._seen[row] = self._table.version[row]
        return self._values[rows]


class StaticFilters:
    """Reasons by number, and the caches by what they depend on.

    The columns of `of(shape)` are: reason number (0 passes), 1 where node selector and required
    affinity hold, 1 where all NoSchedule and NoExecute taints are tolerated, the number of
    PreferNoSchedule taints not tolerated, the sum of preferred affinity weights.
    """

    REASON, AFFINITY_OK, TAINTS_OK, SOFT_TAINTS, PREFERENCE = range(5)

    def __init__(self, table: NodeTable) -> None:
        self._table = table
        self._shapes: dict[bytes, RowCache] = {}
        self._terms: dict[bytes, RowCache] = {}
        self.reasons: list[str] = [""]
        self._numbers: dict[str, int] = {"": 0}

    def of(self, shape: Shape, rows: Ints) -> NDArray[np.int64]:
        """The columns above for a shape on the given rows."""
        cache = self._shapes.get(shape.static_key)
        if cache is None:
            cache = RowCache(self._table, 5, self._evaluator(shape))
            self._shapes[shape.static_key] = cache
        return cache.values(rows)

    def predicate(
        self, key: object, rows: Ints, test: Callable[[Object], bool]
    ) -> NDArray[np.bool_]:
        """A test of nodes by themselves (volume affinity, allowed topologies), cached by `key`."""
        encoded = msgspec.json.encode(key, order="sorted")
        cache = self._terms.get(encoded)
        if cache is None:
            cache = RowCache(self._table, 1, lambda node: [int(test(node))])
            self._terms[encoded] = cache
        return cache.values(rows)[:, 0].astype(np.bool_)

    def _evaluator(self, shape: Shape) -> Callable[[Object], list[int]]:
        affinity = dict(shape.spec.get("affinity") or {})
        node_affinity = msgspec.json.decode(shape.static_key)
        affinity["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": node_affinity["required"]
        }
        spec = {"nodeSelector": node_affinity["selector"], "affinity": affinity}
        preferred = node_affinity["preferred"] or ()
        tolerations = shape.tolerations

        def evaluate(node: Object) -> list[int]:
            labels = node["metadata"].get("labels") or {}
            fits = matches_node(spec, node)
            hard: Object | None = None
            soft = 0
            for taint in node["spec"].get("taints") or ():
                if any(tolerates(t, taint) for t in tolerations):
                    continue
                if taint["effect"] == "PreferNoSchedule":
                    soft += 1
                elif hard is None:
                    hard = taint
            reason = ""
            if node["spec"].get("unschedulable") and not any(
                tolerates(t, {"key": UNSCHEDULABLE, "effect": "NoSchedule"}) for t in tolerations
            ):
                reason = UNSCHEDULABLE_REASON
            elif hard is not None:
                described = f"{hard['key']}: {hard.get('value') or ''}"
                reason = f"node(s) had untolerated taint {{{described}}}"
            elif not fits:
                reason = AFFINITY_REASON
            score = sum(
                p["weight"]
                for p in preferred
                if term_matches(p["preference"], labels, node["metadata"]["name"])
            )
            return [self._number(reason), int(fits), int(hard is None), soft, score]

        return evaluate

    def _number(self, reason: str) -> int:
        found = self._numbers.get(reason)
        if found is None:
            found = self._numbers[reason] = len(self.reasons)
            self.reasons.append(reason)
        return found
