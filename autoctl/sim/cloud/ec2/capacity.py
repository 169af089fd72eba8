"""What there is to launch: capacity an offering, reservations, account quotas."""

from __future__ import annotations

import zlib
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.query import Fields, page, select_tagged
from autoctl.sim.cloud.ec2.records import (
    ON_DEMAND,
    RESERVED,
    SPOT,
    InstanceRecord,
    Reservation,
    tag_list,
    tags_of,
)
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.faults import FaultType
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2


DEFAULT_VCPU_QUOTA = 1_000_000

RESERVATION_FIELDS: Fields[Reservation] = {
    "instance-type": lambda r: r.instance_type,
    "availability-zone": lambda r: r.zone,
    "owner-id": lambda r: r.owner,
    "state": lambda r: r.state,
    "tenancy": lambda r: r.tenancy,
    "instance-match-criteria": lambda r: r.match,
    "placement-group-arn": lambda r: r.placement_group_arn,
}


class Capacity:
    """Room for launches.

    `pools` limits single offerings, (type, zone, capacity type) -> instances that still fit; an
    offering without an entry has no limit but the faults'. `vcpu_quota` limits running vCPUs by
    capacity type (`on-demand` counts reserved ones, as EC2 does).
    """

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self.pools: dict[tuple[str, str, str], int] = {}
        self.reservations: dict[str, Reservation] = {}
        self.vcpu_quota = {ON_DEMAND: DEFAULT_VCPU_QUOTA, SPOT: DEFAULT_VCPU_QUOTA}
        self.vcpus_used: Counter[str] = Counter()

    def room(self, instance_type: str, zone: str, capacity_type: str) -> int | None:
        """How many more instances of an offering fit; None for any number."""
        for fault in self._ec2.active_faults(FaultType.INSUFFICIENT_CAPACITY):
            if fault.selects_offering(instance_type, zone, capacity_type):
                return 0
        return self.pools.get((instance_type, zone, capacity_type))

    def depth(self, instance_type: str, zone: str) -> int:
        """How deep a spot pool is said to be, 1 to 10; what capacity-optimized strategies look at.

        A limited pool is as deep as it has room, others have a fixed depth of their own.
        """
        room = self.room(instance_type, zone, SPOT)
        if room is not None:
            return min(room, 10)
        return 1 + zlib.crc32(f"{instance_type}@{zone}".encode()) % 10

    def check_room(self, instance_type: str, zone: str, capacity_type: str) -> None:
        """Raises InsufficientInstanceCapacity when an offering has no room."""
        for fault in self._ec2.active_faults(FaultType.INSUFFICIENT_CAPACITY):
            if fault.error and fault.selects_offering(instance_type, zone, capacity_type):
                raise AwsFailure(fault.error, fault.message, fault.status)
        if self.room(instance_type, zone, capacity_type) != 0:
            return
        if capacity_type == SPOT:
            raise AwsFailure(
                "InsufficientInstanceCapacity",
                "There is no Spot capacity available that matches your request.",
                500,
            )
        raise AwsFailure(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {instance_type} capacity in the "
            f"Availability Zone you requested ({zone}). Our system will be working on "
            "provisioning additional capacity.",
            500,
        )

    def take(self, instance_type: str, zone: str, capacity_type: str) -> None:
        """Count a launch against its pool, which has room."""
        key = (instance_type, zone, capacity_type)
        if key in self.pools:
            assert self.pools[key] > 0, "room is checked before it is taken"
            self.pools[key] -= 1

    def take_vcpus(self, instance_type: str, capacity_type: str, vcpus: int) -> None:
        """Count vCPUs against the account's quota; raises when it would be exceeded."""
        bucket = SPOT if capacity_type == SPOT else ON_DEMAND
        if self.vcpus_used[bucket] + vcpus > self.vcpu_quota[bucket]:
            if bucket == SPOT:
                raise AwsFailure("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
            raise AwsFailure(
                "VcpuLimitExceeded",
                f"You have requested more vCPU capacity than your current vCPU limit of "
                f"{self.vcpu_quota[bucket]} allows for the instance bucket that the specified "
                f"instance type ({instance_type}) belongs to.",
            )
        self.vcpus_used[bucket] += vcpus

    def give_back(self, instance: InstanceRecord, vcpus: int) -> None:
        """An instance ended: its pool, quota and reservation have room again."""
        bucket = SPOT if instance.capacity_type == SPOT else ON_DEMAND
        self.vcpus_used[bucket] -= vcpus
        key = (instance.instance_type, instance.zone, instance.capacity_type)
        if key in self.pools and instance.from_pool:
            self.pools[key] += 1
        if instance.reservation_id in self.reservations:
            self.reservations[instance.reservation_id].used_by.discard(instance.instance_id)

    def add_reservation(
        self, instance_type: str, zone: str, total: int, **facts: Any
    ) -> Reservation:
        """A capacity reservation that exists; `facts` are fields of `Reservation`."""
        reservation = Reservation(
            reservation_id=self._ec2.new_id("cr"),
            instance_type=instance_type,
            zone=zone,
            total=total,
            owner=facts.pop("owner", ACCOUNT),
            created_at=self._ec2.now(),
            **facts,
        )
        self.reservations[reservation.reservation_id] = reservation
        if reservation.ends_at is not None:
            self._ec2.timeline.at(reservation.ends_at, lambda: self.expire(reservation))
        return reservation

    def expire(self, reservation: Reservation) -> None:
        """A reservation ends: instances of a capacity block end with it, others stay on demand."""
        reservation.state = "expired"
        for instance_id in sorted(reservation.used_by):
            instance = self._ec2.instances.get(instance_id)
            if reservation.kind == "capacity-block":
                self._ec2.instances.terminate(instance, "Server.CapacityBlockExpired")
            else:
                instance.reservation_id = None
                instance.capacity_type = ON_DEMAND
        reservation.used_by.clear()

    def targeted(self, reservation_id: str, instance_type: str, zone: str) -> Reservation:
        """The reservation that a launch names, if it takes one more instance of this kind."""
        reservation = self.reservations.get(reservation_id)
        if reservation is None:
            raise AwsFailure(
                "InvalidCapacityReservationId.NotFound",
                f"The capacity reservation ID '{reservation_id}' does not exist",
            )
        if reservation.state != "active":
            # EC2's list of error codes has the first alone; the second is what Karpenter has met.
            begun = reservation.state not in ("pending", "scheduled", "payment-pending")
            raise AwsFailure(
                "InvalidCapacityReservationState."
                + ("Unavailable" if begun else "PendingActivation"),
                f"The capacity reservation '{reservation_id}' is {reservation.state}",
            )
        if (reservation.instance_type, reservation.zone) != (instance_type, zone):
            raise AwsFailure(
                "InvalidParameterValue",
                f"The capacity reservation '{reservation_id}' is for {reservation.instance_type} "
                f"in {reservation.zone}, not for {instance_type} in {zone}",
            )
        if not reservation.available or self.room(instance_type, zone, RESERVED) == 0:
            raise AwsFailure(
                "ReservationCapacityExceeded",
                "The requested reservation does not have sufficient compatible and available "
                "capacity for this request.",
            )
        return reservation

    def open_match(self, instance_type: str, zone: str, tenancy: str) -> Reservation | None:
        """The open reservation that EC2 itself would put a launch into."""
        for reservation in self.reservations.values():
            if (
                reservation.match == "open"
                and reservation.state == "active"
                and reservation.kind == "default"
                and (reservation.instance_type, reservation.zone) == (instance_type, zone)
                and reservation.tenancy == tenancy
                and reservation.available
            ):
                return reservation
        return None

    def interruptible(
        self, reservation_ids: tuple[str, ...], instance_type: str, zone: str
    ) -> Reservation:
        """The first of the named interruptible reservations with room for this kind."""
        for reservation_id in reservation_ids:
            reservation = self.reservations.get(reservation_id)
            if (
                reservation is not None
                and reservation.interruptible
                and reservation.state == "active"
                and (reservation.instance_type, reservation.zone) == (instance_type, zone)
                and reservation.available
            ):
                return reservation
        raise AwsFailure(
            "ReservationCapacityExceeded",
            "None of the requested interruptible reservations has sufficient compatible and "
            "available capacity for this request.",
        )

    def describe_capacity_reservations(self, params: Params) -> Answer:
        wanted = []
        for reservation_id in params.get("CapacityReservationIds") or self.reservations:
            if reservation_id not in self.reservations:
                raise AwsFailure(
                    "InvalidCapacityReservationId.NotFound",
                    f"The capacity reservation ID '{reservation_id}' does not exist",
                )
            wanted.append(self.reservations[reservation_id])
        found = select_tagged(wanted, params, RESERVATION_FIELDS)
        items, token = page(found, params, low=1, high=1000)
        return {"CapacityReservations": [self._describe(r) for r in items], **token}

    def _describe(self, reservation: Reservation) -> dict[str, Any]:
        described: dict[str, Any] = {
            "CapacityReservationId": reservation.reservation_id,
            "OwnerId": reservation.owner,
            "CapacityReservationArn": f"arn:aws:ec2:{self._ec2.region}:{reservation.owner}:"
            f"capacity-reservation/{reservation.reservation_id}",
            "InstanceType": reservation.instance_type,
            "InstancePlatform": "Linux/UNIX",
            "AvailabilityZone": reservation.zone,
            "AvailabilityZoneId": self._ec2.zone_id(reservation.zone),
            "Tenancy": reservation.tenancy,
            "TotalInstanceCount": reservation.total,
            "AvailableInstanceCount": reservation.available,
            "EbsOptimized": False,
            "EphemeralStorage": False,
            "State": reservation.state,
            "EndDateType": "limited" if reservation.ends_at else "unlimited",
            "InstanceMatchCriteria": reservation.match,
            "ReservationType": reservation.kind,
            "Interruptible": reservation.interruptible,
            "Tags": tag_list(reservation.tags),
        }
        moments = {
            "CreateDate": reservation.created_at,
            "StartDate": reservation.created_at,
            "EndDate": reservation.ends_at,
        }
        described |= {key: moment for key, moment in moments.items() if moment is not None}
        if reservation.placement_group_arn is not None:
            described["PlacementGroupArn"] = reservation.placement_group_arn
        return described

    def create_capacity_reservation(self, params: Params) -> Answer:
        zone = params.get("AvailabilityZone") or self._ec2.zone_of_id(
            params.get("AvailabilityZoneId", "")
        )
        self._ec2.types.check_offered(params["InstanceType"], zone)
        ends_at: datetime | None = params.get("EndDate")
        reservation = self.add_reservation(
            params["InstanceType"],
            zone,
            params["InstanceCount"],
            match=params.get("InstanceMatchCriteria", "open"),
            tenancy=params.get("Tenancy", "default"),
            ends_at=ends_at,
            tags=tags_of(params.get("TagSpecifications"), "capacity-reservation"),
        )
        return {"CapacityReservation": self._describe(reservation)}

    def capacity_type_of(self, reservation: Reservation | None, spot: bool, targeted: bool) -> str:
        """Karpenter's capacity type of a launch: an open match stays on-demand."""
        if spot:
            return SPOT
        return RESERVED if reservation is not None and targeted else ON_DEMAND
