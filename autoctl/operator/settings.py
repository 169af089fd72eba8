"""What `autoctl run` can be told: one model for flags, environment, Helm values and documentation.

A field `batch_idle_duration` is the flag `--batch-idle-duration`, the variable
`AUTOCTL_BATCH_IDLE_DURATION` and the Helm value `settings.batchIdleDuration`. Flags win over the
environment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from autoctl.api.duration import DurationError, parse_duration
from autoctl.aws.ratelimit import FLEETS_PER_MINUTE
from autoctl.controllers.metrics.controller import Detail
from autoctl.scheduling.problem import MinValuesPolicy, PreferencePolicy

PREFIX = "AUTOCTL_"


class SettingsError(Exception):
    """A setting is missing or wrong; the message names flag, variable and value."""


def _seconds(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_duration(value).total_seconds()
        except DurationError as error:
            raise ValueError(f"expected a duration such as 10s or 1m30s: {error}") from error
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than 0s")
    return value


def _not_negative(value: float) -> float:
    if value < 0:
        raise ValueError("must not be less than 0s")
    return value


def _items(value: object) -> object:
    if isinstance(value, str) and value.startswith("["):
        return json.loads(value)  # as Helm writes lists; ValueError is a validation error
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _mirrors(value: tuple[str, ...]) -> tuple[str, ...]:
    for item in value:
        registry, _, endpoint = item.partition("=")
        if not registry or not endpoint.startswith(("https://", "http://")):
            raise ValueError(f"expected REGISTRY=URL such as docker.io=https://mirror, got {item}")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), AfterValidator(_positive)]
SecondsOrNone = Annotated[float, BeforeValidator(_seconds), AfterValidator(_not_negative)]
"""0 stands for no limit."""
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseModel):
    """Settings of the operator. Durations are seconds; Go's form (`1m30s`) is read as well."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    cluster_name: Annotated[
        str, Field(min_length=1, description="Name of the EKS cluster; tags what is made in AWS.")
    ]
    cluster_endpoint: Annotated[
        str, Field(description="URL at which nodes join; asked of EKS when empty.")
    ] = ""
    region: Annotated[
        str, Field(description="AWS region; AWS_REGION or the instance's own when empty.")
    ] = ""
    builtin_node_pools: Annotated[
        tuple[Literal["general-purpose", "system"], ...],
        NoDecode,
        BeforeValidator(_items),
        Field(description="Built-in NodePools to keep in place, as Auto Mode does."),
    ] = ()
    node_role: Annotated[
        str, Field(description="IAM role of nodes in the built-in `default` NodeClass.")
    ] = ""
    interruption_queue: Annotated[
        str,
        Field(description="SQS queue with EC2 interruption events (name or URL); none when empty."),
    ] = ""
    disable_dry_run: Annotated[
        bool,
        Field(description="Take NodeClasses as launchable without asking EC2 by dry runs."),
    ] = False
    fleets_per_minute: Annotated[
        int,
        Field(
            ge=2,
            le=300,
            description="CreateFleet requests in any minute, half of them at once. Where more "
            "different NodeClaims wait, those that have the same best offer share a request.",
        ),
    ] = FLEETS_PER_MINUTE
    registry_mirrors: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_items),
        AfterValidator(_mirrors),
        Field(
            description="Mirrors of container registries on nodes, as docker.io=https://mirror; "
            "more than one of a registry are tried in order. Nodes with others drift."
        ),
    ] = ()
    compute_type_label: Annotated[
        bool,
        Field(
            description="Put eks.amazonaws.com/compute-type=auto on nodes, as Auto Mode does; the "
            "DaemonSets of AWS's add-ons avoid nodes that have it."
        ),
    ] = True
    batch_idle_duration: Annotated[
        Seconds,
        Field(description="Pending pods are decided on when no new one came for this long."),
    ] = 1.0
    batch_max_duration: Annotated[
        Seconds, Field(description="Pending pods are decided on after this time at the latest.")
    ] = 10.0
    preference_policy: Annotated[
        PreferencePolicy,
        Field(description="Whether preferences count before they are relaxed."),
    ] = PreferencePolicy.RESPECT
    min_values_policy: Annotated[
        MinValuesPolicy,
        Field(description="Whether minValues of a NodePool may be lowered to launch at all."),
    ] = MinValuesPolicy.STRICT
    solver_budget: Annotated[
        int, Field(ge=0, description="Units of work for one solve; 0 packs greedily only.")
    ] = 5_000_000
    max_pod_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="Largest share of a batch's requests on one new node, where that costs no "
            "more: what a dead node takes along. 1 allows all on one.",
        ),
    ] = 0.5
    savings_threshold: Annotated[
        float,
        Field(ge=0, le=1, description="Least share of cost a move with replacements must save."),
    ] = 0.05
    node_repair: Annotated[
        bool, Field(description="Replace nodes whose conditions stay unhealthy.")
    ] = True
    node_repair_threshold: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Share of a NodePool's nodes, rounded up, that may be unhealthy at once; "
            "with more none is replaced.",
        ),
    ] = 0.2
    initialization_timeout: Annotated[
        SecondsOrNone,
        Field(
            description="Give up nodes that registered but are not initialized after this long; "
            "0s: never, as Karpenter."
        ),
    ] = 0.0
    leader_elect: Annotated[
        bool, Field(description="Act only while holding the Lease; false for a single replica.")
    ] = True
    leader_election_name: Annotated[str, Field(min_length=1, description="Name of the Lease.")] = (
        "autoctl"
    )
    leader_election_namespace: Annotated[
        str, Field(description="Namespace of the Lease; the pod's own when empty.")
    ] = ""
    lease_duration: Annotated[
        Seconds, Field(description="A standby takes the Lease this long after its last renewal.")
    ] = 12.0
    renew_deadline: Annotated[
        Seconds, Field(description="The leader stops when it could not renew for this long.")
    ] = 8.0
    retry_period: Annotated[Seconds, Field(description="Time between two looks at the Lease.")] = (
        2.0
    )
    kube_client_qps: Annotated[
        float, Field(gt=0, description="Requests a second to the API server.")
    ] = 200.0
    kube_client_burst: Annotated[
        int, Field(ge=1, description="Requests to the API server at once.")
    ] = 300
    metrics_port: Annotated[Port, Field(description="Port of /metrics.")] = 8080
    health_port: Annotated[Port, Field(description="Port of /healthz and /readyz.")] = 8081
    bind_address: Annotated[str, Field(description="Address on which both ports listen.")] = (
        "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    )
    metrics_detail: Annotated[
        Detail,
        Field(description="What has metrics of its own: NodePools, each node too, each pod too."),
    ] = Detail.NODE
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="Least level logged.")
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"], Field(description="One JSON object a line, or for people.")
    ] = "json"
    event_component: Annotated[
        str, Field(min_length=1, description="Source of Kubernetes events; Auto Mode's by default.")
    ] = "eks-auto-mode/compute"
    stop_grace: Annotated[
        Seconds, Field(description="Time to finish what was begun when told to stop.")
    ] = 20.0

    @property
    def mirrors(self) -> dict[str, tuple[str, ...]]:
        """Registry -> the end points of its mirrors, in order."""
        found: dict[str, tuple[str, ...]] = {}
        for item in self.registry_mirrors:
            registry, _, endpoint = item.partition("=")
            found[registry] = (*found.get(registry, ()), endpoint)
        return found

    @model_validator(mode="after")
    def _times_in_order(self) -> Settings:
        if self.batch_idle_duration > self.batch_max_duration:
            raise ValueError("batch-idle-duration must not be more than batch-max-duration")
        if not self.lease_duration > self.renew_deadline > self.retry_period * 1.2:
            raise ValueError(
                "need lease-duration > renew-deadline > 1.2 * retry-period, got "
                f"{self.lease_duration:g}s, {self.renew_deadline:g}s, {self.retry_period:g}s"
            )
        if self.lease_duration != int(self.lease_duration):
            raise ValueError("lease-duration must be whole seconds")
        if self.metrics_port == self.health_port != 0:
            raise ValueError("metrics-port and health-port must differ")
        if self.builtin_node_pools and not self.node_role:
            raise ValueError("builtin-node-pools need node-role, the IAM role of their nodes")
        return self


class _Environment(Settings, BaseSettings):
    """The same settings, completed from AUTOCTL_* variables."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, validate_default=True, env_prefix=PREFIX, env_ignore_empty=True
    )


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Settings from flags (by field name, as given) and the environment. Raises `SettingsError`."""
    try:
        read = _Environment(**flags)
    except ValidationError as error:
        raise SettingsError(_explain(error, flags)) from error
    return Settings(**{name: getattr(read, name) for name in Settings.model_fields})


def flag_name(field: str) -> str:
    return "--" + field.replace("_", "-")


def variable_name(field: str) -> str:
    return PREFIX + field.upper()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as documentation and `--help` show it."""

    field: str
    flag: str
    variable: str
    helm: str
    kind: str
    default: str
    choices: tuple[str, ...]
    description: str
    required: bool


def describe_settings() -> Iterator[Setting]:
    """All settings, in the order of the model."""
    for name, info in Settings.model_fields.items():
        head, *rest = name.split("_")
        yield Setting(
            field=name,
            flag=flag_name(name),
            variable=variable_name(name),
            helm="settings." + head + "".join(part.capitalize() for part in rest),
            kind=_kind(info),
            default="" if info.is_required() else _shown(info),
            choices=_choices(info.annotation),
            description=info.description or "",
            required=info.is_required(),
        )


def settings_table() -> str:
    """The reference of all settings as a Markdown table."""
    lines = ["| Flag | Variable | Helm value | Default | Meaning |", "|---|---|---|---|---|"]
    for setting in describe_settings():
        default = "required" if setting.required else f"`{setting.default}`" * bool(setting.default)
        choices = " One of " + ", ".join(f"`{c}`" for c in setting.choices) + "."
        meaning = setting.description + (choices if setting.choices else "")
        names = f"| `{setting.flag}` | `{setting.variable}` | `{setting.helm}`"
        lines.append(f"{names} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _is_seconds(info: FieldInfo) -> bool:
    bounds = (_positive, _not_negative)
    return any(isinstance(m, AfterValidator) and m.func in bounds for m in info.metadata)


def _kind(info: FieldInfo) -> str:
    if _is_seconds(info):
        return "duration"
    if get_origin(info.annotation) is tuple:
        return "list"
    if _choices(info.annotation):
        return "choice"
    kinds: dict[Any, str] = {bool: "boolean", int: "integer", float: "number"}
    return kinds.get(info.annotation, "text")


def _shown(info: FieldInfo) -> str:
    value = info.default
    if _is_seconds(info):
        return f"{value:g}s"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is tuple:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(str(member.value) for member in annotation)
    return ()


def _explain(error: ValidationError, flags: Mapping[str, Any]) -> str:
    """One line for each mistake."""
    lines = []
    for mistake in error.errors():
        text = mistake["msg"].removeprefix("Value error, ")
        if not mistake["loc"]:
            lines.append(text)
            continue
        field = str(mistake["loc"][0])
        # A field may be reported under its variable's name.
        field = field.lower().removeprefix(PREFIX.lower())
        source = flag_name(field) if field in flags else variable_name(field)
        if mistake["type"] == "missing":
            lines.append(f"{flag_name(field)} ({variable_name(field)}) is required")
        else:
            lines.append(f"{source}: {text}, got {mistake['input']!r}")
    return "\n".join(lines)
