"""What the API server knows about each kind: generations, status, field labels, list keys."""

from __future__ import annotations

from typing import Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object, Resource

_NO_STATUS: Final = frozenset(
    {
        k8s.CONFIGMAPS,
        k8s.EVENTS,
        k8s.LEASES,
        k8s.STORAGE_CLASSES,
        k8s.CSI_NODES,
        k8s.PRIORITY_CLASSES,
        k8s.POD_TEMPLATES,
    }
)
_STATUS_ON_CREATE: Final = frozenset({k8s.NODES, k8s.PERSISTENT_VOLUMES, k8s.NAMESPACES})
_NO_GENERATION: Final = frozenset(
    {
        k8s.NODES,
        k8s.NAMESPACES,
        k8s.EVENTS,
        k8s.SERVICES,
        k8s.CONFIGMAPS,
        k8s.PERSISTENT_VOLUME_CLAIMS,
        k8s.PERSISTENT_VOLUMES,
        k8s.STORAGE_CLASSES,
        k8s.CSI_NODES,
        k8s.VOLUME_ATTACHMENTS,
        k8s.LEASES,
        k8s.PRIORITY_CLASSES,
    }
)
_SCALABLE: Final = frozenset(
    {
        k8s.DEPLOYMENTS,
        k8s.REPLICA_SETS,
        k8s.STATEFUL_SETS,
        k8s.REPLICATION_CONTROLLERS,
        k8s.NODE_POOLS,
        k8s.CAPACITY_BUFFERS,
    }
)
_META_FIELDS: Final = frozenset({"metadata.name", "metadata.namespace"})
_FIELD_LABELS: Final[dict[Resource, frozenset[str]]] = {
    k8s.PODS: frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    k8s.NODES: frozenset({"spec.unschedulable"}),
    k8s.NAMESPACES: frozenset({"status.phase"}),
    k8s.EVENTS: frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
    k8s.REPLICA_SETS: frozenset({"status.replicas"}),
    k8s.REPLICATION_CONTROLLERS: frozenset({"status.replicas"}),
    k8s.JOBS: frozenset({"status.successful"}),
    k8s.NODE_CLAIMS: frozenset(
        {"spec.nodeClassRef.group", "spec.nodeClassRef.kind", "spec.nodeClassRef.name"}
    ),
    k8s.NODE_POOLS: frozenset(
        {
            "spec.template.spec.nodeClassRef.group",
            "spec.template.spec.nodeClassRef.kind",
            "spec.template.spec.nodeClassRef.name",
        }
    ),
}
IMMUTABLE_META: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


def has_status(resource: Resource) -> bool:
    """Whether the kind has a status subresource, so that plain writes cannot touch `.status`."""
    return resource not in _NO_STATUS


def keeps_status_on_create(resource: Resource) -> bool:
    """Whether a create may carry `.status` (nodes register with theirs)."""
    return resource in _STATUS_ON_CREATE or not has_status(resource)


def has_generation(resource: Resource) -> bool:
    """Whether `metadata.generation` counts the changes of the kind's desired state."""
    return resource not in _NO_GENERATION


def has_scale(resource: Resource) -> bool:
    """Whether the kind has a scale subresource."""
    return resource in _SCALABLE


def field_labels(resource: Resource) -> frozenset[str]:
    """The fields that a field selector of this kind may name."""
    return _FIELD_LABELS.get(resource, frozenset()) | _META_FIELDS


def field_value(obj: Object, path: str) -> str:
    """The value a field selector compares: absent fields are the empty string."""
    value: object = obj
    for part in path.split("."):
        if not isinstance(value, dict):
            return ""
        value = value.get(part)
    if value is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def desires_differ(before: Object, after: Object) -> bool:
    """Whether anything but metadata and status changed: what bumps the generation."""
    return any(
        before.get(key) is not after.get(key) and before.get(key) != after.get(key)
        for key in {**before, **after}
        if key not in ("metadata", "status")
    )


def is_custom(resource: Resource) -> bool:
    """Whether the kind comes from a CustomResourceDefinition."""
    return "." in resource.group and not resource.group.endswith(".k8s.io")
