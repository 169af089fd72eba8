"""The Kubernetes seam: what controllers may ask of an API server.

Objects travel as plain JSON-like dicts (`Object`), except where a caller names a `msgspec.Struct`
to decode to: lists and watches of thousands of pods and nodes never build dicts.

Every call raises a subclass of `ApiError` and nothing else of the transport; cancellation passes
through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, overload

Object: TypeAlias = dict[str, Any]
T = TypeVar("T")

FIELD_MANAGER = "autoctl"
"""The name under which the API server records what this project wrote (`managedFields`)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API, as discovery names it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """The URL path up to the version: `/api/v1` or `/apis/GROUP/VERSION`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS = Resource("", "v1", "pods", "Pod", True)
NODES = Resource("", "v1", "nodes", "Node", False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", False)
EVENTS = Resource("", "v1", "events", "Event", True)
SERVICES = Resource("", "v1", "services", "Service", True)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", True)
PERSISTENT_VOLUME_CLAIMS = Resource(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True
)
PERSISTENT_VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", False)
REPLICATION_CONTROLLERS = Resource(
    "", "v1", "replicationcontrollers", "ReplicationController", True
)
POD_TEMPLATES = Resource("", "v1", "podtemplates", "PodTemplate", True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", True)
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", True)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet", True)
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet", True)
JOBS = Resource("batch", "v1", "jobs", "Job", True)
POD_DISRUPTION_BUDGETS = Resource(
    "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True
)
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", False)
CSI_NODES = Resource("storage.k8s.io", "v1", "csinodes", "CSINode", False)
VOLUME_ATTACHMENTS = Resource(
    "storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", False
)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", True)
PRIORITY_CLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False
)
NODE_POOLS = Resource("karpenter.sh", "v1", "nodepools", "NodePool", False)
NODE_CLAIMS = Resource("karpenter.sh", "v1", "nodeclaims", "NodeClaim", False)
NODE_OVERLAYS = Resource("karpenter.sh", "v1alpha1", "nodeoverlays", "NodeOverlay", False)
NODE_CLASSES = Resource("eks.amazonaws.com", "v1", "nodeclasses", "NodeClass", False)
NODE_DIAGNOSTICS = Resource(
    "eks.amazonaws.com", "v1alpha1", "nodediagnostics", "NodeDiagnostic", False
)
CAPACITY_BUFFERS = Resource(
    "autoscaling.x-k8s.io", "v1beta1", "capacitybuffers", "CapacityBuffer", True
)

RESOURCES: tuple[Resource, ...] = tuple(v for v in globals().values() if isinstance(v, Resource))
"""Every resource this project reads or writes."""


class EventType(StrEnum):
    """What a watch reports. ERROR never reaches a caller: it is raised as an `ApiError`."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """One watch event; a BOOKMARK's object is `None`, only its resource version matters."""

    type: EventType
    object: T | None
    resource_version: str


@dataclass(frozen=True, slots=True)
class ObjectList(Generic[T]):
    """A whole list (all chunks), with the resource version to start watching from."""

    items: list[T]
    resource_version: str


class PatchType(StrEnum):
    """Content types of PATCH."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"
    STRATEGIC = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """A request that the API server, or the way to it, refused.

    `code` is the HTTP status (0 where none came), `reason` the Status object's reason,
    `message` its message; `retry_after` seconds where the server asked for a pause.
    """

    code = 0

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str = "",
        retry_after: float | None = None,
        details: Object | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = type(self).code if code is None else code
        self.reason = reason
        self.retry_after = retry_after
        self.details = details or {}


class BadRequest(ApiError):
    """400."""

    code = 400


class Unauthorized(ApiError):
    """401: no or wrong credentials."""

    code = 401


class Forbidden(ApiError):
    """403: RBAC, an admission plugin, or a quota refused it."""

    code = 403


class NotFound(ApiError):
    """404: the object, or the resource itself, is not there."""

    code = 404


class Conflict(ApiError):
    """409: the object changed meanwhile (resourceVersion or UID precondition)."""

    code = 409


class AlreadyExists(Conflict):
    """409 with reason AlreadyExists."""


class Gone(ApiError):
    """410: the resource version or continue token is too old; list again."""

    code = 410


class Invalid(ApiError):
    """422: the object fails its schema or a validation rule."""

    code = 422


class TooManyRequests(ApiError):
    """429: a PodDisruptionBudget refuses an eviction, or the server is overloaded."""

    code = 429


class Unavailable(ApiError):
    """5xx, a refused or broken connection, a time-out: worth trying again."""

    code = 503


Subresource: TypeAlias = Literal["status", "scale"]


class KubernetesApi(Protocol):
    """Requests to one API server. Safe for concurrent use by tasks of one event loop."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Return the object. Raises `NotFound`."""
        ...

    @overload
    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList[Object]: ...

    @overload
    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        model: type[T],
    ) -> ObjectList[T]: ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        model: type[Any] | None = None,
    ) -> ObjectList[Any]:
        """Return all objects (in one namespace, or everywhere), decoded to `model` when given."""
        ...

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        model: type[Any] | None = None,
    ) -> AsyncIterator[WatchEvent[Any]]:
        """Yield changes after `resource_version`, with bookmarks, until the server ends the stream.

        The end of the iteration is normal (servers time watches out): call again with the last
        resource version. Raises `Gone` when that version is too old.
        """
        ...

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Object:
        """Create and return the object. Raises `AlreadyExists`, `Invalid`, `Forbidden`."""
        ...

    async def replace(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
    ) -> Object:
        """PUT; optimistic with `metadata.resourceVersion` in the body: `Conflict` if stale."""
        ...

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
        patch_type: PatchType = PatchType.MERGE,
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
    ) -> Object:
        """PATCH and return the new object.

        A merge patch that carries `metadata.resourceVersion` is optimistic: `Conflict` if stale.
        """
        ...

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] | None = None,
    ) -> None:
        """Delete; with `uid` only that very object (`Conflict` otherwise). Raises `NotFound`."""
        ...

    async def evict(
        self,
        name: str,
        namespace: str,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """policy/v1 Eviction of a pod. Raises `TooManyRequests` while a budget forbids it."""
        ...

    async def bind(self, name: str, namespace: str, node: str, *, uid: str | None = None) -> None:
        """Bind a pod to a node (what kube-scheduler does)."""
        ...
