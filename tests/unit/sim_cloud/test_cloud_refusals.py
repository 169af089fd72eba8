"""What EC2 refuses to launch, with the code it refuses with: each limit from both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cloudkit import START, World, errors, ids, make_world

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
ACCOUNT_KEY = "arn:aws:kms:us-west-2:123456789012"


@dataclass(frozen=True)
class Row:
    """One launch: what is wrong with it, and the code it is refused with (None: it is not).

    `data` changes the launch template; `fleet` is what the fleet is asked for; `before` is done to
    the account first, and its answer changes the template, too.
    """

    name: str
    code: str | None
    data: dict[str, Any] = field(default_factory=dict)
    fleet: dict[str, Any] = field(default_factory=dict)
    before: Callable[[World], dict[str, Any] | None] = lambda _: None


def volume(**ebs: Any) -> dict[str, Any]:
    return {"BlockDeviceMappings": [{"DeviceName": "/dev/xvdb", "Ebs": {"Encrypted": True, **ebs}}]}


def interfaces(*entries: dict[str, Any]) -> Callable[[World], dict[str, Any]]:
    """Network interfaces with the node's security group, in place of the instance's own groups."""
    return lambda world: {
        "SecurityGroupIds": None,
        "NetworkInterfaces": [{"Groups": [world.group], **entry} for entry in entries],
    }


def adapters(*cards: int) -> list[dict[str, Any]]:
    """EFA-only interfaces, the first device of each of these network cards."""
    return [
        {"NetworkCardIndex": card, "DeviceIndex": 0, "InterfaceType": "efa-only"} for card in cards
    ]


def second_subnet(zone: str) -> Callable[[World], dict[str, Any]]:
    """The template names the subnets: the primary interface's, and another one's in `zone`."""

    def make(world: World) -> dict[str, Any]:
        other = world.cloud.ec2.network.add_subnet(zone, "10.0.250.0/24")
        entries = [
            {"DeviceIndex": 0, "SubnetId": world.subnets["us-west-2a"]},
            {"DeviceIndex": 1, "SubnetId": other.subnet_id},
        ]
        return interfaces(*entries)(world)

    return make


def devices(count: int) -> list[dict[str, Any]]:
    return [{"DeviceIndex": index} for index in range(count)]


def reserved(kind: str = "m5.large", zone: str = "us-west-2a", **facts: Any) -> Any:
    """The launch targets a reservation that is like this."""

    def make(world: World) -> dict[str, Any]:
        used = facts.pop("used", 0)
        reservation = world.cloud.ec2.capacity.add_reservation(kind, zone, 1, **facts)
        reservation.used_by.update(f"i-{n}" for n in range(used))
        target = {"CapacityReservationId": reservation.reservation_id}
        return {"CapacityReservationSpecification": {"CapacityReservationTarget": target}}

    return make


def grouped(strategy: str, members: int = 0, zone: str = "us-west-2a", **placement: Any) -> Any:
    """The launch goes into a placement group that has `members` in `zone`."""

    def make(world: World) -> dict[str, Any]:
        group = world.cloud.ec2.placement.add("near", strategy, 2 if "P" in strategy else 0)
        if strategy == "partition":
            group.partitions = 2
        place = {"Placement": {"GroupId": group.group_id}}
        if members:
            world.template("autoctl/members", **place)
            found = world.fleet(zones=(zone,), count=members, template="autoctl/members")
            assert len(ids(found)) == members
        return {"Placement": {"GroupId": group.group_id, **placement}}

    return make


def other_vpc(world: World) -> dict[str, Any]:
    vpc = world.cloud.ec2.network.add_vpc("10.9.0.0/16")
    group = world.cloud.ec2.network.add_security_group("x", vpc_id=vpc.vpc_id)
    return {"SecurityGroupIds": [group.group_id]}


def arm_image(world: World) -> dict[str, Any]:
    return {"ImageId": world.image_of("arm64")}


def crowded(free: int) -> Callable[[World], None]:
    def fill(world: World) -> None:
        pool = world.cloud.ec2.network.subnets[world.subnets["us-west-2a"]].pool
        while pool.free > free:
            pool.take()

    return fill


def quota(capacity_type: str, vcpus: int) -> Callable[[World], None]:
    def limit(world: World) -> None:
        world.cloud.ec2.capacity.vcpu_quota[capacity_type] = vcpus

    return limit


def tags(count: int, key: str = "k") -> dict[str, Any]:
    made = [{"Key": f"{key}{n}", "Value": "v"} for n in range(count)]
    return {"TagSpecifications": [{"ResourceType": "instance", "Tags": made}]}


def fleet_of(kind: str, zone: str = "us-west-2a", **more: Any) -> dict[str, Any]:
    return {"types": (kind,), "zones": (zone,), **more}


SPOT = {"market": "spot"}
ZONE_ALONE = {"overrides": [{"InstanceType": "m5.large", "AvailabilityZone": "us-west-2a"}]}
"""The launch template names the subnets."""

ROWS = [
    Row("nothing wrong", None),
    # Names of things
    Row(
        "an unknown subnet",
        "InvalidSubnetID.NotFound",
        fleet={"overrides": [{"InstanceType": "m5.large", "SubnetId": "subnet-0123456789abcdef0"}]},
    ),
    Row(
        "an unknown group", "InvalidGroup.NotFound", {"SecurityGroupIds": ["sg-0123456789abcdef0"]}
    ),
    Row("a malformed group", "InvalidGroupId.Malformed", {"SecurityGroupIds": ["nodes"]}),
    Row("a group of another VPC", "InvalidParameter", before=other_vpc),
    Row("an unknown image", "InvalidAMIID.NotFound", {"ImageId": "ami-0123456789abcdef0"}),
    Row("a malformed image", "InvalidAMIID.Malformed", {"ImageId": "bottlerocket"}),
    Row("an image of another architecture", "InvalidParameterValue", before=arm_image),
    Row("an unknown profile", "InvalidParameterValue", {"IamInstanceProfile": {"Name": "none"}}),
    Row("an unknown type", "InvalidParameterValue", fleet=fleet_of("m5.huge")),
    # Volumes
    *(
        Row(f"a key as {what}", code, volume(KmsKeyId=key))
        for what, key, code in (
            ("ID", KEY, None),
            ("multi-region ID", "mrk-0123456789abcdef0123456789abcdef", None),
            ("ARN", f"{ACCOUNT_KEY}:key/{KEY}", None),
            ("alias", "alias/nodes", None),
            ("alias ARN", f"{ACCOUNT_KEY}:alias/nodes", None),
            ("a word", "nodes", "InvalidParameterValue"),
            ("half an ID", KEY[:-5], "InvalidParameterValue"),
            ("an ARN of something else", "arn:aws:s3:::bucket", "InvalidParameterValue"),
        )
    ),
    Row(
        "a key without encryption",
        "InvalidParameterDependency",
        {"BlockDeviceMappings": [{"DeviceName": "/dev/xvdb", "Ebs": {"KmsKeyId": KEY}}]},
    ),
    *(
        Row(f"a volume with {ebs}", code, volume(**ebs))
        for code, ebs in (
            (None, {"VolumeSize": 1}),
            ("InvalidParameterValue", {"VolumeSize": 0}),
            (None, {"VolumeSize": 65536}),
            ("InvalidParameterValue", {"VolumeSize": 65537}),
            (None, {"VolumeSize": 32, "Iops": 16000}),
            ("InvalidParameterValue", {"VolumeSize": 31, "Iops": 16000}),
            ("InvalidParameterValue", {"Iops": 2999}),
            ("InvalidParameterValue", {"Iops": 16001}),
            (None, {"Iops": 4000, "Throughput": 1000}),
            ("InvalidParameterValue", {"Iops": 3999, "Throughput": 1000}),
            ("InvalidParameterValue", {"Throughput": 124}),
            ("InvalidParameterValue", {"Iops": 16000, "Throughput": 1001}),
        )
    ),
    # Network interfaces: m5.large has 3 with 10 addresses each
    Row("all interfaces of the type", None, before=interfaces(*devices(3))),
    Row("one interface more", "AttachmentLimitExceeded", before=interfaces(*devices(4))),
    Row(
        "all addresses",
        None,
        before=interfaces({"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 9}),
    ),
    Row(
        "one address more",
        "PrivateIpAddressLimitExceeded",
        before=interfaces({"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 10}),
    ),
    Row(
        "one prefix more",
        "PrivateIpAddressLimitExceeded",
        before=interfaces({"DeviceIndex": 0, "Ipv4PrefixCount": 10}),
    ),
    Row(
        "two interfaces in one place",
        "InvalidParameterValue",
        before=interfaces({"DeviceIndex": 0}, {"DeviceIndex": 0}),
    ),
    Row(
        "a network card too many",
        "InvalidParameterValue",
        before=interfaces({"DeviceIndex": 0}, {"DeviceIndex": 1, "NetworkCardIndex": 1}),
    ),
    Row(
        "EFA where there is none",
        "Unsupported",
        before=interfaces({"DeviceIndex": 0}, {"DeviceIndex": 1, "InterfaceType": "efa-only"}),
    ),
    Row(
        "as many adapters as there may be",
        None,
        fleet=fleet_of("p4d.24xlarge"),
        before=interfaces({"DeviceIndex": 0, "InterfaceType": "efa"}, *adapters(1, 2, 3)),
    ),
    Row(
        "one adapter more",
        "AttachmentLimitExceeded",
        fleet=fleet_of("p4d.24xlarge"),
        before=interfaces(
            {"DeviceIndex": 0},
            {**adapters(0)[0], "DeviceIndex": 1},
            {**adapters(1)[0], "DeviceIndex": 1},
            *adapters(1, 2, 3),
        ),
    ),
    Row(
        "an EFA-only interface first",
        "InvalidParameterValue",
        fleet=fleet_of("p4d.24xlarge"),
        before=interfaces(*adapters(0)),
    ),
    Row(
        "an address of an EFA-only interface",
        "InvalidParameterCombination",
        fleet=fleet_of("p4d.24xlarge"),
        before=interfaces({"DeviceIndex": 0}, {**adapters(1)[0], "Ipv4PrefixCount": 1}),
    ),
    Row(
        "the last place on a network card",
        None,
        fleet=fleet_of("p5.48xlarge"),
        before=interfaces({"DeviceIndex": 0}, {"DeviceIndex": 1, "NetworkCardIndex": 1}),
    ),
    Row(
        "a place too many on a network card",
        "InvalidParameterValue",
        fleet=fleet_of("p5.48xlarge"),
        before=interfaces({"DeviceIndex": 0}, {"DeviceIndex": 2, "NetworkCardIndex": 1}),
    ),
    Row(
        "an adapter on a card for IP traffic alone",
        "Unsupported",
        fleet=fleet_of("p6-b300.48xlarge"),
        before=interfaces({"DeviceIndex": 0, "InterfaceType": "efa"}),
    ),
    Row(
        "an interface in a subnet of its own",
        None,
        fleet=ZONE_ALONE,
        before=second_subnet("us-west-2a"),
    ),
    Row(
        "an interface in another zone",
        "InvalidParameterValue",
        fleet=ZONE_ALONE,
        before=second_subnet("us-west-2b"),
    ),
    Row(
        "a subnet of the override beside subnets of interfaces",
        "InvalidParameterCombination",
        fleet={"overrides": [{"InstanceType": "m5.large", "SubnetId": "subnet-0123456789abcdef0"}]},
        before=second_subnet("us-west-2a"),
    ),
    Row(
        "an IPv6 address in a subnet without any",
        "InvalidParameterValue",
        before=interfaces({"DeviceIndex": 0, "Ipv6AddressCount": 1}),
    ),
    Row(
        "a public address of one interface",
        None,
        before=interfaces({"DeviceIndex": 0, "AssociatePublicIpAddress": True}),
    ),
    Row(
        "a public address beside a second interface",
        "InvalidParameterCombination",
        before=interfaces({"DeviceIndex": 0, "AssociatePublicIpAddress": True}, {"DeviceIndex": 1}),
    ),
    Row(
        "groups beside interfaces",
        "InvalidParameterCombination",
        {"NetworkInterfaces": [{"DeviceIndex": 0}]},
    ),
    Row("the subnet's last address", None, before=crowded(1)),
    Row("a full subnet", "InsufficientFreeAddressesInSubnet", before=crowded(0)),
    # Reservations
    Row("a reservation with room", None, before=reserved()),
    Row("a full reservation", "ReservationCapacityExceeded", before=reserved(used=1)),
    Row("a reservation of another type", "InvalidParameterValue", before=reserved("c5.large")),
    Row("a reservation elsewhere", "InvalidParameterValue", before=reserved(zone="us-west-2b")),
    Row(
        "a reservation that is over",
        "InvalidCapacityReservationState.Unavailable",
        before=reserved(state="expired"),
    ),
    Row(
        "a Capacity Block that has not begun",
        "InvalidCapacityReservationState.PendingActivation",
        before=reserved(state="scheduled"),
    ),
    Row(
        "an unknown reservation",
        "InvalidCapacityReservationId.NotFound",
        {
            "CapacityReservationSpecification": {
                "CapacityReservationTarget": {"CapacityReservationId": "cr-0123456789abcdef0"}
            }
        },
    ),
    Row(
        "a capacity block without its reservation",
        "InvalidParameterCombination",
        fleet={"market": "capacity-block"},
    ),
    # Placement groups
    Row("the seventh of a spread group", None, before=grouped("spread", 6)),
    Row(
        "the eighth of a spread group", "InsufficientInstanceCapacity", before=grouped("spread", 7)
    ),
    Row("the eighth, but of another zone", None, before=grouped("spread", 7, "us-west-2b")),
    Row("a cluster group in its zone", None, before=grouped("cluster", 1)),
    Row(
        "a cluster group in another zone",
        "InsufficientInstanceCapacity",
        before=grouped("cluster", 1, "us-west-2b"),
    ),
    Row("the last partition", None, before=grouped("partition", PartitionNumber=2)),
    Row(
        "a partition too many",
        "InvalidParameterValue",
        before=grouped("partition", PartitionNumber=3),
    ),
    Row(
        "an unknown placement group",
        "InvalidPlacementGroup.Unknown",
        {"Placement": {"GroupName": "gone"}},
    ),
    Row(
        "a cluster group of a type that cannot",
        "InvalidParameterCombination",
        fleet=fleet_of("t3.large"),
        before=grouped("cluster"),
    ),
    # Quotas
    Row("the last vCPUs on demand", None, before=quota("on-demand", 2)),
    Row("one vCPU too few on demand", "VcpuLimitExceeded", before=quota("on-demand", 1)),
    Row("the last vCPUs of spot", None, fleet=SPOT, before=quota("spot", 2)),
    Row(
        "one vCPU too few of spot",
        "MaxSpotInstanceCountExceeded",
        fleet=SPOT,
        before=quota("spot", 1),
    ),
    # Metadata
    Row("as many hops as there may be", None, {"MetadataOptions": {"HttpPutResponseHopLimit": 64}}),
    Row(
        "one hop more",
        "InvalidParameterValue",
        {"MetadataOptions": {"HttpPutResponseHopLimit": 65}},
    ),
    # Tags
    Row("as many tags as there may be", None, fleet=tags(50)),
    Row("one tag more", "TagLimitExceeded", fleet=tags(51)),
    Row("a tag of AWS's own", "InvalidParameterValue", fleet=tags(1, "aws:k")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_launches(row: Row) -> None:
    """Errors of one override are in the fleet's answer, others fail the request."""
    world = make_world()
    world.template(**(row.data | (row.before(world) or {})))
    used = len(world.cloud.ec2.instances.alive())
    interfaces_used = len(world.cloud.ec2.network.interfaces)
    try:
        answer = world.fleet(**row.fleet)
    except ClientError as error:
        found = error.response["Error"]["Code"]
    else:
        found = errors(answer)[0] if errors(answer) else None
    assert found == row.code
    launched = len(world.cloud.ec2.instances.alive()) - used
    assert launched == (0 if row.code else 1)
    if row.code:
        left = len(world.cloud.ec2.network.interfaces)
        assert left == interfaces_used, "what was refused leaves nothing behind"


def test_a_reservation_is_over_at_its_end() -> None:
    world = make_world()
    target = reserved(ends_at=START + timedelta(hours=1))(world)
    world.template(**target)
    world.launch()
    world.pass_time(3601)
    assert errors(world.fleet()) == ["InvalidCapacityReservationState.Unavailable"]
