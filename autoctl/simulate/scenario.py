"""A scenario: what is in the cluster at the start, what happens when, and what must then hold.

apiVersion: simulate.autoctl.io/v1
kind: Scenario
region: us-west-2
start: 2026-01-05T00:00:00Z
duration: 6h
manifests: [nodepool.yaml, workloads/]
steps:
- {at: 10m, scale: {kind: Deployment, name: web, replicas: 50}}
- {at: 30m, fault: {type: spot-interruption, count: 2}}
expect:
- {at: end, nodes: {max: 12}, orphans: 0}
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from autoctl.api.duration import DurationError, parse_duration
from autoctl.sim.cloud.faults import FaultType, parse_fault

API_VERSION: Final = "simulate.autoctl.io/v1"
CLUSTER_FAULTS: Final = (
    *("node-condition", "kube-error", "leader-loss", "eviction-blocked", "clock-jump"),
)
"""Faults of the cluster and the operator; the others are the cloud's (`FaultType`)."""


class ScenarioError(ValueError):
    """A scenario that cannot be played: the file, the field, and what was expected."""


def duration_of(value: Any) -> timedelta:
    """A duration as scenarios write it: Go's units, and days. Raises `ValueError`."""
    if isinstance(value, timedelta):
        return value
    text = str(value)
    days, _, rest = text.rpartition("d")
    try:
        total = timedelta(days=float(days)) if days else timedelta(0)
        return total + parse_duration(rest) if rest else total
    except (ValueError, DurationError) as error:
        raise ValueError(
            f"expected a duration such as 90s, 10m, 6h or 30d, got {text!r}"
        ) from error


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("expected a time zone, such as a Z at the end")
    return value.astimezone(UTC)


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(duration_of)]
Instant: TypeAlias = Annotated[datetime, AfterValidator(_utc)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True
    )


class Scale(_Strict):
    """Set a workload's replicas."""

    kind: Literal["Deployment", "ReplicaSet", "StatefulSet", "NodePool"] = "Deployment"
    name: str
    namespace: str = "default"
    replicas: Annotated[int, Field(ge=0)]


class Reference(_Strict):
    """One object to delete: by name, or the `any`-th there is by name, modulo how many there are.

    `any` finds nothing to delete where there is no object of the kind.
    """

    api_version: str | None = None
    kind: str
    name: str | None = None
    any: Annotated[int, Field(ge=0)] | None = None
    namespace: str = "default"

    @model_validator(mode="after")
    def _one_way(self) -> Reference:
        if (self.name is None) == (self.any is None):
            raise ValueError("expected exactly one of name, any")
        return self


class Step(_Strict):
    """Something that happens `at` an instant: exactly one of the other fields."""

    at: Duration
    apply: list[dict[str, Any]] | None = None
    scale: Scale | None = None
    delete: Reference | None = None
    fault: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_action(self) -> Step:
        given = [n for n in ("apply", "scale", "delete", "fault") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                "expected exactly one of apply, scale, delete, fault; "
                f"got {', '.join(given) or 'none'}"
            )
        if self.fault is not None:
            check_fault(self.fault)
        return self


def check_fault(fault: dict[str, Any]) -> None:
    """Raise `ValueError` for a fault that nothing can play."""
    kind = fault.get("type")
    if kind in CLUSTER_FAULTS:
        unknown = sorted(set(fault) - _CLUSTER_FAULT_FIELDS[str(kind)] - {"type", "for"})
        if unknown:
            raise ValueError(f"fault {kind}: unknown field {unknown[0]!r}")
        if "for" in fault:
            duration_of(fault["for"])
        number = fault.get("write", 1)
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"fault {kind}: write: expected a number from 1, got {number!r}")
        if kind == "clock-jump":
            duration_of(fault.get("by", ""))
        return
    if kind not in {f.value for f in FaultType}:
        known = ", ".join([*(f.value for f in FaultType), *CLUSTER_FAULTS])
        raise ValueError(f"fault type {kind!r}: expected one of {known}")
    parse_fault(fault)


_CLUSTER_FAULT_FIELDS: Final = {
    "node-condition": {"condition", "status", "count", "nodes"},
    "kube-error": {"verbs", "resources", "share", "count", "answerLost"},
    "leader-loss": {"write", "cutOff"},
    "clock-jump": {"by"},
    "eviction-blocked": {"namespace", "names"},
}


class Range(_Strict):
    """A bound on a number."""

    min: float | None = None
    max: float | None = None

    def holds(self, value: float) -> bool:
        """Whether `value` lies within."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


def _range(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"min": value, "max": value}
    return value


Bound: TypeAlias = Annotated[Range, BeforeValidator(_range)]


class Expectation(_Strict):
    """Numbers that must hold `at` an instant or at the `end`: an exact value, or min and max."""

    at: Duration | Literal["end"]
    nodes: Bound | None = None
    pods: Bound | None = None
    pending_pods: Bound | None = None
    running_pods: Bound | None = None
    usd_per_hour: Bound | None = None
    cost_over_bound: Bound | None = None
    orphans: Bound | None = None
    launched: Bound | None = None
    terminated: Bound | None = None
    evictions: Bound | None = None
    evictions_per_pod: Bound | None = None
    oldest_instance_hours: Bound | None = None

    def bounds(self) -> dict[str, Range]:
        """What was asked, by the field's name in the file."""
        return {
            to_camel(name): value
            for name in type(self).model_fields
            if name != "at" and (value := getattr(self, name)) is not None
        }


class Reservation(_Strict):
    """Instances of one type in one zone that the account has reserved, in one reservation.

    With `for` the reservation ends by itself.
    """

    instance_type: str
    zone: str
    count: Annotated[int, Field(ge=1)] = 1
    tags: dict[str, str] = Field(default_factory=dict)
    for_: Annotated[Duration | None, Field(alias="for")] = None


class Settings(_Strict):
    """How fast the simulated world is, what it offers, and what the operator is told.

    `instance_types` are all that the region offers; empty means the whole catalog. `patience`
    stretches the periods in which the operator looks again at what rarely changes (resolved
    NodeClasses, instance status, garbage): weeks are then played faster. `operators` is how many
    replicas there are; all but one stand by. `reservations` are the account's capacity
    reservations.
    """

    boot_seconds: Annotated[float, Field(ge=0)] = 40.0
    pod_start_seconds: Annotated[float, Field(ge=0)] = 5.0
    boot_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    patience: Annotated[float, Field(ge=1)] = 1.0
    instance_types: tuple[str, ...] = ()
    operators: Annotated[int, Field(ge=1, le=3)] = 1
    reservations: tuple[Reservation, ...] = ()
    operator: dict[str, Any] = Field(default_factory=dict)


class Scenario(_Strict):
    """A whole scenario."""

    api_version: Literal["simulate.autoctl.io/v1"] = API_VERSION
    kind: Literal["Scenario"] = "Scenario"
    name: str = "scenario"
    region: str = "us-west-2"
    start: Instant = datetime(2026, 1, 5, tzinfo=UTC)
    duration: Duration = timedelta(hours=1)
    sample: Duration | None = None
    manifests: list[str] = Field(default_factory=list)
    objects: list[dict[str, Any]] = Field(default_factory=list)
    settings: Settings = Field(default_factory=Settings)
    steps: list[Step] = Field(default_factory=list)
    expect: list[Expectation] = Field(default_factory=list)

    @model_validator(mode="after")
    def _within_duration(self) -> Scenario:
        if self.duration <= timedelta(0):
            raise ValueError("duration: expected more than 0s")
        for index, step in enumerate(self.steps):
            if step.at > self.duration:
                raise ValueError(f"steps[{index}].at: {step.at} is after the end ({self.duration})")
        for index, expectation in enumerate(self.expect):
            if expectation.at != "end" and expectation.at > self.duration:
                raise ValueError(
                    f"expect[{index}].at: {expectation.at} is after the end ({self.duration})"
                )
        return self


def load_scenario(path: str) -> Scenario:
    """Read a scenario file; its manifests' paths are relative to it.

    Raises `ScenarioError` naming the file, the field and what was expected.
    """
    file = Path(path)
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: expected UTF-8 text: {error.reason}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: {_unreadable(error)}") from error
    if not isinstance(value, dict):
        raise ScenarioError(f"{path}: expected a Scenario object, got {type(value).__name__}")
    for field, expected in (("apiVersion", API_VERSION), ("kind", "Scenario")):
        if value.get(field) != expected:
            raise ScenarioError(f"{path}: {field}: expected {expected}, got {value.get(field)!r}")
    scenario = parse_scenario(value, path)
    resolved = [str(file.parent / m) for m in scenario.manifests]
    return scenario.model_copy(update={"manifests": resolved})


def parse_scenario(value: dict[str, Any], source: str) -> Scenario:
    """Validate a scenario object. Raises `ScenarioError`."""
    try:
        return Scenario.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(
            (f"{_field(e['loc'])}: " if e["loc"] else "") + e["msg"].removeprefix("Value error, ")
            for e in error.errors()[:5]
        )
        raise ScenarioError(f"{source}: {problems}") from error


def _field(location: Sequence[int | str]) -> str:
    """`steps[0].scale.replicas`, as Kubernetes writes paths."""
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location)
    return path.removeprefix(".")


def _unreadable(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{line}expected YAML: {getattr(error, 'problem', None) or error}"


def with_duration(scenario: Scenario, text: str) -> Scenario:
    """The scenario cut (or stretched) to another duration; later steps fall away.

    Raises `ScenarioError` for what is no duration.
    """
    try:
        duration = duration_of(text)
    except ValueError as error:
        raise ScenarioError(f"--duration: {error}") from error
    if duration <= timedelta(0):
        raise ScenarioError(f"--duration: expected more than 0s, got {text!r}")
    return scenario.model_copy(
        update={
            "duration": duration,
            "steps": [s for s in scenario.steps if s.at <= duration],
            "expect": [e for e in scenario.expect if e.at == "end" or e.at <= duration],
        }
    )
