"""Launch templates, catalogs, SSM, IAM, EKS, prices; limits, faults and the log of all calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cloudkit import World, make_world

from autoctl.catalog.embedded import region_data
from autoctl.sim.cloud import Fault, FaultType, parse_fault
from autoctl.sim.cloud.wire import operations

ROLE = "arn:aws:iam::123456789012:role/AmazonEKSAutoNodeRole"


def code(call: Any, **params: Any) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(ClientError) as error:
        call(**params)
    return str(error.value.response["Error"]["Code"])


def test_launch_templates(world: World) -> None:
    ec2 = world.ec2
    world.template("abc")
    assert code(
        ec2.create_launch_template, LaunchTemplateName="abc", LaunchTemplateData=world.data
    ) == ("InvalidLaunchTemplateName.AlreadyExistsException")
    assert code(
        ec2.create_launch_template, LaunchTemplateName="a b", LaunchTemplateData=world.data
    ) == ("InvalidLaunchTemplateName.MalformedException")
    assert ec2.describe_launch_templates()["LaunchTemplates"] == [], "not visible yet"
    world.pass_time(1)
    (found,) = ec2.describe_launch_templates()["LaunchTemplates"]
    by_id = {"LaunchTemplateId": found["LaunchTemplateId"]}
    ec2.create_launch_template_version(**by_id, LaunchTemplateData={"InstanceType": "m5.large"})
    versions = ec2.describe_launch_template_versions(**by_id)["LaunchTemplateVersions"]
    assert [v["VersionNumber"] for v in versions] == [1, 2]
    assert [v["DefaultVersion"] for v in versions] == [True, False]
    ec2.modify_launch_template(**by_id, DefaultVersion="2")
    done = ec2.delete_launch_template_versions(**by_id, Versions=["1", "2"])
    assert len(done["SuccessfullyDeletedLaunchTemplateVersions"]) == 1
    assert len(done["UnsuccessfullyDeletedLaunchTemplateVersions"]) == 1
    ec2.delete_launch_template(LaunchTemplateName="abc")
    assert code(ec2.describe_launch_templates, LaunchTemplateNames=["abc"]) == (
        "InvalidLaunchTemplateName.NotFoundException"
    )
    assert code(ec2.delete_launch_template, **by_id) == "InvalidLaunchTemplateId.NotFound"


def test_a_template_is_made_once_for_a_token(world: World) -> None:
    params = {"LaunchTemplateName": "abc", "LaunchTemplateData": world.data, "ClientToken": "t"}
    first = world.ec2.create_launch_template(**params)["LaunchTemplate"]
    assert world.ec2.create_launch_template(**params)["LaunchTemplate"] == first
    params["LaunchTemplateName"] = "abd"
    assert code(world.ec2.create_launch_template, **params) == "IdempotentParameterMismatch"


@pytest.mark.parametrize(("size", "ok"), [(16384, True), (16385, False)])
def test_user_data_is_limited(world: World, size: int, ok: bool) -> None:
    import base64

    data = {"UserData": base64.b64encode(b"x" * size).decode()}
    params = {"LaunchTemplateName": "abc", "LaunchTemplateData": data}
    if ok:
        world.ec2.create_launch_template(**params)
    else:
        assert code(world.ec2.create_launch_template, **params) == "InvalidParameterValue"


def test_instance_types_come_in_pages(world: World) -> None:
    answer = world.ec2.describe_instance_types()
    assert (len(answer["InstanceTypes"]), "NextToken" in answer) == (100, True)
    names = {
        entry["InstanceType"]
        for page in world.ec2.get_paginator("describe_instance_types").paginate(
            Filters=[{"Name": "processor-info.supported-architecture", "Values": ["arm64"]}]
        )
        for entry in page["InstanceTypes"]
    }
    assert {"m7g.large", "c8g.xlarge"} < names
    assert "m5.large" not in names
    assert code(world.ec2.describe_instance_types, InstanceTypes=["x.large"]) == (
        "InvalidInstanceType"
    )


@pytest.mark.parametrize(
    ("kind", "location"),
    [
        ("region", "us-west-2"),
        ("availability-zone", "us-west-2a"),
        ("availability-zone-id", "usw2-az2"),
    ],
)
def test_offerings(world: World, kind: str, location: str) -> None:
    answer = world.ec2.describe_instance_type_offerings(
        LocationType=kind,
        Filters=[
            {"Name": "instance-type", "Values": ["m5.large"]},
            {"Name": "location", "Values": [location]},
        ],
    )
    assert [o["Location"] for o in answer["InstanceTypeOfferings"]] == [location]


def test_spot_prices_follow_the_catalog_until_they_move(world: World) -> None:
    def price() -> float:
        answer = world.ec2.describe_spot_price_history(
            InstanceTypes=["m5.large"],
            AvailabilityZone="us-west-2b",
            ProductDescriptions=["Linux/UNIX"],
        )
        (entry,) = answer["SpotPriceHistory"]
        return float(entry["SpotPrice"])

    expected = region_data("us-west-2").types["m5.large"].spot[1]
    assert price() == pytest.approx(expected)
    world.cloud.ec2.types.set_spot_price("m5.large", "us-west-2b", 0.05)
    assert price() == 0.05


def test_zones(world: World) -> None:
    zones = world.ec2.describe_availability_zones()["AvailabilityZones"]
    assert [zone["ZoneName"][-1] for zone in zones] == ["a", "b", "c", "d"]
    assert len({zone["ZoneId"] for zone in zones}) == 4


def test_price_list(world: World) -> None:
    answer = world.cloud.client("pricing").get_products(
        ServiceCode="AmazonEC2",
        Filters=[
            {"Type": "TERM_MATCH", "Field": "instanceType", "Value": "m5.large"},
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "us-west-2"},
            {"Type": "TERM_MATCH", "Field": "operatingSystem", "Value": "Linux"},
            {"Type": "TERM_MATCH", "Field": "tenancy", "Value": "Shared"},
        ],
    )
    (text,) = answer["PriceList"]
    (term,) = json.loads(text)["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    assert float(dimension["pricePerUnit"]["USD"]) == pytest.approx(0.096)


def test_an_ami_release_moves_latest_and_keeps_the_old(world: World) -> None:
    ssm: Any = world.cloud.client("ssm")
    base = "/aws/service/bottlerocket/aws-k8s-1.34-nvidia-fips/arm64"

    def image(version: str) -> str:
        answer = ssm.get_parameter(Name=f"{base}/{version}/image_id")
        return str(answer["Parameter"]["Value"])

    before = image("latest")
    world.cloud.inject(parse_fault({"type": "ami-release"}))
    assert image("latest") != before == image("1.50.0")
    assert image("1.51.0") == image("latest")
    (described,) = world.ec2.describe_images(ImageIds=[before])["Images"]
    assert described["Architecture"] == "arm64"
    with pytest.raises(LookupError, match=r"1\.51\.0 is published"):
        world.cloud.inject(Fault(FaultType.AMI_RELEASE, version="1.51.0"))
    assert code(ssm.get_parameter, Name=f"{base}/9.9.9/image_id") == "ParameterNotFound"
    answer = ssm.get_parameters(Names=[f"{base}/latest/image_id", "x"])
    assert (len(answer["Parameters"]), answer["InvalidParameters"]) == (1, ["x"])


def test_instance_profiles(world: World) -> None:
    iam: Any = world.cloud.client("iam")
    tags = [{"Key": "a", "Value": "b"}]
    iam.create_instance_profile(InstanceProfileName="p", Path="/autoctl/", Tags=tags)
    assert code(iam.create_instance_profile, InstanceProfileName="p") == "EntityAlreadyExists"
    role = {"InstanceProfileName": "p", "RoleName": "AmazonEKSAutoNodeRole"}
    assert code(iam.add_role_to_instance_profile, **{**role, "RoleName": "x"}) == "NoSuchEntity"
    iam.add_role_to_instance_profile(**role)
    assert code(iam.add_role_to_instance_profile, **role) == "LimitExceeded"
    assert iam.get_instance_profile(InstanceProfileName="p")["InstanceProfile"]["Tags"] == tags
    found = iam.list_instance_profiles(PathPrefix="/autoctl/")["InstanceProfiles"]
    assert [profile["InstanceProfileName"] for profile in found] == ["p"]
    assert code(iam.delete_instance_profile, InstanceProfileName="p") == "DeleteConflict"
    iam.remove_role_from_instance_profile(**role)
    iam.delete_instance_profile(InstanceProfileName="p")
    assert code(iam.get_instance_profile, InstanceProfileName="p") == "NoSuchEntity"


def test_access_entries(world: World) -> None:
    eks: Any = world.cloud.client("eks")
    entry = {"clusterName": "autoctl", "principalArn": ROLE}
    assert code(eks.describe_access_entry, **entry) == "ResourceNotFoundException"
    assert code(eks.create_access_entry, **{**entry, "clusterName": "x"}) == (
        "ResourceNotFoundException"
    )
    assert code(eks.create_access_entry, **{**entry, "principalArn": ROLE + "x"}) == (
        "InvalidParameterException"
    )
    eks.create_access_entry(**entry, type="EC2")
    assert code(eks.create_access_entry, **entry, type="EC2") == "ResourceInUseException"
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"
    eks.associate_access_policy(**entry, policyArn=policy, accessScope={"type": "cluster"})
    found = eks.list_associated_access_policies(**entry)["associatedAccessPolicies"]
    assert [p["policyArn"] for p in found] == [policy]
    assert eks.list_access_entries(clusterName="autoctl")["accessEntries"] == [ROLE]
    eks.delete_access_entry(**entry)
    assert eks.list_access_entries(clusterName="autoctl")["accessEntries"] == []


def test_the_cluster_names_its_network(world: World) -> None:
    cluster = world.cloud.client("eks").describe_cluster(name="autoctl")["cluster"]
    network = cluster["resourcesVpcConfig"]
    assert network["clusterSecurityGroupId"] == world.group
    assert set(network["subnetIds"]) == set(world.subnets.values())


def test_messages_hide_and_come_back(world: World) -> None:
    sqs: Any = world.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName="autoctl")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=20)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    world.pass_time(20)
    (again,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert again["MessageId"] == message["MessageId"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    world.pass_time(60)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.send_message(QueueUrl=url, MessageBody="old")
    world.pass_time(4 * 86400 + 1)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert code(sqs.get_queue_url, QueueName="none") == "AWS.SimpleQueueService.NonExistentQueue"


def test_request_limits_of_a_default_account() -> None:
    world = make_world(enforce_limits=True)
    world.template()
    for _ in range(50):
        world.fleet()
    assert code(world.fleet) == "RequestLimitExceeded"
    world.pass_time(1)
    for _ in range(5):
        world.fleet()
    assert code(world.fleet) == "RequestLimitExceeded"
    world.ec2.describe_vpcs()
    log = world.cloud.log
    assert log.counts()["CreateFleet"] == 57
    assert len(list(log.select("CreateFleet", outcome="RequestLimitExceeded"))) == 2
    assert log.busiest_minute("CreateFleet") == 57


def test_the_busiest_minute_slides(world: World) -> None:
    for seconds in (0, 30, 29, 1, 30):
        world.pass_time(seconds)
        world.ec2.describe_vpcs()
    assert world.cloud.log.busiest_minute("DescribeVpcs") == 3


def test_a_failed_request_is_logged_with_its_parameters(world: World) -> None:
    world.cloud.log.clear()
    code(world.ec2.describe_vpcs, VpcIds=["vpc-0"])
    (entry,) = world.cloud.log.requests
    assert (entry.operation, entry.outcome) == ("DescribeVpcs", "InvalidVpcID.NotFound")
    assert entry.params == {"VpcIds": ["vpc-0"]}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"type": "api-throttle"}, "RequestLimitExceeded"),
        ({"type": "api-throttle", "operations": ["Describe*"]}, "RequestLimitExceeded"),
        ({"type": "api-throttle", "operations": ["CreateFleet"]}, None),
        ({"type": "api-error", "operations": ["ec2:*"]}, "InternalError"),
        ({"type": "api-error", "operations": ["ssm:*"]}, None),
        ({"type": "api-error", "error": "AuthFailure", "status": 401}, "AuthFailure"),
    ],
)
def test_faults_of_requests(world: World, step: dict[str, Any], expected: str | None) -> None:
    world.cloud.inject(parse_fault({**step, "for": "1m"}))
    if expected is None:
        world.ec2.describe_vpcs()
    else:
        assert code(world.ec2.describe_vpcs) == expected
    world.pass_time(60)
    world.ec2.describe_vpcs()


def test_a_share_of_requests_fails(world: World) -> None:
    world.cloud.inject(parse_fault({"type": "api-throttle", "share": 0.5}))
    failed = 0
    for _ in range(200):
        try:
            world.ec2.describe_vpcs()
        except ClientError:
            failed += 1
    assert 70 < failed < 130


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"type": "earthquake"}, r"^type: expected one of insufficient-capacity,"),
        ({}, r"^type: expected one of"),
        ({"type": "api-error", "colour": "red"}, r"^colour: unknown field"),
        ({"type": "api-error", "for": "soon"}, r"^for: expected a duration such as 20m"),
        ({"type": "api-error", "operations": "ec2:*"}, r"^operations: expected a list"),
        ({"type": "api-error", "share": 0}, r"^share must be above 0"),
        ({"type": "spot-interruption", "count": 0}, r"^count must be at least 1"),
        ({"type": "instance-impaired", "category": "x"}, r"^category must be"),
    ],
)
def test_a_wrong_fault_names_its_field(step: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_fault(step)


def test_what_is_not_simulated_says_so(world: World) -> None:
    assert code(world.ec2.describe_hosts) == "InvalidAction"
    with pytest.raises(AttributeError, match="no operation 'describe_nothing'"):
        world.ec2.describe_nothing()
    with pytest.raises(KeyError, match="lambda is not simulated"):
        world.cloud.client("lambda")


def test_handlers_are_operations_of_their_service(world: World) -> None:
    """A misspelled handler would never be called."""
    helpers = {"handler", "call"}
    for name, service in world.cloud.services.items():
        areas = (service, *getattr(service, "_areas", ()))
        for area in areas:
            for method in vars(type(area)):
                if method.startswith(("describe_", "get_", "list_")) and method not in helpers:
                    assert method in operations(name), (name, method)


def test_same_seed_same_world() -> None:
    def story() -> str:
        world = make_world(seed=7)
        world.template()
        world.fleet(count=3)
        world.cloud.inject(Fault(FaultType.INSTANCE_TERMINATED, count=1))
        world.pass_time(60)
        return json.dumps(world.ec2.describe_instances(), default=str)

    assert story() == story()
    assert make_world(seed=8).group != make_world(seed=7).group
