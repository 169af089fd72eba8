"""`karpenter.sh/v1` NodeClaim: one node that was asked for, and what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import Field

from autoctl.api import labels
from autoctl.api.duration import (
    DURATION_PATTERN,
    NILLABLE_DURATION_PATTERN,
    parse_duration,
    parse_nillable_duration,
)
from autoctl.api.meta import (
    ApiModel,
    Conditions,
    CustomResource,
    PrinterColumn,
    Quantity,
    Rule,
    Timestamp,
    conditions_field,
    find_condition,
    is_true,
    ready_column,
    rules,
)

DEFAULT_EXPIRE_AFTER: Final = "336h"
"""Auto Mode's node lifetime; Karpenter's own is 720h."""

DEFAULT_TERMINATION_GRACE_PERIOD: Final = "24h"
"""Given by provisioning to NodeClaims whose NodePool names none; the API itself has no default."""

MAX_LIFETIME: Final = timedelta(days=21)
"""No node is older than this, whatever blocks its removal."""

# Condition types of NodeClaims
LAUNCHED: Final = "Launched"
REGISTERED: Final = "Registered"
INITIALIZED: Final = "Initialized"
READY: Final = "Ready"
CONSOLIDATABLE: Final = "Consolidatable"
DRIFTED: Final = "Drifted"
DRAINED: Final = "Drained"
VOLUMES_DETACHED: Final = "VolumesDetached"
INSTANCE_TERMINATING: Final = "InstanceTerminating"
CONSISTENT_STATE_FOUND: Final = "ConsistentStateFound"
DISRUPTION_REASON: Final = "DisruptionReason"

Operator: TypeAlias = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"]
TaintEffect: TypeAlias = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
LabelValue: TypeAlias = Annotated[str, Field(max_length=63, pattern=labels.LABEL_VALUE_PATTERN)]

_NODE_CLASS_KIND = "NodeClass"
_EXPIRE_AFTER = "self.expireAfter"
_GRACE_PERIOD = "(has(self.terminationGracePeriod) ? self.terminationGracePeriod : '24h')"
_IS_DURATION = f".matches('{DURATION_PATTERN}')"
_TOO_LONG = ".matches('[0-9]{5}h|[0-9]{8}')"
"""Above 21 days whatever follows, and near what CEL's durations can hold."""

LIFETIME_RULE: Final = Rule(
    "self.nodeClassRef.group != 'eks.amazonaws.com' || "
    f"!{_EXPIRE_AFTER}{_IS_DURATION} || !{_GRACE_PERIOD}{_IS_DURATION} || "
    f"!({_EXPIRE_AFTER}{_TOO_LONG} || {_GRACE_PERIOD}{_TOO_LONG}) && "
    f"duration({_EXPIRE_AFTER}) + duration{_GRACE_PERIOD} <= duration('504h')",
    "the sum of expireAfter and terminationGracePeriod (defaulted to 24h) may not exceed 21 days",
)
"""Holds for Auto Mode's node classes; other groups belong to controllers with their own bounds.

`Never` passes, so that Karpenter's manifests apply: it switches the soft expiry off, and the hard
cap of `MAX_LIFETIME` holds all the same."""

GREATER_OR_LESS_RULE: Final = Rule(
    "self.all(x, !(x.operator in ['Gt', 'Lt', 'Gte', 'Lte']) || (has(x.values) && "
    "x.values.size() == 1 && x.values[0].matches('^[0-9]{1,18}$')))",
    "requirements operator 'Gt', 'Lt', 'Gte', or 'Lte' must have a single positive integer value",
)

REQUIREMENT_RULES: Final = (
    Rule(
        "self.all(x, x.operator != 'In' || (has(x.values) && x.values.size() != 0))",
        "requirements with operator 'In' must have a value defined",
    ),
    GREATER_OR_LESS_RULE,
    Rule(
        "self.all(x, !(x.operator == 'In' && has(x.minValues)) || (has(x.values) && "
        "x.values.size() >= x.minValues))",
        "requirements with 'minValues' must have at least that many values specified in the "
        "'values' field",
    ),
)


def _cel_list(keys: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{key}'" for key in keys) + "]"


def label_rules(subject: str, *, nodepool_allowed: bool) -> list[Rule]:
    """The rules on label keys, for one key (`subject` = `self`) or each key of a map (`x`)."""
    domain = f"{subject}.find('^([^/]+)')"
    allowed = {
        labels.KARPENTER_GROUP: (labels.CAPACITY_TYPE, labels.NODEPOOL),
        labels.EKS_GROUP: labels.EKS_USER_LABELS,
        labels.KARPENTER_AWS_GROUP: labels.KARPENTER_AWS_USER_LABELS,
    }
    checks = [
        Rule(
            f"{subject} in {_cel_list(keys)} || !{domain}.endsWith('{group}')",
            f'label domain "{group}" is restricted',
        )
        for group, keys in allowed.items()
    ]
    banned = [labels.HOSTNAME] if nodepool_allowed else [labels.NODEPOOL, labels.HOSTNAME]
    checks += [Rule(f"{subject} != '{key}'", f'label "{key}" is restricted') for key in banned]
    if subject == "self":
        return checks
    return [Rule(f"self.all({subject}, {check})", message) for check, message in checks]


def _requirement_key(*, nodepool_allowed: bool) -> Any:
    return Field(
        max_length=316,
        pattern=labels.QUALIFIED_NAME_PATTERN,
        description="The label key that the requirement applies to.",
        json_schema_extra=rules(*label_rules("self", nodepool_allowed=nodepool_allowed)),
    )


RequirementKey: TypeAlias = Annotated[str, _requirement_key(nodepool_allowed=True)]


class LabelRequirement(ApiModel):
    """A node selector requirement."""

    key: Annotated[str, Field(max_length=316, description="The label key.")]
    operator: Annotated[
        Operator,
        Field(description="How the label's value relates to `values`."),
    ]
    values: Annotated[
        tuple[LabelValue, ...],
        Field(
            max_length=1000,
            description=(
                "Label values. Not empty for In and NotIn; one non-negative integer for Gt, Lt, "
                "Gte, Lte; empty for Exists and DoesNotExist."
            ),
            json_schema_extra=rules(x_kubernetes_list_type="atomic"),
        ),
    ] = Field(default_factory=tuple)


class Requirement(LabelRequirement):
    """A requirement that may also ask for a number of distinct values."""

    key: RequirementKey
    min_values: Annotated[
        int | None,
        Field(
            ge=1,
            le=50,
            description="How many distinct values the instance types to choose from must offer.",
        ),
    ] = None


class PoolRequirement(Requirement):
    """A requirement of a NodePool, which may not name the pool's own label."""

    key: Annotated[str, _requirement_key(nodepool_allowed=False)]


class Taint(ApiModel):
    """`v1.Taint`."""

    key: Annotated[
        str,
        Field(
            min_length=1,
            max_length=316,
            pattern=labels.QUALIFIED_NAME_PATTERN,
            description="The taint's key.",
        ),
    ]
    value: Annotated[
        str,
        Field(
            max_length=63,
            pattern=labels.LABEL_VALUE_PATTERN,
            description="The taint's value.",
        ),
    ] = Field(default_factory=str)
    effect: Annotated[
        TaintEffect,
        Field(description="What happens to pods that don't tolerate the taint."),
    ]
    time_added: Annotated[
        Timestamp | None, Field(description="When the taint was added; NoExecute taints only.")
    ] = None


class NodeClassReference(ApiModel):
    """Which object says how instances are launched."""

    group: Annotated[
        str,
        Field(
            pattern=r"^[^/]*$",
            description="API group of the node class: `eks.amazonaws.com`.",
            json_schema_extra=rules(Rule("self != ''", "group may not be empty")),
        ),
    ]
    kind: Annotated[
        str,
        Field(
            description="Kind of the node class: `NodeClass`.",
            json_schema_extra=rules(Rule("self != ''", "kind may not be empty")),
        ),
    ]
    name: Annotated[
        str,
        Field(
            description="Name of the node class.",
            json_schema_extra=rules(Rule("self != ''", "name may not be empty")),
        ),
    ]

    @property
    def ours(self) -> bool:
        """Whether it is a NodeClass; other kinds are other controllers', with all that uses them.

        The reference's group and kind cannot be changed.
        """
        return self.group == labels.EKS_GROUP and self.kind == _NODE_CLASS_KIND


class Resources(ApiModel):
    """What the pods the node was made for ask for together, daemons included."""

    requests: Annotated[
        dict[str, Quantity],
        Field(
            description="Resource name to quantity.",
        ),
    ] = Field(default_factory=dict)


ExpireAfter: TypeAlias = Annotated[
    str,
    Field(
        max_length=64,
        pattern=NILLABLE_DURATION_PATTERN,
        description=(
            "How long a node may live, from its creation. Then it is drained and removed, whatever "
            "the disruption budgets are."
        ),
    ),
]
TerminationGracePeriod: TypeAlias = Annotated[
    str | None,
    Field(
        max_length=64,
        pattern=DURATION_PATTERN,
        description=(
            "How long a drain may last before the pods that are left are removed, "
            "PodDisruptionBudgets and `karpenter.sh/do-not-disrupt` notwithstanding."
        ),
    ),
]
Taints: TypeAlias = Annotated[
    tuple[Taint, ...],
    Field(max_length=100, description="Taints of the node."),
]
StartupTaints: TypeAlias = Annotated[
    tuple[Taint, ...],
    Field(
        max_length=100,
        description=(
            "Taints that something removes soon after the node starts, such as a daemon; pods "
            "need not tolerate them to be scheduled."
        ),
    ),
]


class NodeClaimSpec(ApiModel):
    """What was asked for. It never changes."""

    node_class_ref: Annotated[
        NodeClassReference, Field(description="The node class to launch with.")
    ]
    requirements: Annotated[
        tuple[Requirement, ...],
        Field(
            max_length=100,
            description="What the node may be.",
            json_schema_extra=rules(*REQUIREMENT_RULES),
        ),
    ]
    resources: Annotated[
        Resources, Field(description="The resources the node must at least have.")
    ] = Field(default_factory=Resources)
    taints: Taints = Field(default_factory=tuple)
    startup_taints: StartupTaints = Field(default_factory=tuple)
    expire_after: ExpireAfter = DEFAULT_EXPIRE_AFTER
    termination_grace_period: TerminationGracePeriod = None

    @property
    def lifetime(self) -> timedelta | None:
        """`expireAfter`; None for `Never`."""
        return parse_nillable_duration(self.expire_after)

    @property
    def grace_period(self) -> timedelta | None:
        """`terminationGracePeriod`; None when the drain may last for ever."""
        period = self.termination_grace_period
        return None if period is None else parse_duration(period)


class NodeClaimStatus(ApiModel):
    """What became of it."""

    provider_id: Annotated[
        str | None,
        Field(alias="providerID", description="The instance, as `aws:///<zone>/<instance id>`."),
    ] = None
    node_name: Annotated[str | None, Field(description="Name of the Node object.")] = None
    image_id: Annotated[
        str | None, Field(alias="imageID", description="The AMI the instance was launched with.")
    ] = None
    capacity: Annotated[dict[str, Quantity], Field(description="The node's whole resources.")] = (
        Field(default_factory=dict)
    )
    allocatable: Annotated[
        dict[str, Quantity], Field(description="The node's resources that pods may use.")
    ] = Field(default_factory=dict)
    last_pod_event_time: Annotated[
        Timestamp | None,
        Field(description="When a pod was last bound to the node, or ended or left it."),
    ] = None
    conditions: Annotated[
        Conditions,
        conditions_field(
            "Launched, Registered, Initialized make Ready; more tell about disruption."
        ),
    ] = Field(default_factory=tuple)


class NodeClaim(CustomResource):
    """One node that was asked for."""

    GROUP: ClassVar[str] = labels.KARPENTER_GROUP
    VERSION: ClassVar[str] = "v1"
    KIND: ClassVar[str] = "NodeClaim"
    PLURAL: ClassVar[str] = "nodeclaims"
    CATEGORIES: ClassVar[tuple[str, ...]] = ("karpenter",)
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn(
            name="Type",
            type="string",
            json_path=r".metadata.labels.node\.kubernetes\.io/instance-type",
        ),
        PrinterColumn(
            name="Capacity",
            type="string",
            json_path=r".metadata.labels.karpenter\.sh/capacity-type",
        ),
        PrinterColumn(
            name="Zone",
            type="string",
            json_path=r".metadata.labels.topology\.kubernetes\.io/zone",
        ),
        PrinterColumn(name="Node", type="string", json_path=".status.nodeName"),
        ready_column(),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        PrinterColumn(name="ImageID", type="string", json_path=".status.imageID", priority=1),
        PrinterColumn(name="ID", type="string", json_path=".status.providerID", priority=1),
        PrinterColumn(
            name="NodePool",
            type="string",
            json_path=r".metadata.labels.karpenter\.sh/nodepool",
            priority=1,
        ),
        PrinterColumn(
            name="NodeClass", type="string", json_path=".spec.nodeClassRef.name", priority=1
        ),
        PrinterColumn(
            name="Drifted",
            type="string",
            json_path='.status.conditions[?(@.type=="Drifted")].status',
            priority=1,
        ),
    )

    spec: Annotated[
        NodeClaimSpec,
        Field(json_schema_extra=rules(Rule("self == oldSelf", "spec is immutable"))),
    ]
    status: NodeClaimStatus = Field(default_factory=NodeClaimStatus)

    @property
    def node_pool(self) -> str | None:
        """Name of the NodePool the claim belongs to."""
        return self.metadata.labels.get(labels.NODEPOOL)

    def condition_is_true(self, kind: str) -> bool:
        return is_true(self.status.conditions, kind)

    @property
    def launched(self) -> bool:
        return self.condition_is_true(LAUNCHED)

    @property
    def registered(self) -> bool:
        return self.condition_is_true(REGISTERED)

    @property
    def initialized(self) -> bool:
        return self.condition_is_true(INITIALIZED)

    @property
    def drift_reason(self) -> str | None:
        """Why the node is not as its NodePool and NodeClass want it; None when it is."""
        condition = find_condition(self.status.conditions, DRIFTED)
        return condition.reason if condition is not None and condition.status == "True" else None
