"""Subnets and security groups, by id, name or tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoctl.aws.call import Caller
from autoctl.aws.tags import from_api, tag_filters


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector term: an id, or a name, or tags that must all be there (`*`: any value)."""

    id: str | None = None
    name: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        *,
        id: str | None = None,  # noqa: A002 - the field's name
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Selector:
        return cls(id, name, tuple(sorted((tags or {}).items())))


@dataclass(frozen=True, slots=True)
class Subnet:
    """`free_addresses` are IPv4 addresses left; `ipv6` tells whether there are IPv6 ones."""

    id: str
    zone: str
    zone_id: str
    vpc_id: str
    free_addresses: int
    public_ip_on_launch: bool
    tags: Mapping[str, str]
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    id: str
    name: str
    vpc_id: str


class Network:
    """DescribeSubnets and DescribeSecurityGroups."""

    def __init__(self, ec2: Caller) -> None:
        self._ec2 = ec2

    async def subnets(self, selectors: Iterable[Selector]) -> tuple[Subnet, ...]:
        """The subnets that any of the selectors matches, sorted by id."""
        found: dict[str, Subnet] = {}
        for filters in _filter_sets(selectors, "subnet-id", None):
            for raw in await self._ec2.pages("describe_subnets", "Subnets", Filters=filters):
                found[raw["SubnetId"]] = Subnet(
                    id=raw["SubnetId"],
                    zone=raw["AvailabilityZone"],
                    zone_id=raw.get("AvailabilityZoneId", ""),
                    vpc_id=raw["VpcId"],
                    free_addresses=raw["AvailableIpAddressCount"],
                    public_ip_on_launch=raw.get("MapPublicIpOnLaunch", False),
                    tags=from_api(raw.get("Tags")),
                    ipv6=any(
                        block.get("Ipv6CidrBlockState", {}).get("State") == "associated"
                        for block in raw.get("Ipv6CidrBlockAssociationSet", ())
                    ),
                )
        return tuple(found[key] for key in sorted(found))

    async def security_groups(self, selectors: Iterable[Selector]) -> tuple[SecurityGroup, ...]:
        """The security groups that any of the selectors matches, sorted by id."""
        found: dict[str, SecurityGroup] = {}
        for filters in _filter_sets(selectors, "group-id", "group-name"):
            for raw in await self._ec2.pages(
                "describe_security_groups", "SecurityGroups", Filters=filters
            ):
                found[raw["GroupId"]] = SecurityGroup(
                    raw["GroupId"], raw["GroupName"], raw.get("VpcId", "")
                )
        return tuple(found[key] for key in sorted(found))


def _filter_sets(
    selectors: Iterable[Selector], id_filter: str, name_filter: str | None
) -> list[list[dict[str, Any]]]:
    """The requests that answer the selectors: ids share one, names share one, tags one each."""
    selectors = tuple(selectors)
    ids = sorted({s.id for s in selectors if s.id is not None})
    names = sorted({s.name for s in selectors if s.name is not None})
    sets: list[list[dict[str, Any]]] = []
    if ids:
        sets.append([{"Name": id_filter, "Values": ids}])
    if names:
        assert name_filter is not None, "subnets have no name of their own"
        sets.append([{"Name": name_filter, "Values": names}])
    sets += [tag_filters(dict(s.tags)) for s in selectors if s.id is None and s.name is None]
    return sets
