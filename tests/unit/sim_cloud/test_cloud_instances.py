"""Instances over time: states, what Describe calls know, interruptions, nodes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import looptime
import pytest
from botocore.exceptions import ClientError
from cloudkit import START, USER_DATA, World

from autoctl.ports.clock import LoopClock
from autoctl.sim.cloud import (
    CloudSettings,
    Fault,
    FaultType,
    InstanceRecord,
    SimulatedCloud,
    parse_fault,
)
from autoctl.sim.cloud.nodes import UserDataError, registration


def states(world: World) -> list[str]:
    answer = world.ec2.describe_instances()
    return [r["Instances"][0]["State"]["Name"] for r in answer["Reservations"]]


def messages(world: World) -> list[dict[str, Any]]:
    """Drain the queue."""
    sqs = world.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName="autoctl")["QueueUrl"]
    found: list[dict[str, Any]] = []
    while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in batch]
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(batch)]
        answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        assert answer["Failed"] == []
    return found


def test_a_life(world: World) -> None:
    world.template()
    instance_id = world.launch()
    assert states(world) == [], "Describe calls do not know of it yet"
    with pytest.raises(ClientError, match=f"'{instance_id}' does not exist"):
        world.ec2.describe_instances(InstanceIds=[instance_id])
    world.pass_time(1)
    assert states(world) == ["pending"]
    world.pass_time(9)
    assert states(world) == ["running"]
    answer = world.ec2.terminate_instances(InstanceIds=[instance_id])
    change = answer["TerminatingInstances"][0]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == (
        "running",
        "shutting-down",
    )
    world.pass_time(29)
    assert states(world) == ["shutting-down"]
    world.pass_time(1)
    assert states(world) == ["terminated"]
    assert world.cloud.ec2.network.interfaces == {}
    world.pass_time(3599)
    assert states(world) == ["terminated"]
    world.pass_time(1)
    assert states(world) == []


def test_terminating_twice_is_harmless(world: World) -> None:
    world.template()
    instance_id = world.launch()
    world.ec2.terminate_instances(InstanceIds=[instance_id])
    world.pass_time(10)
    world.ec2.terminate_instances(InstanceIds=[instance_id])
    world.pass_time(20)
    assert states(world) == ["terminated"]
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        world.ec2.terminate_instances(InstanceIds=["i-0"])


def test_terminate_is_all_or_nothing(world: World) -> None:
    world.template()
    instance_id = world.launch()
    with pytest.raises(ClientError):
        world.ec2.terminate_instances(InstanceIds=[instance_id, "i-0"])
    assert world.cloud.ec2.instances.get(instance_id).alive


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("tag:team", "blue", 1),
        ("tag:team", "b*", 1),
        ("tag:team", "red", 0),
        ("tag-key", "team", 1),
        ("instance-state-name", "running", 2),
        ("instance-type", "m5.*", 1),
        ("availability-zone", "us-west-2b", 1),
        ("private-dns-name", "i-*.ec2.internal", 2),
        ("instance-lifecycle", "spot", 1),
        ("client-token", "t", 1),
        ("iam-instance-profile.arn", "*/eks-node", 2),
    ],
)
def test_filters(world: World, name: str, value: str, found: int) -> None:
    world.template()
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "blue"}]}]
    world.launch("m5.large", TagSpecifications=tags, ClientToken="t")
    world.launch("c5.large", "us-west-2b", market="spot")
    world.pass_time(60)
    answer = world.ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])
    assert len(answer["Reservations"]) == found


def test_an_unknown_filter_is_refused(world: World) -> None:
    world.template()
    world.launch()
    world.pass_time(5)
    with pytest.raises(ClientError, match="The filter 'colour' is invalid"):
        world.ec2.describe_instances(Filters=[{"Name": "colour", "Values": ["red"]}])


def test_pages(world: World) -> None:
    world.template()
    world.fleet(count=23)
    world.pass_time(60)
    pages = list(
        world.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 10})
    )
    assert [len(page["Reservations"]) for page in pages] == [10, 10, 3]
    seen = {r["Instances"][0]["InstanceId"] for page in pages for r in page["Reservations"]}
    assert len(seen) == 23
    for params in ({"MaxResults": 4}, {"MaxResults": 1001}, {"NextToken": "x", "MaxResults": 5}):
        with pytest.raises(ClientError):
            world.ec2.describe_instances(**params)


def test_tags_of_an_instance(world: World) -> None:
    world.template()
    instance_id = world.launch()
    world.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "Name", "Value": "a"}])
    assert world.cloud.ec2.instances.get(instance_id).tags["Name"] == "a"
    world.ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "Name", "Value": "b"}])
    assert "Name" in world.cloud.ec2.instances.get(instance_id).tags
    world.ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "Name"}])
    assert "Name" not in world.cloud.ec2.instances.get(instance_id).tags
    for resource, key in (("i-0", "a"), (instance_id, "aws:x")):
        with pytest.raises(ClientError):
            world.ec2.create_tags(Resources=[resource], Tags=[{"Key": key, "Value": "v"}])


def test_a_spot_interruption_warns_two_minutes_before(world: World) -> None:
    world.template()
    on_demand = world.launch()
    spot = world.launch(market="spot")
    world.pass_time(60)
    messages(world)
    assert world.cloud.inject(Fault(FaultType.SPOT_INTERRUPTION)) == [spot]
    (warning,) = messages(world)
    assert warning["detail-type"] == "EC2 Spot Instance Interruption Warning"
    assert warning["detail"] == {"instance-id": spot, "instance-action": "terminate"}
    world.pass_time(119)
    assert world.cloud.ec2.instances.get(spot).alive
    world.pass_time(1)
    record = world.cloud.ec2.instances.get(spot)
    assert record.state == "shutting-down"
    assert record.state_reason is not None
    assert record.state_reason[0] == "Server.SpotInstanceTermination"
    assert world.cloud.ec2.instances.get(on_demand).alive
    assert [m["detail"]["state"] for m in messages(world)] == ["shutting-down"]


def test_a_count_limits_whom_a_fault_strikes(world: World) -> None:
    world.template()
    world.fleet(count=5)
    struck = world.cloud.inject(Fault(FaultType.INSTANCE_TERMINATED, count=2))
    assert len(struck) == 2
    assert len(world.cloud.ec2.instances.alive()) == 3


def test_an_impaired_instance_shows_after_a_minute(world: World) -> None:
    world.template()
    instance_id = world.launch()
    world.pass_time(20)
    world.cloud.inject(
        Fault(FaultType.INSTANCE_IMPAIRED, category="system", lasts=timedelta(minutes=10))
    )

    def status() -> tuple[str, str]:
        (found,) = world.ec2.describe_instance_status()["InstanceStatuses"]
        assert found["InstanceId"] == instance_id
        return found["InstanceStatus"]["Status"], found["SystemStatus"]["Status"]

    assert status() == ("ok", "ok")
    world.pass_time(60)
    assert status() == ("ok", "impaired")
    impaired = world.ec2.describe_instance_status(
        Filters=[{"Name": "system-status.status", "Values": ["impaired"]}]
    )["InstanceStatuses"]
    assert impaired[0]["SystemStatus"]["Details"][0]["ImpairedSince"] == START + timedelta(
        seconds=20
    )
    world.pass_time(540)
    assert status() == ("ok", "ok")


def test_a_scheduled_event_is_told_twice(world: World) -> None:
    world.template()
    instance_id = world.launch()
    world.pass_time(20)
    messages(world)
    instances = world.cloud.ec2.instances
    instances.schedule_event(instances.get(instance_id), "instance-retirement")
    (message,) = messages(world)
    assert message["detail"]["eventTypeCategory"] == "scheduledChange"
    assert message["detail"]["affectedEntities"] == [{"entityValue": instance_id}]
    (status,) = world.ec2.describe_instance_status(
        Filters=[{"Name": "event.code", "Values": ["instance-retirement"]}]
    )["InstanceStatuses"]
    assert status["Events"][0]["Code"] == "instance-retirement"


def test_the_node_that_registers(world: World) -> None:
    world.template()
    instance_id = world.launch("m5.large")
    node = registration(world.cloud.ec2.instances.get(instance_id), "us-west-2")
    assert node.name == instance_id
    assert node.provider_id == f"aws:///us-west-2a/{instance_id}"
    assert node.labels["karpenter.sh/nodepool"] == "general-purpose"
    assert node.labels["topology.kubernetes.io/zone"] == "us-west-2a"
    assert node.labels["topology.k8s.aws/zone-id"] == "usw2-az2"
    assert {tuple(sorted(taint.items())) for taint in node.taints} == {
        (("effect", "NoExecute"), ("key", "karpenter.sh/unregistered")),
        (("effect", "NoSchedule"), ("key", "dedicated"), ("value", "gpu")),
    }
    assert (node.capacity["cpu"], node.allocatable["cpu"]) == ("2", "1930m")
    assert (node.capacity["pods"], node.capacity["ephemeral-storage"]) == ("29", "80Gi")
    assert node.manifest()["spec"]["providerID"] == node.provider_id


@pytest.mark.parametrize(
    ("user_data", "message"),
    [
        ("not toml", "not TOML"),
        ("[settings]\n", "cluster-name is missing"),
        (USER_DATA.replace('"gpu:NoSchedule"', '"gpu"'), "expected value:Effect, got 'gpu'"),
        (USER_DATA.replace("NoExecute", "Never"), "expected value:Effect"),
    ],
)
def test_user_data_that_keeps_a_node_away(world: World, user_data: str, message: str) -> None:
    world.template()
    record = world.cloud.ec2.instances.get(world.launch())
    record.user_data = user_data
    with pytest.raises(UserDataError, match=message):
        registration(record, "us-west-2")


async def _boots(faults: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Instance type -> when its node registered, in virtual seconds."""
    loop = asyncio.get_running_loop()
    booted: dict[str, float] = {}

    async def on_boot(instance: InstanceRecord) -> None:
        booted[instance.instance_type] = loop.time()

    clock = LoopClock(START)
    cloud = SimulatedCloud(clock, CloudSettings(enforce_limits=False), on_boot=on_boot)
    for fault in faults:
        cloud.inject(parse_fault(fault))
    world = World(cloud, clock)  # type: ignore[arg-type]  # its clock runs by itself
    world.template()
    runner = asyncio.create_task(cloud.run())
    await asyncio.sleep(100)
    started = loop.time()
    world.launch("m5.large")
    world.launch("c5.large")
    await asyncio.sleep(seconds)
    runner.cancel()
    return {name: time - started for name, time in booted.items()}


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([], {"m5.large": 40, "c5.large": 40}),
        (
            [{"type": "slow-launch", "instanceTypes": ["m5.*"], "delay": 300}],
            {"m5.large": 340, "c5.large": 40},
        ),
        ([{"type": "never-registers", "instanceTypes": ["c5.*"]}], {"m5.large": 40}),
    ],
)
def test_boot_hooks_run_in_virtual_time(
    faults: list[dict[str, Any]], expected: dict[str, float]
) -> None:
    loop = looptime.new_event_loop(noop_cycles=1)
    try:
        booted = loop.run_until_complete(_boots(faults, 1000))
    finally:
        loop.close()
    assert booted == pytest.approx(expected, abs=0.01)


def test_a_hook_that_fails_ends_the_run() -> None:
    async def scenario() -> None:
        def on_boot(_instance: InstanceRecord) -> None:
            raise RuntimeError("broken kubelet")

        clock = LoopClock(START)
        cloud = SimulatedCloud(clock, CloudSettings(enforce_limits=False), on_boot=on_boot)
        world = World(cloud, clock)  # type: ignore[arg-type]  # its clock runs by itself
        world.template()
        world.launch()
        await cloud.run()

    loop = looptime.new_event_loop(noop_cycles=1)
    try:
        with pytest.raises(ExceptionGroup) as error:
            loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert error.group_contains(RuntimeError, match="broken kubelet")


def test_a_long_poll_waits_in_virtual_time() -> None:
    async def scenario() -> tuple[float, float, int]:
        loop = asyncio.get_running_loop()
        cloud = SimulatedCloud(LoopClock(START))
        sqs: Any = cloud.client("sqs")
        url = sqs.get_queue_url(QueueName="autoctl")["QueueUrl"]
        started = loop.time()
        await sqs.receive_message.wait(QueueUrl=url, WaitTimeSeconds=20)
        empty = loop.time() - started
        loop.call_later(7, lambda: sqs.send_message(QueueUrl=url, MessageBody="x"))
        await sqs.receive_message.wait(QueueUrl=url, WaitTimeSeconds=20)
        arrived = loop.time() - started - empty
        found = len(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"])
        return empty, arrived, found

    loop = looptime.new_event_loop(noop_cycles=1)
    try:
        empty, arrived, found = loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert (round(empty), round(arrived), found) == (20, 7, 1)


def test_five_thousand_instances_in_a_minute() -> None:
    """A thousand fleets of five a minute: all boot once, none is lost, none is left over."""

    async def scenario() -> tuple[int, int, int]:
        booted: list[str] = []
        gone: list[str] = []
        clock = LoopClock(START)
        cloud = SimulatedCloud(
            clock,
            CloudSettings(enforce_limits=False, boot_jitter=0.5),
            on_boot=lambda instance: booted.append(instance.instance_id),
            on_gone=lambda instance: gone.append(instance.instance_id),
        )
        world = World(cloud, clock)  # type: ignore[arg-type]  # its clock runs by itself
        world.template()
        runner = asyncio.create_task(cloud.run())
        for _ in range(1000):
            world.fleet(("m5.large", "c5.large"), ("us-west-2a", "us-west-2b"), count=5)
            await asyncio.sleep(0.06)
        await asyncio.sleep(60)
        assert len(set(booted)) == len(booted)
        alive = [instance.instance_id for instance in cloud.ec2.instances.alive()]
        for start in range(0, len(alive), 500):
            world.ec2.terminate_instances(InstanceIds=alive[start : start + 500])
        await asyncio.sleep(60)
        runner.cancel()
        return len(booted), len(gone), len(cloud.ec2.network.interfaces)

    loop = looptime.new_event_loop(noop_cycles=1)
    try:
        assert loop.run_until_complete(scenario()) == (5000, 5000, 0)
    finally:
        loop.close()
