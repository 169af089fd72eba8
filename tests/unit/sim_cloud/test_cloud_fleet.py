"""CreateFleet: strategies, partial failures, every error, idempotency."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from cloudkit import World, errors, ids

from autoctl.sim.cloud import Fault, FaultType

ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_on_demand_takes_the_lowest_price(world: World) -> None:
    world.template()
    answer = world.fleet(("m5.xlarge", "c5.large", "m5.large"), ZONES, count=3)
    assert len(ids(answer)) == 3
    assert {entry["InstanceType"] for entry in answer["Instances"]} == {"c5.large"}
    assert answer["Instances"][0]["Lifecycle"] == "on-demand"
    assert answer["Errors"] == []


def test_prioritized_takes_the_lowest_number_first(world: World) -> None:
    world.template()
    overrides = [
        {"InstanceType": "c5.large", "SubnetId": world.subnets["us-west-2a"], "Priority": 2.0},
        {"InstanceType": "m5.xlarge", "SubnetId": world.subnets["us-west-2a"], "Priority": 1.0},
    ]
    answer = world.fleet(overrides=overrides, OnDemandOptions={"AllocationStrategy": "prioritized"})
    assert answer["Instances"][0]["InstanceType"] == "m5.xlarge"


def test_exhausted_pools_leave_errors_and_the_next_is_taken(world: World) -> None:
    world.template()
    world.cloud.inject(
        Fault(FaultType.INSUFFICIENT_CAPACITY, instance_types=("c5*",), zones=("us-west-2a",))
    )
    answer = world.fleet(("c5.large", "m5.large"), ("us-west-2a",))
    assert errors(answer) == ["InsufficientInstanceCapacity"]
    overrides = answer["Errors"][0]["LaunchTemplateAndOverrides"]["Overrides"]
    assert overrides["InstanceType"] == "c5.large"
    assert answer["Instances"][0]["InstanceType"] == "m5.large"


def test_a_pool_with_little_room_fills_a_fleet_in_part(world: World) -> None:
    world.template()
    world.cloud.ec2.capacity.pools["m5.large", "us-west-2a", "on-demand"] = 2
    answer = world.fleet(count=5)
    assert len(ids(answer)) == 2
    assert errors(answer) == ["InsufficientInstanceCapacity"]


def test_room_comes_back_when_an_instance_ends(world: World) -> None:
    world.template()
    world.cloud.ec2.capacity.pools["m5.large", "us-west-2a", "on-demand"] = 1
    first = world.launch()
    assert errors(world.fleet()) == ["InsufficientInstanceCapacity"]
    world.ec2.terminate_instances(InstanceIds=[first])
    world.launch()


def test_without_any_capacity_there_are_only_errors(world: World) -> None:
    world.template()
    world.cloud.inject(Fault(FaultType.INSUFFICIENT_CAPACITY))
    answer = world.fleet(("c5.large", "m5.large"), ZONES)
    assert ids(answer) == []
    assert errors(answer) == ["InsufficientInstanceCapacity"] * 6


def test_a_capacity_fault_ends_after_its_time(world: World) -> None:
    world.template()
    world.cloud.inject(parse({"type": "insufficient-capacity", "for": "20m"}))
    world.pass_time(19 * 60)
    assert ids(world.fleet()) == []
    world.pass_time(61)
    assert len(ids(world.fleet())) == 1


def parse(step: dict[str, Any]) -> Fault:
    from autoctl.sim.cloud import parse_fault

    return parse_fault(step)


def test_spot_lowest_price_and_price_capacity_optimized_differ(world: World) -> None:
    world.template()
    capacity, types = world.cloud.ec2.capacity, world.cloud.ec2.types
    capacity.pools["m5.large", "us-west-2a", "spot"] = 1
    capacity.pools["m5.large", "us-west-2b", "spot"] = 9
    types.set_spot_price("m5.large", "us-west-2a", 0.01)
    types.set_spot_price("m5.large", "us-west-2b", 0.02)

    def zone(strategy: str) -> str:
        answer = world.fleet(
            zones=("us-west-2a", "us-west-2b"),
            market="spot",
            SpotOptions={"AllocationStrategy": strategy},
        )
        world.ec2.terminate_instances(InstanceIds=ids(answer))
        assert answer["Instances"][0]["Lifecycle"] == "spot"
        return str(answer["Instances"][0]["AvailabilityZone"])

    assert zone("lowest-price") == "us-west-2a"
    assert zone("price-capacity-optimized") == "us-west-2b"
    assert zone("capacity-optimized") == "us-west-2b"


def test_capacity_optimized_prioritized_honours_priority_where_there_is_room(world: World) -> None:
    world.template()
    world.cloud.ec2.capacity.pools["m5.large", "us-west-2a", "spot"] = 0
    overrides = [
        {"InstanceType": name, "SubnetId": world.subnets["us-west-2a"], "Priority": priority}
        for name, priority in (("m5.large", 1.0), ("m5.xlarge", 2.0), ("c5.large", 3.0))
    ]
    answer = world.fleet(
        overrides=overrides,
        market="spot",
        SpotOptions={"AllocationStrategy": "capacity-optimized-prioritized"},
    )
    assert answer["Instances"][0]["InstanceType"] == "m5.xlarge"


def test_min_target_capacity_is_all_or_nothing(world: World) -> None:
    world.template()
    world.cloud.ec2.capacity.pools["m5.large", "us-west-2a", "on-demand"] = 2
    answer = world.fleet(count=3, OnDemandOptions={"MinTargetCapacity": 3})
    assert ids(answer) == []
    assert "UnfulfillableCapacity" in errors(answer)
    assert world.cloud.ec2.instances.alive() == []


@pytest.mark.parametrize(
    ("changes", "instance_type", "market", "code"),
    [
        ({}, "c6g.large", "on-demand", "InvalidParameterValue"),  # an x86_64 image on arm64
        ({"ImageId": "ami-00000000000000000"}, "m5.large", "on-demand", "InvalidAMIID.NotFound"),
        ({"ImageId": "x"}, "m5.large", "on-demand", "InvalidAMIID.Malformed"),
        ({"SecurityGroupIds": ["sg-0"]}, "m5.large", "on-demand", "InvalidGroup.NotFound"),
        ({"IamInstanceProfile": {"Name": "no"}}, "m5.large", "on-demand", "InvalidParameterValue"),
        (
            {"Placement": {"GroupId": "pg-0"}},
            "m5.large",
            "on-demand",
            "InvalidPlacementGroup.Unknown",
        ),
        ({}, "u7i-8tb.112xlarge", "spot", "UnsupportedOperation"),
        ({}, "trn2.48xlarge", "on-demand", "InvalidParameterValue"),  # not in the region
        (
            {
                "CapacityReservationSpecification": {
                    "CapacityReservationTarget": {"CapacityReservationId": "cr-0"}
                }
            },
            "m5.large",
            "on-demand",
            "InvalidCapacityReservationId.NotFound",
        ),
        (
            {"MetadataOptions": {"HttpPutResponseHopLimit": 65}},
            "m5.large",
            "on-demand",
            "InvalidParameterValue",
        ),
    ],
)
def test_what_a_pool_cannot_launch_is_one_error(
    world: World, changes: dict[str, Any], instance_type: str, market: str, code: str
) -> None:
    world.template(**changes)
    answer = world.fleet((instance_type,), market=market)
    assert (ids(answer), errors(answer)) == ([], [code])
    assert world.cloud.ec2.network.interfaces == {}


def test_a_type_that_a_zone_does_not_offer(world: World) -> None:
    world.template()
    data = world.cloud.ec2.types
    name, zone = next(
        (name, zone)
        for name in ("m8azn.large", "p6-b200.48xlarge")
        for zone in world.subnets
        if zone not in data._offered[name]
    )
    assert errors(world.fleet((name,), (zone,))) == ["Unsupported"]


@pytest.mark.parametrize(
    ("ebs", "ok"),
    [
        ({"Encrypted": True, "KmsKeyId": "alias/mine"}, True),
        ({"Encrypted": True, "KmsKeyId": "arn:aws:kms:us-west-2:123456789012:alias/mine"}, True),
        ({"Encrypted": True, "KmsKeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"}, True),
        (
            {
                "Encrypted": True,
                "KmsKeyId": "arn:aws:kms:us-west-2:123456789012:"
                "key/1234abcd-12ab-34cd-56ef-1234567890ab",
            },
            True,
        ),
        ({"Encrypted": True, "KmsKeyId": "mine"}, False),
        ({"Encrypted": True, "KmsKeyId": "arn:aws:s3:::bucket"}, False),
        ({"KmsKeyId": "alias/mine"}, False),
        ({"Iops": 3000}, True),
        ({"Iops": 2999}, False),
        ({"Iops": 16000, "VolumeSize": 32}, True),
        ({"Iops": 16001}, False),
        ({"Throughput": 124}, False),
        ({"Iops": 4000, "Throughput": 1000}, True),
        ({"Throughput": 1001}, False),
    ],
)
def test_volumes(world: World, ebs: dict[str, Any], ok: bool) -> None:
    volume = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3", **ebs}}
    world.template(BlockDeviceMappings=[volume])
    answer = world.fleet()
    assert bool(ids(answer)) is ok
    assert bool(errors(answer)) is not ok


def test_an_unknown_subnet_fails_its_override_only(world: World) -> None:
    world.template()
    overrides = [
        {"InstanceType": "c5.large", "SubnetId": "subnet-0"},
        {"InstanceType": "m5.large", "SubnetId": world.subnets["us-west-2a"]},
    ]
    answer = world.fleet(overrides=overrides, count=1)
    assert len(ids(answer)) == 1
    assert errors(answer) in ([], ["InvalidSubnetID.NotFound"])
    answer = world.fleet(overrides=overrides[:1])
    assert errors(answer) == ["InvalidSubnetID.NotFound"]


def test_a_full_subnet(world: World) -> None:
    world.template()
    subnet = world.cloud.ec2.network.add_subnet("us-west-2a", "10.0.255.0/28")
    override = [{"InstanceType": "m5.large", "SubnetId": subnet.subnet_id}]
    assert subnet.pool.free == 11
    answer = world.fleet(overrides=override, count=12)
    assert (len(ids(answer)), subnet.pool.free) == (11, 0)
    assert errors(answer) == ["InsufficientFreeAddressesInSubnet"]
    world.ec2.terminate_instances(InstanceIds=ids(answer)[:1])
    world.pass_time(31)
    assert subnet.pool.free == 1


def test_quotas(world: World) -> None:
    world.template()
    world.cloud.ec2.capacity.vcpu_quota.update({"on-demand": 4, "spot": 2})
    answer = world.fleet(count=3)
    assert (len(ids(answer)), errors(answer)) == (2, ["VcpuLimitExceeded"])
    answer = world.fleet(count=2, market="spot")
    assert (len(ids(answer)), errors(answer)) == (1, ["MaxSpotInstanceCountExceeded"])


def test_a_maximum_spot_price_below_the_market(world: World) -> None:
    world.template()
    override = {
        "InstanceType": "m5.large",
        "SubnetId": world.subnets["us-west-2a"],
        "MaxPrice": "0.0001",
    }
    assert errors(world.fleet(overrides=[override], market="spot")) == ["SpotMaxPriceTooLow"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"count": 0}, "InvalidTargetCapacitySpecification"),
        ({"count": 10_001}, "InvalidTargetCapacitySpecification"),
        ({"template": "autoctl/none"}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"overrides": [{"InstanceType": "m5.large"}] * 301}, "InvalidFleetConfiguration"),
        ({"DryRun": True}, "DryRunOperation"),
        ({"DryRun": True, "template": "x/none"}, "InvalidLaunchTemplateName.NotFoundException"),
    ],
)
def test_requests_that_fail_as_a_whole(world: World, params: dict[str, Any], code: str) -> None:
    world.template()
    with pytest.raises(ClientError) as error:
        world.fleet(**params)
    assert code_of(error) == code
    assert world.cloud.ec2.instances.records == {}


def test_parameters_are_checked_as_boto3_does(world: World) -> None:
    with pytest.raises(ParamValidationError, match="TargetCapacitySpecification"):
        world.ec2.create_fleet(LaunchTemplateConfigs=[])
    with pytest.raises(ParamValidationError, match="Unknown parameter"):
        world.ec2.describe_subnets(SubnetId="subnet-1")
    assert len(world.cloud.log.requests) == len(list(world.cloud.log.select(outcome="ok")))


def test_a_denied_action_is_unauthorized_also_as_a_dry_run(world: World) -> None:
    world.template()
    world.cloud.denied.add("ec2:CreateFleet")
    for dry_run in (True, False):
        with pytest.raises(ClientError, match="ec2:CreateFleet") as error:
            world.fleet(DryRun=dry_run)
        assert code_of(error) == "UnauthorizedOperation"


def test_a_client_token_launches_once(world: World) -> None:
    world.template()
    first = world.fleet(count=2, ClientToken="a")
    again = world.fleet(count=2, ClientToken="a")
    assert ids(again) == ids(first)
    assert again["FleetId"] == first["FleetId"]
    assert len(world.cloud.ec2.instances.alive()) == 2
    with pytest.raises(ClientError) as error:
        world.fleet(count=3, ClientToken="a")
    assert code_of(error) == "IdempotentParameterMismatch"
    assert ids(world.fleet(count=2, ClientToken="b")) != ids(first)


def test_a_failed_fleet_repeats_its_failure_for_its_token(world: World) -> None:
    world.template()
    world.cloud.inject(Fault(FaultType.INSUFFICIENT_CAPACITY))
    assert errors(world.fleet(ClientToken="a")) == ["InsufficientInstanceCapacity"]
    world.cloud.faults.clear()
    assert errors(world.fleet(ClientToken="a")) == ["InsufficientInstanceCapacity"]
    assert errors(world.fleet(ClientToken="b")) == []


def test_tags_come_from_template_and_fleet(world: World) -> None:
    world.template(
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}]}]
    )
    instance_id = world.launch(
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "b", "Value": "2"}]}]
    )
    tags = world.cloud.ec2.instances.get(instance_id).tags
    assert (tags["a"], tags["b"]) == ("1", "2")
    assert tags["aws:ec2launchtemplate:version"] == "1"


def test_run_instances_checks_as_a_launch_does(world: World) -> None:
    with pytest.raises(ClientError) as error:
        world.ec2.run_instances(
            ImageId=world.image,
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            DryRun=True,
            SubnetId=world.subnets["us-west-2b"],
        )
    assert code_of(error) == "DryRunOperation"
    answer = world.ec2.run_instances(
        ImageId=world.image,
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=2,
        UserData="hello",
        SubnetId=world.subnets["us-west-2b"],
    )
    first, _second = answer["Instances"]
    assert first["Placement"]["AvailabilityZone"] == "us-west-2b"
    assert world.cloud.ec2.instances.get(first["InstanceId"]).user_data == "hello"
