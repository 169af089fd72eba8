"""`karpenter.sh/v1alpha1` NodeOverlay: corrects prices and adds resources of instance types."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field

from autoctl.api import labels
from autoctl.api.meta import (
    ApiModel,
    Conditions,
    CustomResource,
    Int32,
    PrinterColumn,
    Quantity,
    Rule,
    conditions_field,
    is_true,
    ready_column,
    rules,
)
from autoctl.api.nodeclaim import (
    GREATER_OR_LESS_RULE,
    LabelRequirement,
    RequirementKey,
)

# Condition types of NodeOverlays
READY: Final = "Ready"
VALIDATION_SUCCEEDED: Final = "ValidationSucceeded"

RESTRICTED_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage", "pods")
"""Resources that instance types have of their own; an overlay adds others."""

_PRICE_ADJUSTMENT_PATTERN = (
    r"^([+-][0-9]*\.?[0-9]+|\+[0-9]*\.?[0-9]+%|-[0-9]{1,2}(\.[0-9]+)?%|-100%)$"
)


class OverlayRequirement(LabelRequirement):
    """A node selector requirement."""

    key: RequirementKey


class NodeOverlaySpec(ApiModel):
    """Which instance types are meant, and what changes about them."""

    requirements: Annotated[
        tuple[OverlayRequirement, ...],
        Field(
            max_length=100,
            description="Instance types and offerings that the overlay changes, by their labels.",
            json_schema_extra=rules(
                Rule(
                    "self.all(x, x.operator != 'NotIn' || (has(x.values) && x.values.size() != 0))",
                    "requirements with operator 'NotIn' must have a value defined",
                ),
                Rule(
                    "self.all(x, x.operator != 'In' || (has(x.values) && x.values.size() != 0))",
                    "requirements with operator 'In' must have a value defined",
                ),
                GREATER_OR_LESS_RULE,
            ),
        ),
    ]
    price: Annotated[
        str | None,
        Field(
            max_length=32,
            pattern=r"^[0-9]+(\.[0-9]+)?$",
            description="Price in USD an hour, in place of the catalog's.",
        ),
    ] = None
    price_adjustment: Annotated[
        str | None,
        Field(
            max_length=32,
            pattern=_PRICE_ADJUSTMENT_PATTERN,
            description="Signed change of the price: USD an hour (`-0.1`) or per cent (`+5%`).",
        ),
    ] = None
    capacity: Annotated[
        dict[str, Quantity],
        Field(
            max_length=100,
            description="Extended resources to add.",
            json_schema_extra=rules(
                Rule(
                    f"self.all(x, !(x in {list(RESTRICTED_RESOURCES)!r}))",
                    "invalid resource restricted",
                )
            ),
        ),
    ] = Field(default_factory=dict)
    weight: Annotated[
        Int32 | None,
        Field(ge=1, le=10000, description="Where overlays meet, the one of higher weight counts."),
    ] = None

    def adjusted(self, price: float) -> float:
        """What a price of `price` USD/hour becomes; never below 0."""
        if self.price is not None:
            return float(self.price)
        change = self.price_adjustment
        if change is None:
            return price
        if change.endswith("%"):
            return max(0.0, price * (1 + float(change[:-1]) / 100))
        return max(0.0, price + float(change))


class NodeOverlayStatus(ApiModel):
    """Whether the overlay is in force."""

    conditions: Annotated[Conditions, conditions_field("ValidationSucceeded makes Ready.")] = Field(
        default_factory=tuple
    )


class NodeOverlay(CustomResource):
    """Corrects prices and adds resources of instance types."""

    GROUP: ClassVar[str] = labels.KARPENTER_GROUP
    VERSION: ClassVar[str] = "v1alpha1"
    KIND: ClassVar[str] = "NodeOverlay"
    PLURAL: ClassVar[str] = "nodeoverlays"
    CATEGORIES: ClassVar[tuple[str, ...]] = ("karpenter",)
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("overlays",)
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        ready_column(),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        PrinterColumn(name="Weight", type="integer", json_path=".spec.weight", priority=1),
    )

    spec: Annotated[
        NodeOverlaySpec,
        Field(
            json_schema_extra=rules(
                Rule(
                    "!has(self.price) || !has(self.priceAdjustment)",
                    "cannot set both 'price' and 'priceAdjustment'",
                )
            )
        ),
    ]
    status: NodeOverlayStatus = Field(default_factory=NodeOverlayStatus)

    @property
    def ready(self) -> bool:
        return is_true(self.status.conditions, READY)

    @property
    def order(self) -> tuple[int, str]:
        """Sorts overlays so that, walked from the end, the first that matches counts.

        Higher weight wins; among equals the later name.
        """
        return (self.spec.weight or 0, self.name)
