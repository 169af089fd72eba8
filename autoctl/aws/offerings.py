"""Offerings known to have no capacity now, and until when not to ask for them.

A failure takes an offering out for three minutes; one that fails again soon after it came back is
out twice as long, up to half an hour. Account-wide obstacles take out a whole capacity type,
exhausted subnets only themselves. What has no room in a placement group may have it outside, and a
capacity reservation that fails leaves others of the same type and zone as they are.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoctl.aws.errors import SERVICE_LINKED_ROLE, Kind
from autoctl.aws.fleet import FleetError
from autoctl.catalog.model import SPOT
from autoctl.ports.clock import Clock

FIRST = timedelta(minutes=3)
LONGEST = timedelta(minutes=30)
_REPEAT_WITHIN = timedelta(minutes=10)
"""A failure so soon after the last absence ended is a repetition."""


_SPREAD = "spread placement group"
"""In EC2's message when a spread group has as many instances in a zone as it may have."""


@dataclass(slots=True)
class _Absence:
    until: datetime
    length: timedelta


class UnavailableOfferings:
    """What is out, by capacity type, instance type and zone; by reservation; by capacity type; by
    subnet.

    `group` is the id of the placement group that was asked for, empty without one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._absences: dict[Hashable, _Absence] = {}
        self._out_now: set[Hashable] = set()
        self.revision = 0
        """Grows when something goes out or comes back."""

    def mark(self, instance_type: str, zone: str, capacity_type: str, group: str = "") -> None:
        """The offering has no capacity."""
        self._out(("offering", capacity_type, instance_type, zone, group))

    def mark_reservation(self, reservation: str) -> None:
        """The capacity reservation takes no instances."""
        self._out(("reservation", reservation))

    def mark_group(self, group: str, zone: str) -> None:
        """The placement group is full in the zone."""
        self._out(("group", group, zone))

    def mark_capacity_type(self, capacity_type: str) -> None:
        """Nothing of the capacity type can be had."""
        self._out(("capacity-type", capacity_type))

    def mark_subnet(self, subnet_id: str) -> None:
        """The subnet has no free addresses."""
        self._out(("subnet", subnet_id))

    def note(self, error: FleetError) -> None:
        """Learn from one error of a fleet."""
        if error.code == SERVICE_LINKED_ROLE:
            self.mark_capacity_type(SPOT)
        elif error.code == "InsufficientFreeAddressesInSubnet":
            self.mark_subnet(error.subnet_id)
        elif error.placement_group and _SPREAD in error.message.lower():
            self.mark_group(error.placement_group, error.zone)
        elif error.reservation and error.kind is Kind.CAPACITY:
            self.mark_reservation(error.reservation)
        elif error.kind is Kind.CAPACITY:
            self.mark(error.instance_type, error.zone, error.capacity_type, error.placement_group)
        elif error.kind is Kind.LIMIT:
            self.mark(error.instance_type, error.zone, error.capacity_type)

    def available(
        self,
        instance_type: str,
        zone: str,
        capacity_type: str,
        group: str = "",
        reservation: str = "",
    ) -> bool:
        """`group` and `reservation` are the placement group and the reservation to launch into."""
        if not self._out_now:
            return True
        keys: list[Hashable] = [
            ("capacity-type", capacity_type),
            ("offering", capacity_type, instance_type, zone, ""),
        ]
        if group:
            keys += [
                ("offering", capacity_type, instance_type, zone, group),
                ("group", group, zone),
            ]
        if reservation:
            keys.append(("reservation", reservation))
        return not any(self._is_out(key) for key in keys)

    def subnet_available(self, subnet_id: str) -> bool:
        return not self._is_out(("subnet", subnet_id))

    def refresh(self) -> int:
        """Let back in what is due, and return the revision."""
        now = self._clock.now()
        returned = [key for key in self._out_now if self._absences[key].until <= now]
        self._out_now.difference_update(returned)
        self.revision += len(returned)
        for key in [k for k, a in self._absences.items() if now >= a.until + _REPEAT_WITHIN]:
            del self._absences[key]
        return self.revision

    def _out(self, key: Hashable) -> None:
        now = self._clock.now()
        before = self._absences.get(key)
        if before is not None and now < before.until:
            return
        repeated = before is not None and now < before.until + _REPEAT_WITHIN
        length = min(LONGEST, before.length * 2) if before is not None and repeated else FIRST
        self._absences[key] = _Absence(now + length, length)
        self._out_now.add(key)
        self.revision += 1

    def _is_out(self, key: Hashable) -> bool:
        absence = self._absences.get(key)
        return absence is not None and self._clock.now() < absence.until
