"""Reservations, capacity blocks, placement groups, network interfaces, addresses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cloudkit import START, World, errors, ids

from autoctl.sim.cloud import Fault, FaultType
from autoctl.sim.cloud.ec2.addresses import AddressesExhausted, AddressPool


def target(reservation_id: str) -> dict[str, Any]:
    return {
        "CapacityReservationSpecification": {
            "CapacityReservationTarget": {"CapacityReservationId": reservation_id}
        }
    }


def preference(value: str) -> dict[str, Any]:
    return {"CapacityReservationSpecification": {"CapacityReservationPreference": value}}


def available(world: World) -> int:
    (found,) = world.ec2.describe_capacity_reservations()["CapacityReservations"]
    return int(found["AvailableInstanceCount"])


def test_a_targeted_reservation_fills_up_and_empties(world: World) -> None:
    reservation = world.cloud.ec2.capacity.add_reservation("m5.large", "us-west-2a", 2)
    world.template(**target(reservation.reservation_id))
    answer = world.fleet(count=3)
    assert (len(ids(answer)), errors(answer)) == (2, ["ReservationCapacityExceeded"])
    assert available(world) == 0
    record = world.cloud.ec2.instances.get(ids(answer)[0])
    assert (record.capacity_type, record.reservation_id) == (
        "reserved",
        reservation.reservation_id,
    )
    world.ec2.terminate_instances(InstanceIds=ids(answer)[:1])
    assert available(world) == 1


@pytest.mark.parametrize(
    ("instance_type", "zone"), [("m5.xlarge", "us-west-2a"), ("m5.large", "us-west-2b")]
)
def test_a_reservation_is_for_one_type_and_zone(
    world: World, instance_type: str, zone: str
) -> None:
    reservation = world.cloud.ec2.capacity.add_reservation("m5.large", "us-west-2a", 2)
    world.template(**target(reservation.reservation_id))
    assert errors(world.fleet((instance_type,), (zone,))) == ["InvalidParameterValue"]


@pytest.mark.parametrize(
    ("match", "wish", "used"),
    [("open", {}, 1), ("open", preference("none"), 0), ("targeted", {}, 0)],
)
def test_open_matching(world: World, match: str, wish: dict[str, Any], used: int) -> None:
    world.cloud.ec2.capacity.add_reservation("m5.large", "us-west-2a", 2, match=match)
    world.template(**wish)
    instance_id = world.launch()
    assert available(world) == 2 - used
    assert world.cloud.ec2.instances.get(instance_id).capacity_type == "on-demand"


def test_an_open_reservation_helps_where_on_demand_is_exhausted(world: World) -> None:
    world.cloud.ec2.capacity.add_reservation("m5.large", "us-west-2a", 1, match="open")
    world.template()
    world.cloud.inject(Fault(FaultType.INSUFFICIENT_CAPACITY, capacity_types=("on-demand",)))
    answer = world.fleet(count=2)
    assert (len(ids(answer)), errors(answer)) == (1, ["InsufficientInstanceCapacity"])


def test_reservations_only(world: World) -> None:
    world.template(**preference("capacity-reservations-only"))
    assert errors(world.fleet()) == ["ReservationCapacityExceeded"]
    world.cloud.ec2.capacity.add_reservation("m5.large", "us-west-2a", 1, match="open")
    assert len(ids(world.fleet())) == 1


def test_a_capacity_block_ends_its_instances(world: World) -> None:
    block = world.cloud.ec2.capacity.add_reservation(
        "p5.48xlarge", "us-west-2a", 1, kind="capacity-block", ends_at=START + timedelta(hours=1)
    )
    world.template(**target(block.reservation_id))
    answer = world.fleet(("p5.48xlarge",), market="capacity-block")
    assert answer["Instances"][0]["Lifecycle"] == "capacity-block"
    record = world.cloud.ec2.instances.get(ids(answer)[0])
    assert record.lifecycle == "capacity-block"
    world.pass_time(3599)
    assert record.alive
    world.pass_time(1)
    assert not record.alive
    (found,) = world.ec2.describe_capacity_reservations()["CapacityReservations"]
    assert found["State"] == "expired"
    assert errors(world.fleet(("p5.48xlarge",), market="capacity-block")) == [
        "InvalidCapacityReservationState.Unavailable"
    ]


def test_a_capacity_block_must_be_named(world: World) -> None:
    world.template()
    assert errors(world.fleet(market="capacity-block")) == ["InvalidParameterCombination"]


def test_an_expired_reservation_leaves_its_instances_on_demand(world: World) -> None:
    reservation = world.cloud.ec2.capacity.add_reservation(
        "m5.large", "us-west-2a", 1, ends_at=START + timedelta(hours=1)
    )
    world.template(**target(reservation.reservation_id))
    record = world.cloud.ec2.instances.get(world.launch())
    world.pass_time(3600)
    assert (record.alive, record.capacity_type, record.reservation_id) == (True, "on-demand", None)


def test_reservations_are_found_by_filters(world: World) -> None:
    world.ec2.create_capacity_reservation(
        InstanceType="m5.large",
        InstancePlatform="Linux/UNIX",
        InstanceCount=2,
        AvailabilityZone="us-west-2a",
        TagSpecifications=[
            {"ResourceType": "capacity-reservation", "Tags": [{"Key": "team", "Value": "a"}]}
        ],
    )
    for name, value, found in (
        ("tag:team", "a", 1),
        ("tag:team", "b", 0),
        ("state", "active", 1),
        ("owner-id", "000000000000", 0),
    ):
        answer = world.ec2.describe_capacity_reservations(
            Filters=[{"Name": name, "Values": [value]}]
        )
        assert len(answer["CapacityReservations"]) == found


def test_a_spread_group_takes_seven_a_zone(world: World) -> None:
    group = world.cloud.ec2.placement.add("spread", "spread")
    world.template(Placement={"GroupId": group.group_id})
    answer = world.fleet(count=8)
    assert (len(ids(answer)), errors(answer)) == (7, ["InsufficientInstanceCapacity"])
    assert "spread placement group" in answer["Errors"][0]["ErrorMessage"]
    assert len(ids(world.fleet(zones=("us-west-2b",)))) == 1


def test_a_cluster_group_stays_in_its_zone(world: World) -> None:
    group = world.cloud.ec2.placement.add("cluster", "cluster")
    world.template(Placement={"GroupName": group.name})
    world.launch()
    answer = world.fleet(zones=("us-west-2b",))
    assert errors(answer) == ["InsufficientInstanceCapacity"]
    assert errors(world.fleet(("t3.large",))) == ["InvalidParameterCombination"]


def test_a_partition_group_spreads_over_its_partitions(world: World) -> None:
    group = world.cloud.ec2.placement.add("parts", "partition", partitions=3)
    world.template(Placement={"GroupId": group.group_id})
    launched = ids(world.fleet(count=6))
    records = [world.cloud.ec2.instances.get(instance_id) for instance_id in launched]
    assert sorted(record.partition or 0 for record in records) == [1, 1, 2, 2, 3, 3]
    world.template("autoctl/fourth", Placement={"GroupId": group.group_id, "PartitionNumber": 4})
    assert errors(world.fleet(template="autoctl/fourth")) == ["InvalidParameterValue"]


def test_placement_groups_are_described(world: World) -> None:
    group = world.cloud.ec2.placement.add("parts", "partition", partitions=3)
    (found,) = world.ec2.describe_placement_groups(GroupIds=[group.group_id])["PlacementGroups"]
    assert (found["GroupName"], found["PartitionCount"]) == ("parts", 3)
    with pytest.raises(ClientError, match="is unknown"):
        world.ec2.describe_placement_groups(GroupNames=["none"])


def interface(index: int, **more: Any) -> dict[str, Any]:
    return {"DeviceIndex": index, "NetworkCardIndex": 0, **more}


@pytest.mark.parametrize(
    ("interfaces", "instance_type", "code"),
    [
        ([interface(i) for i in range(3)], "m5.large", None),
        ([interface(i) for i in range(4)], "m5.large", "AttachmentLimitExceeded"),
        ([interface(0, NetworkCardIndex=1)], "m5.large", "InvalidParameterValue"),
        ([interface(0), interface(1, InterfaceType="efa-only")], "m5.large", "Unsupported"),
        ([interface(0, SecondaryPrivateIpAddressCount=9)], "m5.large", None),
        (
            [interface(0, SecondaryPrivateIpAddressCount=10)],
            "m5.large",
            "PrivateIpAddressLimitExceeded",
        ),
        ([interface(0, Ipv4PrefixCount=9)], "m5.large", None),
        ([interface(0, Ipv4PrefixCount=10)], "m5.large", "PrivateIpAddressLimitExceeded"),
        (
            [interface(0, AssociatePublicIpAddress=True), interface(1)],
            "m5.large",
            "InvalidParameterCombination",
        ),
    ],
)
def test_interfaces_within_the_types_limits(
    world: World, interfaces: list[dict[str, Any]], instance_type: str, code: str | None
) -> None:
    wanted = [{**entry, "Groups": [world.group]} for entry in interfaces]
    world.template(NetworkInterfaces=wanted, SecurityGroupIds=None)
    answer = world.fleet((instance_type,))
    assert errors(answer) == ([] if code is None else [code])
    assert len(ids(answer)) == (1 if code is None else 0)


def test_interfaces_take_addresses_and_give_them_back(world: World) -> None:
    subnet = world.cloud.ec2.network.subnet(world.subnets["us-west-2a"])
    before = subnet.pool.free
    world.template(
        SecurityGroupIds=None,
        NetworkInterfaces=[
            {
                "DeviceIndex": 0,
                "Groups": [world.group],
                "SecondaryPrivateIpAddressCount": 2,
                "Ipv4PrefixCount": 1,
            }
        ],
    )
    instance_id = world.launch()
    assert before - subnet.pool.free == 1 + 2 + 16
    world.pass_time(5)
    (found,) = world.ec2.describe_instances()["Reservations"]
    described = found["Instances"][0]["NetworkInterfaces"][0]
    assert len(described["PrivateIpAddresses"]) == 3
    assert described["Ipv4Prefixes"][0]["Ipv4Prefix"].endswith("/28")
    world.ec2.terminate_instances(InstanceIds=[instance_id])
    world.pass_time(30)
    assert subnet.pool.free == before


def test_groups_and_interfaces_exclude_one_another(world: World) -> None:
    world.template(NetworkInterfaces=[{"DeviceIndex": 0}])
    assert errors(world.fleet()) == ["InvalidParameterCombination"]


def test_a_security_group_of_another_vpc(world: World) -> None:
    network = world.cloud.ec2.network
    other = network.add_security_group("other", vpc_id=network.add_vpc("10.1.0.0/16").vpc_id)
    world.template(SecurityGroupIds=[other.group_id])
    assert errors(world.fleet()) == ["InvalidParameter"]


def test_addresses_are_given_out_once() -> None:
    pool = AddressPool("10.0.0.0/26")
    taken = [pool.take() for _ in range(59)]
    assert len(set(taken)) == 59
    assert taken[0] == "10.0.0.4"
    assert "10.0.0.63" not in taken
    with pytest.raises(AddressesExhausted):
        pool.take()
    pool.release(taken[5])
    assert pool.take() == taken[5]


def test_a_fragmented_subnet_has_addresses_but_no_prefix() -> None:
    pool = AddressPool("10.0.0.0/26")
    assert pool.take_prefix() == "10.0.0.16/28"
    assert pool.take_prefix() == "10.0.0.32/28"
    with pytest.raises(AddressesExhausted, match="/28"):
        pool.take_prefix()
    assert pool.free == 59 - 32
    singles = {pool.take() for _ in range(pool.free)}
    assert not any(address.startswith("10.0.0.2") and address > "10.0.0.20" for address in singles)
    pool.release("10.0.0.16/28")
    assert (pool.free, pool.take()) == (16, "10.0.0.16")
    with pytest.raises(AddressesExhausted):
        pool.take_prefix()


def test_an_interruptible_reservation(world: World) -> None:
    capacity = world.cloud.ec2.capacity
    reservation = capacity.add_reservation("m5.large", "us-west-2a", 1, interruptible=True)
    plain = capacity.add_reservation("m5.large", "us-west-2a", 1)
    world.template()
    wanted = [plain.reservation_id, reservation.reservation_id]
    options = {"CapacityReservationTarget": {"CapacityReservationIds": wanted}}
    answer = world.fleet(count=2, market="reserved-capacity", ReservedCapacityOptions=options)
    assert answer["Instances"][0]["Lifecycle"] == "interruptible-capacity-reservation"
    assert (len(ids(answer)), errors(answer)) == (1, ["ReservationCapacityExceeded"])
    record = world.cloud.ec2.instances.get(ids(answer)[0])
    assert record.reservation_id == reservation.reservation_id


@pytest.mark.parametrize(
    "code", ["UnfulfillableCapacity", "MaxFleetCountExceeded", "AuthFailure", "PendingVerification"]
)
def test_any_error_can_be_an_offerings(world: World, code: str) -> None:
    world.template()
    world.cloud.inject(
        Fault(FaultType.INSUFFICIENT_CAPACITY, instance_types=("m5.large",), error=code)
    )
    answer = world.fleet(("m5.large", "m5.xlarge"))
    assert errors(answer) == [code]
    assert answer["Instances"][0]["InstanceType"] == "m5.xlarge"


def test_networks_are_made_and_deleted(world: World) -> None:
    ec2 = world.ec2
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    tags = [{"ResourceType": "subnet", "Tags": [{"Key": "team", "Value": "a"}]}]
    params = {"VpcId": vpc, "CidrBlock": "10.9.0.0/24", "AvailabilityZone": "us-west-2c"}
    subnet = ec2.create_subnet(**params, TagSpecifications=tags)["Subnet"]["SubnetId"]
    found = ec2.describe_subnets(Filters=[{"Name": "tag:team", "Values": ["a"]}])["Subnets"]
    assert [(s["SubnetId"], s["AvailableIpAddressCount"]) for s in found] == [(subnet, 251)]
    for change, code in (
        ({}, "InvalidSubnet.Conflict"),
        ({"CidrBlock": "10.8.0.0/24"}, "InvalidSubnet.Range"),
        ({"VpcId": "vpc-0"}, "InvalidVpcID.NotFound"),
        ({"CidrBlock": "10.9.1.0/24", "AvailabilityZone": "mars-1a"}, "InvalidParameterValue"),
    ):
        with pytest.raises(ClientError, match=code):
            ec2.create_subnet(**{**params, **change})
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    with pytest.raises(ClientError, match=r"InvalidGroup\.Duplicate"):
        ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)
    world.template(SecurityGroupIds=[group])
    answer = world.fleet(overrides=[{"InstanceType": "m5.large", "SubnetId": subnet}])
    for call, name in ((ec2.delete_subnet, "SubnetId"), (ec2.delete_security_group, "GroupId")):
        with pytest.raises(ClientError, match="DependencyViolation"):
            call(**{name: subnet if name == "SubnetId" else group})
    ec2.terminate_instances(InstanceIds=ids(answer))
    world.pass_time(30)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_security_group(GroupId=group)


def test_a_placement_group_in_use_stays(world: World) -> None:
    world.ec2.create_placement_group(GroupName="g", Strategy="spread")
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.Duplicate"):
        world.ec2.create_placement_group(GroupName="g", Strategy="spread")
    world.template(Placement={"GroupName": "g"})
    instance_id = world.launch()
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.InUse"):
        world.ec2.delete_placement_group(GroupName="g")
    world.ec2.terminate_instances(InstanceIds=[instance_id])
    world.ec2.delete_placement_group(GroupName="g")
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.Unknown"):
        world.ec2.delete_placement_group(GroupName="g")
