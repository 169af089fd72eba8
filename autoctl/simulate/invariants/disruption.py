"""Disruption budgets hold at every instant, and no node stays tainted for nothing."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

from autoctl.api.labels import DISRUPTED_TAINT, NODEPOOL
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.controllers.disruption.marks import COMMAND, read_mark
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_POOLS, NODES, Object
from autoctl.sim.cluster.server import condition_of, is_true
from autoctl.sim.cluster.store import parse_timestamp
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.world import World

_KNOWN_AFTER: Final = timedelta(seconds=5)
"""What happened longer ago than this is known to every mirror, and must have been counted."""


class Budgets:
    """When a node is taken, all that leave its pool fit into the pool's budgets.

    Counted like upstream: initialized nodes; those that are marked, deleting or not ready leave.
    """

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report
        self._pools: dict[str, list[tuple[datetime, NodePool]]] = defaultdict(list)
        self._gone: dict[str, list[datetime]] = defaultdict(list)
        self._deleted: dict[str, datetime] = {}
        store = world.cluster.store
        store.subscribe(NODE_POOLS, self._pool_changed)
        store.subscribe(NODE_CLAIMS, self._claim_changed)

    def finish(self) -> None:
        """See `Check.finish`; this check judges while things happen."""

    def _pool_changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None and (before is None or before["spec"] != after["spec"]):
            pool = NodePool.from_dict(after)
            self._pools[pool.metadata.name].append((self._world.clock.now(), pool))

    def _claim_changed(self, before: Object | None, after: Object | None) -> None:
        now = self._world.clock.now()
        if after is None:
            assert before is not None
            self._gone[_pool_of(before)].append(now)
            return
        if "deletionTimestamp" in after["metadata"]:
            self._deleted.setdefault(after["metadata"]["uid"], now)
        if _marked(after) and not (before is not None and _marked(before)):
            self._judge(after, now)

    def _judge(self, obj: Object, now: datetime) -> None:
        mark = read_mark(NodeClaim.from_dict(obj))
        name = _pool_of(obj)
        versions = self._pools.get(name, [])
        if mark is None or not versions:
            self._report("budget", f"{obj['metadata']['name']}: a mark of no pool or no command")
            return
        current = [p for i, (_, p) in enumerate(versions) if self._valid(versions, i, now)]
        leaving, total = self._count(name, now)
        allowed = max(p.spec.disruption.allowed(mark.reason.value, total, now) for p in current)
        if leaving > allowed:
            self._report(
                "budget",
                f"{leaving} of {total} nodes of {name} leave, {allowed} may "
                f"({mark.reason.value}, {obj['metadata']['name']})",
            )

    @staticmethod
    def _valid(versions: list[tuple[datetime, NodePool]], index: int, now: datetime) -> bool:
        """Whether a version of the pool was the last one until (almost) now."""
        following = versions[index + 1][0] if index + 1 < len(versions) else None
        return following is None or now - following < _KNOWN_AFTER

    def _count(self, pool: str, now: datetime) -> tuple[int, int]:
        """How many nodes of the pool leave, and how many there are."""
        total = sum(now - gone < _KNOWN_AFTER for gone in self._gone[pool])
        leaving = 0
        store = self._world.cluster.store
        for claim in self._world.cluster.objects(NODE_CLAIMS):
            if _pool_of(claim) != pool or not is_true(claim, "Initialized"):
                continue
            terminating = condition_of(claim, "InstanceTerminating")
            if terminating is not None and terminating["status"] == "True":
                if now - parse_timestamp(terminating["lastTransitionTime"]) < _KNOWN_AFTER:
                    total += 1
                continue
            total += 1
            node = store.get(NODES, claim.get("status", {}).get("nodeName", ""))
            leaving += _marked(claim) or self._deleting(claim, now) or self._unready(node, now)
        return leaving, total

    def _deleting(self, claim: Object, now: datetime) -> bool:
        since = self._deleted.get(claim["metadata"]["uid"])
        return since is not None and now - since >= _KNOWN_AFTER

    @staticmethod
    def _unready(node: Object | None, now: datetime) -> bool:
        ready = condition_of(node, "Ready") if node is not None else None
        if ready is None or ready["status"] == "True":
            return False
        return now - parse_timestamp(ready["lastTransitionTime"]) >= _KNOWN_AFTER


class Taints:
    """At the end no node is under disruption without anybody to carry it out."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report

    def finish(self) -> None:
        """See `Check.finish`."""
        for node in self._world.cluster.objects(NODES):
            tainted = any(t["key"] == DISRUPTED_TAINT for t in node["spec"].get("taints") or ())
            if tainted and "deletionTimestamp" not in node["metadata"]:
                self._report("left tainted", node["metadata"]["name"])
        for claim in self._world.cluster.objects(NODE_CLAIMS):
            if _marked(claim) and "deletionTimestamp" not in claim["metadata"]:
                self._report("left marked", claim["metadata"]["name"])


def _marked(claim: Object) -> bool:
    return COMMAND in (claim["metadata"].get("annotations") or {})


def _pool_of(claim: Object) -> str:
    return str((claim["metadata"].get("labels") or {}).get(NODEPOOL, ""))
