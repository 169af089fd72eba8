"""How long pods take to get a place and to run; what each pod is like now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from autoctl.api import core
from autoctl.api.labels import ARCH, CAPACITY_TYPE, INSTANCE_TYPE, NODEPOOL, ZONE
from autoctl.controllers.metrics.series import Series
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import EventType
from autoctl.state.cluster import ClusterState
from autoctl.state.pods import controller_of, is_provisionable, is_terminal
from autoctl.state.reflector import Change
from autoctl.state.snapshot import Snapshot

_NODE_KEYS = (NODEPOOL, ZONE, ARCH, CAPACITY_TYPE, INSTANCE_TYPE)


def condition_since(pod: core.Pod, kind: str) -> datetime | None:
    """Since when the pod's condition `kind` is True; None while it is not."""
    for condition in pod.status.conditions or ():
        if condition.type == kind and condition.status == "True":
            return condition.last_transition_time
    return None


@dataclass
class _Waiting:
    """A pod on its way to run. `asked`: since when it waits for provisioning."""

    asked: datetime | None = None
    bound: bool = False


class PodMetrics:
    """Times of pods that were seen before they ran, and the gauges of all pods."""

    def __init__(self, state: ClusterState, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._waiting: dict[str, _Waiting] = {}
        self._state = Series(metrics.pods_state)
        self._unstarted = Series(metrics.pods_unstarted_time)
        self._unbound = Series(metrics.pods_unbound_time)
        self._asked_unstarted = Series(metrics.pods_provisioning_unstarted_time)
        self._asked_unbound = Series(metrics.pods_provisioning_unbound_time)
        self._undecided = Series(metrics.pods_provisioning_undecided_time)
        state.pods.reflector.subscribe(self._changed)

    def update(self, snapshot: Snapshot, *, each_pod: bool) -> None:
        """Measure all pods that are on their way; the others only with `each_pod`."""
        unstarted, unbound, asked_unstarted, asked_unbound, undecided = (
            dict[tuple[str, ...], float]() for _ in range(5)
        )
        for key, pod in snapshot.pods.items() if each_pod else ():
            waiting = self._waiting.get(pod.metadata.uid)
            if waiting is None or pod.metadata.creation_timestamp is None:
                continue
            labels = (pod.metadata.name, pod.metadata.namespace)
            age = (snapshot.now - pod.metadata.creation_timestamp).total_seconds()
            unstarted[labels] = age
            asked = None if waiting.asked is None else snapshot.now - waiting.asked
            if asked is not None:
                asked_unstarted[labels] = asked.total_seconds()
            if not waiting.bound:
                unbound[labels] = age
                if asked is not None:
                    asked_unbound[labels] = asked.total_seconds()
                    if key not in snapshot.nominations:
                        undecided[labels] = asked.total_seconds()
        self._unstarted.replace(unstarted)
        self._unbound.replace(unbound)
        self._asked_unstarted.replace(asked_unstarted)
        self._asked_unbound.replace(asked_unbound)
        self._undecided.replace(undecided)
        pods = snapshot.pods.values() if each_pod else ()
        self._state.replace({_state_labels(pod, snapshot): 1.0 for pod in pods})

    def _changed(self, changes: Sequence[Change[core.Pod]]) -> None:
        for change in changes:
            pod = change.object
            if change.type is EventType.DELETED or is_terminal(pod):
                self._waiting.pop(pod.metadata.uid, None)
            elif change.previous is None and pod.spec.node_name:
                # It was placed before anybody looked: its times would tell of this process.
                continue
            else:
                self._follow(pod, new=change.previous is None)

    def _follow(self, pod: core.Pod, *, new: bool) -> None:
        uid = pod.metadata.uid
        if new:
            self._waiting.setdefault(uid, _Waiting())
        waiting = self._waiting.get(uid)
        created = pod.metadata.creation_timestamp
        if waiting is None or created is None:
            return
        if waiting.asked is None and is_provisionable(pod):
            waiting.asked = self._clock.now()
        if not waiting.bound and pod.spec.node_name:
            waiting.bound = True
            bound = condition_since(pod, "PodScheduled") or self._clock.now()
            self._metrics.pods_bound_duration.observe(_seconds(created, bound))
            if waiting.asked is not None:
                asked = _seconds(waiting.asked, bound)
                self._metrics.pods_provisioning_bound_duration.observe(asked)
        ready = condition_since(pod, "Ready")
        if ready is not None:
            del self._waiting[uid]
            self._metrics.pods_startup_duration.observe(_seconds(created, ready))
            if waiting.asked is not None:
                asked = _seconds(waiting.asked, ready)
                self._metrics.pods_provisioning_startup_duration.observe(asked)


def _seconds(start: datetime, end: datetime) -> float:
    """Never negative: a condition's time has whole seconds."""
    return max(0.0, (end - start).total_seconds())


def _state_labels(pod: core.Pod, snapshot: Snapshot) -> tuple[str, ...]:
    owner = controller_of(pod)
    node = snapshot.nodes.get(pod.spec.node_name or "")
    known = (node.metadata.labels or {}) if node is not None else {}
    machine = snapshot.state_nodes.get(pod.spec.node_name or "")
    return (
        pod.metadata.name,
        pod.metadata.namespace,
        "" if owner is None else _link(owner, pod.metadata.namespace),
        pod.spec.node_name or "",
        str(condition_since(pod, "PodScheduled") is not None).lower(),
        *(known.get(key, "") for key in _NODE_KEYS),
        pod.status.phase,
        str(condition_since(pod, "Ready") is not None).lower(),
        str(machine is not None and machine.managed).lower(),
    )


def _link(owner: core.OwnerReference, namespace: str) -> str:
    return f"/apis/{owner.api_version}/namespaces/{namespace}/{owner.kind.lower()}s/{owner.name}"
