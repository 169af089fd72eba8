"""What a NodeClass's status says, decided from what AWS answered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from autoctl.api import labels
from autoctl.api.meta import Condition, Conditions, find_condition, set_condition
from autoctl.api.nodeclaim import LabelRequirement
from autoctl.api.nodeclass import (
    AMIS_READY,
    CAPACITY_RESERVATIONS_READY,
    INSTANCE_PROFILE_READY,
    PLACEMENT_GROUP_READY,
    POD_NETWORKING_APPLIED,
    READY,
    SECURITY_GROUPS_READY,
    SUBNETS_READY,
    VALIDATION_SUCCEEDED,
    NodeClass,
)
from autoctl.api.nodeclass_status import (
    AmiStatus,
    CapacityReservationStatus,
    NodeClassStatus,
    PlacementGroupStatus,
    SecurityGroupStatus,
    SubnetStatus,
)
from autoctl.aws.errors import CloudError, Kind, refused_action
from autoctl.aws.images import LATEST, ImageQuery
from autoctl.aws.network import SecurityGroup, Selector, Subnet
from autoctl.aws.reservations import PlacementGroup, Reservation, ReservationSelector
from autoctl.controllers.nodeclass.launch_template import serves_pods

BLOCK_DRAIN = timedelta(minutes=40)
"""Before the end of a Capacity Block its nodes must be empty: EC2 takes the instances 30 minutes
before the end, and draining takes its time."""

_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9a-f]{4,40})?")
"""A Bottlerocket release, with or without the commit it was built from."""

CONDITIONS = (
    AMIS_READY,
    SUBNETS_READY,
    SECURITY_GROUPS_READY,
    INSTANCE_PROFILE_READY,
    CAPACITY_RESERVATIONS_READY,
    PLACEMENT_GROUP_READY,
    VALIDATION_SUCCEEDED,
)
"""The conditions that `Ready` needs of every NodeClass."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition's state; `ok` None stands for Unknown."""

    ok: bool | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Part:
    """One condition and the status fields that it speaks of."""

    condition: str
    verdict: Verdict
    fields: Mapping[str, Any] = field(default_factory=dict)


def selectors(terms: object) -> tuple[Selector, ...]:
    """A NodeClass's selector terms as gateways take them."""
    return tuple(
        Selector.of(id=t.id, name=getattr(t, "name", None), tags=t.tags)
        for t in (terms or ())  # type: ignore[attr-defined]  # tuples of one of three term models
    )


def image_version(node_class: NodeClass) -> str:
    """The Bottlerocket release of the class's nodes: the latest, unless one is pinned."""
    return node_class.metadata.annotations.get(labels.BOTTLEROCKET_VERSION, LATEST)


def image_queries(node_class: NodeClass, minor: str) -> list[ImageQuery]:
    """The images that nodes of the class may need, the special ones first.

    None when the release it pins is no version.
    """
    version = image_version(node_class)
    if version != LATEST and not _VERSION.fullmatch(version):
        return []
    security = node_class.spec.advanced_security
    fips = security is not None and security.fips
    return [
        ImageQuery(minor, architecture, nvidia=nvidia, fips=fips, version=version)
        for nvidia in (True, False)
        for architecture in ("amd64", "arm64")
    ]


def image_status(query: ImageQuery, image: str) -> AmiStatus:
    """The status entry of a found image, with what instance types it is for."""
    gpu = LabelRequirement.model_validate(
        {
            "key": labels.INSTANCE_GPU_MANUFACTURER,
            "operator": "In" if query.nvidia else "NotIn",
            "values": ["nvidia"],
        }
    )
    architecture = LabelRequirement.model_validate(
        {"key": labels.ARCH, "operator": "In", "values": [query.architecture]}
    )
    name = query.parameter.removesuffix("/image_id").removeprefix("/aws/service/bottlerocket/")
    return AmiStatus(id=image, name=name.replace("/", "-"), requirements=(architecture, gpu))


def subnets_part(
    node_class: NodeClass,
    subnets: tuple[Subnet, ...],
    pod_subnets: tuple[Subnet, ...],
    *,
    ipv6: bool = False,
) -> Part:
    """What the subnet selectors found; in an IPv6 cluster, those that have IPv6 addresses."""
    usable = tuple(s for s in subnets if s.ipv6 or not ipv6)
    for_pods = tuple(s for s in pod_subnets if s.ipv6 or not ipv6)
    fields = {
        "subnets": tuple(_subnet(s) for s in usable),
        "pod_subnets": tuple(_subnet(s) for s in for_pods),
        "ip_family": "ipv6" if ipv6 else "ipv4",
    }
    verdict = Verdict(True)
    if not subnets:
        verdict = Verdict(False, "SubnetsNotFound", "SubnetSelector did not match any Subnets")
    elif not usable:
        names = ", ".join(s.id for s in subnets)
        text = f"the cluster's pods have IPv6 addresses, but no subnet of {names} has an IPv6 block"
        verdict = Verdict(False, "SubnetsWithoutIPv6", text)
    elif node_class.spec.pod_subnet_selector_terms:
        lacking = sorted({s.zone for s in usable} - {s.zone for s in for_pods})
        if lacking:
            verdict = Verdict(
                False,
                "PodSubnetsNotFound",
                f"podSubnetSelectorTerms did not match any subnet in {', '.join(lacking)}",
            )
    return Part(SUBNETS_READY, verdict, fields)


def security_groups_part(
    node_class: NodeClass,
    groups: tuple[SecurityGroup, ...],
    pod_groups: tuple[SecurityGroup, ...],
) -> Part:
    """What the security group selectors found."""
    fields = {
        "security_groups": tuple(SecurityGroupStatus(id=g.id, name=g.name) for g in groups),
        "pod_security_groups": tuple(SecurityGroupStatus(id=g.id, name=g.name) for g in pod_groups),
    }
    verdict = Verdict(True)
    if not groups:
        verdict = Verdict(
            False,
            "SecurityGroupsNotFound",
            "SecurityGroupSelector did not match any SecurityGroups",
        )
    elif node_class.spec.pod_security_group_selector_terms and not pod_groups:
        verdict = Verdict(
            False,
            "PodSecurityGroupsNotFound",
            "podSecurityGroupSelectorTerms did not match any security group",
        )
    return Part(SECURITY_GROUPS_READY, verdict, fields)


def left_to_the_cni(node_class: NodeClass) -> dict[str, str]:
    """Field -> the setting of the Amazon VPC CNI that does what the class asks for there.

    Only fields that ask for something else than what they are by default: nothing here acts on
    them, and whoever wrote `DefaultDeny` must not take his pods for isolated.
    """
    spec = node_class.spec
    network = spec.advanced_networking
    asked = {
        "snatPolicy": (spec.snat_policy == "Disabled", "AWS_VPC_K8S_CNI_EXTERNALSNAT=true"),
        "networkPolicy": (
            spec.network_policy == "DefaultDeny",
            "NETWORK_POLICY_ENFORCING_MODE=strict",
        ),
        "networkPolicyEventLogs": (
            spec.network_policy_event_logs == "Enabled",
            "--enable-policy-event-logs=true of its network policy agent",
        ),
        "podSubnetSelectorTerms, podSecurityGroupSelectorTerms": (
            bool(spec.pod_subnet_selector_terms) and not serves_pods(node_class),
            "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG=true with an ENIConfig for each zone",
        ),
        "advancedNetworking.ipv4PrefixSize": (
            network is not None and network.ipv4_prefix_size == "32",
            "ENABLE_PREFIX_DELEGATION=false",
        ),
        "advancedNetworking.enableV4Egress": (
            network is not None and not network.enable_v4_egress,
            "ENABLE_V4_EGRESS=false",
        ),
    }
    return {field: setting for field, (wanted, setting) in asked.items() if wanted}


def pod_networking_part(node_class: NodeClass) -> Part:
    """What the class asks of pod networking that has to be set at the CNI; Ready without it."""
    asked = left_to_the_cni(node_class)
    if not asked:
        return Part(POD_NETWORKING_APPLIED, Verdict(True))
    told = "; ".join(f"{field}: set {setting}" for field, setting in asked.items())
    text = f"nothing here acts on these fields, the cluster's VPC CNI has to: {told}"
    return Part(POD_NETWORKING_APPLIED, Verdict(False, "LeftToTheCNI", text))


def images_part(
    node_class: NodeClass, images: Sequence[tuple[ImageQuery, str]], minor: str
) -> Part:
    """The images found, in the order of their queries."""
    verdict = Verdict(True)
    if not images:
        version = image_version(node_class)
        release = "" if version == LATEST else f" of release {version!r}, which it pins"
        text = f"no Bottlerocket image for Kubernetes {minor}{release}"
        verdict = Verdict(False, "AMINotFound", text)
    return Part(AMIS_READY, verdict, {"amis": tuple(image_status(query, i) for query, i in images)})


def reservation_selectors(node_class: NodeClass) -> tuple[ReservationSelector, ...]:
    """The class's terms as the gateway takes them."""
    return tuple(
        ReservationSelector(t.id, t.owner, tuple(sorted((t.tags or {}).items())))
        for t in node_class.spec.capacity_reservation_selector_terms or ()
    )


def reservations_part(reservations: Iterable[Reservation], now: datetime) -> Part:
    """The reservations found: none is no mistake, as they come and go."""
    found = tuple(_reservation(r, now) for r in reservations)
    return Part(CAPACITY_RESERVATIONS_READY, Verdict(True), {"capacity_reservations": found})


def _reservation(reservation: Reservation, now: datetime) -> CapacityReservationStatus:
    ends = reservation.ends_at
    expiring = reservation.capacity_block and ends is not None and now >= ends - BLOCK_DRAIN
    return CapacityReservationStatus(
        id=reservation.id,
        availability_zone=reservation.zone,
        instance_type=reservation.instance_type,
        instance_match_criteria="open" if reservation.match == "open" else "targeted",
        owner_id=reservation.owner,
        reservation_type="capacity-block" if reservation.capacity_block else "default",
        state="expiring" if expiring else "active",
        interruptible=reservation.interruptible,
        available_instance_count=reservation.available,
        end_time=ends,
    )


def placement_group_part(node_class: NodeClass, group: PlacementGroup | None) -> Part:
    """The placement group that the class names: without it nothing may be launched."""
    wanted = node_class.spec.placement_group_selector
    fields: dict[str, Any] = {"placement_group": None}
    if wanted is None:
        return Part(PLACEMENT_GROUP_READY, Verdict(True), fields)
    if group is None:
        text = f"placement group {wanted.id or wanted.name!r} does not exist"
        return Part(PLACEMENT_GROUP_READY, Verdict(False, "PlacementGroupNotFound", text), fields)
    fields["placement_group"] = PlacementGroupStatus.model_validate(
        {
            "id": group.id,
            "name": group.name,
            "strategy": group.strategy,
            "partitionCount": group.partitions,
        }
    )
    return Part(PLACEMENT_GROUP_READY, Verdict(True), fields)


def failure(condition: str, error: CloudError) -> Part | None:
    """What a failed request means for its condition; None when it says nothing new."""
    if error.transient:
        return None
    if error.kind is Kind.UNAUTHORIZED:
        action = refused_action(error.message) or error.operation
        message = f"not authorized for {action}: {error.message}"
        return Part(condition, Verdict(False, "Unauthorized", message))
    return Part(condition, Verdict(False, error.code, error.message))


def next_status(node_class: NodeClass, parts: Iterable[Part], now: datetime) -> NodeClassStatus:
    """The status with the parts in it; what no part speaks of stays."""
    fields: dict[str, Any] = {}
    given: dict[str, Verdict] = {}
    for part in parts:
        fields |= part.fields
        given[part.condition] = part.verdict
    generation = node_class.metadata.generation
    conditions = _with_conditions(node_class.status.conditions, given, generation, now)
    return node_class.status.model_copy(update={**fields, "conditions": conditions})


def _with_conditions(
    conditions: Conditions, given: dict[str, Verdict], generation: int, now: datetime
) -> Conditions:
    """The conditions with the given verdicts, and `Ready` over all that count."""
    for kind, verdict in given.items():
        if kind == POD_NETWORKING_APPLIED and verdict.ok:
            # Nothing to tell: most classes ask for nothing that is left to others.
            conditions = tuple(c for c in conditions if c.type != kind)
            continue
        conditions = _set(conditions, kind, verdict, generation, now)
    states = {kind: find_condition(conditions, kind) for kind in CONDITIONS}
    broken = [kind for kind, c in states.items() if c is not None and c.status == "False"]
    unknown = [kind for kind, c in states.items() if c is None or c.status == "Unknown"]
    if broken:
        ready = Verdict(False, "UnhealthyDependents", f"{', '.join(sorted(broken))} False")
    elif unknown:
        ready = Verdict(None, "ReconcilingDependents", f"{', '.join(sorted(unknown))} Unknown")
    else:
        ready = Verdict(True)
    return _set(conditions, READY, ready, generation, now)


def _set(
    conditions: Conditions, kind: str, verdict: Verdict, generation: int, now: datetime
) -> Conditions:
    status = {True: "True", False: "False", None: "Unknown"}[verdict.ok]
    condition = Condition.model_validate(
        {
            "type": kind,
            "status": status,
            "reason": verdict.reason or kind,
            "message": verdict.message,
            "observedGeneration": generation,
        }
    )
    return set_condition(conditions, condition, now)


def _subnet(subnet: Subnet) -> SubnetStatus:
    return SubnetStatus(
        id=subnet.id,
        zone=subnet.zone,
        zone_id=subnet.zone_id or None,
        available_ip_address_count=subnet.free_addresses,
    )
