"""A simulated account whose clock a test moves, with what a launch needs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from autoctl.ports.clock import FixedClock
from autoctl.sim.cloud import CloudSettings, SimulatedCloud

START = datetime(2026, 1, 5, tzinfo=UTC)
USER_DATA = """
[settings.kubernetes]
api-server = "https://example.invalid"
cluster-certificate = "Y2E="
cluster-name = "autoctl"
max-pods = 29

[settings.kubernetes.node-labels]
"karpenter.sh/nodepool" = "general-purpose"

[settings.kubernetes.node-taints]
"karpenter.sh/unregistered" = [":NoExecute"]
"dedicated" = ["gpu:NoSchedule"]
"""


@dataclass
class World:
    """The account with shorthands; `data` is what `template` puts into launch templates."""

    cloud: SimulatedCloud
    clock: FixedClock
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ec2: Any = self.cloud.client("ec2")
        iam = self.cloud.client("iam")
        iam.create_instance_profile(InstanceProfileName="eks-node")
        iam.add_role_to_instance_profile(
            InstanceProfileName="eks-node", RoleName="AmazonEKSAutoNodeRole"
        )
        self.image = self.image_of("x86_64")
        network = self.cloud.ec2.network
        self.group = next(g for g in network.groups if network.groups[g].name == "autoctl-node")
        self.subnets = {subnet.zone: subnet_id for subnet_id, subnet in network.subnets.items()}
        self.data = {
            "ImageId": self.image,
            "IamInstanceProfile": {"Name": "eks-node"},
            "SecurityGroupIds": [self.group],
            "UserData": base64.b64encode(USER_DATA.encode()).decode(),
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True, "VolumeSize": 4}},
                {"DeviceName": "/dev/xvdb", "Ebs": {"Encrypted": True, "VolumeSize": 80}},
            ],
        }

    def image_of(self, architecture: str) -> str:
        name = f"/aws/service/bottlerocket/aws-k8s-1.34/{architecture}/latest/image_id"
        answer = self.cloud.client("ssm").get_parameter(Name=name)
        return str(answer["Parameter"]["Value"])

    def pass_time(self, seconds: float) -> None:
        self.clock.instant += timedelta(seconds=seconds)
        self.cloud.timeline.advance()

    def template(self, name: str = "autoctl/test", **changes: Any) -> str:
        data = {k: v for k, v in {**self.data, **changes}.items() if v is not None}
        self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        return name

    def fleet(
        self,
        types: Sequence[str] = ("m5.large",),
        zones: Sequence[str] = ("us-west-2a",),
        *,
        count: int = 1,
        market: str = "on-demand",
        template: str = "autoctl/test",
        overrides: Sequence[dict[str, Any]] | None = None,
        **params: Any,
    ) -> dict[str, Any]:
        if overrides is None:
            overrides = [
                {"InstanceType": name, "SubnetId": self.subnets[zone]}
                for name in types
                for zone in zones
            ]
        answer: dict[str, Any] = self.ec2.create_fleet(
            Type="instant",
            LaunchTemplateConfigs=[
                {
                    "LaunchTemplateSpecification": {
                        "LaunchTemplateName": template,
                        "Version": "$Latest",
                    },
                    "Overrides": list(overrides),
                }
            ],
            TargetCapacitySpecification={
                "TotalTargetCapacity": count,
                "DefaultTargetCapacityType": market,
            },
            **params,
        )
        return answer

    def launch(self, name: str = "m5.large", zone: str = "us-west-2a", **more: Any) -> str:
        """One instance, which must succeed; its id."""
        answer = self.fleet((name,), (zone,), **more)
        assert answer["Errors"] == []
        return str(answer["Instances"][0]["InstanceIds"][0])


def ids(answer: dict[str, Any]) -> list[str]:
    return [i for entry in answer["Instances"] for i in entry["InstanceIds"]]


def errors(answer: dict[str, Any]) -> list[str]:
    return [entry["ErrorCode"] for entry in answer["Errors"]]


def make_world(**settings: Any) -> World:
    """A fresh account at START; request limits are off unless asked for."""
    clock = FixedClock(START)
    return World(
        SimulatedCloud(clock, CloudSettings(**{"enforce_limits": False, **settings})), clock
    )
