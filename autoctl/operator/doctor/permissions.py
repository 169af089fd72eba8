"""Which IAM actions the operator's identity lacks, found without doing anything.

EC2 answers a dry run with what it would have done. The other services know no dry run: reading
calls are made as they are, and what changes something there cannot be tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.tags import CLUSTER, NODE_CLASS, to_api
from autoctl.operator.doctor.endpoints import unanswered
from autoctl.operator.doctor.report import Finding, error, or_ok

CHECK: Final = "permissions"
_NAME: Final = "autoctl/doctor"
_INSTANCE: Final = "i-00000000000000000"
_IMAGE: Final = "ami-00000000000000000"
_READS: Final = (
    "describe_availability_zones",
    "describe_capacity_reservations",
    "describe_instance_status",
    "describe_instance_type_offerings",
    "describe_instance_types",
    "describe_instances",
    "describe_launch_templates",
    "describe_placement_groups",
    "describe_security_groups",
    "describe_spot_price_history",
    "describe_subnets",
)


def dry_runs(cluster: str) -> dict[str, dict[str, Any]]:
    """EC2 operation -> a request as the operator would make it."""
    tags = to_api({CLUSTER: cluster, NODE_CLASS: "doctor"})

    def tagged(*kinds: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tags} for kind in kinds]

    template = {"LaunchTemplateName": _NAME}
    requests: dict[str, dict[str, Any]] = {
        "create_fleet": {
            "Type": "instant",
            "LaunchTemplateConfigs": [
                {"LaunchTemplateSpecification": {**template, "Version": "$Latest"}}
            ],
            "TargetCapacitySpecification": {
                "TotalTargetCapacity": 1,
                "DefaultTargetCapacityType": "on-demand",
            },
            "TagSpecifications": tagged("fleet", "instance", "volume"),
        },
        "run_instances": {
            "MinCount": 1,
            "MaxCount": 1,
            "ImageId": _IMAGE,
            "InstanceType": "m5.large",
            "TagSpecifications": tagged("instance", "volume"),
        },
        "create_launch_template": {
            **template,
            "LaunchTemplateData": {"ImageId": _IMAGE},
            "TagSpecifications": tagged("launch-template"),
        },
        "delete_launch_template": template,
        "create_tags": {"Resources": [_INSTANCE], "Tags": to_api({"Name": "doctor"})},
        "terminate_instances": {"InstanceIds": [_INSTANCE]},
    }
    return requests | {operation: {} for operation in _READS}


def reads() -> dict[tuple[str, str], dict[str, Any]]:
    """(service, operation) -> a request that only reads, for services without dry runs."""
    return {
        ("pricing", "get_products"): {"ServiceCode": "AmazonEC2", "MaxResults": 1},
        ("ssm", "get_parameters"): {
            "Names": ["/aws/service/bottlerocket/aws-k8s-1.34/x86_64/latest/image_id"]
        },
        ("iam", "get_instance_profile"): {"InstanceProfileName": "eks-autoctl-doctor"},
    }


async def check_permissions(callers: Mapping[str, Caller], cluster: str) -> list[Finding]:
    """One finding for each endpoint that does not answer and each action that is refused."""
    calls = {
        ("ec2", name): {**request, "DryRun": True} for name, request in dry_runs(cluster).items()
    } | reads()

    silent: dict[str, Finding] = {}

    async def lacking(service: str, operation: str, request: dict[str, Any]) -> str | None:
        try:
            await callers[service](operation, **request)
        except CloudError as failure:
            if unreached := unanswered(failure):
                silent[unreached.subject] = unreached
            if failure.kind is Kind.UNAUTHORIZED:
                return f"{service}:{_action(operation)}"
        return None

    outcomes = await asyncio.gather(*(lacking(*key, request) for key, request in calls.items()))
    missing = sorted(action for action in outcomes if action is not None)
    found = [silent[subject] for subject in sorted(silent)] + [
        error(
            CHECK,
            action,
            f"the identity may not use {action}",
            "allow it: attach the policy of hack/iam/operator-policy.json to the role",
        )
        for action in missing
    ]
    return or_ok(found, CHECK, "IAM", f"{len(calls)} actions tried, none refused")


def _action(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_"))
