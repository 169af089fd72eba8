"""What a scenario's `fault:` may say. Messages begin with the field's path inside the fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final

from autoctl.aws.clients import Clients
from autoctl.ports.kubernetes import RESOURCES
from autoctl.sim.cloud import wire
from autoctl.sim.cloud.faults import FaultType, matches, parse_fault
from autoctl.simulate.durations import duration_of, not_negative

CLUSTER_FAULTS: Final = (
    *("node-condition", "kube-error", "leader-loss", "eviction-blocked", "clock-jump"),
)
"""Faults of the cluster and the operator; the others are the cloud's (`FaultType`)."""

_CLUSTER_FAULT_FIELDS: Final = {
    "node-condition": {"condition", "status", "count", "nodes"},
    "kube-error": {"verbs", "resources", "share", "count", "answerLost"},
    "leader-loss": {"write", "cutOff"},
    "clock-jump": {"by"},
    "eviction-blocked": {"namespace", "names"},
}
_LISTS: Final = (
    *("instanceTypes", "zones", "capacityTypes", "instanceIds", "operations"),
    *("verbs", "resources", "nodes", "names"),
)
_TEXTS: Final = ("error", "message", "version", "category", "condition", "namespace")
_COUNTS: Final = ("count", "write")
_FLAGS: Final = ("answerLost", "cutOff")


def check_fault(fault: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a fault that nothing can play."""
    kind = fault.get("type")
    if kind not in (*CLUSTER_FAULTS, *FaultType):
        known = ", ".join([*FaultType, *CLUSTER_FAULTS])
        raise ValueError(f"type: expected one of {known}; got {kind!r}")
    for field, value in fault.items():
        expected = _expected(field, value)
        if expected is not None:
            raise ValueError(f"{field}: expected {expected}, got {value!r}")
    if kind in CLUSTER_FAULTS:
        _check_cluster_fault(str(kind), fault)
        return
    parse_fault(fault)
    for index, pattern in enumerate(fault.get("operations", ())):
        if not any(matches((pattern,), name) for name in _operations()):
            raise ValueError(
                f"operations[{index}]: expected a request of the operator to AWS such as "
                f"ec2:CreateFleet, ec2:* or *, got {pattern!r}"
            )


def _check_cluster_fault(kind: str, fault: Mapping[str, Any]) -> None:
    for field in sorted(set(fault) - _CLUSTER_FAULT_FIELDS[kind] - {"type", "for"}):
        known = ", ".join(sorted(_CLUSTER_FAULT_FIELDS[kind] | {"for"}))
        raise ValueError(f"{field}: unknown field of {kind}, expected one of {known}")
    for index, name in enumerate(fault.get("resources", ())):
        if name not in (r.plural for r in RESOURCES):
            raise ValueError(f"resources[{index}]: expected a plural such as pods, got {name!r}")
    try:
        if kind == "clock-jump":
            field = "by"
            duration_of(fault.get(field, ""))
        if "for" in fault:
            field = "for"
            not_negative(duration_of(fault[field]))
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error


def _expected(field: str, value: Any) -> str | None:
    """What the field's value should have been; None for one of the right form."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if field in _LISTS:
        right = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        return None if right else "a list of strings"
    if field in _TEXTS:
        return None if isinstance(value, str) else "a string"
    if field in _COUNTS:
        whole = number and isinstance(value, int) and value >= 1
        return None if whole else "a whole number of at least 1"
    if field in _FLAGS:
        return None if isinstance(value, bool) else "true or false"
    if field == "share":
        return None if number and 0 < value <= 1 else "a number above 0 and at most 1"
    if field == "delay":
        return None if number and 0 <= value < float("inf") else "seconds, 0 or more"
    return None


@cache
def _operations() -> frozenset[str]:
    """What an operator can ask of AWS, with its service (`ec2:CreateFleet`) and without."""
    return frozenset(_named_operations())


def _named_operations() -> Iterator[str]:
    for client in fields(Clients):
        service = client.name.replace("_", "-")
        for name in wire.operations(service).values():
            yield name
            yield f"{service}:{name}"
