"""What happened to pods, counted while it happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.server import condition_of, controller_of
from autoctl.sim.cluster.store import Key, Store, key_of


@dataclass(frozen=True, slots=True)
class PodTimes:
    """One pod that got a node: seconds of loop time."""

    pod: Key
    created: float
    bound: float

    @property
    def pending(self) -> float:
        """How long it waited for its node."""
        return self.bound - self.created


class PodStats:
    """Pending times of bound pods, and disruptions by workload.

    `bound` has one entry for each pod bound since `start`; `waiting` says since when each unbound
    pod waits (loop time), pods with scheduling gates included. `disruptions` counts pods that got a
    DisruptionTarget condition, by its reason (`EvictionByEvictionAPI`, `DeletionByTaintManager`,
    `DeletionByPodGC`); `evictions` counts the first of these by workload: (namespace, "Kind/name")
    of the pod's controller, or of the pod itself.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bound: list[PodTimes] = []
        self.waiting: dict[str, float] = {}
        self.created = 0
        self.disruptions: Counter[str] = Counter()
        self.evictions: Counter[Key] = Counter()

    def start(self) -> None:
        """Subscribe; pods that are there and unbound wait from now on."""
        for pod in self._store.objects(k8s.PODS):
            self._changed(None, pod)
        self._store.subscribe(k8s.PODS, self._changed)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        now = asyncio.get_running_loop().time()
        if after is None:
            assert before is not None
            self.waiting.pop(before["metadata"]["uid"], None)
            return
        uid = after["metadata"]["uid"]
        bound = bool(after["spec"].get("nodeName"))
        if before is None:
            self.created += 1
            if not bound:
                self.waiting[uid] = now
        elif bound and uid in self.waiting:
            self.bound.append(PodTimes(key_of(after), self.waiting.pop(uid), now))
        disrupted = condition_of(after, "DisruptionTarget")
        if disrupted is not None and (
            before is None or condition_of(before, "DisruptionTarget") is None
        ):
            reason = disrupted.get("reason", "")
            self.disruptions[reason] += 1
            if reason == "EvictionByEvictionAPI":
                self.evictions[_workload(after)] += 1


def _workload(pod: Object) -> Key:
    owner = controller_of(pod)
    namespace = pod["metadata"]["namespace"]
    if owner is None:
        return namespace, f"Pod/{pod['metadata']['name']}"
    return namespace, f"{owner['kind']}/{owner['name']}"
