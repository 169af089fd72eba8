"""What the workload controllers share: making pods, counting them, choosing which to delete."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object, Resource
from autoctl.sim.cluster.server import Server, is_true, owner_reference
from autoctl.sim.cluster.store import Store

_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def owned(store: Store, owner: Object, resource: Resource) -> list[Object]:
    """The objects of one resource whose controlling owner this is, oldest first."""
    uid = owner["metadata"]["uid"]
    return [
        obj
        for kind, obj in store.dependents(uid)
        if kind == resource
        and any(
            ref["uid"] == uid and ref.get("controller")
            for ref in obj["metadata"]["ownerReferences"]
        )
    ]


def is_active(pod: Object) -> bool:
    """Neither ended nor being deleted."""
    return not pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get(
        "phase"
    ) not in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    """Active and Ready."""
    return is_active(pod) and is_true(pod, "Ready")


def template_hash(template: Any) -> str:
    """Ten letters that change with the pod template (`pod-template-hash`)."""
    digest = hashlib.sha256(msgspec.json.encode(template, order="sorted")).digest()
    return "".join(_HASH_ALPHABET[byte % len(_HASH_ALPHABET)] for byte in digest[:10])


def create_pod(
    server: Server,
    owner_resource: Resource,
    owner: Object,
    template: Object,
    *,
    name: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    spec: Object | None = None,
) -> Object:
    """Create a pod from a template, owned by `owner`; without `name` one is generated."""
    made = template.get("metadata") or {}
    metadata: Object = {
        "labels": {**(made.get("labels") or {}), **(labels or {})},
        "annotations": {**(made.get("annotations") or {}), **(annotations or {})},
        "ownerReferences": [owner_reference(owner_resource, owner)],
    }
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    if made.get("finalizers"):
        metadata["finalizers"] = made["finalizers"]
    return server.create(
        k8s.PODS,
        {"metadata": metadata, "spec": {**(template.get("spec") or {}), **(spec or {})}},
        owner["metadata"]["namespace"],
    )


def delete_pod(server: Server, pod: Object) -> None:
    """Delete a pod with its own grace period."""
    metadata = pod["metadata"]
    server.delete(k8s.PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])


def deletion_order(pod: Object) -> tuple[Any, ...]:
    """Sort key: the pod that a ReplicaSet would delete first comes first.

    Unassigned before assigned, pending before running, not ready before ready, lower deletion cost
    (`controller.kubernetes.io/pod-deletion-cost`), newer before older. The rank by other pods of
    the same node is left out.
    """
    annotations = pod["metadata"].get("annotations") or {}
    return (
        bool(pod["spec"].get("nodeName")),
        {"Pending": 0, "Unknown": 1}.get((pod.get("status") or {}).get("phase", ""), 2),
        is_true(pod, "Ready"),
        int(annotations.get("controller.kubernetes.io/pod-deletion-cost", "0")),
        _reversed(pod["metadata"]["creationTimestamp"]),
        pod["metadata"]["name"],
    )


def _reversed(text: str) -> tuple[int, ...]:
    return tuple(-ord(character) for character in text)


def resolve(value: int | str, total: int, *, round_up: bool) -> int:
    """An int-or-percent field against `total` (`intstr.GetScaledValueFromIntOrPercent`)."""
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        return int(value)
    scaled = int(value[:-1]) * total
    return -(-scaled // 100) if round_up else scaled // 100
