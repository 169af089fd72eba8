"""The node controllers: taints by condition, silent kubelets, nodes whose instance is gone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.kubelet import Kubelets
from autoctl.sim.cluster.registration import HEALTHY
from autoctl.sim.cluster.runtime import Controller, Wheel
from autoctl.sim.cluster.server import Server, condition_of, is_true, set_condition
from autoctl.sim.cluster.store import timestamp
from autoctl.sim.cluster.timings import Timings

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_PRESSURES: Final = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_MANAGED_TAINTS: Final = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURES.values()})
_SILENT_MESSAGE: Final = "Kubelet stopped posting node status."


class NodeLifecycle(Controller[str]):
    """The node controllers: taints follow conditions, silent nodes become Unknown, tainted nodes
    lose their pods, nodes without instance are deleted, pods without node are collected.

    `instance_exists` answers for a providerID; while it is `None`, no Node is deleted for want of
    an instance. Keys are node names.
    """

    def __init__(self, server: Server, wheel: Wheel, timings: Timings, kubelets: Kubelets) -> None:
        super().__init__(server, wheel, timings)
        self._kubelets = kubelets
        self._tainted: dict[str, dict[tuple[str, str], float]] = {}
        self._planned: set[tuple[str, float]] = set()
        self._cloud_checks: set[str] = set()
        self.instance_exists: Callable[[str], bool] | None = None

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.NODES, self._node_changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        for node in list(self.store.objects(k8s.NODES)):
            self.enqueue(node["metadata"]["name"])
        for pod in list(self.store.objects(k8s.PODS)):
            self._pod_changed(None, pod)

    def lose(self, name: str) -> None:
        """The machine is gone or hangs: its kubelet falls silent now."""
        self._kubelets.silence(name)
        self.wheel.after(self.timings.node_monitor_grace, partial(self._mark_unknown, name))

    def recover(self, name: str) -> None:
        """The machine is back: the kubelet posts its status again."""
        self._kubelets.revive(name)
        node = self.store.get(k8s.NODES, name)
        if node is not None:
            self._set_conditions(node, "False", "True", "KubeletReady", "kubelet is posting ready")

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None:
            self.enqueue(after["metadata"]["name"])
            return
        assert before is not None
        name = before["metadata"]["name"]
        self._tainted.pop(name, None)
        if self.store.pods_on(name):
            self.wheel.after(self.timings.pod_gc, partial(self._collect_pods, name))

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        node = after["spec"].get("nodeName") if after is not None else None
        if not node or (before is not None and before["spec"].get("nodeName") == node):
            return
        if self.store.get(k8s.NODES, node) is None:
            self.wheel.after(self.timings.pod_gc, partial(self._collect_pods, node))
        elif node in self._tainted:
            self.enqueue(node)

    def reconcile(self, key: str) -> None:
        """See `Controller.reconcile`."""
        node = self.store.get(k8s.NODES, key)
        if node is None:
            return
        taints = self._wanted_taints(node)
        if taints != (node["spec"].get("taints") or []):
            node = self.server.mutate(k8s.NODES, node, spec={"taints": taints or None})
        self._watch_no_execute(node)
        if not is_true(node, "Ready") and self.instance_exists is not None:
            self._check_instance_later(key)

    def _wanted_taints(self, node: Object) -> list[Object]:
        spec = node.get("spec") or {}
        wanted: list[tuple[str, str]] = []
        ready = condition_of(node, "Ready")
        status = "Unknown" if ready is None else ready["status"]
        if status == "False":
            wanted += [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
        elif status == "Unknown":
            wanted += [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
        for type_, key in _PRESSURES.items():
            condition = condition_of(node, type_)
            if condition is not None and condition["status"] == "True":
                wanted.append((key, "NoSchedule"))
        if spec.get("unschedulable"):
            wanted.append((UNSCHEDULABLE, "NoSchedule"))
        result = []
        for taint in spec.get("taints") or ():
            identity = (taint["key"], taint["effect"])
            if taint["key"] not in _MANAGED_TAINTS:
                result.append(taint)
            elif identity in wanted:
                result.append(taint)
                wanted.remove(identity)
        now = timestamp(self.store.now())
        return result + [{"key": key, "effect": effect, "timeAdded": now} for key, effect in wanted]

    def _watch_no_execute(self, node: Object) -> None:
        """Plan the eviction of pods that do not tolerate a NoExecute taint, or not for ever."""
        name = node["metadata"]["name"]
        taints = [t for t in node["spec"].get("taints") or () if t["effect"] == "NoExecute"]
        if not taints:
            self._tainted.pop(name, None)
            return
        now = self.wheel.time()
        known = self._tainted.get(name, {})
        identities = [(t["key"], t.get("value") or "") for t in taints]
        self._tainted[name] = {identity: known.get(identity, now) for identity in identities}
        for pod in self.store.pods_on(name):
            if pod["metadata"].get("deletionTimestamp"):
                continue
            deadline = self._deadline(name, taints, pod)
            if deadline is None:
                continue
            if deadline <= now + 1e-6:
                self._evict(pod)
            elif (pod["metadata"]["uid"], deadline) not in self._planned:
                self._planned.add((pod["metadata"]["uid"], deadline))
                self.wheel.after(
                    deadline - now, partial(self._due, name, pod["metadata"]["uid"], deadline)
                )

    def _due(self, node: str, uid: str, deadline: float) -> None:
        self._planned.discard((uid, deadline))
        self.enqueue(node)

    def _deadline(self, name: str, taints: list[Object], pod: Object) -> float | None:
        """When the pod must go (loop time), or `None` when it tolerates everything for ever."""
        deadlines = []
        for taint in taints:
            since = self._tainted[name][taint["key"], taint.get("value") or ""]
            matching = [t for t in pod["spec"].get("tolerations") or () if tolerates(t, taint)]
            if not matching:
                deadlines.append(since)
                continue
            limits = [t["tolerationSeconds"] for t in matching if "tolerationSeconds" in t]
            if limits:
                deadlines.append(since + max(min(limits), 0))
        return min(deadlines, default=None)

    def _evict(self, pod: Object) -> None:
        self._disrupt(
            pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"
        )
        metadata = pod["metadata"]
        self.server.delete(k8s.PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])

    def _disrupt(self, pod: Object, reason: str, message: str, **status: str) -> None:
        conditions = set_condition(
            (pod.get("status") or {}).get("conditions"),
            "DisruptionTarget",
            "True",
            now=self.store.now(),
            reason=reason,
            message=message,
        )
        self.server.mutate(k8s.PODS, pod, status={"conditions": conditions, **status})

    def _mark_unknown(self, name: str) -> None:
        node = self.store.get(k8s.NODES, name)
        if node is None or not self._kubelets.is_silent(name):
            return
        self._set_conditions(node, "Unknown", "Unknown", "NodeStatusUnknown", _SILENT_MESSAGE)
        for pod in self.store.pods_on(name):
            if is_true(pod, "Ready"):
                conditions = set_condition(
                    pod["status"]["conditions"], "Ready", "False", now=self.store.now()
                )
                self.server.mutate(k8s.PODS, pod, status={"conditions": conditions})

    def _set_conditions(
        self, node: Object, others: str, ready: str, reason: str, message: str
    ) -> None:
        conditions = (node.get("status") or {}).get("conditions")
        now = self.store.now()
        for type_, (fine, text) in HEALTHY.items():
            why = (reason, message) if others == "Unknown" else (fine, text)
            conditions = set_condition(
                conditions, type_, others, now=now, reason=why[0], message=why[1]
            )
        conditions = set_condition(
            conditions, "Ready", ready, now=now, reason=reason, message=message
        )
        self.server.mutate(k8s.NODES, node, status={"conditions": conditions})

    def _check_instance_later(self, name: str) -> None:
        if name not in self._cloud_checks:
            self._cloud_checks.add(name)
            self.wheel.after(self.timings.cloud_node_monitor, partial(self._check_instance, name))

    def _check_instance(self, name: str) -> None:
        """The cloud node lifecycle controller: not Ready and no instance means no Node."""
        self._cloud_checks.discard(name)
        node = self.store.get(k8s.NODES, name)
        if node is None or is_true(node, "Ready") or self.instance_exists is None:
            return
        if self.instance_exists(node["spec"].get("providerID") or ""):
            self._check_instance_later(name)
        elif not node["metadata"].get("deletionTimestamp"):
            self.server.delete(k8s.NODES, name, uid=node["metadata"]["uid"])

    def _collect_pods(self, name: str) -> None:
        """Pod garbage collection: pods of a node that is no more fail and go without grace."""
        if self.store.get(k8s.NODES, name) is not None:
            return
        for pod in self.store.pods_on(name):
            metadata = pod["metadata"]
            if (pod.get("status") or {}).get("phase") in ("Pending", "Running"):
                self._disrupt(
                    pod, "DeletionByPodGC", "PodGC: node no longer exists", phase="Failed"
                )
            self.server.delete(
                k8s.PODS,
                metadata["name"],
                metadata["namespace"],
                uid=metadata["uid"],
                grace_period_seconds=0,
            )


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether one toleration matches one taint (`v1.Toleration.ToleratesTaint`)."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (
        taint.get("value") or ""
    )
