"""Instances that run: finding, ending, tagging, their status."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autoctl.aws.batcher import Batcher
from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.tags import CLUSTER, from_api, tag_filters, to_api
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT

ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
"""States of an instance that still exists, as EC2 names them."""

_FILTER_VALUES = 200
"""EC2 takes no more values in one filter."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An EC2 instance, as far as a node depends on it."""

    id: str
    state: str
    instance_type: str
    zone: str
    capacity_type: str
    image_id: str
    launched_at: datetime
    subnet_id: str
    security_group_ids: tuple[str, ...]
    tags: Mapping[str, str]
    reservation_id: str | None = None

    @property
    def provider_id(self) -> str:
        return provider_id(self.zone, self.id)

    @property
    def ended(self) -> bool:
        return self.state == "terminated"

    @property
    def ending(self) -> bool:
        return self.state in {"shutting-down", "terminated"}


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """What EC2's status checks and scheduled events say; `since` is when an impairment began."""

    id: str
    instance_impaired_since: datetime | None
    system_impaired_since: datetime | None
    events: tuple[str, ...]
    """Codes of scheduled events that are still ahead, such as `instance-retirement`."""


def provider_id(zone: str, instance_id: str) -> str:
    """The Node's `spec.providerID`, as the AWS cloud provider writes it."""
    return f"aws:///{zone}/{instance_id}"


def instance_id(provider_id: str) -> str:
    """The instance of a providerID. Raises ValueError when it is none of AWS's."""
    head, _, tail = provider_id.rpartition("/")
    if not head.startswith("aws://") or not tail.startswith("i-"):
        raise ValueError(f"not the providerID of an EC2 instance: {provider_id!r}")
    return tail


class Instances:
    """Describe, terminate, tag; describing and terminating are batched."""

    def __init__(
        self,
        ec2: Caller,
        *,
        cluster: str,
        observe: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self._ec2 = ec2
        self._cluster = cluster

        def observer(name: str) -> Callable[[int, float], None] | None:
            return None if observe is None else lambda n, s: observe(name, n, s)

        self._describe: Batcher[str, Instance | None] = Batcher(
            self._describe_all,
            idle=0.1,
            longest=1.0,
            most=_FILTER_VALUES,
            observe=observer("describe_instances"),
        )
        self._terminate: Batcher[str, None] = Batcher(
            self._terminate_all,
            idle=0.1,
            longest=1.0,
            most=500,
            observe=observer("terminate_instances"),
        )

    async def get(self, id: str) -> Instance | None:  # noqa: A002 - EC2's word
        """The instance, or None when EC2 knows none of that id (any more, or yet)."""
        return await self._describe.submit(id)

    async def of_cluster(self) -> list[Instance]:
        """All instances of the cluster that still exist, by its tag."""
        filters = [
            *tag_filters({CLUSTER: self._cluster}),
            {"Name": "instance-state-name", "Values": list(ALIVE)},
        ]
        return await self._find(filters)

    async def terminate(self, id: str) -> None:  # noqa: A002 - EC2's word
        """Begin to end the instance; one that is gone already is no error."""
        await self._terminate.submit(id)

    async def tag(self, id: str, tags: Mapping[str, str]) -> None:  # noqa: A002 - EC2's word
        await self._ec2("create_tags", Resources=[id], Tags=to_api(tags))

    async def statuses(self) -> list[InstanceStatus]:
        """The statuses of running instances that are not in order."""
        found = []
        for name in ("instance-status.status", "system-status.status", "event.code"):
            values = ["*"] if name == "event.code" else ["impaired"]
            found += await self._ec2.pages(
                "describe_instance_status",
                "InstanceStatuses",
                Filters=[{"Name": name, "Values": values}],
                MaxResults=1000,
            )
        return list({status.id: status for status in map(_status, found)}.values())

    async def _find(self, filters: Sequence[dict[str, Any]]) -> list[Instance]:
        reservations = await self._ec2.pages(
            "describe_instances", "Reservations", Filters=list(filters), MaxResults=1000
        )
        return [_instance(i) for r in reservations for i in r.get("Instances", ())]

    async def _describe_all(self, ids: Sequence[str]) -> Sequence[Instance | Exception | None]:
        # By filter and not by InstanceIds: one unknown id would fail the others' request.
        values = sorted(set(ids))
        found = {i.id: i for i in await self._find([{"Name": "instance-id", "Values": values}])}
        return [found.get(id) for id in ids]  # noqa: A001

    async def _terminate_all(self, ids: Sequence[str]) -> Sequence[Exception | None]:
        try:
            await self._ec2("terminate_instances", InstanceIds=sorted(set(ids)))
        except CloudError as error:
            if len(ids) == 1:
                return [None if error.kind is Kind.NOT_FOUND else error]
            if error.transient:
                raise
            # One id that EC2 refuses fails all: each on its own.
            alone = {id: (await self._terminate_all([id]))[0] for id in sorted(set(ids))}  # noqa: A001
            return [alone[id] for id in ids]  # noqa: A001
        return [None] * len(ids)


def _instance(raw: Mapping[str, Any]) -> Instance:
    return Instance(
        id=raw["InstanceId"],
        state=raw["State"]["Name"],
        instance_type=raw["InstanceType"],
        zone=raw.get("Placement", {}).get("AvailabilityZone", ""),
        capacity_type=_capacity_type(raw),
        image_id=raw.get("ImageId", ""),
        launched_at=raw["LaunchTime"],
        subnet_id=raw.get("SubnetId", ""),
        security_group_ids=tuple(sorted(g["GroupId"] for g in raw.get("SecurityGroups", ()))),
        tags=from_api(raw.get("Tags")),
        reservation_id=raw.get("CapacityReservationId"),
    )


def _capacity_type(raw: Mapping[str, Any]) -> str:
    """`reserved` only where a reservation was targeted: EC2's own matching stays on-demand."""
    lifecycle = raw.get("InstanceLifecycle")
    if lifecycle == "spot":
        return SPOT
    target = raw.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget")
    if lifecycle == "capacity-block" or (raw.get("CapacityReservationId") and target):
        return RESERVED
    return ON_DEMAND


def _status(raw: Mapping[str, Any]) -> InstanceStatus:
    return InstanceStatus(
        id=raw["InstanceId"],
        instance_impaired_since=_impaired_since(raw.get("InstanceStatus", {})),
        system_impaired_since=_impaired_since(raw.get("SystemStatus", {})),
        events=tuple(
            event["Code"]
            for event in raw.get("Events", ())
            if not event.get("Description", "").startswith(("[Completed]", "[Canceled]"))
        ),
    )


def _impaired_since(summary: Mapping[str, Any]) -> datetime | None:
    if summary.get("Status") != "impaired":
        return None
    since = [d["ImpairedSince"] for d in summary.get("Details", ()) if "ImpairedSince" in d]
    return min(since, default=None)
