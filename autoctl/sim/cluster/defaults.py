"""What the API server fills in: defaults of the built-in types and of its admission plugins.

Only what is read somewhere: pods (priority, tolerations, grace period, requests from limits),
claims (default StorageClass), workloads (replicas and update strategies). Sources: the `+default`
notes in the API reference; admission plugins Priority, DefaultTolerationSeconds,
DefaultStorageClass, TaintNodesByCondition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Forbidden, Object, Resource
from autoctl.sim.cluster.store import Store

_SYSTEM_PRIORITIES: Final = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_UNREACHABLE: Final = "node.kubernetes.io/unreachable"
DEFAULT_STORAGE_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


def with_defaults(store: Store, resource: Resource, obj: Object) -> Object:
    """The object as the API server would store a creation of it. Raises `Forbidden`."""
    if resource == k8s.PODS:
        return {**obj, "spec": pod_spec(store, obj), "status": _pod_status(obj)}
    defaulter = _DEFAULTERS.get(resource)
    return obj if defaulter is None else defaulter(store, obj)


def pod_template(template: Object) -> Object:
    """A workload's pod template with the defaults that do not depend on admission."""
    spec = template.get("spec") or {}
    return {
        **template,
        "metadata": template.get("metadata") or {},
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            **spec,
        },
    }


def pod_spec(store: Store, pod: Object) -> Object:
    """The defaulted and admitted spec of a new pod. Raises `Forbidden` for an unknown priority."""
    spec: Object = pod_template(pod)["spec"]
    spec = {"serviceAccountName": "default", "enableServiceLinks": True, **spec}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [_with_requests(container) for container in spec[field]]
    spec["tolerations"] = _tolerations(spec.get("tolerations") or [])
    if constraints := spec.get("topologySpreadConstraints"):
        spec["topologySpreadConstraints"] = [
            {"nodeAffinityPolicy": "Honor", "nodeTaintsPolicy": "Ignore", **c} for c in constraints
        ]
    return {**spec, **_priority(store, spec)}


def _pod_status(pod: Object) -> Object:
    status: Object = {"phase": "Pending", "qosClass": _qos(pod.get("spec") or {})}
    if (pod.get("spec") or {}).get("schedulingGates"):
        status["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]
    return status


def _qos(spec: Object) -> str:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for r in resources:
        limits = r.get("limits") or {}
        requests = {**limits, **(r.get("requests") or {})}
        if any(name not in limits or requests[name] != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _with_requests(container: Object) -> Object:
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if not limits:
        return container
    requests = {**limits, **(resources.get("requests") or {})}
    return {**container, "resources": {**resources, "requests": requests}}


def _tolerations(tolerations: list[Object]) -> list[Object]:
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in (_NOT_READY, _UNREACHABLE)
        if not any(
            t.get("key") in (key, None, "") and t.get("effect") in ("NoExecute", None, "")
            for t in tolerations
        )
    ]
    return [*tolerations, *added]


def _priority(store: Store, spec: Object) -> Object:
    name = spec.get("priorityClassName")
    if not name:
        for candidate in store.objects(k8s.PRIORITY_CLASSES):
            if candidate.get("globalDefault"):
                name = candidate["metadata"]["name"]
    if not name:
        return {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}
    found = store.get(k8s.PRIORITY_CLASSES, name)
    if found is None:
        if name not in _SYSTEM_PRIORITIES:
            raise Forbidden(f"no PriorityClass with name {name} was found", reason="Forbidden")
        found = {"value": _SYSTEM_PRIORITIES[name]}
    return {
        "priorityClassName": name,
        "priority": found["value"],
        "preemptionPolicy": found.get("preemptionPolicy") or "PreemptLowerPriority",
    }


def _claim(store: Store, claim: Object) -> Object:
    spec: Object = {
        "volumeMode": "Filesystem",
        "accessModes": ["ReadWriteOnce"],
        **(claim.get("spec") or {}),
    }
    if spec.get("storageClassName") is None:
        for candidate in store.objects(k8s.STORAGE_CLASSES):
            annotations = candidate["metadata"].get("annotations") or {}
            if annotations.get(DEFAULT_STORAGE_CLASS) == "true":
                spec["storageClassName"] = candidate["metadata"]["name"]
    return {**claim, "spec": spec, "status": {"phase": "Pending"}}


def _workload(**defaults: Any) -> Callable[[Store, Object], Object]:
    def default(_: Store, obj: Object) -> Object:
        spec = {**defaults, **(obj.get("spec") or {})}
        if "template" in spec:
            spec["template"] = pod_template(spec["template"])
        return {**obj, "spec": spec}

    return default


def _deployment(store: Store, obj: Object) -> Object:
    obj = _workload(replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)(store, obj)
    strategy = obj["spec"].get("strategy") or {}
    if strategy.get("type", "RollingUpdate") == "RollingUpdate":
        rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
        rolling |= strategy.get("rollingUpdate") or {}
        strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return {**obj, "spec": {**obj["spec"], "strategy": strategy}}


def _node(_: Store, node: Object) -> Object:
    # TaintNodesByCondition: a new node is not ready until the node controller has seen it so.
    spec = node.get("spec") or {}
    taints = list(spec.get("taints") or ())
    if not any(t["key"] == _NOT_READY for t in taints):
        taints.append({"key": _NOT_READY, "effect": "NoSchedule"})
    return {**node, "spec": {**spec, "taints": taints}}


def _storage_class(_: Store, obj: Object) -> Object:
    return {"volumeBindingMode": "Immediate", "reclaimPolicy": "Delete", **obj}


def _namespace(_: Store, obj: Object) -> Object:
    name = obj["metadata"]["name"]
    labels = {**(obj["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": name}
    return {
        **obj,
        "metadata": {**obj["metadata"], "labels": labels},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


_DEFAULTERS: Final[dict[Resource, Callable[[Store, Object], Object]]] = {
    k8s.NODES: _node,
    k8s.NAMESPACES: _namespace,
    k8s.PERSISTENT_VOLUME_CLAIMS: _claim,
    k8s.STORAGE_CLASSES: _storage_class,
    k8s.DEPLOYMENTS: _deployment,
    k8s.REPLICA_SETS: _workload(replicas=1),
    k8s.STATEFUL_SETS: _workload(
        replicas=1,
        podManagementPolicy="OrderedReady",
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    ),
    k8s.DAEMON_SETS: _workload(
        updateStrategy={
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
        }
    ),
    k8s.JOBS: _workload(parallelism=1, completions=1, backoffLimit=6),
}
