"""Whether a NodeClaim still is what its NodePool and NodeClass ask for.

Rules: Karpenter's `nodeclaim.disruption` drift controller and its AWS provider's `IsDrifted`;
Auto Mode adds the control plane's minor version. The verdict is the reason that the `Drifted`
condition carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from autoctl.api.hashing import nodeclass_hash, nodepool_hash
from autoctl.api.labels import (
    CAPACITY_RESERVATION_ID,
    CAPACITY_TYPE,
    INSTANCE_TYPE,
    NODE_SETTINGS_HASH,
    NODE_SETTINGS_HASH_VERSION,
    NODECLASS_HASH,
    NODECLASS_HASH_VERSION,
    NODEPOOL_HASH,
    NODEPOOL_HASH_VERSION,
    PLACEMENT_GROUP_ID,
    ZONE,
)
from autoctl.api.nodeclaim import DRIFTED, NodeClaim, Requirement
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool
from autoctl.catalog.model import ON_DEMAND, RESERVED, InstanceType
from autoctl.scheduling.requirements import Requirements
from autoctl.state.images import images_of
from autoctl.state.problem import requirement_specs

INSTANCE_TYPE_GRACE: Final = timedelta(hours=1)
"""A NodeClaim younger than this is not judged by the catalog, which may lag behind."""


class DriftReason(StrEnum):
    """Why a NodeClaim drifted."""

    NODE_POOL = "NodePoolDrifted"
    REQUIREMENTS = "RequirementsDrifted"
    INSTANCE_TYPE = "InstanceTypeNotFound"
    NODE_CLASS = "NodeClassDrift"
    NODE_SETTINGS = "NodeSettingsDrift"
    AMI = "AMIDrift"
    SUBNET = "SubnetDrift"
    SECURITY_GROUP = "SecurityGroupDrift"
    CAPACITY_RESERVATION = "CapacityReservationDrift"
    PLACEMENT_GROUP = "PlacementGroupDrift"


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What EC2 says of a NodeClaim's instance; None where it was not asked."""

    subnet_id: str | None = None
    security_group_ids: frozenset[str] | None = None


def drift_reason(
    claim: NodeClaim,
    pool: NodePool,
    node_class: NodeClass | None,
    types: Mapping[str, InstanceType],
    now: datetime,
    facts: InstanceFacts | None = None,
) -> DriftReason | None:
    """Why the NodeClaim drifted from its pool and class; None when it has not.

    `types` are what the class can launch, by name.

    Only a launched NodeClaim can drift: before that its labels say nothing.
    """
    if not claim.launched:
        return None
    if _hash_differs(
        claim.metadata.annotations,
        pool.metadata.annotations,
        NODEPOOL_HASH,
        NODEPOOL_HASH_VERSION,
        lambda: nodepool_hash(pool),
    ):
        return DriftReason.NODE_POOL
    wanted = _pool_requirements(pool.spec.template.spec.requirements)
    if not wanted.accepts(claim.metadata.labels):
        return DriftReason.REQUIREMENTS
    created = claim.metadata.creation_timestamp
    if created is not None and now - created >= INSTANCE_TYPE_GRACE and _type_gone(claim, types):
        return DriftReason.INSTANCE_TYPE
    return None if node_class is None else _class_drift(claim, node_class, types, facts)


_MOST_POOLS: Final = 256
_REQUIREMENTS: dict[int, tuple[tuple[Requirement, ...], Requirements]] = {}
"""Identity -> the object, which keeps the identity its own, and what it says."""


def _pool_requirements(requirements: tuple[Requirement, ...]) -> Requirements:
    known = _REQUIREMENTS.get(id(requirements))
    if known is None:
        if len(_REQUIREMENTS) >= _MOST_POOLS:
            _REQUIREMENTS.clear()
        parsed = Requirements.of_specs(requirement_specs(requirements))
        known = _REQUIREMENTS[id(requirements)] = (requirements, parsed)
    return known[1]


def recorded_drift(claim: NodeClaim) -> str | None:
    """The reason of the NodeClaim's `Drifted` condition, where that is True."""
    condition = next((c for c in claim.status.conditions if c.type == DRIFTED), None)
    if condition is None or condition.status != "True":
        return None
    return condition.reason or DRIFTED


def _hash_differs(
    claimed: Mapping[str, str],
    declared: Mapping[str, str],
    key: str,
    version_key: str,
    current: Callable[[], str],
) -> bool:
    """Hashes are compared only where both were made by the same version of the algorithm."""
    mine, theirs = claimed.get(version_key), declared.get(version_key)
    if key not in claimed or mine is None or theirs is None or mine != theirs:
        return False
    return claimed[key] != (declared[key] if key in declared else current())


def _type_gone(claim: NodeClaim, types: Mapping[str, InstanceType]) -> bool:
    """Whether nothing on sale (with capacity or without) is the NodeClaim's offering any more.

    Nothing is the offering of a NodeClaim that has lost its type's label.
    """
    labels = claim.metadata.labels
    found = types.get(labels.get(INSTANCE_TYPE, ""))
    if found is None:
        return True
    capacity_type = labels.get(CAPACITY_TYPE)
    accepted = {RESERVED, ON_DEMAND} if capacity_type == RESERVED else {capacity_type}
    return not any(
        o.zone == labels.get(ZONE, o.zone) and o.capacity_type in accepted for o in found.offerings
    )


def _image_drifted(
    claim: NodeClaim, node_class: NodeClass, types: Mapping[str, InstanceType]
) -> bool:
    """Whether a launch of the node's instance type would take none that is its image.

    A type that nothing is known of, or that no image is for, is held to all images of the class.
    """
    amis = node_class.status.amis
    image = claim.status.image_id
    if not image or not amis:
        return False
    own_type = types.get(claim.metadata.labels.get(INSTANCE_TYPE, ""))
    images = images_of(amis, own_type) if own_type is not None else ()
    return image not in (images or tuple(a.id for a in amis))


def _class_drift(
    claim: NodeClaim,
    node_class: NodeClass,
    types: Mapping[str, InstanceType],
    facts: InstanceFacts | None,
) -> DriftReason | None:
    status = node_class.status
    if _hash_differs(
        claim.metadata.annotations,
        node_class.metadata.annotations,
        NODECLASS_HASH,
        NODECLASS_HASH_VERSION,
        lambda: nodeclass_hash(node_class),
    ):
        return DriftReason.NODE_CLASS
    declared = node_class.metadata.annotations
    if NODE_SETTINGS_HASH in declared and _hash_differs(
        claim.metadata.annotations,
        declared,
        NODE_SETTINGS_HASH,
        NODE_SETTINGS_HASH_VERSION,
        lambda: declared[NODE_SETTINGS_HASH],
    ):
        return DriftReason.NODE_SETTINGS
    if _image_drifted(claim, node_class, types):
        return DriftReason.AMI
    zone = claim.metadata.labels.get(ZONE)
    zones = {s.zone for s in status.subnets}
    if zone and zones and zone not in zones:
        return DriftReason.SUBNET
    if facts is not None:
        subnets = {s.id for s in status.subnets}
        if facts.subnet_id is not None and subnets and facts.subnet_id not in subnets:
            return DriftReason.SUBNET
        groups = frozenset(g.id for g in status.security_groups)
        if facts.security_group_ids is not None and groups and facts.security_group_ids != groups:
            return DriftReason.SECURITY_GROUP
    reservation = claim.metadata.labels.get(CAPACITY_RESERVATION_ID)
    if reservation and reservation not in {r.id for r in status.capacity_reservations}:
        return DriftReason.CAPACITY_RESERVATION
    # Also where the group is gone: such a node stays, since its replacement cannot be launched.
    group = status.placement_group.id if status.placement_group is not None else None
    if claim.metadata.labels.get(PLACEMENT_GROUP_ID) != group:
        return DriftReason.PLACEMENT_GROUP
    return None
