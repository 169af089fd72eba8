"""The disruption controller: how many pods each PodDisruptionBudget lets go.

Follows the rules of "Specifying a Disruption Budget" and the disruption controller: percentages
and maxUnavailable count against the replicas that the pods' controllers want, percentages round up,
a pod is healthy when it is Ready and not being deleted.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object, Resource
from autoctl.sim.cluster import pods
from autoctl.sim.cluster.runtime import Controller, Wheel
from autoctl.sim.cluster.selectors import SelectorIndex, requirements_of
from autoctl.sim.cluster.server import Server, controller_of, is_true, set_condition
from autoctl.sim.cluster.store import Key, key_of, parse_timestamp
from autoctl.sim.cluster.timings import Timings

_DISRUPTION_TIMEOUT: Final = timedelta(minutes=2)
_SCALED: Final[dict[str, Resource]] = {
    "ReplicaSet": k8s.REPLICA_SETS,
    "StatefulSet": k8s.STATEFUL_SETS,
    "ReplicationController": k8s.REPLICATION_CONTROLLERS,
}


class Budgets(Controller[Key]):
    """Keeps the status of budgets; keys are budgets."""

    def __init__(self, server: Server, wheel: Wheel, timings: Timings) -> None:
        super().__init__(server, wheel, timings)
        self._index: SelectorIndex[Key] = SelectorIndex()
        self._members: dict[Key, dict[Key, None]] = {}

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.POD_DISRUPTION_BUDGETS, self._budget_changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        for resource in (*_SCALED.values(), k8s.DEPLOYMENTS):
            self.store.subscribe(resource, self._scale_changed)
        for budget in list(self.store.objects(k8s.POD_DISRUPTION_BUDGETS)):
            self._budget_changed(None, budget)

    def _budget_changed(self, before: Object | None, after: Object | None) -> None:
        budget = after or before
        assert budget is not None
        key = key_of(budget)
        if before is not None and (
            after is None or before["spec"].get("selector") != after["spec"].get("selector")
        ):
            self._index.remove(key)
            self._members.pop(key, None)
        if after is None:
            return
        if key not in self._members:
            selector = requirements_of(after["spec"].get("selector"))
            if selector is not None:
                self._index.add(key, key[0], selector)
            self._members[key] = {}
            for pod in self.store.objects(k8s.PODS):
                self._file(pod, key)
        self.enqueue(key)

    def _file(self, pod: Object, budget: Key) -> None:
        labels = pod["metadata"].get("labels") or {}
        if self._index.matches(budget, pod["metadata"]["namespace"], labels):
            self._members[budget][key_of(pod)] = None

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        pod = after or before
        assert pod is not None
        namespace, key = pod["metadata"]["namespace"], key_of(pod)
        old = () if before is None else self._matching(namespace, before)
        new = () if after is None else self._matching(namespace, after)
        for budget in old:
            if budget not in new:
                self._members[budget].pop(key, None)
            self.enqueue(budget)
        for budget in new:
            self._members[budget][key] = None
            self.enqueue(budget)

    def _matching(self, namespace: str, pod: Object) -> list[Key]:
        return self._index.matching(namespace, pod["metadata"].get("labels") or {})

    def _scale_changed(self, before: Object | None, after: Object | None) -> None:
        old = None if before is None else before["spec"].get("replicas")
        new = None if after is None else after["spec"].get("replicas")
        found = after or before
        if old != new and found is not None:
            for key in self._members:
                if key[0] == found["metadata"]["namespace"]:
                    self.enqueue(key)

    def covering(self, pod: Object) -> list[Object]:
        """The budgets that select the pod."""
        self.store.deliver()
        return [
            budget
            for namespace, name in self._matching(pod["metadata"]["namespace"], pod)
            if (budget := self.store.get(k8s.POD_DISRUPTION_BUDGETS, name, namespace)) is not None
        ]

    def reconcile(self, key: Key) -> None:
        """See `Controller.reconcile`."""
        budget = self.store.get(k8s.POD_DISRUPTION_BUDGETS, key[1], key[0])
        if budget is None:
            return
        members = [
            pod
            for namespace, name in self._members.get(key, {})
            if (pod := self.store.get(k8s.PODS, name, namespace)) is not None
        ]
        expected, desired = self._expectation(budget["spec"], members)
        disrupted = self._still_disrupted(budget, members)
        healthy = sum(
            1
            for pod in members
            if not pod["metadata"].get("deletionTimestamp")
            and pod["metadata"]["name"] not in disrupted
            and is_true(pod, "Ready")
        )
        allowed = max(healthy - desired, 0) if expected > 0 else 0
        conditions = set_condition(
            (budget.get("status") or {}).get("conditions"),
            "DisruptionAllowed",
            "True" if allowed else "False",
            now=self.store.now(),
            reason="SufficientPods" if allowed else "InsufficientPods",
        )
        self.server.mutate(
            k8s.POD_DISRUPTION_BUDGETS,
            budget,
            status={
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "expectedPods": expected,
                "disruptionsAllowed": allowed,
                "disruptedPods": disrupted or None,
                "observedGeneration": budget["metadata"]["generation"],
                "conditions": conditions,
            },
        )
        if disrupted:
            self.enqueue_after(_DISRUPTION_TIMEOUT.total_seconds(), key)

    def _expectation(self, spec: Object, members: list[Object]) -> tuple[int, int]:
        """Expected and desired healthy pods."""
        if "maxUnavailable" in spec:
            expected = self._expected_scale(members)
            unavailable = pods.resolve(spec["maxUnavailable"], expected, round_up=True)
            return expected, max(expected - unavailable, 0)
        minimum = spec.get("minAvailable", 1)
        if isinstance(minimum, int):
            return len(members), minimum
        expected = self._expected_scale(members)
        return expected, pods.resolve(minimum, expected, round_up=True)

    def _expected_scale(self, members: list[Object]) -> int:
        """The replicas that the members' controllers want; pods without one count as none."""
        controllers: dict[str, int] = {}
        seen: set[str] = set()
        for pod in members:
            owner = controller_of(pod)
            if owner is None or owner["uid"] in seen:
                continue
            seen.add(owner["uid"])
            found = self.store.by_uid(owner["uid"])
            if found is None or owner["kind"] not in _SCALED:
                continue
            workload = found[1]
            parent = controller_of(workload)
            if parent is not None and parent["kind"] == "Deployment":
                deployment = self.store.by_uid(parent["uid"])
                if deployment is not None:
                    controllers[parent["uid"]] = deployment[1]["spec"].get("replicas", 1)
                    continue
            controllers[owner["uid"]] = workload["spec"].get("replicas", 1)
        return sum(controllers.values())

    def _still_disrupted(self, budget: Object, members: list[Object]) -> dict[str, str]:
        """Evicted pods whose deletion has not shown yet; after two minutes they count again."""
        noted = (budget.get("status") or {}).get("disruptedPods") or {}
        alive = {
            pod["metadata"]["name"]
            for pod in members
            if not pod["metadata"].get("deletionTimestamp")
        }
        now = self.store.now()
        return {
            name: since
            for name, since in noted.items()
            if name in alive and now < parse_timestamp(since) + _DISRUPTION_TIMEOUT
        }
