"""`karpenter.sh/v1` NodePool: which nodes may be launched, and how they may be disrupted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import Field

from autoctl.api import labels
from autoctl.api.cron import CronError, is_active, parse_schedule
from autoctl.api.duration import (
    NILLABLE_DURATION_PATTERN,
    parse_duration,
    parse_nillable_duration,
)
from autoctl.api.meta import (
    ApiModel,
    Conditions,
    CustomResource,
    Int32,
    Int64,
    PrinterColumn,
    Quantity,
    Rule,
    ScaleSubresource,
    conditions_field,
    is_true,
    ready_column,
    rules,
)
from autoctl.api.nodeclaim import (
    DEFAULT_EXPIRE_AFTER,
    LIFETIME_RULE,
    REQUIREMENT_RULES,
    ExpireAfter,
    LabelValue,
    NodeClassReference,
    PoolRequirement,
    StartupTaints,
    Taints,
    TerminationGracePeriod,
    label_rules,
)

DisruptionReason: TypeAlias = Literal["Underutilized", "Empty", "Drifted", "Expired"]
ConsolidationPolicy: TypeAlias = Literal["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]

# Condition types of NodePools
READY: Final = "Ready"
VALIDATION_SUCCEEDED: Final = "ValidationSucceeded"
NODE_CLASS_READY: Final = "NodeClassReady"
NODE_REGISTRATION_HEALTHY: Final = "NodeRegistrationHealthy"
DISRUPTION_BUDGETS_VALID: Final = "DisruptionBudgetsValid"
"""An extension of Karpenter's API; as `NodeRegistrationHealthy`, it bears not on `Ready`."""

UNLIMITED: Final = 2**31 - 1
"""How many disruptions are allowed where no budget is active."""

_SCHEDULE_PATTERN = (
    r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))|((.+)\s(.+)\s(.+)\s(.+)\s(.+))$"
)
_BUDGET_DURATION_PATTERN = r"^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$"


class Budget(ApiModel):
    """How many of the pool's nodes may be disrupted at once, always or at times."""

    nodes: Annotated[
        str,
        Field(
            pattern=r"^((100|[0-9]{1,2})%|[0-9]+)$",
            description="A number of nodes, or a percentage of the pool's nodes, rounded up.",
        ),
    ] = "10%"
    schedule: Annotated[
        str | None,
        Field(
            max_length=256,
            pattern=_SCHEDULE_PATTERN,
            description=(
                "When the budget becomes active, as a cron expression (minute, hour, day of month, "
                "month, day of week) or @hourly, @daily, @weekly, @monthly, @yearly. Always "
                "active when absent."
            ),
        ),
    ] = None
    duration: Annotated[
        str | None,
        Field(
            max_length=64,
            pattern=_BUDGET_DURATION_PATTERN,
            description="How long the budget is active from each time of the schedule.",
        ),
    ] = None
    time_zone: Annotated[
        str | None,
        Field(
            max_length=64,
            pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$",
            description=(
                "IANA time zone the schedule is read in, such as `Europe/Berlin`; UTC when absent. "
                "An extension of Karpenter's API."
            ),
        ),
    ] = None
    reasons: Annotated[
        tuple[DisruptionReason, ...] | None,
        Field(
            max_length=50,
            description=(
                "The reasons for disruption that the budget bounds; every reason but Expired when "
                "absent. Expired, an extension of Karpenter's API, bounds the expiry of nodes."
            ),
            json_schema_extra=rules(x_kubernetes_list_type="set"),
        ),
    ] = None

    def applies_to(self, reason: str) -> bool:
        """Whether the budget bounds disruptions for that reason.

        Expiry is forceful as upstream: only a budget that names it bounds it.
        """
        return reason != "Expired" if self.reasons is None else reason in self.reasons

    def fault(self) -> str | None:
        """Why the schedule or time zone cannot be read; None when they can."""
        if self.schedule is None:
            return None
        try:
            parse_schedule(self.schedule, self.time_zone)
        except CronError as error:
            return str(error)
        return None

    def is_active(self, now: datetime) -> bool:
        """Whether the budget holds at `now`.

        Raises:
            CronError: the schedule or time zone cannot be read. Callers fail closed: no
                disruption.
        """
        if self.schedule is None or self.duration is None:
            return True
        return is_active(self.schedule, parse_duration(self.duration), now, self.time_zone)

    def allowed(self, total: int) -> int:
        """How many of `total` nodes the budget lets go, percentages rounded up."""
        if self.nodes.endswith("%"):
            return -(-total * int(self.nodes[:-1]) // 100)
        return int(self.nodes)


class Disruption(ApiModel):
    """How and when nodes may be disrupted."""

    consolidate_after: Annotated[
        str,
        Field(
            max_length=64,
            pattern=NILLABLE_DURATION_PATTERN,
            description=(
                "How long pods must neither come nor go on a node before it is considered for "
                "consolidation. `Never` switches consolidation off."
            ),
        ),
    ] = "0s"
    consolidation_policy: Annotated[
        ConsolidationPolicy,
        Field(
            description=(
                "Which nodes consolidation considers: empty ones only, all, or all whose savings "
                "are in proportion to the disruption (Balanced)."
            )
        ),
    ] = "WhenEmptyOrUnderutilized"
    budgets: Annotated[
        tuple[Budget, ...],
        Field(
            max_length=50,
            description="Bounds on disruption; the most restrictive one that is active counts.",
            json_schema_extra=rules(
                Rule(
                    "self.all(x, has(x.schedule) == has(x.duration))",
                    "'schedule' must be set with 'duration'",
                ),
                Rule(
                    "self.all(x, !has(x.timeZone) || has(x.schedule))",
                    "'timeZone' must be set with 'schedule'",
                ),
                default=[{"nodes": "10%"}],
            ),
        ),
    ] = (Budget(nodes="10%"),)

    @property
    def quiet_period(self) -> timedelta | None:
        """`consolidateAfter`; None for `Never`."""
        return parse_nillable_duration(self.consolidate_after)

    def allowed(self, reason: str, total: int, now: datetime) -> int:
        """How many of `total` nodes may be under disruption for `reason` at `now`.

        The minimum over active budgets; `UNLIMITED` without one. A schedule that cannot be read
        allows none, as a window that cannot be known must be taken for open; and as upstream, it
        does so for every reason, whatever reasons its budget names. Expiry alone, which is
        forceful, stops only for a budget that names it.
        """
        allowed = UNLIMITED
        for budget in self.budgets:
            applies = budget.applies_to(reason)
            if not applies and reason == "Expired":
                continue
            try:
                active = budget.is_active(now)
            except CronError:
                return 0
            if applies and active:
                allowed = min(allowed, budget.allowed(total))
        return allowed

    def faults(self) -> list[str]:
        """What is wrong with schedules and time zones of budgets, naming the field."""
        return [
            f"spec.disruption.budgets[{index}].schedule: {fault}"
            for index, budget in enumerate(self.budgets)
            if (fault := budget.fault()) is not None
        ]


class TemplateMeta(ApiModel):
    """Labels and annotations that nodes get."""

    labels: Annotated[
        dict[str, LabelValue],
        Field(
            max_length=100,
            description="Labels of the nodes; pods may select them.",
            json_schema_extra=rules(*label_rules("x", nodepool_allowed=False)),
        ),
    ] = Field(default_factory=dict)
    annotations: Annotated[dict[str, str], Field(description="Annotations of the nodes.")] = Field(
        default_factory=dict
    )


class NodeClaimTemplateSpec(ApiModel):
    """What every NodeClaim of the pool starts from."""

    node_class_ref: Annotated[
        NodeClassReference,
        Field(
            description="The node class to launch with.",
            json_schema_extra=rules(
                Rule("self.group == oldSelf.group", "nodeClassRef.group is immutable"),
                Rule("self.kind == oldSelf.kind", "nodeClassRef.kind is immutable"),
            ),
        ),
    ]
    requirements: Annotated[
        tuple[PoolRequirement, ...],
        Field(
            max_length=100,
            description=(
                "What nodes may be: instance types, zones, capacity types, architectures and any "
                "other label. A pod's own requirements narrow them further."
            ),
            json_schema_extra=rules(*REQUIREMENT_RULES),
        ),
    ]
    taints: Taints = Field(default_factory=tuple)
    startup_taints: StartupTaints = Field(default_factory=tuple)
    expire_after: ExpireAfter = DEFAULT_EXPIRE_AFTER
    termination_grace_period: TerminationGracePeriod = None

    @property
    def lifetime(self) -> timedelta | None:
        """`expireAfter`; None for `Never`."""
        return parse_nillable_duration(self.expire_after)


class NodeClaimTemplate(ApiModel):
    """Metadata and spec of the NodeClaims to make."""

    metadata: TemplateMeta = Field(default_factory=TemplateMeta)
    spec: Annotated[
        NodeClaimTemplateSpec,
        Field(
            description="What the NodeClaims ask for.",
            json_schema_extra=rules(LIFETIME_RULE),
        ),
    ]


class NodePoolSpec(ApiModel):
    """What the pool's nodes are, how many there may be and how they may be disrupted."""

    template: Annotated[NodeClaimTemplate, Field(description="What nodes are made from.")]
    disruption: Annotated[
        Disruption,
        Field(
            description="How nodes may be disrupted.",
            json_schema_extra=rules(default={"consolidateAfter": "0s"}),
        ),
    ] = Field(default_factory=Disruption)
    limits: Annotated[
        dict[str, Quantity],
        Field(
            description=(
                "How much of a resource the pool's nodes may have together; `nodes` bounds "
                "their number."
            )
        ),
    ] = Field(default_factory=dict)
    weight: Annotated[
        Int32 | None,
        Field(
            ge=1,
            le=100,
            description="Pools of higher weight are tried first.",
        ),
    ] = None
    replicas: Annotated[
        Int64 | None,
        Field(
            ge=0,
            description="How many nodes to keep whether pods need them or not (a static pool).",
        ),
    ] = None


class NodePoolStatus(ApiModel):
    """What the pool has."""

    resources: Annotated[
        dict[str, Quantity], Field(description="Resources of the pool's nodes together.")
    ] = Field(default_factory=dict)
    nodes: Annotated[Int64, Field(description="How many nodes the pool has.")] = 0
    node_class_observed_generation: Annotated[
        Int64 | None,
        Field(description="Generation of the node class that the conditions were judged upon."),
    ] = None
    conditions: Annotated[
        Conditions,
        conditions_field(
            "ValidationSucceeded and NodeClassReady make Ready; NodeRegistrationHealthy and "
            "DisruptionBudgetsValid only tell."
        ),
    ] = Field(default_factory=tuple)


class NodePool(CustomResource):
    """Which nodes may be launched for pending pods."""

    GROUP: ClassVar[str] = labels.KARPENTER_GROUP
    VERSION: ClassVar[str] = "v1"
    KIND: ClassVar[str] = "NodePool"
    PLURAL: ClassVar[str] = "nodepools"
    CATEGORIES: ClassVar[tuple[str, ...]] = ("karpenter",)
    SCALE: ClassVar[ScaleSubresource | None] = ScaleSubresource(
        spec_replicas_path=".spec.replicas", status_replicas_path=".status.nodes"
    )
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn(
            name="NodeClass", type="string", json_path=".spec.template.spec.nodeClassRef.name"
        ),
        PrinterColumn(name="Nodes", type="string", json_path=".status.nodes"),
        ready_column(),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        PrinterColumn(name="Weight", type="integer", json_path=".spec.weight", priority=1),
        PrinterColumn(name="CPU", type="string", json_path=".status.resources.cpu", priority=1),
        PrinterColumn(
            name="Memory", type="string", json_path=".status.resources.memory", priority=1
        ),
    )

    spec: Annotated[
        NodePoolSpec,
        Field(
            json_schema_extra=rules(
                Rule(
                    "has(self.replicas) == has(oldSelf.replicas)",
                    "Cannot transition NodePool between static (replicas set) and dynamic "
                    "(replicas unset) provisioning modes",
                ),
                Rule(
                    "!has(self.replicas) || !has(self.limits) || size(self.limits) == 0 || "
                    "(size(self.limits) == 1 && 'nodes' in self.limits)",
                    "only 'limits.nodes' is supported on static NodePools",
                ),
                Rule(
                    "!has(self.replicas) || !has(self.weight)",
                    "'weight' is not supported on static NodePools",
                ),
            )
        ),
    ]
    status: NodePoolStatus = Field(default_factory=NodePoolStatus)

    @property
    def is_static(self) -> bool:
        """Whether the pool keeps a number of nodes (`replicas`) instead of following pods."""
        return self.spec.replicas is not None

    @property
    def ready(self) -> bool:
        return is_true(self.status.conditions, READY)

    @property
    def weight(self) -> int:
        """The pool's weight; 0 when unset, below every weight that can be given."""
        return self.spec.weight or 0
