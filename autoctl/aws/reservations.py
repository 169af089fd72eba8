"""Capacity reservations and placement groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.tags import tag_filters


@dataclass(frozen=True, slots=True)
class ReservationSelector:
    """One selector term: an id, or tags that must all be there, of one owner where it is given."""

    id: str | None = None
    owner: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reservation:
    """A capacity reservation (ODCR) or Capacity Block that is active."""

    id: str
    instance_type: str
    zone: str
    owner: str
    match: str
    capacity_block: bool
    interruptible: bool
    available: int
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlacementGroup:
    id: str
    name: str
    strategy: str
    partitions: int | None


class Reservations:
    """DescribeCapacityReservations and DescribePlacementGroups."""

    def __init__(self, ec2: Caller) -> None:
        self._ec2 = ec2

    async def find(self, selectors: Iterable[ReservationSelector]) -> tuple[Reservation, ...]:
        """The active Linux reservations that any selector matches, sorted by id."""
        selectors = tuple(selectors)
        found: dict[str, Reservation] = {}
        ids = sorted({s.id for s in selectors if s.id is not None})
        raw = await self._by_ids(ids)
        for selector in selectors:
            if selector.id is None:
                owner = [{"Name": "owner-id", "Values": [selector.owner]}] if selector.owner else []
                raw += await self._describe(Filters=owner + tag_filters(dict(selector.tags)))
        for entry in raw:
            if entry["State"] == "active" and entry["InstancePlatform"].startswith("Linux"):
                found[entry["CapacityReservationId"]] = _reservation(entry)
        return tuple(found[key] for key in sorted(found))

    async def placement_group(
        self,
        *,
        id: str | None = None,  # noqa: A002 - EC2's word
        name: str | None = None,
    ) -> PlacementGroup | None:
        """The group of that id or name; None when there is none (any more)."""
        wanted = {"GroupIds": [id]} if id is not None else {"GroupNames": [name]}
        try:
            answer = await self._ec2("describe_placement_groups", **wanted)
        except CloudError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise
        for group in answer["PlacementGroups"]:
            if group["State"] == "available":
                return PlacementGroup(
                    group["GroupId"],
                    group["GroupName"],
                    group["Strategy"],
                    group.get("PartitionCount"),
                )
        return None

    async def _by_ids(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        if not ids:
            return []
        try:
            return await self._describe(CapacityReservationIds=list(ids))
        except CloudError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            if len(ids) == 1:
                return []
        # One id that is unknown fails the others' request: each on its own.
        return [entry for one in ids for entry in await self._by_ids([one])]

    async def _describe(self, **arguments: Any) -> list[Mapping[str, Any]]:
        return await self._ec2.pages(
            "describe_capacity_reservations", "CapacityReservations", **arguments
        )


def _reservation(raw: Mapping[str, Any]) -> Reservation:
    return Reservation(
        id=raw["CapacityReservationId"],
        instance_type=raw["InstanceType"],
        zone=raw["AvailabilityZone"],
        owner=raw["OwnerId"],
        match=raw["InstanceMatchCriteria"],
        capacity_block=raw.get("ReservationType") == "capacity-block",
        interruptible=bool(raw.get("Interruptible", False)),
        available=raw["AvailableInstanceCount"],
        ends_at=raw.get("EndDate"),
    )
