"""Pods go by the Eviction API and by its rules; by force only at a node's deadline."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from autoctl.api.labels import DO_NOT_DISRUPT, TERMINATION_TIMESTAMP
from autoctl.ports.kubernetes import NODE_CLAIMS, PODS, Object
from autoctl.sim.cluster.faults import Point, Request
from autoctl.sim.cluster.server import is_true
from autoctl.sim.cluster.store import parse_timestamp
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.world import World

_DEFAULT_GRACE: Final = 30
_ROUNDING: Final = timedelta(seconds=2)


class Evictions:
    """What the operator asks of pods."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report
        self._ready: dict[tuple[str, str], bool] = {}
        world.cluster.faults.observe(self._request)

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
            if request.verb == "delete":
                self._forced(pod)
            elif _protected(pod):
                self._report("do-not-disrupt", f"{request.name} is evicted")
        elif request.verb == "evict" and self._ready.pop(key, False):
            self._budgets_hold(request, pod)

    def _forced(self, pod: Object) -> None:
        """Deleting a pod is allowed when its grace would else end after its node's deadline."""
        name = pod["metadata"]["name"]
        node = pod["spec"].get("nodeName")
        now = self._world.clock.now()
        for claim in self._world.cluster.objects(NODE_CLAIMS):
            if claim.get("status", {}).get("nodeName") != node:
                continue
            text = (claim["metadata"].get("annotations") or {}).get(TERMINATION_TIMESTAMP)
            if text is None:
                break
            grace = pod["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
            if now + timedelta(seconds=grace) + _ROUNDING < parse_timestamp(text):
                self._report("pod forced", f"{name} is deleted long before {text}")
            return
        self._report("pod forced", f"{name} is deleted although its node has no deadline")

    def _budgets_hold(self, request: Request, evicted: Object | None) -> None:
        """After the eviction of a ready pod each of its budgets has as many ready as it wants."""
        if evicted is None:
            return
        cluster = self._world.cluster
        for budget in cluster.budgets.covering(evicted):
            namespace = budget["metadata"]["namespace"]
            selector = budget["spec"]["selector"].get("matchLabels", {})
            ready = sum(
                1
                for pod in cluster.objects(PODS)
                if pod["metadata"]["namespace"] == namespace
                and "deletionTimestamp" not in pod["metadata"]
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


def _protected(pod: Object) -> bool:
    over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not over and (pod["metadata"].get("annotations") or {}).get(DO_NOT_DISRUPT) == "true"
