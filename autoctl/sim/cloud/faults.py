"""Faults that strike the simulated cloud, with selectors and a duration.

The kinds are those of a scenario's `fault:` steps. Faults about capacity, requests and launches
are conditions that hold for a while; interruptions, terminations and AMI releases happen once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class FaultType(StrEnum):
    """What can go wrong."""

    INSUFFICIENT_CAPACITY = "insufficient-capacity"
    SPOT_INTERRUPTION = "spot-interruption"
    INSTANCE_TERMINATED = "instance-terminated"
    INSTANCE_IMPAIRED = "instance-impaired"
    API_THROTTLE = "api-throttle"
    API_ERROR = "api-error"
    SLOW_LAUNCH = "slow-launch"
    NEVER_REGISTERS = "never-registers"
    AMI_RELEASE = "ami-release"


LASTING = frozenset(
    {
        FaultType.INSUFFICIENT_CAPACITY,
        FaultType.API_THROTTLE,
        FaultType.API_ERROR,
        FaultType.SLOW_LAUNCH,
        FaultType.NEVER_REGISTERS,
    }
)
"""Kinds that hold until they are over; the others happen once."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Fault:
    """One fault.

    The selectors `instance_types`, `zones`, `capacity_types`, `operations` hold shell patterns;
    empty selects everything. `instance_ids` names instances; `count` takes that many of the
    selected (None: all). `lasts` None means until `clear`. `share` is the part of the matching
    requests or launches that is hit. `error` and `message` are what `api-error` answers with
    `status`, and what `insufficient-capacity` answers in place of EC2's usual code. `delay` is the
    seconds that `slow-launch` adds to booting, `version` what `ami-release` publishes and
    `category` which check `instance-impaired` fails (`instance`, `system` or `ebs`).
    """

    type: FaultType
    instance_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    capacity_types: tuple[str, ...] = ()
    instance_ids: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    count: int | None = None
    lasts: timedelta | None = None
    share: float = 1.0
    error: str | None = None
    message: str = "An internal error has occurred"
    status: int = 500
    delay: float = 120.0
    version: str | None = None
    category: str = "instance"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if self.count is not None and self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if self.category not in ("instance", "system", "ebs"):
            raise ValueError(f"category must be instance, system or ebs, got {self.category!r}")

    def selects_offering(self, instance_type: str, zone: str, capacity_type: str) -> bool:
        return (
            matches(self.instance_types, instance_type)
            and matches(self.zones, zone)
            and matches(self.capacity_types, capacity_type)
        )

    def selects_operation(self, service: str, operation: str) -> bool:
        return any(matches(self.operations, name) for name in (operation, f"{service}:{operation}"))


_FIELDS = {
    "instanceTypes": "instance_types",
    "zones": "zones",
    "capacityTypes": "capacity_types",
    "instanceIds": "instance_ids",
    "operations": "operations",
}


def parse_fault(step: Mapping[str, Any]) -> Fault:
    """A scenario's `fault:` object; ValueError names the field and what was expected.

    {type, instanceTypes, zones, capacityTypes, instanceIds, operations: lists of strings; count;
    for: duration; share; error; message; status; delay: seconds; version; category}
    """
    values: dict[str, Any] = {}
    known = ", ".join(kind.value for kind in FaultType)
    try:
        values["type"] = FaultType(str(step.get("type")))
    except ValueError:
        raise ValueError(f"type: expected one of {known}; got {step.get('type')!r}") from None
    for key, value in step.items():
        if key == "type":
            continue
        if key == "for":
            values["lasts"] = _duration(value)
        elif key in _FIELDS:
            if isinstance(value, str) or not all(isinstance(entry, str) for entry in value):
                raise ValueError(f"{key}: expected a list of strings, got {value!r}")
            values[_FIELDS[key]] = tuple(value)
        elif key in (
            "count",
            "share",
            "error",
            "message",
            "status",
            "delay",
            "version",
            "category",
        ):
            values[key] = value
        else:
            raise ValueError(f"{key}: unknown field of a fault")
    return Fault(**values)


def _duration(value: object) -> timedelta:
    text = str(value)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"for: expected a duration such as 20m or 1h30m, got {value!r}")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def matches(patterns: Iterable[str], value: str) -> bool:
    """Whether a value matches one of the shell patterns; no patterns match everything."""
    patterns = tuple(patterns)
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)


@dataclass
class ActiveFaults:
    """The lasting faults that are in force."""

    entries: list[tuple[Fault, datetime | None]] = field(default_factory=list)

    def add(self, fault: Fault, now: datetime) -> None:
        until = None if fault.lasts is None else now + fault.lasts
        self.entries.append((fault, until))

    def of(self, kind: FaultType, now: datetime) -> list[Fault]:
        """The faults of a kind that hold at `now`, in the order they began."""
        self.entries = [entry for entry in self.entries if entry[1] is None or now < entry[1]]
        return [fault for fault, _ in self.entries if fault.type is kind]

    def clear(self, kind: FaultType | None = None) -> None:
        """End all faults, or those of a kind."""
        self.entries = [
            entry for entry in self.entries if kind is not None and entry[0].type is not kind
        ]
