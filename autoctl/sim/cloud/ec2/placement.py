"""Placement groups: cluster, spread, partition, and what each forbids."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.query import Fields, select_tagged
from autoctl.sim.cloud.ec2.records import PlacementGroup, tag_list, tags_of
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2

SPREAD_LIMIT = 7
"""Running instances a zone that a spread placement group takes."""

GROUP_FIELDS: Fields[PlacementGroup] = {
    "group-name": lambda g: g.name,
    "group-arn": lambda g: g.group_id,
    "state": lambda g: g.state,
    "strategy": lambda g: g.strategy,
}


class PlacementGroups:
    """The account's placement groups by id."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self.groups: dict[str, PlacementGroup] = {}

    def add(self, name: str, strategy: str, partitions: int = 0) -> PlacementGroup:
        group = PlacementGroup(self._ec2.new_id("pg"), name, strategy, partitions)
        self.groups[group.group_id] = group
        return group

    def find(self, placement: Params) -> PlacementGroup | None:
        """The group of a Placement, by id or name; raises for one that does not exist."""
        group_id, name = placement.get("GroupId"), placement.get("GroupName")
        if not group_id and not name:
            return None
        for group in self.groups.values():
            if group_id == group.group_id or name == group.name:
                return group
        raise AwsFailure(
            "InvalidPlacementGroup.Unknown", f"The placement group '{group_id or name}' is unknown."
        )

    def place(
        self, group: PlacementGroup, instance_type: str, zone: str, wanted: int | None
    ) -> int | None:
        """Enter a placement group; answers the partition of a partition group.

        Raises InsufficientInstanceCapacity when its strategy forbids the launch.
        """
        members = [
            instance
            for instance in self._ec2.instances.alive()
            if instance.placement_group_id == group.group_id
        ]
        strategies = self._ec2.types.get(instance_type)["PlacementGroupInfo"]["SupportedStrategies"]
        if group.strategy not in strategies:
            raise AwsFailure(
                "InvalidParameterCombination",
                f"{group.strategy.capitalize()} placement groups are not supported by the "
                f"'{instance_type}' instance type.",
            )
        if group.strategy == "cluster" and any(member.zone != zone for member in members):
            raise AwsFailure(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {instance_type} capacity in the zone of the "
                f"cluster placement group {group.name}",
                500,
            )
        if group.strategy == "spread" and (
            sum(member.zone == zone for member in members) >= SPREAD_LIMIT
        ):
            raise AwsFailure(
                "InsufficientInstanceCapacity",
                f"The spread placement group {group.name} has reached the limit of "
                f"{SPREAD_LIMIT} running instances in {zone}",
                500,
            )
        if group.strategy == "partition":
            if wanted is not None and not 1 <= wanted <= group.partitions:
                raise AwsFailure(
                    "InvalidParameterValue",
                    f"Partition {wanted} of placement group {group.name} does not exist",
                )
            sizes = Counter(member.partition for member in members)
            numbers = range(1, group.partitions + 1)
            return wanted or min(numbers, key=lambda number: (sizes[number], number))
        return None

    def create_placement_group(self, params: Params) -> Answer:
        name = params.get("GroupName", "")
        if any(group.name == name for group in self.groups.values()):
            raise AwsFailure(
                "InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists."
            )
        group = self.add(name, params.get("Strategy", "cluster"), params.get("PartitionCount", 0))
        group.tags.update(tags_of(params.get("TagSpecifications"), "placement-group"))
        return {"PlacementGroup": self._describe_group(group)}

    def delete_placement_group(self, params: Params) -> Answer:
        group = self.find({"GroupName": params["GroupName"]})
        assert group is not None, "a group that was named exists or raises"
        if any(i.placement_group_id == group.group_id for i in self._ec2.instances.alive()):
            raise AwsFailure(
                "InvalidPlacementGroup.InUse",
                f"The placement group '{group.name}' is in use and may not be deleted.",
            )
        del self.groups[group.group_id]
        return {}

    def describe_placement_groups(self, params: Params) -> Answer:
        groups = list(self.groups.values())
        for key, attribute in (("GroupIds", "group_id"), ("GroupNames", "name")):
            if wanted := params.get(key):
                known = {getattr(group, attribute): group for group in groups}
                for value in wanted:
                    if value not in known:
                        raise AwsFailure(
                            "InvalidPlacementGroup.Unknown",
                            f"The Placement Group '{value}' is unknown.",
                        )
                groups = [known[value] for value in wanted]
        return {
            "PlacementGroups": [
                self._describe_group(group) for group in select_tagged(groups, params, GROUP_FIELDS)
            ]
        }

    def _describe_group(self, group: PlacementGroup) -> dict[str, Any]:
        return {
            "GroupId": group.group_id,
            "GroupName": group.name,
            "GroupArn": f"arn:aws:ec2:{self._ec2.region}:{ACCOUNT}:placement-group/{group.name}",
            "State": group.state,
            "Strategy": group.strategy,
            "Tags": tag_list(group.tags),
            **({"PartitionCount": group.partitions} if group.partitions else {}),
        }
