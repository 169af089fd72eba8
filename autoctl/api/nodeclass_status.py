"""The status of a NodeClass: what its selectors select now."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autoctl.api.meta import (
    ApiModel,
    Conditions,
    Int32,
    Int64,
    Timestamp,
    conditions_field,
    rules,
)
from autoctl.api.nodeclaim import LabelRequirement


class SubnetStatus(ApiModel):
    id: Annotated[str, Field(description="The subnet's ID.")]
    zone: Annotated[str, Field(description="Its availability zone.")]
    zone_id: Annotated[
        str | None, Field(alias="zoneID", description="The zone's ID, the same in every account.")
    ] = None
    available_ip_address_count: Annotated[
        Int64 | None,
        Field(alias="availableIPAddressCount", description="Free addresses when last seen."),
    ] = None


class SecurityGroupStatus(ApiModel):
    id: Annotated[str, Field(description="The security group's ID.")]
    name: Annotated[str | None, Field(description="Its name.")] = None


class AmiStatus(ApiModel):
    id: Annotated[str, Field(description="The AMI's ID.")]
    name: Annotated[str | None, Field(description="Its name.")] = None
    deprecated: Annotated[bool | None, Field(description="Whether AWS has deprecated it.")] = None
    requirements: Annotated[
        tuple[LabelRequirement, ...],
        Field(max_length=100, description="The instance types that it is for."),
    ] = Field(default_factory=tuple)


class CapacityReservationStatus(ApiModel):
    id: Annotated[str, Field(pattern=r"^cr-[0-9a-z]+$", description="The reservation's ID.")]
    availability_zone: Annotated[str, Field(description="Its availability zone.")]
    instance_type: Annotated[str, Field(description="The instance type it reserves.")]
    instance_match_criteria: Annotated[
        Literal["open", "targeted"], Field(description="Which instances EC2 counts to it.")
    ]
    owner_id: Annotated[
        str, Field(alias="ownerID", pattern=r"^[0-9]{12}$", description="Account that owns it.")
    ]
    reservation_type: Annotated[
        Literal["default", "capacity-block"], Field(description="Its kind.")
    ] = "default"
    state: Annotated[
        Literal["active", "expiring"], Field(description="Whether it is about to end.")
    ] = "active"
    interruptible: Annotated[
        bool | None, Field(description="Whether its owner may reclaim it.")
    ] = None
    available_instance_count: Annotated[
        Int64 | None, Field(description="How many instances it still has room for, last seen.")
    ] = None
    end_time: Annotated[Timestamp | None, Field(description="When it ends.")] = None


class PlacementGroupStatus(ApiModel):
    id: Annotated[str, Field(description="The placement group's ID.")]
    name: Annotated[str | None, Field(description="Its name.")] = None
    strategy: Annotated[
        Literal["cluster", "partition", "spread"] | None, Field(description="Its strategy.")
    ] = None
    partition_count: Annotated[Int32 | None, Field(description="How many partitions it has.")] = (
        None
    )


_BY_ID = rules(x_kubernetes_list_type="map", x_kubernetes_list_map_keys=["id"])


class NodeClassStatus(ApiModel):
    """What the selectors of the spec select now."""

    subnets: Annotated[
        tuple[SubnetStatus, ...],
        Field(description="Subnets of the nodes.", json_schema_extra=_BY_ID),
    ] = Field(default_factory=tuple)
    security_groups: Annotated[
        tuple[SecurityGroupStatus, ...],
        Field(description="Security groups of the nodes.", json_schema_extra=_BY_ID),
    ] = Field(default_factory=tuple)
    pod_subnets: Annotated[
        tuple[SubnetStatus, ...],
        Field(description="Subnets of the pods.", json_schema_extra=_BY_ID),
    ] = Field(default_factory=tuple)
    pod_security_groups: Annotated[
        tuple[SecurityGroupStatus, ...],
        Field(description="Security groups of the pods.", json_schema_extra=_BY_ID),
    ] = Field(default_factory=tuple)
    amis: Annotated[tuple[AmiStatus, ...], Field(description="AMIs, by what they are for.")] = (
        Field(default_factory=tuple)
    )
    ip_family: Annotated[
        Literal["ipv4", "ipv6"] | None,
        Field(description="Addresses that pods of the cluster have."),
    ] = None
    instance_profile: Annotated[
        str | None, Field(description="Instance profile that instances get.")
    ] = None
    capacity_reservations: Annotated[
        tuple[CapacityReservationStatus, ...],
        Field(description="Capacity reservations.", json_schema_extra=_BY_ID),
    ] = Field(default_factory=tuple)
    placement_group: Annotated[
        PlacementGroupStatus | None, Field(description="The placement group.")
    ] = None
    conditions: Annotated[
        Conditions,
        conditions_field(
            "AMIsReady, SubnetsReady, SecurityGroupsReady, InstanceProfileReady, "
            "CapacityReservationsReady, PlacementGroupReady and ValidationSucceeded make Ready. "
            "PodNetworkingApplied is there while fields of pod networking say what nothing acts on."
        ),
    ] = Field(default_factory=tuple)
