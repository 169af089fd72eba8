"""NodeClasses are tried by dry runs before nodes are launched from them."""

from __future__ import annotations

import asyncio
import base64

import pytest
from certificate import CERTIFICATE
from harness import Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import NODE_CLASSES, Object
from autoctl.sim.cloud.faults import Fault, FaultType


def declared(play: Play) -> Object:
    """The NodeClass `default`."""
    (found,) = play.world.cluster.objects(NODE_CLASSES)
    return found


def validation(play: Play) -> Object:
    return play.condition(declared(play), "ValidationSucceeded")


def ready(play: Play) -> bool:
    return str(play.condition(declared(play), "Ready")["status"]) == "True"


def dry_runs(play: Play) -> int:
    """Dry runs of fleets so far."""
    fleets = play.world.cloud.log.select("CreateFleet")
    return sum(bool(request.params.get("DryRun")) for request in fleets)


RIGHTS = [
    ("ec2:CreateLaunchTemplate", "CreateLaunchTemplateAuthCheckFailed"),
    ("ec2:CreateFleet", "CreateFleetAuthCheckFailed"),
    ("ec2:RunInstances", "RunInstancesAuthCheckFailed"),
    ("iam:PassRole", "RunInstancesAuthCheckFailed"),
    ("ec2:CreateTags", "CreateLaunchTemplateAuthCheckFailed"),
]


@pytest.mark.parametrize(("action", "reason"), RIGHTS)
async def test_a_missing_right_is_named_and_nothing_is_launched(action: str, reason: str) -> None:
    """The condition names the action that is missing, which is not always the one called."""
    async with playing(node_class(), node_pool(), deployment()) as play:
        play.world.cloud.denied.add(action)
        await play.until(lambda: validation(play)["status"] == "False", 30)
        assert validation(play)["reason"] == reason
        assert f"authorized to call {action}" in validation(play)["message"]
        assert not ready(play)
        await asyncio.sleep(1200)
        assert dry_runs(play) <= 6, "a refusal is not asked about again every minute"
        assert not play.claims()
        assert play.launched == 0
        play.world.cloud.denied.clear()
        await play.until(lambda: play.running() == 3, 800)
        assert ready(play)


async def test_an_answer_counts_for_half_an_hour_unless_something_changes() -> None:
    async with playing(node_class(), node_pool()) as play:
        await play.until(lambda: ready(play), 60)
        assert dry_runs(play) == 1
        await asyncio.sleep(1700)
        assert dry_runs(play) == 1
        changed = {"spec": {"tags": {"team": "a"}}}
        await play.world.cluster.users.patch(NODE_CLASSES, "default", changed)
        await asyncio.sleep(70)
        assert dry_runs(play) == 2, "other tags may need other rights"
        await asyncio.sleep(1860)
        assert dry_runs(play) == 3
        assert ready(play)


async def test_the_types_tried_are_those_of_the_class_pools() -> None:
    pool = node_pool()
    for requirement in pool["spec"]["template"]["spec"]["requirements"]:
        if requirement["key"] == "eks.amazonaws.com/instance-category":
            requirement["values"] = ["r"]
    async with playing(node_class(), pool) as play:
        await play.until(lambda: ready(play), 60)
        (run,) = play.world.cloud.log.select("RunInstances")
        assert run.outcome == "DryRunOperation"
        assert run.params["InstanceType"].startswith("r")
        tags = {
            tag["Key"]: tag["Value"]
            for specification in run.params["TagSpecifications"]
            for tag in specification["Tags"]
        }
        assert tags["eks:eks-cluster-name"] == "autoctl"
        assert tags["eks:kubernetes-node-pool-name"] == "general-purpose"
        await asyncio.sleep(120)
        assert not play.templates(), "what was made for the dry run goes again"


async def test_trouble_on_the_way_is_no_verdict() -> None:
    """Throttled dry runs say nothing: they are repeated, and a ready class stays ready."""
    async with playing(node_class(), node_pool(), deployment(replicas=0)) as play:
        throttle = Fault(FaultType.API_THROTTLE, operations=("RunInstances",))
        play.world.cloud.inject(throttle)
        await asyncio.sleep(100)
        assert validation(play)["status"] in ("absent", "Unknown")
        play.world.cloud.faults.clear()
        await play.until(lambda: ready(play), 300)
        play.world.cloud.inject(throttle)
        await asyncio.sleep(2400)
        assert ready(play)


async def test_what_ec2_would_refuse_is_told_before_pods_wait() -> None:
    """User data are limited; EC2 says so only when the launch template is made."""
    many = base64.b64encode(base64.b64decode(CERTIFICATE) * 8).decode()
    bundles = [{"name": f"corp-{n}", "data": many} for n in range(3)]
    async with playing(node_class(certificateBundles=bundles), node_pool()) as play:
        await play.until(lambda: validation(play)["status"] == "False", 30)
        assert validation(play)["reason"] == "UserDataSizeLimitExceeded"
        assert "16384" in validation(play)["message"]


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry runs", "none"])
@pytest.mark.parametrize(
    ("spec", "annotations", "reason", "told"),
    [
        (
            {"certificateBundles": [{"name": "corp", "data": "QUJD"}]},
            {},
            "InvalidCertificateBundle",
            "certificateBundles[0].data (corp)",
        ),
        (
            {"advancedCompute": {"hugepages": {"transparent": {"enabled": "always"}}}},
            {"autoctl.io/bottlerocket-version": "1.50.0"},
            "BottlerocketTooOld",
            "Bottlerocket 1.50.0, which the class pins, does not know advancedCompute.hugepages",
        ),
    ],
)
async def test_what_nodes_would_not_boot_with_is_told_before_they_are_launched(
    spec: Object, annotations: dict[str, str], reason: str, told: str, *, dry_run: bool
) -> None:
    """EC2 takes any user data; Bottlerocket does not, and such a node never joins."""
    objects = (node_class(**spec), node_pool(), deployment())
    objects[0]["metadata"]["annotations"] = annotations
    async with playing(*objects, operator={"disable_dry_run": not dry_run}) as play:
        await play.until(lambda: validation(play)["status"] == "False", 30)
        assert validation(play)["reason"] == reason
        assert told in validation(play)["message"]
        await asyncio.sleep(600)
        assert play.launched == 0


async def test_dry_runs_can_be_switched_off() -> None:
    operator = {"disable_dry_run": True}
    async with playing(node_class(), node_pool(), operator=operator) as play:
        play.world.cloud.denied.add("ec2:RunInstances")
        await play.until(lambda: ready(play), 60)
        assert validation(play)["reason"] == "DryRunDisabled"
        assert dry_runs(play) == 0


@pytest.mark.parametrize(
    ("action", "condition"),
    [
        ("ec2:DescribeSubnets", "SubnetsReady"),
        ("ec2:DescribeSecurityGroups", "SecurityGroupsReady"),
        ("ssm:GetParameters", "AMIsReady"),
        ("iam:CreateInstanceProfile", "InstanceProfileReady"),
        ("eks:CreateAccessEntry", "InstanceProfileReady"),
    ],
)
async def test_what_may_not_be_looked_at_is_named_too(action: str, condition: str) -> None:
    async with playing(node_class(), node_pool()) as play:
        play.world.cloud.denied.add(action)
        await play.until(
            lambda: play.condition(declared(play), condition)["reason"] == "Unauthorized", 30
        )
        assert (
            f"not authorized for {action}" in play.condition(declared(play), condition)["message"]
        )
        assert validation(play)["reason"] == "DependenciesNotReady"
        play.world.cloud.denied.clear()
        await play.until(lambda: ready(play), 120)
