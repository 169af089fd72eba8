"""Where a pod's volumes let it run, and how many of a node's attachments they take.

Bound claims follow their PersistentVolume's node affinity; claims that wait for their first
consumer follow the StorageClass's allowedTopologies. Each OR-term is an alternative; a pod with
several volumes has the cross product of their alternatives, as far as they can hold together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoctl.api import core, labels
from autoctl.scheduling.problem import Volumes
from autoctl.scheduling.requirements import Requirement, RequirementError, Requirements
from autoctl.scheduling.templates import Template

ATTACH_PREFIX = "attachable-volumes-csi-"
"""With a driver's name: the resource by which a type's capacity tells how many it attaches."""

UNLIMITED_ATTACHMENTS = 1 << 30

_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_IN_TREE = {"kubernetes.io/aws-ebs": "ebs.csi.aws.com"}
_MOST_ALTERNATIVES = 64


class VolumeError(ValueError):
    """A pod that cannot be placed because of a volume; the text says which and why."""


@dataclass(frozen=True, slots=True)
class VolumeNeeds:
    """What a pod's volumes ask of a node.

    `alternatives` are requirement sets of which one must hold. `attachments` has (CSI driver,
    volume) for each volume; pods that share a volume share its attachment on a node.
    """

    alternatives: tuple[Requirements, ...] = (Requirements(),)
    attachments: tuple[tuple[str, str], ...] = ()


NO_VOLUMES = VolumeNeeds()


def volume_needs(template: Template, pod: core.Pod, volumes: Volumes) -> VolumeNeeds:
    """What the pod's volumes ask of a node.

    Raises:
        VolumeError: a claim or volume is missing, lost, going away or not to be bound on demand.
    """
    if not template.claims and not template.ephemeral:
        return NO_VOLUMES
    namespace = pod.metadata.namespace or "default"
    alternatives: list[Requirements] = [Requirements()]
    attachments: set[tuple[str, str]] = set()
    for claim, spec in _claims(template, pod):
        found = volumes.claims.get(f"{namespace}/{claim}")
        if found is None and spec is None:
            raise VolumeError(f'persistentvolumeclaim "{claim}" not found')
        if found is not None:
            _check(found, claim)
            spec = found.spec
        assert spec is not None
        if spec.volume_name:
            options, attachment = _bound(spec.volume_name, claim, found, volumes)
        else:
            options, attachment = _unbound(spec, f"{namespace}/{claim}", claim, volumes)
        alternatives = _cross(alternatives, options, claim)
        if attachment is not None:
            attachments.add(attachment)
    return VolumeNeeds(tuple(alternatives), tuple(sorted(attachments)))


def attachments_of(
    template: Template, pod: core.Pod, volumes: Volumes
) -> tuple[tuple[str, str], ...]:
    """The attachments of a pod that runs already; volumes that cannot be read take none."""
    try:
        return volume_needs(template, pod, volumes).attachments
    except VolumeError:
        return ()


def _claims(
    template: Template, pod: core.Pod
) -> Iterable[tuple[str, core.PersistentVolumeClaimSpec | None]]:
    for claim in template.claims:
        yield claim, None
    for name, spec in template.ephemeral:
        yield f"{pod.metadata.name}-{name}", spec


def _check(claim: core.PersistentVolumeClaim, name: str) -> None:
    if claim.metadata.deletion_timestamp is not None:
        raise VolumeError(f'persistentvolumeclaim "{name}" is being deleted')
    if claim.status.phase == "Lost":
        raise VolumeError(f'persistentvolumeclaim "{name}" has lost its volume')


def _bound(
    volume: str, claim: str, found: core.PersistentVolumeClaim | None, volumes: Volumes
) -> tuple[list[Requirements], tuple[str, str] | None]:
    if (
        found is not None
        and found.status.phase != "Bound"
        and _BIND_COMPLETED not in (found.metadata.annotations or {})
    ):
        raise VolumeError(
            f'persistentvolumeclaim "{claim}" names volume "{volume}" but is not bound to it yet'
        )
    persistent = volumes.volumes.get(volume)
    if persistent is None:
        raise VolumeError(f'persistentvolume "{volume}" of claim "{claim}" not found')
    spec = persistent.spec
    local = spec.local is not None or spec.host_path is not None
    attachment = None
    if spec.csi is not None:
        attachment = (spec.csi.driver, spec.csi.volume_handle or volume)
    elif spec.aws_elastic_block_store is not None:
        attachment = (_IN_TREE["kubernetes.io/aws-ebs"], volume)
    required = spec.node_affinity.required if spec.node_affinity else None
    if required is None or not required.node_selector_terms:
        return [Requirements()], attachment
    options = []
    for term in required.node_selector_terms:
        try:
            options.append(
                Requirements(
                    Requirement.of(e.key, e.operator, e.values or ())
                    for e in term.match_expressions or ()
                    if not (local and e.key == labels.HOSTNAME)
                )
            )
        except RequirementError as error:
            raise VolumeError(f'persistentvolume "{volume}": spec.nodeAffinity: {error}') from None
    return options, attachment


def _unbound(
    spec: core.PersistentVolumeClaimSpec, handle: str, claim: str, volumes: Volumes
) -> tuple[list[Requirements], tuple[str, str]]:
    name = spec.storage_class_name
    if name is None:
        name = _default_class(volumes)
    if not name:
        raise VolumeError(f'persistentvolumeclaim "{claim}" is unbound and has no storage class')
    storage = volumes.classes.get(name)
    if storage is None:
        raise VolumeError(f'storageclass "{name}" of claim "{claim}" not found')
    if storage.volume_binding_mode != "WaitForFirstConsumer":
        raise VolumeError(
            f'persistentvolumeclaim "{claim}" is unbound and its storage class '
            f'"{name}" binds immediately: it waits for its volume'
        )
    if storage.provisioner in ("", _NO_PROVISIONER):
        raise VolumeError(f'storageclass "{name}" of claim "{claim}" provisions no volumes')
    options = [
        Requirements(
            Requirement.of(e.key, "In", e.values) for e in term.match_label_expressions or ()
        )
        for term in storage.allowed_topologies or ()
    ] or [Requirements()]
    driver = _IN_TREE.get(storage.provisioner, storage.provisioner)
    return options, (driver, handle)


def _default_class(volumes: Volumes) -> str | None:
    """The class of claims that name none: the newest of those marked as default, then by name."""
    marked = [
        c
        for c in volumes.classes.values()
        if (c.metadata.annotations or {}).get(_DEFAULT_CLASS) == "true"
    ]

    def rank(storage: core.StorageClass) -> tuple[float, str]:
        created = storage.metadata.creation_timestamp
        return (-created.timestamp() if created else 0.0, storage.metadata.name)

    return min(marked, key=rank).metadata.name if marked else None


def _cross(left: list[Requirements], right: list[Requirements], claim: str) -> list[Requirements]:
    both = [a.add(*b.values()) for a in left for b in right if a.intersects(b) is None]
    if not both:
        raise VolumeError(
            f'persistentvolumeclaim "{claim}" cannot be reached where the pod\'s other volumes are'
        )
    return list(dict.fromkeys(both))[:_MOST_ALTERNATIVES]
