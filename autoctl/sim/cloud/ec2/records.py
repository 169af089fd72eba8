"""What simulated EC2 remembers of its resources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

ON_DEMAND = "on-demand"
SPOT = "spot"
RESERVED = "reserved"

PENDING = "pending"
RUNNING = "running"
SHUTTING_DOWN = "shutting-down"
TERMINATED = "terminated"

STATE_CODES = {PENDING: 0, RUNNING: 16, SHUTTING_DOWN: 32, TERMINATED: 48}


class Tagged(Protocol):
    """A resource with tags."""

    tags: dict[str, str]


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as the API gives them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(specifications: Iterable[dict[str, Any]] | None, resource_type: str) -> dict[str, str]:
    """The tags that a request's TagSpecifications give to a type of resource."""
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in specifications or ()
        if specification.get("ResourceType") == resource_type
        for tag in specification.get("Tags", ())
    }


@dataclass
class Vpc:
    vpc_id: str
    cidr: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class SecurityGroup:
    group_id: str
    name: str
    vpc_id: str
    description: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Interface:
    """A network interface with the addresses it holds in its subnet.

    `addresses` has the primary first; `prefixes` are /28 blocks. `efa_only` ones have no address.
    """

    interface_id: str
    subnet_id: str
    group_ids: list[str]
    device_index: int
    card_index: int
    interface_type: str
    addresses: list[str]
    prefixes: list[str]
    delete_on_termination: bool
    description: str = ""
    ipv6_addresses: int = 0
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class LaunchTemplate:
    """A launch template; `versions` are the data of versions 1, 2, ..., None once deleted."""

    template_id: str
    name: str
    created_at: datetime
    versions: list[dict[str, Any] | None]
    descriptions: list[str]
    default_version: int = 1
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def latest_version(self) -> int:
        return len(self.versions)


@dataclass
class Image:
    image_id: str
    name: str
    architecture: str
    owner: str
    owner_alias: str | None
    created_at: datetime
    description: str = ""
    state: str = "available"
    deprecated_at: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Reservation:
    """A capacity reservation; `kind` is `default` or `capacity-block`."""

    reservation_id: str
    instance_type: str
    zone: str
    total: int
    owner: str
    kind: str = "default"
    match: str = "targeted"
    tenancy: str = "default"
    state: str = "active"
    interruptible: bool = False
    placement_group_arn: str | None = None
    created_at: datetime | None = None
    ends_at: datetime | None = None
    used_by: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def available(self) -> int:
        return max(0, self.total - len(self.used_by))


@dataclass
class PlacementGroup:
    group_id: str
    name: str
    strategy: str
    partitions: int = 0
    state: str = "available"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class InstanceRecord:
    """An instance.

    `capacity_type` is Karpenter's word for how it is paid (`spot`, `on-demand`, `reserved`);
    `lifecycle` EC2's own. `user_data` is decoded. `impaired` maps a check (`instance`, `system`,
    `ebs`) to the moment since when it fails. `from_pool` is false when a reservation made room for
    it. `registers` is false when a fault keeps its kubelet from ever registering.
    """

    instance_id: str
    instance_type: str
    architecture: str
    zone: str
    zone_id: str
    subnet_id: str
    vpc_id: str
    capacity_type: str
    lifecycle: str | None
    image_id: str
    launched_at: datetime
    visible_at: datetime
    user_data: str
    group_ids: list[str]
    interfaces: list[Interface]
    tags: dict[str, str]
    template: tuple[str, str] | None = None
    fleet_id: str | None = None
    client_token: str | None = None
    profile_arn: str | None = None
    reservation_id: str | None = None
    reservation_specification: dict[str, Any] | None = None
    placement_group_id: str | None = None
    partition: int | None = None
    tenancy: str = "default"
    metadata_options: dict[str, Any] = field(default_factory=dict)
    block_devices: list[dict[str, Any]] = field(default_factory=list)
    spot_request_id: str | None = None
    state: str = PENDING
    state_reason: tuple[str, str] | None = None
    transition_reason: str = ""
    impaired: dict[str, datetime] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    from_pool: bool = True
    registers: bool = True
    terminated_at: datetime | None = None
    billed_until: datetime | None = None
    """When it began to shut down: EC2 charges no longer than that."""

    @property
    def alive(self) -> bool:
        """Whether it runs or will."""
        return self.state in (PENDING, RUNNING)

    @property
    def provider_id(self) -> str:
        """What the kubelet reports as the node's `spec.providerID`."""
        return f"aws:///{self.zone}/{self.instance_id}"

    @property
    def private_ip(self) -> str | None:
        addresses = self.interfaces[0].addresses if self.interfaces else []
        return addresses[0] if addresses else None
