"""`autoscaling.x-k8s.io/v1beta1` CapacityBuffer: room kept free for pods to come.

The API is shared with Cluster Autoscaler.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field

from autoctl.api.meta import (
    ApiModel,
    Conditions,
    CustomResource,
    Int32,
    Int64,
    PrinterColumn,
    Quantity,
    Rule,
    conditions_field,
    rules,
)

ACTIVE_CAPACITY: Final = "buffer.x-k8s.io/active-capacity"
"""The strategy that this operator serves: real nodes, kept ready."""

# Condition types of CapacityBuffers
READY_FOR_PROVISIONING: Final = "ReadyForProvisioning"
PROVISIONING: Final = "Provisioning"


class PodTemplateReference(ApiModel):
    """A PodTemplate in the buffer's namespace."""

    name: Annotated[str, Field(min_length=1, description="Name of the PodTemplate.")]


class ScalableReference(ApiModel):
    """A workload with a scale subresource in the buffer's namespace."""

    api_group: Annotated[
        str, Field(description="API group of the workload; empty for the core group.")
    ] = Field(default_factory=str)
    kind: Annotated[str, Field(min_length=1, description="Kind of the workload.")]
    name: Annotated[str, Field(min_length=1, description="Name of the workload.")]


class CapacityBufferSpec(ApiModel):
    """How much room to keep, in pods of which shape."""

    provisioning_strategy: Annotated[str, Field(description="How the room is kept.")] = (
        ACTIVE_CAPACITY
    )
    pod_template_ref: Annotated[
        PodTemplateReference | None, Field(description="Shape of the pods, from a PodTemplate.")
    ] = None
    scalable_ref: Annotated[
        ScalableReference | None, Field(description="Shape of the pods, from a workload.")
    ] = None
    replicas: Annotated[Int32 | None, Field(ge=0, description="Room for so many pods.")] = None
    percentage: Annotated[
        Int32 | None,
        Field(ge=0, description="Room for a percentage of the workload's replicas, rounded up."),
    ] = None
    limits: Annotated[
        dict[str, Quantity],
        Field(description="Most of each resource that the room may take."),
    ] = Field(default_factory=dict)


class CapacityBufferStatus(ApiModel):
    """What the spec comes to now."""

    pod_template_ref: Annotated[
        PodTemplateReference | None, Field(description="The PodTemplate in use.")
    ] = None
    pod_template_generation: Annotated[Int64 | None, Field(description="Its generation.")] = None
    provisioning_strategy: Annotated[str | None, Field(description="The strategy in use.")] = None
    replicas: Annotated[Int32 | None, Field(description="For how many pods room is kept.")] = None
    conditions: Annotated[
        Conditions, conditions_field("ReadyForProvisioning and Provisioning.")
    ] = Field(default_factory=tuple)


class CapacityBuffer(CustomResource):
    """Room kept free for pods to come."""

    GROUP: ClassVar[str] = "autoscaling.x-k8s.io"
    VERSION: ClassVar[str] = "v1beta1"
    KIND: ClassVar[str] = "CapacityBuffer"
    PLURAL: ClassVar[str] = "capacitybuffers"
    NAMESPACED: ClassVar[bool] = True
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("cb",)
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn(name="Strategy", type="string", json_path=".spec.provisioningStrategy"),
        PrinterColumn(name="Replicas", type="integer", json_path=".status.replicas"),
        PrinterColumn(
            name="Ready",
            type="string",
            json_path='.status.conditions[?(@.type=="ReadyForProvisioning")].status',
        ),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    )

    spec: Annotated[
        CapacityBufferSpec,
        Field(
            json_schema_extra=rules(
                Rule(
                    "!has(self.podTemplateRef) || has(self.replicas) || has(self.limits)",
                    "If podTemplateRef is set, replicas or limits must also be set",
                ),
                Rule(
                    "!(has(self.podTemplateRef) && has(self.scalableRef))",
                    "You must define either PodTemplateRef or ScalableRef, but not both",
                ),
            )
        ),
    ]
    status: CapacityBufferStatus = Field(default_factory=CapacityBufferStatus)
