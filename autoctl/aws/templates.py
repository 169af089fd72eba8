"""Launch templates: what all nodes of one kind share. Content-addressed, so never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.tags import CLUSTER, from_api, tag_filters, to_api


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """A launch template that is there."""

    name: str
    tags: Mapping[str, str]


class LaunchTemplates:
    """Create, list and delete, by name."""

    def __init__(self, ec2: Caller, *, cluster: str) -> None:
        self._ec2 = ec2
        self._cluster = cluster

    async def of_cluster(self) -> list[TemplateInfo]:
        """All templates of the cluster."""
        found = await self._ec2.pages(
            "describe_launch_templates",
            "LaunchTemplates",
            Filters=tag_filters({CLUSTER: self._cluster}),
            MaxResults=200,
        )
        return [TemplateInfo(t["LaunchTemplateName"], from_api(t.get("Tags"))) for t in found]

    async def create(self, name: str, data: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Create it; one of that name is the same thing already, as names are digests."""
        try:
            await self._ec2(
                "create_launch_template",
                LaunchTemplateName=name,
                LaunchTemplateData=dict(data),
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": to_api(tags)}],
            )
        except CloudError as error:
            if error.kind is not Kind.EXISTS:
                raise

    async def delete(self, name: str) -> None:
        """Delete it; one that is gone already is no error."""
        try:
            await self._ec2("delete_launch_template", LaunchTemplateName=name)
        except CloudError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
