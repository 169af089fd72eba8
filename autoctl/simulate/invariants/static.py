"""Static pools never pass their limit, and end with the nodes they ask for."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Final

from autoctl.api.labels import NODEPOOL
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_POOLS, Object
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.world import World

_KNOWN_AFTER: Final = timedelta(seconds=5)
"""A limit that changed longer ago than this is known to every mirror."""


class Static:
    """`replicas` NodeClaims, no more and no fewer, when the world is at rest.

    And never more than `limits.nodes`, those that are leaving counted.
    """

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report
        self._limits: dict[str, list[tuple[datetime, int | None]]] = defaultdict(list)
        world.cluster.store.subscribe(NODE_POOLS, self._pool_changed)
        world.cluster.store.subscribe(NODE_CLAIMS, self._claim_changed)

    def _pool_changed(self, _: Object | None, after: Object | None) -> None:
        if after is None or after["spec"].get("replicas") is None:
            return
        limit = (after["spec"].get("limits") or {}).get("nodes")
        known = self._limits[after["metadata"]["name"]]
        if not known or known[-1][1] != limit:
            known.append((self._world.clock.now(), None if limit is None else int(limit)))

    def _claim_changed(self, before: Object | None, after: Object | None) -> None:
        """A NodeClaim is made: it has to be within the limit, or one that was lifted just now."""
        if before is not None or after is None:
            return
        name = (after["metadata"].get("labels") or {}).get(NODEPOOL, "")
        versions = self._limits.get(name)
        if not versions:
            return
        now = self._world.clock.now()
        limits = [
            limit
            for i, (_, limit) in enumerate(versions)
            if i + 1 == len(versions) or now - versions[i + 1][0] < _KNOWN_AFTER
        ]
        count = sum(
            (c["metadata"].get("labels") or {}).get(NODEPOOL) == name
            for c in self._world.cluster.objects(NODE_CLAIMS)
        )
        allowed = [limit for limit in limits if limit is not None]
        if len(allowed) == len(limits) and count > max(allowed):
            self._report("static pool", f"{name} has {count} nodes, {max(allowed)} may be")

    def finish(self) -> None:
        """See `Check.finish`."""
        cluster = self._world.cluster
        found = Counter(
            (c["metadata"].get("labels") or {}).get(NODEPOOL) for c in cluster.objects(NODE_CLAIMS)
        )
        for pool in cluster.objects(NODE_POOLS):
            name, wanted = pool["metadata"]["name"], pool["spec"].get("replicas")
            if wanted is not None and found[name] != wanted:
                self._report("static pool", f"{name} has {found[name]} nodes of {wanted}")
