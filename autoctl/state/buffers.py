"""Room that CapacityBuffers keep free: from the resource to pods that stand for it.

A buffer is a number of pods of one shape. They are never made: for provisioning they are pending
pods that come after all real ones, for disruption they sit on nodes where they fit, and no pod is
told of them. Who is faster takes the room, and it is bought again elsewhere. Rules: Karpenter's
capacitybuffer controller; sizes are those of Cluster Autoscaler, whose API it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from autoctl.api import core
from autoctl.api.capacitybuffer import ACTIVE_CAPACITY, CapacityBuffer, CapacityBufferSpec
from autoctl.api.labels import (
    CAPACITY_BUFFER_FAKE_POD,
    CAPACITY_BUFFER_NAME,
    CAPACITY_BUFFER_NAMESPACE,
)
from autoctl.catalog.model import Resources
from autoctl.catalog.units import amounts
from autoctl.ports.kubernetes import (
    DEPLOYMENTS,
    JOBS,
    POD_TEMPLATES,
    REPLICA_SETS,
    STATEFUL_SETS,
    Object,
    Resource,
)
from autoctl.scheduling.resources import ResourceError, pod_requests
from autoctl.state.pods import ROOM_UID

RESOLVED: Final = "Resolved"
POD_TEMPLATE_NOT_FOUND: Final = "PodTemplateNotFound"
SCALABLE_NOT_FOUND: Final = "ScalableRefNotFound"
RESOLUTION_FAILED: Final = "ResolutionFailed"

MOST_PODS: Final = 10_000
"""A buffer of limits alone, and of small pods, would otherwise have no bound."""

SCALABLE: Final[Mapping[tuple[str, str], tuple[Resource, str]]] = {
    ("apps", "Deployment"): (DEPLOYMENTS, "replicas"),
    ("apps", "StatefulSet"): (STATEFUL_SETS, "replicas"),
    ("apps", "ReplicaSet"): (REPLICA_SETS, "replicas"),
    ("batch", "Job"): (JOBS, "parallelism"),
}
"""API group and kind of the workloads that a buffer may follow -> resource, field of its scale."""

_LEAST_PRIORITY = -(2**31)


@dataclass(frozen=True)
class Buffer:
    """A CapacityBuffer of the active strategy as it is to be kept now.

    `reason` is `Resolved`, or why there is nothing to keep; it and `message` are its condition's.
    `pod_template` and `generation` tell of the PodTemplate in use, where there is one.
    """

    namespace: str
    name: str
    template: core.PodTemplateSpec | None
    replicas: int
    reason: str
    message: str
    pod_template: str | None = None
    generation: int | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @cached_property
    def pods(self) -> tuple[core.Pod, ...]:
        """The pods that stand for the room: of lowest priority, with no volume of their own."""
        if self.template is None:
            return ()
        spec = msgspec.structs.replace(
            self.template.spec,
            node_name=None,
            priority=_LEAST_PRIORITY,
            priority_class_name=None,
            scheduler_name=None,
            scheduling_gates=None,
            volumes=[v for v in self.template.spec.volumes or () if not _is_claim(v)],
        )
        marks = {
            CAPACITY_BUFFER_FAKE_POD: "true",
            CAPACITY_BUFFER_NAME: self.name,
            CAPACITY_BUFFER_NAMESPACE: self.namespace,
        }
        return tuple(
            core.Pod(
                metadata=core.ObjectMeta(
                    name=f"capacity-buffer-{self.name}-{index}",
                    namespace=self.namespace,
                    uid=f"{ROOM_UID}{self.key}/{index}",
                    labels=self.template.metadata.labels,
                    annotations=marks,
                ),
                spec=spec,
            )
            for index in range(self.replicas)
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """The object that a buffer takes its shape from."""

    resource: Resource
    namespace: str
    name: str


def is_active(buffer: CapacityBuffer) -> bool:
    """Whether the buffer is of the strategy that is served here; others are left to others."""
    return buffer.spec.provisioning_strategy == ACTIVE_CAPACITY


def reference_of(buffer: CapacityBuffer) -> Reference | None:
    """What to read for the buffer's shape; None when it names nothing that could be read."""
    spec, namespace = buffer.spec, buffer.metadata.namespace or "default"
    if spec.pod_template_ref is not None:
        return Reference(POD_TEMPLATES, namespace, spec.pod_template_ref.name)
    if spec.scalable_ref is not None:
        found = SCALABLE.get((spec.scalable_ref.api_group, spec.scalable_ref.kind))
        return None if found is None else Reference(found[0], namespace, spec.scalable_ref.name)
    return None


def resolve(buffer: CapacityBuffer, referent: Object | None) -> Buffer:
    """The room to keep, given what `reference_of` names (None: there is no such object)."""
    spec, reference = buffer.spec, reference_of(buffer)
    if reference is None:
        return refused(buffer, _unreadable(spec))
    if referent is None:
        by_template = reference.resource == POD_TEMPLATES
        return refused(
            buffer,
            f"{reference.resource.kind} {reference.name!r} not found",
            POD_TEMPLATE_NOT_FOUND if by_template else SCALABLE_NOT_FOUND,
        )
    try:
        template, scale = _shape(referent, spec)
        requests = pod_requests(template.spec)
    except (msgspec.ValidationError, ResourceError) as error:
        return refused(buffer, f"{reference.resource.kind} {reference.name!r}: {error}")
    wanted = size(spec, requests, scale)
    message = "Pod template resolved successfully"
    if wanted > MOST_PODS:
        message += f"; room is kept for {MOST_PODS} pods, not for {wanted}"
    owned = reference.resource == POD_TEMPLATES
    return Buffer(
        buffer.metadata.namespace or "default",
        buffer.name,
        template,
        min(wanted, MOST_PODS),
        RESOLVED,
        message,
        pod_template=reference.name if owned else None,
        generation=(referent.get("metadata") or {}).get("generation") if owned else None,
    )


def refused(buffer: CapacityBuffer, why: str, reason: str = RESOLUTION_FAILED) -> Buffer:
    """A buffer for which nothing can be kept."""
    return Buffer(buffer.metadata.namespace or "default", buffer.name, None, 0, reason, why)


def size(spec: CapacityBufferSpec, requests: Resources, scale: int | None) -> int:
    """For how many pods room is kept.

    The larger of `replicas` and `percentage` of `scale` (rounded up, at least one of a workload
    that has any), as far as `limits` allow; with neither, as many as fit into `limits`.
    """
    wished = [] if spec.replicas is None else [spec.replicas]
    if spec.percentage is not None and scale is not None:
        wished.append(-(-scale * spec.percentage // 100))
    limits = amounts(spec.limits)
    fits = [limits[name] // requests[name] for name in limits if requests.get(name)]
    if not fits:
        return max(wished, default=0)
    return max(0, min(*fits, max(wished))) if wished else max(0, min(fits))


def resolve_all(
    buffers: Collection[CapacityBuffer], read: Callable[[Reference], Object | None]
) -> dict[str, Buffer]:
    """The active ones of `buffers`, by `namespace/name`; `read` gives the object of a reference."""
    found: dict[str, Buffer] = {}
    for buffer in buffers:
        if is_active(buffer):
            reference = reference_of(buffer)
            resolved = resolve(buffer, None if reference is None else read(reference))
            found[resolved.key] = resolved
    return found


def retained(before: Buffer | None, now: Buffer) -> Buffer:
    """`now`, or the object it was before where nothing changed: its pods stay the same."""
    return before if before is not None and before == now else now


def _shape(referent: Object, spec: CapacityBufferSpec) -> tuple[core.PodTemplateSpec, int | None]:
    if spec.scalable_ref is None:
        return _template(referent.get("template")), None
    body: dict[str, Any] = referent.get("spec") or {}
    _, field = SCALABLE[spec.scalable_ref.api_group, spec.scalable_ref.kind]
    scale = body.get(field)
    return _template(body.get("template")), 1 if scale is None else int(scale)


def _template(given: object) -> core.PodTemplateSpec:
    return msgspec.convert(given or {}, core.PodTemplateSpec, strict=False)


def _unreadable(spec: CapacityBufferSpec) -> str:
    if spec.scalable_ref is None:
        return "Neither podTemplateRef nor scalableRef is set"
    known = ", ".join(f"{kind} of {group}" for group, kind in sorted(SCALABLE))
    given = spec.scalable_ref
    return f"scalableRef: {given.kind} of {given.api_group or 'the core group'}: expected {known}"


def _is_claim(volume: core.Volume) -> bool:
    return volume.persistent_volume_claim is not None or volume.ephemeral is not None
