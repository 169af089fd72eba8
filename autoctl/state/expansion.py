"""Workloads without pods, expanded into the pods their controllers would make.

For `plan -f` and `simulate`: a Deployment, ReplicaSet, StatefulSet, ReplicationController or Job in
the files whose pods are not there stands for its replicas. Pods get the names `WORKLOAD-0`,
`WORKLOAD-1`, ...; a StatefulSet's claims are made with them. What admission would fill in
(priority, what a RuntimeClass says, requests from limits) is filled in by `admitted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

import msgspec

from autoctl.api import core
from autoctl.api.matching import matches

Object = dict[str, Any]

EXPANDED_KINDS = frozenset(
    {
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("v1", "ReplicationController"),
        ("batch/v1", "Job"),
    }
)

MOST_PODS: Final = 200_000
"""Pods that the workloads of one run may stand for: twice what a decision is promised for."""


class TooManyPodsError(ValueError):
    """A workload stands for more pods than there may be; `path` is the field that says so."""

    def __init__(self, path: str, pods: int, room: int) -> None:
        self.path = path
        beside = f" ({MOST_PODS - room} of them others')" if room < MOST_PODS else ""
        super().__init__(f"expected at most {MOST_PODS} pods of all workloads{beside}, got {pods}")


_SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


def expand_workloads(
    workloads: Iterable[Object], pods: Iterable[Object], room: int = MOST_PODS
) -> Iterator[Object]:
    """Yield the pods (and StatefulSets' claims) of those `workloads` that have no pod in `pods`.

    Raises `TooManyPodsError` for a workload that stands for more than what is left of `room` pods,
    before it makes the first of them.
    """
    existing: dict[str, list[Mapping[str, str]]] = {}
    for pod in pods:
        metadata = pod.get("metadata") or {}
        existing.setdefault(metadata.get("namespace") or "default", []).append(
            metadata.get("labels") or {}
        )
    for workload in workloads:
        metadata = workload.get("metadata") or {}
        if _owned_by_deployment(metadata):
            continue
        namespace = metadata.get("namespace") or "default"
        selector = _selector(workload)
        if any(matches(selector, labels) for labels in existing.get(namespace, ())):
            continue
        count = _replicas(workload)
        _check_room(workload, count, room)
        room -= count
        yield from _pods_of(workload, namespace, count)


def admitted(
    pod: Object, priorities: Mapping[str, int], runtime_classes: Mapping[str, Object]
) -> Object:
    """Return `pod` with what the API server's admission and defaulting would have set.

    `priorities` maps PriorityClass names to values (the empty name: the global default),
    `runtime_classes` names to RuntimeClasses, of which `overhead.podFixed` and `scheduling` are
    read. The argument is not changed. Fields of another type than the API's are left to decoding,
    which tells where they are.
    """
    given = pod.get("spec") or {}
    if not isinstance(given, dict):
        return pod
    spec = dict(given)
    if spec.get("priority") is None:
        name = spec.get("priorityClassName") or ""
        known = isinstance(name, str)
        value = priorities.get(name, _SYSTEM_PRIORITIES.get(name)) if known else None
        if value is not None:
            spec["priority"] = value
    name = spec.get("runtimeClassName")
    if isinstance(name, str) and name in runtime_classes:
        _add_runtime_class(spec, runtime_classes[name])
    for field in ("containers", "initContainers"):
        if isinstance(spec.get(field), list):
            spec[field] = [_requests_from_limits(c) for c in spec[field]]
    return {**pod, "spec": spec}


def priority_class_fault(pod: Object, priorities: Mapping[str, int]) -> str | None:
    """Why admission would refuse the pod for its `spec.priorityClassName`; None if it would not.

    A pod that has a priority has been admitted: its class was there, and need not be among files.
    """
    spec = pod.get("spec")
    if not isinstance(spec, dict) or spec.get("priority") is not None:
        return None
    name = spec.get("priorityClassName")
    if not isinstance(name, str) or not name or name in priorities or name in _SYSTEM_PRIORITIES:
        return None
    known = ", ".join(sorted({*filter(None, priorities), *_SYSTEM_PRIORITIES}))
    return (
        f"spec.priorityClassName: no PriorityClass with name {name} was found; expected one of "
        f"{known}, or its manifest among the files"
    )


def admitted_template(
    workload: Object, priorities: Mapping[str, int], runtime_classes: Mapping[str, Object]
) -> Object:
    """Return `workload` with the template of its pods as admission would leave the pods."""
    spec = workload.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(template, dict):
        return workload
    return {
        **workload,
        "spec": {**spec, "template": admitted(template, priorities, runtime_classes)},
    }


def _add_runtime_class(spec: Object, runtime_class: Object) -> None:
    """Overhead, node selector and tolerations; what the pod says itself stays."""
    overhead = (runtime_class.get("overhead") or {}).get("podFixed")
    if overhead:
        spec.setdefault("overhead", overhead)
    scheduling = runtime_class.get("scheduling") or {}
    selector, tolerations = scheduling.get("nodeSelector"), scheduling.get("tolerations") or []
    if selector and isinstance(spec.get("nodeSelector") or {}, dict):
        spec["nodeSelector"] = {**selector, **(spec.get("nodeSelector") or {})}
    own = spec.get("tolerations") or []
    if tolerations and isinstance(own, list):
        spec["tolerations"] = [*own, *(t for t in tolerations if t not in own)]


def _requests_from_limits(holder: Any) -> Any:
    resources = holder.get("resources") if isinstance(holder, dict) else None
    if not isinstance(resources, dict):
        return holder
    limits, requests = resources.get("limits"), resources.get("requests") or {}
    if not isinstance(limits, dict) or not isinstance(requests, dict):
        return holder
    return {**holder, "resources": {**resources, "requests": {**limits, **requests}}}


def _owned_by_deployment(metadata: Object) -> bool:
    return any(
        isinstance(o, dict) and o.get("kind") == "Deployment"
        for o in metadata.get("ownerReferences") or ()
    )


def _selector(workload: Object) -> core.LabelSelector:
    spec = workload.get("spec") or {}
    template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    selector = spec.get("selector")
    if workload["kind"] == "ReplicationController":
        return core.LabelSelector(match_labels=dict(selector or template_labels))
    if selector is None:  # a Job's is generated by the API server
        return core.LabelSelector(match_labels=dict(template_labels))
    return msgspec.convert(selector, core.LabelSelector, strict=False)


def _replicas(workload: Object) -> int:
    spec = workload.get("spec") or {}
    if (workload.get("metadata") or {}).get("deletionTimestamp"):
        return 0
    if workload["kind"] == "Job":
        return _job_pods(spec, workload.get("status") or {})
    return _count(spec, "replicas")


def check_size(workload: Object) -> None:
    """Raise `TooManyPodsError` for a workload that alone asks for more pods than there may be.

    Raises `ValueError` for a number that the API server refuses. Objects of other kinds pass.
    """
    given = workload.get("spec")
    if (workload.get("apiVersion"), workload.get("kind")) in EXPANDED_KINDS and given:
        if not isinstance(given, dict):
            raise ValueError(f"expected an object, got {given!r}")
        _check_room(workload, _replicas({**workload, "status": None}), MOST_PODS)


def _check_room(workload: Object, count: int, room: int) -> None:
    if count > room:
        raise TooManyPodsError(_replicas_path(workload, count), count, room)


def _replicas_path(workload: Object, count: int) -> str:
    """The field that `count`, what `_replicas` found, comes from."""
    if workload["kind"] != "Job":
        return "spec.replicas"
    spec = workload.get("spec") or {}
    return "spec.completions" if count < _count(spec, "parallelism") else "spec.parallelism"


def _job_pods(spec: Object, status: Object) -> int:
    """How many pods a Job still runs at a time: none once it is suspended or has ended."""
    ended = any(
        c.get("type") in ("Complete", "Failed") and c.get("status") == "True"
        for c in status.get("conditions") or ()
    )
    if ended or spec.get("suspend"):
        return 0
    parallel = _count(spec, "parallelism")
    if spec.get("completions") is None:
        return parallel
    return min(parallel, max(_count(spec, "completions") - (status.get("succeeded") or 0), 0))


def _count(spec: Object, field: str) -> int:
    """A number of pods; 1 when absent. Raises `ValueError` for what the API server refuses."""
    value = spec.get(field)
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{field}: expected a whole number of at least 0, got {value!r}")
    return value


def _pods_of(workload: Object, namespace: str, count: int) -> Iterator[Object]:
    metadata, spec = workload["metadata"], workload.get("spec") or {}
    template = spec.get("template") or {}
    template_metadata = template.get("metadata") or {}
    name, kind = metadata["name"], workload["kind"]
    owner_kind = "ReplicaSet" if kind == "Deployment" else kind
    owner_version = "v1" if kind == "ReplicationController" else workload["apiVersion"]
    for ordinal in range(count):
        pod_name = f"{name}-{ordinal}"
        pod_spec = deepcopy(template.get("spec") or {})
        for claim in (spec.get("volumeClaimTemplates") or ()) if kind == "StatefulSet" else ():
            claim_name = claim["metadata"]["name"]
            yield {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": f"{claim_name}-{pod_name}", "namespace": namespace},
                "spec": deepcopy(claim.get("spec") or {}),
                "status": {"phase": "Pending"},
            }
            pod_spec.setdefault("volumes", []).append(
                {
                    "name": claim_name,
                    "persistentVolumeClaim": {"claimName": f"{claim_name}-{pod_name}"},
                }
            )
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod_name,
                "namespace": namespace,
                "uid": f"{kind}/{namespace}/{pod_name}".lower(),
                "labels": dict(template_metadata.get("labels") or {}),
                "annotations": dict(template_metadata.get("annotations") or {}),
                "creationTimestamp": metadata.get("creationTimestamp"),
                "ownerReferences": [
                    {
                        "apiVersion": owner_version,
                        "kind": owner_kind,
                        "name": name,
                        "uid": metadata.get("uid") or f"{kind}/{namespace}/{name}".lower(),
                        "controller": True,
                    }
                ],
            },
            "spec": pod_spec,
            "status": {"phase": "Pending"},
        }
