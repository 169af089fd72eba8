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

from collections.abc import Mapping, Sequence
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
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from autoctl.catalog.embedded import region_data, regions
from autoctl.operator.settings import Settings as OperatorSettings
from autoctl.ports.kubernetes import RESOURCES
from autoctl.simulate.durations import duration_of, not_negative
from autoctl.simulate.fault_fields import check_fault
from autoctl.state.expansion import MOST_PODS, TooManyPodsError, check_size

API_VERSION: Final = "simulate.autoctl.io/v1"
CLUSTER: Final = "autoctl"
"""The simulated EKS cluster's name."""


class ScenarioError(ValueError):
    """A scenario that cannot be played: the file, the field, and what was expected."""


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("expected a time zone, such as a Z at the end")
    return value.astimezone(UTC)


def _moment(value: Any) -> Any:
    return value if value == "end" else not_negative(duration_of(value))


Duration: TypeAlias = Annotated[
    timedelta, BeforeValidator(duration_of), AfterValidator(not_negative)
]
Moment: TypeAlias = Annotated[timedelta | Literal["end"], BeforeValidator(_moment)]
"""When something is judged: a time since the start, or the end."""
Instant: TypeAlias = Annotated[datetime, AfterValidator(_utc)]


class FieldError(ValueError):
    """An object that cannot be in a simulated cluster; `path` is its field that is wrong."""

    def __init__(self, path: str, expected: str) -> None:
        self.path = path
        super().__init__(expected)


def check_object(obj: Mapping[str, Any]) -> None:
    """Raise `FieldError` for an object without a name, or a workload of too many pods.

    Kinds that are not simulated pass; everything else is left to the simulated API server.
    """
    if not any(
        (r.api_version, r.kind) == (obj.get("apiVersion"), obj.get("kind")) for r in RESOURCES
    ):
        return
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise FieldError("metadata.name", "Required value")
    try:
        check_size(dict(obj))
    except TooManyPodsError as error:
        raise FieldError(error.path, str(error)) from error
    except ValueError as error:
        raise FieldError("spec", str(error)) from error


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        allow_inf_nan=False,
    )


class Scale(_Strict):
    """Set a workload's replicas."""

    kind: Literal["Deployment", "ReplicaSet", "StatefulSet", "NodePool"] = "Deployment"
    name: str
    namespace: str = "default"
    replicas: Annotated[int, Field(ge=0, le=MOST_PODS)]


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
        return self


class Range(_Strict):
    """A bound on a number."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("expected a number, or min, max or both, got neither")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(
                f"expected min not above max, got min {self.min:g} and max {self.max:g}"
            )
        return self

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

    at: Moment
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

    @model_validator(mode="after")
    def _asks_something(self) -> Expectation:
        if not self.bounds():
            known = (to_camel(n) for n in type(self).model_fields if n != "at")
            raise ValueError(f"expected at least one of {', '.join(known)}, got none")
        return self

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


def operator_settings(given: Mapping[str, Any]) -> OperatorSettings:
    """The settings of a simulated operator. Raises pydantic's `ValidationError`."""
    return OperatorSettings.model_validate(
        {
            "cluster_name": CLUSTER,
            "interruption_queue": CLUSTER,
            "leader_elect": False,
            "metrics_detail": "none",
            **given,
        }
    )


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

    @field_validator("operator")
    @classmethod
    def _known(cls, given: dict[str, Any]) -> dict[str, Any]:
        # Its ValidationError tells the field inside; pydantic puts this one's path before it.
        operator_settings(given)
        return given


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
        for name, length in (("duration", self.duration), ("sample", self.sample)):
            if length is not None and length <= timedelta(0):
                raise ValueError(f"{name}: expected more than 0s")
        for index, step in enumerate(self.steps):
            if step.at > self.duration:
                raise ValueError(f"steps[{index}].at: {step.at} is after the end ({self.duration})")
        for index, expectation in enumerate(self.expect):
            if expectation.at != "end" and expectation.at > self.duration:
                raise ValueError(
                    f"expect[{index}].at: {expectation.at} is after the end ({self.duration})"
                )
        return self

    @model_validator(mode="after")
    def _playable_faults(self) -> Scenario:
        for index, step in enumerate(self.steps):
            try:
                if step.fault is not None:
                    check_fault(step.fault)
            except ValueError as error:
                raise ValueError(f"steps[{index}].fault.{error}") from error
        return self

    @model_validator(mode="after")
    def _usable_objects(self) -> Scenario:
        given = [(f"objects[{i}]", o) for i, o in enumerate(self.objects)]
        for index, step in enumerate(self.steps):
            given += [(f"steps[{index}].apply[{i}]", o) for i, o in enumerate(step.apply or ())]
        for path, obj in given:
            try:
                check_object(obj)
            except FieldError as error:
                raise ValueError(f"{path}.{error.path}: {error}") from error
        return self

    @model_validator(mode="after")
    def _offered(self) -> Scenario:
        if self.region not in regions():
            known = ", ".join(regions())
            raise ValueError(f"region: {self.region!r} is not simulated; expected one of {known}")
        data, settings = region_data(self.region), self.settings
        reserved = [r.instance_type for r in settings.reservations]
        for path, name in (
            *((f"instanceTypes[{i}]", name) for i, name in enumerate(settings.instance_types)),
            *((f"reservations[{i}].instanceType", name) for i, name in enumerate(reserved)),
        ):
            if name not in data.types:
                raise ValueError(
                    f"settings.{path}: expected an instance type of {self.region} such as "
                    f"m7i.large, got {name!r}"
                )
        zones = [z.name for z in data.zones]
        for index, reservation in enumerate(settings.reservations):
            if reservation.zone not in zones:
                raise ValueError(
                    f"settings.reservations[{index}].zone: expected one of {', '.join(zones)}, "
                    f"got {reservation.zone!r}"
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
    except RecursionError as error:
        raise ScenarioError(f"{path}: expected a Scenario, got YAML nested too deeply") from error
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
        problems = "; ".join(map(_problem, error.errors()[:5]))
        raise ScenarioError(f"{source}: {problems}") from error


def _problem(error: ErrorDetails) -> str:
    """`settings.bootSeconds: Input should be greater than or equal to 0, got -1`."""
    place = f"{_field(error['loc'])}: " if error["loc"] else ""
    if error["type"] == "value_error":  # of a validator here: says itself what it got
        return place + error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{place}unknown field"
    value = error["input"]
    # The object in which a field is missing would be told, or the whole of a list.
    got = "" if isinstance(value, dict | list) else f", got {value!r}"
    return place + error["msg"] + got


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
