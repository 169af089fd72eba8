"""Static pools end with the nodes they ask for."""

from __future__ import annotations

from collections import Counter

from autoctl.api.labels import NODEPOOL
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_POOLS
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.world import World


class Static:
    """`replicas` NodeClaims, no more and no fewer, when the world is at rest."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report

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
