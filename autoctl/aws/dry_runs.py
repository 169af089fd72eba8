"""Dry runs: whether EC2 would launch something, asked without launching it.

EC2 looks at the caller's permissions and at most of the request, and answers with an error either
way: `DryRunOperation` means that it would have done it (EC2 API Reference, parameter `DryRun`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from autoctl.aws.call import Caller
from autoctl.aws.errors import DRY_RUN, CloudError
from autoctl.aws.fleet import LaunchOrder, Override, fleet_arguments
from autoctl.aws.tags import to_api


class DryRuns:
    """The two requests that a launch from a template is made of: the fleet, and its instances."""

    def __init__(self, ec2: Caller) -> None:
        self._ec2 = ec2

    async def create_fleet(self, order: LaunchOrder) -> None:
        """Raises `CloudError` when the order would fail as a whole."""
        arguments = fleet_arguments(order.request, [order])
        await _would_succeed(self._ec2("create_fleet", DryRun=True, **arguments))

    async def run_instances(
        self, template: str, data: Mapping[str, Any], override: Override, tags: Mapping[str, str]
    ) -> None:
        """One instance from the template, whose data are `data`. Raises `CloudError`.

        A fleet launches on the caller's behalf, but its own dry run does not try that part.
        """
        interfaces = [
            {"SubnetId": override.subnet_id, **entry} for entry in data.get("NetworkInterfaces", ())
        ]
        # EC2 takes the subnet with the interfaces where there are any, and else by itself.
        place = (
            {"NetworkInterfaces": interfaces} if interfaces else {"SubnetId": override.subnet_id}
        )
        await _would_succeed(
            self._ec2(
                "run_instances",
                DryRun=True,
                MinCount=1,
                MaxCount=1,
                LaunchTemplate={"LaunchTemplateName": template, "Version": "$Latest"},
                InstanceType=override.instance_type,
                ImageId=override.image_id,
                TagSpecifications=[
                    {"ResourceType": kind, "Tags": to_api(tags)} for kind in ("instance", "volume")
                ],
                **place,
            )
        )


async def _would_succeed(call: Awaitable[dict[str, Any]]) -> None:
    try:
        await call
    except CloudError as error:
        if error.code != DRY_RUN:
            raise
    else:
        raise AssertionError("EC2 answers every dry run with an error")
