"""The simulated cloud through real boto3 clients."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from cloudkit import World, errors, ids

from autoctl.ports.clock import SystemClock
from autoctl.sim.cloud import CloudSettings, SimulatedCloud, Timings
from autoctl.sim.cloud.http import CloudServer


class Remote(World):
    """A world whose EC2 client is boto3's."""

    server: CloudServer

    def client(self, service: str) -> Any:
        client: Any = boto3.Session("key", "secret", region_name="us-west-2").client(
            service,  # type: ignore[call-overload]  # not a literal
            endpoint_url=self.server.url,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
        )
        return client

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - a server of this test
            f"{self.server.url}/_sim/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    timings = Timings(running=0.01, boot=0.01, shutting_down=0.01, visible=0)
    clock = SystemClock()
    cloud = SimulatedCloud(clock, CloudSettings(enforce_limits=False, timings=timings))
    world = Remote(cloud, clock)  # type: ignore[arg-type]  # nothing moves this clock
    world.server = CloudServer(cloud)
    world.server.start()
    world.ec2 = world.client("ec2")
    world.template()
    yield world
    world.server.stop()


@pytest.fixture(autouse=True)
def _calm(remote: Remote) -> Iterator[None]:
    yield
    remote.cloud.faults.clear()
    remote.server.app.transport.clear()
    remote.cloud.denied.clear()


def code(call: Any, **params: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as error:
        call(**params)
    answer = error.value.response
    return str(answer["Error"]["Code"]), answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_fleet_with_instances_and_errors_in_one_answer(remote: Remote) -> None:
    remote.admin("POST", "faults", {"type": "insufficient-capacity", "instanceTypes": ["c5.large"]})
    answer = remote.fleet(("c5.large", "m5.large"), count=2)
    assert errors(answer) == ["InsufficientInstanceCapacity"]
    assert answer["Instances"][0]["InstanceType"] == "m5.large"
    assert len(ids(answer)) == 2
    described = remote.ec2.describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}],
    )
    found = {r["Instances"][0]["InstanceId"] for r in described["Reservations"]}
    assert set(ids(answer)) <= found
    remote.ec2.terminate_instances(InstanceIds=ids(answer))


def test_in_process_and_over_http_answer_alike(remote: Remote) -> None:
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("ec2", "describe_security_groups", {}),
        ("ec2", "describe_instance_types", {"InstanceTypes": ["m5.large", "p5.48xlarge"]}),
        ("ec2", "describe_launch_templates", {"LaunchTemplateNames": ["autoctl/test"]}),
        ("ec2", "describe_availability_zones", {}),
        ("eks", "describe_cluster", {"name": "autoctl"}),
        ("sts", "get_caller_identity", {}),
        ("service-quotas", "list_service_quotas", {"ServiceCode": "ec2"}),
        ("pricing", "get_products", {"ServiceCode": "AmazonEC2", "MaxResults": 5}),
    ]
    for service, method, params in calls:
        here = getattr(remote.cloud.client(service), method)(**params)
        there = getattr(remote.client(service), method)(**params)
        for answer in (here, there):
            del answer["ResponseMetadata"]
        assert _comparable(there) == _comparable(here), method


def _comparable(value: Any) -> Any:
    """Without what the wire drops: empty lists in EC2's XML, parts of a second."""
    if isinstance(value, dict):
        return {k: _comparable(v) for k, v in value.items() if v != []}
    if isinstance(value, list):
        return [_comparable(entry) for entry in value]
    return value.timestamp() // 1 if hasattr(value, "timestamp") else value


@pytest.mark.parametrize(
    ("service", "method", "params", "expected"),
    [
        (
            "ec2",
            "describe_instances",
            {"InstanceIds": ["i-0"]},
            ("InvalidInstanceID.NotFound", 400),
        ),
        ("eks", "describe_cluster", {"name": "x"}, ("ResourceNotFoundException", 404)),
        ("iam", "get_role", {"RoleName": "x"}, ("NoSuchEntity", 404)),
        ("ssm", "get_parameter", {"Name": "x"}, ("ParameterNotFound", 400)),
        (
            "sqs",
            "get_queue_url",
            {"QueueName": "x"},
            ("AWS.SimpleQueueService.NonExistentQueue", 400),
        ),
        (
            "service-quotas",
            "get_service_quota",
            {"ServiceCode": "ec2", "QuotaCode": "x"},
            ("NoSuchResourceException", 404),
        ),
    ],
)
def test_errors_of_every_protocol(
    remote: Remote, service: str, method: str, params: dict[str, Any], expected: tuple[str, int]
) -> None:
    assert code(getattr(remote.client(service), method), **params) == expected


def test_arns_in_paths(remote: Remote) -> None:
    eks = remote.client("eks")
    entry = {
        "clusterName": "autoctl",
        "principalArn": "arn:aws:iam::123456789012:role/AmazonEKSAutoNodeRole",
    }
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"
    eks.create_access_entry(**entry, type="EC2")
    eks.associate_access_policy(**entry, policyArn=policy, accessScope={"type": "cluster"})
    found = eks.list_associated_access_policies(**entry)["associatedAccessPolicies"]
    assert [p["policyArn"] for p in found] == [policy]
    eks.disassociate_access_policy(**entry, policyArn=policy)
    eks.delete_access_entry(**entry)


def test_a_long_poll_ends_with_a_message(remote: Remote) -> None:
    sqs = remote.client("sqs")
    url = sqs.create_queue(QueueName="polled")["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    answer = sqs.receive_message(
        QueueUrl=url, WaitTimeSeconds=5, MessageSystemAttributeNames=["SentTimestamp"]
    )
    assert answer["Messages"][0]["Body"] == "x"
    assert int(answer["Messages"][0]["Attributes"]["SentTimestamp"]) > 0


def test_dry_runs_and_denied_actions(remote: Remote) -> None:
    assert code(remote.fleet, DryRun=True) == ("DryRunOperation", 412)
    remote.admin("POST", "denied", ["ec2:CreateFleet"])
    assert code(remote.fleet, DryRun=True) == ("UnauthorizedOperation", 403)


def test_throttling(remote: Remote) -> None:
    remote.admin("POST", "faults", {"type": "api-throttle", "operations": ["DescribeVpcs"]})
    assert code(remote.ec2.describe_vpcs) == ("RequestLimitExceeded", 503)
    remote.admin("DELETE", "faults")
    remote.ec2.describe_vpcs()


def test_an_answer_lost_after_the_launch_is_found_by_its_token(remote: Remote) -> None:
    before = len(remote.cloud.ec2.instances.records)
    remote.admin(
        "POST", "transport", {"kind": "reset", "phase": "after", "operations": ["CreateFleet"]}
    )
    with pytest.raises(ConnectionClosedError):
        remote.fleet(ClientToken="lost")
    assert len(remote.cloud.ec2.instances.records) == before + 1
    answer = remote.fleet(ClientToken="lost")
    assert len(remote.cloud.ec2.instances.records) == before + 1
    remote.ec2.terminate_instances(InstanceIds=ids(answer))


def test_a_request_cut_off_before_is_not_carried_out(remote: Remote) -> None:
    log = remote.cloud.log
    log.clear()
    remote.admin("POST", "transport", {"kind": "reset", "operations": ["ec2:DescribeVpcs"]})
    with pytest.raises(ConnectionClosedError):
        remote.ec2.describe_vpcs()
    assert log.counts()["DescribeVpcs"] == 0
    remote.ec2.describe_vpcs()


def test_a_gateways_error_has_no_aws_body(remote: Remote) -> None:
    remote.admin("POST", "transport", {"kind": "status", "status": 502, "count": 2})
    for _ in range(2):
        assert code(remote.ec2.describe_vpcs)[1] == 502
    remote.ec2.describe_vpcs()


def test_a_slow_answer_comes(remote: Remote) -> None:
    remote.admin("POST", "transport", {"kind": "slow", "delay": 0.05})
    assert remote.ec2.describe_vpcs()["Vpcs"]


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "faults", {"type": "earthquake"}, "expected one of"),
        ("POST", "transport", {"kind": "flood"}, "kind: expected reset, status or slow"),
        ("POST", "transport", {"kind": "slow", "colour": 1}, "unknown field 'colour'"),
        ("GET", "nothing", None, "no GET"),
    ],
)
def test_wrong_admin_requests(
    remote: Remote, method: str, path: str, body: Any, message: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        remote.admin(method, path, body)
    assert message in error.value.read().decode().replace("&#39;", "'")


def test_log_and_state_can_be_dumped(remote: Remote) -> None:
    remote.admin("DELETE", "log")
    answer = remote.fleet()
    (entry,) = remote.admin("GET", "log?operation=CreateFleet")
    assert (entry["service"], entry["outcome"]) == ("ec2", "ok")
    state = remote.admin("GET", "state")
    assert state["instances"][ids(answer)[0]]["type"] == "m5.large"
    assert "autoctl/test" in state["launchTemplates"]
    assert remote.admin("GET", "health")["status"] == "ok"
    remote.ec2.terminate_instances(InstanceIds=ids(answer))


def test_services_not_simulated_are_motos(remote: Remote) -> None:
    s3 = remote.client("s3")
    s3.create_bucket(
        Bucket="diagnostics", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    s3.put_object(Bucket="diagnostics", Key="a", Body=b"x")
    assert s3.get_object(Bucket="diagnostics", Key="a")["Body"].read() == b"x"


def test_an_unsigned_request_is_refused(remote: Remote) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(remote.server.url + "/", timeout=5)  # noqa: S310
