"""Pods go by the Eviction API and by its rules, in order; by force only at a node's deadline."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

import msgspec

from autoctl.api import core
from autoctl.api.labels import DO_NOT_DISRUPT, TERMINATION_TIMESTAMP
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, PODS, Object
from autoctl.sim.cluster.faults import Point, Request
from autoctl.sim.cluster.server import is_true
from autoctl.sim.cluster.store import parse_timestamp
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.owners import is_daemon
from autoctl.simulate.world import World
from autoctl.state.pods import CRITICAL_CLASSES, is_waiting_eviction

_DEFAULT_GRACE: Final = 30
_KNOWN_AFTER: Final = timedelta(seconds=5)
"""A younger pod may have come between a look at the node and the request."""
_UNCOUNTED: Final = timedelta(seconds=1)
"""How long after a pod went its PodDisruptionBudget may still count it, as in every cluster."""
_ROUNDING: Final = timedelta(seconds=2)


class Evictions:
    """What the operator asks of pods."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report
        self._ready: dict[tuple[str, str], bool] = {}
        self._asked: set[str] = set()
        self._left: deque[tuple[datetime, Object]] = deque(maxlen=1000)
        world.cluster.faults.observe(self._request)
        world.cluster.store.subscribe(PODS, self._pod_changed)

    def finish(self) -> None:
        """See `Check.finish`; this check judges while things happen."""

    def _request(self, request: Request, point: Point) -> None:
        if request.resource is not PODS or request.verb not in ("evict", "delete"):
            return
        key = (request.namespace, request.name)
        pod = self._world.cluster.store.get(PODS, request.name, request.namespace)
        if point is Point.BEFORE:
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                return
            self._ready[key] = is_true(pod, "Ready")
            self._asked.add(pod["metadata"]["uid"])
            if request.verb == "delete":
                self._forced(pod)
            elif _protected(pod):
                self._report("do-not-disrupt", f"{request.name} is evicted")
            else:
                self._in_order(pod)
        elif request.verb == "evict" and self._ready.pop(key, False):
            self._budgets_hold(request, pod)

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        """Take note of ready pods that go without the operator's asking."""
        if before is None or _leaving(before) or not is_true(before, "Ready"):
            return
        gone = after is None or _leaving(after)
        if gone and before["metadata"]["uid"] not in self._asked:
            self._left.append((self._world.clock.now(), before))

    def _in_order(self, pod: Object) -> None:
        """Daemons and critical pods are evicted when no pod before them holds the drain up."""
        tier, node = _tier(pod), pod["spec"].get("nodeName")
        if not tier or not node:
            return
        now = self._world.clock.now()
        for other in self._world.cluster.objects(PODS):
            if other["spec"].get("nodeName") != node or _tier(other) >= tier:
                continue
            if self._holds_drain(other, node, now):
                first, then = other["metadata"]["name"], pod["metadata"]["name"]
                self._report("drain order", f"{then} is evicted while {first} is on {node}")
                return

    def _holds_drain(self, pod: Object, node: str, now: datetime) -> bool:
        if now - parse_timestamp(pod["metadata"]["creationTimestamp"]) < _KNOWN_AFTER:
            return False
        model = msgspec.convert(pod, core.Pod, strict=False)
        if not is_waiting_eviction(model, now):
            return False
        deadline = self._deadline(node)
        grace = timedelta(seconds=pod["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE))
        # What is deleted by force is no longer waited for.
        return deadline is None or now < deadline - grace

    def _deadline(self, node: str) -> datetime | None:
        claim = self._claim_of(node)
        annotations = {} if claim is None else claim["metadata"].get("annotations") or {}
        text = annotations.get(TERMINATION_TIMESTAMP)
        return None if text is None else parse_timestamp(text)

    def _claim_of(self, name: str) -> Object | None:
        """The NodeClaim of a node: that of its instance, which may not know the Node's name yet."""
        node = self._world.cluster.store.get(NODES, name)
        provider = None if node is None else node["spec"].get("providerID")
        for claim in self._world.cluster.objects(NODE_CLAIMS):
            status = claim.get("status", {})
            if status.get("nodeName") == name or (
                provider is not None and status.get("providerID") == provider
            ):
                return claim
        return None

    def _forced(self, pod: Object) -> None:
        """Deleting a pod is allowed when its grace would else end after its node's deadline."""
        name = pod["metadata"]["name"]
        now = self._world.clock.now()
        deadline = self._deadline(pod["spec"].get("nodeName", ""))
        if deadline is None:
            self._report("pod forced", f"{name} is deleted although its node has no deadline")
            return
        grace = pod["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
        if now + timedelta(seconds=grace) + _ROUNDING < deadline:
            self._report("pod forced", f"{name} is deleted long before {deadline.isoformat()}")

    def _budgets_hold(self, request: Request, evicted: Object | None) -> None:
        """After the eviction of a ready pod each of its budgets has as many ready as it wants.

        What others ended a moment ago is in no budget's status yet, by which the API server judges.
        """
        if evicted is None:
            return
        cluster = self._world.cluster
        now = self._world.clock.now()
        uncounted = [pod for when, pod in self._left if now - when < _UNCOUNTED]
        for budget in cluster.budgets.covering(evicted):
            namespace = budget["metadata"]["namespace"]
            selector = budget["spec"]["selector"].get("matchLabels", {})
            staying = (p for p in cluster.objects(PODS) if not _leaving(p))
            ready = sum(
                1
                for pod in (*staying, *uncounted)
                if pod["metadata"]["namespace"] == namespace
                and pod["metadata"]["name"] != request.name
                and selector.items() <= (pod["metadata"].get("labels") or {}).items()
                and is_true(pod, "Ready")
            )
            desired = budget.get("status", {}).get("desiredHealthy", 0)
            if ready < desired:
                self._report(
                    "PodDisruptionBudget",
                    f"{budget['metadata']['name']}: {ready} ready, {desired} wanted",
                )


def _leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _protected(pod: Object) -> bool:
    over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not over and (pod["metadata"].get("annotations") or {}).get(DO_NOT_DISRUPT) == "true"


def _tier(pod: Object) -> int:
    """Ordinary pods, daemons, critical pods, critical daemons."""
    critical = pod["spec"].get("priorityClassName") in CRITICAL_CLASSES
    return 2 * critical + is_daemon(pod)
