"""What every custom resource has: metadata, conditions, references; the base of all models.

Models read and write the JSON form of the API (`camelCase`) and drop unknown fields, as the API
server prunes them. They are frozen: a controller changes an object through a patch, never in
place. A field's plain `default` is the CRD's default, which the API server persists; a
`default_factory` is a convenience of the model that the CRD doesn't have.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from autoctl.api.quantity import QUANTITY_PATTERN, QuantityValue

JsonSchema: TypeAlias = dict[str, Any]


class Rule(NamedTuple):
    """A CEL rule as a CRD carries it in `x-kubernetes-validations`.

    The API server evaluates it at admission and `autoctl.api.validation` evaluates it offline:
    same verdict, same message.
    """

    rule: str
    message: str


def rules(*checks: Rule, **keywords: Any) -> JsonSchema:
    """Schema keywords for a field: CEL rules, then further keywords.

    Keyword names are the CRD's with `_` for `-`: `x_kubernetes_list_type="set"`.
    """
    schema: JsonSchema = {key.replace("_", "-"): value for key, value in keywords.items()}
    if checks:
        schema["x-kubernetes-validations"] = [check._asdict() for check in checks]
    return schema


def cel_name(name: str) -> str:
    """A property's name as CEL rules spell it: `vm.dirty_ratio` is `vm__dot__dirty_ratio`."""
    if name in _CEL_RESERVED:
        return f"__{name}__"
    return (
        name.replace("__", "__underscores__")
        .replace(".", "__dot__")
        .replace("-", "__dash__")
        .replace("/", "__slash__")
    )


_CEL_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


class ApiModel(BaseModel):
    """Base of every model: camelCase JSON, frozen, unknown fields pruned."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        frozen=True,
        extra="ignore",
    )

    def to_dict(self) -> dict[str, Any]:
        """The object's JSON form with the fields that were given, without nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def _rfc3339(instant: datetime) -> str:
    # Several times as fast as strftime.
    return instant.astimezone(UTC).isoformat()[:19] + "Z"


Timestamp: TypeAlias = Annotated[
    datetime,
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]
"""A `metav1.Time`: RFC 3339, UTC, whole seconds."""

Quantity: TypeAlias = Annotated[
    QuantityValue,
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
        }
    ),
]
"""A `resource.Quantity` in the form its author wrote; `autoctl.api.quantity` reads it."""

Int32: TypeAlias = Annotated[int, Field(json_schema_extra={"format": "int32"})]
Int64: TypeAlias = Annotated[int, Field(json_schema_extra={"format": "int64"})]


class OwnerReference(ApiModel):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(ApiModel):
    """`metav1.ObjectMeta`, without managedFields."""

    name: str = ""
    generate_name: str | None = None
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


class Condition(ApiModel):
    """`metav1.Condition`."""

    type: Annotated[
        str,
        Field(
            max_length=316,
            pattern=(
                r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
            ),
            description="Type of the condition in CamelCase.",
        ),
    ]
    status: Annotated[
        Literal["True", "False", "Unknown"],
        Field(description="Status of the condition."),
    ]
    reason: Annotated[
        str,
        Field(
            max_length=1024,
            description="Programmatic identifier of why the condition last changed.",
        ),
    ] = Field(default_factory=str)
    message: Annotated[
        str, Field(max_length=32768, description="Details of the last transition.")
    ] = Field(default_factory=str)
    last_transition_time: Annotated[
        Timestamp | None,
        Field(description="When the condition last changed from one status to another."),
    ] = None
    observed_generation: Annotated[
        Int64 | None,
        Field(ge=0, description="The metadata.generation the condition was set upon."),
    ] = None


Conditions: TypeAlias = tuple[Condition, ...]


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, or None."""
    for condition in conditions:
        if condition.type == kind:
            return condition
    return None


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition is there with status True."""
    condition = find_condition(conditions, kind)
    return condition is not None and condition.status == "True"


def set_condition(conditions: Conditions, condition: Condition, now: datetime) -> Conditions:
    """The conditions with `condition` in its place.

    `lastTransitionTime` moves to `now` only when the status changes. Returns `conditions` itself
    when nothing changes, so that `is` tells whether a patch is needed.
    """
    current = find_condition(conditions, condition.type)
    same = current is not None and current.status == condition.status
    since = current.last_transition_time if current is not None and same else None
    if (
        current is not None
        and since is not None
        and current.reason == condition.reason
        and current.message == condition.message
        and current.observed_generation == condition.observed_generation
    ):
        return conditions
    wanted = condition.model_copy(update={"last_transition_time": since or now})
    if current is None:
        return (*conditions, wanted)
    return tuple(wanted if entry is current else entry for entry in conditions)


class PrinterColumn(ApiModel):
    """A column that `kubectl get` prints; priority 1 is shown with `-o wide` only."""

    name: str
    type: Literal["string", "integer", "boolean", "date"]
    json_path: Annotated[str, Field(alias="jsonPath")]
    priority: int = 0
    description: str = ""


class ScaleSubresource(ApiModel):
    spec_replicas_path: str
    status_replicas_path: str


def conditions_field(description: str) -> Any:
    """The field `status.conditions`: a list keyed by type."""
    return Field(
        description=description,
        json_schema_extra=rules(x_kubernetes_list_type="map", x_kubernetes_list_map_keys=["type"]),
    )


def ready_column() -> PrinterColumn:
    """The status of condition Ready."""
    return PrinterColumn(
        name="Ready", type="string", json_path='.status.conditions[?(@.type=="Ready")].status'
    )


class CustomResource(ApiModel):
    """An object with metadata; subclasses say how their CRD is named and shown."""

    GROUP: ClassVar[str]
    VERSION: ClassVar[str]
    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    NAMESPACED: ClassVar[bool] = False
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ()
    CATEGORIES: ClassVar[tuple[str, ...]] = ()
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = ()
    SCALE: ClassVar[ScaleSubresource | None] = None

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @classmethod
    def from_dict(cls, obj: dict[str, Any]) -> Self:
        """The model of an object as the API server or a manifest has it.

        Raises:
            pydantic.ValidationError: the object breaks the schema. `validate_manifest` says the
                same in the API server's words.
        """
        return cls.model_validate(obj)

    def to_dict(self) -> dict[str, Any]:
        head = {"apiVersion": f"{self.GROUP}/{self.VERSION}", "kind": self.KIND}
        return head | super().to_dict()
