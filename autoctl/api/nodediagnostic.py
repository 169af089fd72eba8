"""`eks.amazonaws.com/v1alpha1` NodeDiagnostic: logs or packets to collect from one node.

The object's name is the node's name. The monitoring agent on that node does the work.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autoctl.api import labels
from autoctl.api.meta import (
    ApiModel,
    Conditions,
    CustomResource,
    Int64,
    PrinterColumn,
    Rule,
    Timestamp,
    conditions_field,
    rules,
)


class LogCapture(ApiModel):
    """Logs to collect, and where to."""

    destination: Annotated[
        str,
        Field(
            max_length=8192,
            description=(
                "A pre-signed URL that takes a PUT, or `node` to keep the archive on the node for "
                "a while."
            ),
            json_schema_extra=rules(
                Rule("self != ''", "destination cannot be empty"),
                Rule(
                    "self == '' || self == 'node' || self.startsWith('https://') || "
                    "self.startsWith('http://')",
                    "destination must be 'node' or an HTTP(S) URL",
                ),
            ),
        ),
    ]
    categories: Annotated[
        tuple[Literal["Base", "Device", "Networking", "Runtime", "System", "All"], ...],
        Field(
            max_length=6,
            description="Which logs to collect.",
            json_schema_extra=rules(default=["All"]),
        ),
    ] = ("All",)


class PacketUpload(ApiModel):
    """A pre-signed POST."""

    url: Annotated[str, Field(min_length=1, max_length=8192, description="The POST's URL.")]
    fields: Annotated[
        dict[str, str],
        Field(
            max_length=50,
            description="The POST's form fields; `key` may contain `${filename}`.",
        ),
    ]


class PacketCapture(ApiModel):
    """Packets to record, and where to."""

    mode: Annotated[Literal["tcpdump"], Field(description="The recorder.")] = "tcpdump"
    duration: Annotated[
        str,
        Field(
            max_length=16,
            pattern=r"^[0-9]+[smh]$",
            description="How long to record, up to an hour.",
        ),
    ]
    interface: Annotated[
        str | None, Field(max_length=15, description="Network interface; all when absent.")
    ] = None
    filter: Annotated[
        str | None, Field(max_length=1024, description="Filter expression, such as `tcp port 443`.")
    ] = None
    chunk_size_mb: Annotated[
        int,
        Field(
            alias="chunkSizeMB",
            ge=1,
            le=100,
            description="Size in MB of the files that are sent.",
        ),
    ] = 10
    upload: Annotated[PacketUpload, Field(description="Where files are sent.")]


class NodeDiagnosticSpec(ApiModel):
    """What to collect."""

    log_capture: Annotated[LogCapture | None, Field(description="Logs to collect.")] = None
    packet_capture: Annotated[PacketCapture | None, Field(description="Packets to record.")] = None


class CaptureRunning(ApiModel):
    started_at: Annotated[Timestamp, Field(description="When it started.")]
    capture_id: Annotated[
        str | None, Field(alias="captureID", description="Prefix of the files it sends.")
    ] = None


class CaptureCompleted(ApiModel):
    reason: Annotated[
        Literal["Success", "SuccessWithErrors", "Failure"], Field(description="The outcome.")
    ]
    message: Annotated[str, Field(description="Details of the outcome.")] = Field(
        default_factory=str
    )
    started_at: Annotated[Timestamp, Field(description="When it started.")]
    finished_at: Annotated[Timestamp, Field(description="When it ended.")]
    capture_id: Annotated[
        str | None, Field(alias="captureID", description="Prefix of the files it sent.")
    ] = None
    observed_generation: Annotated[
        Int64 | None, Field(description="Generation of the object it served.")
    ] = None


class CaptureState(ApiModel):
    running: Annotated[CaptureRunning | None, Field(description="It is under way.")] = None
    completed: Annotated[CaptureCompleted | None, Field(description="It has ended.")] = None


class CaptureStatus(ApiModel):
    type: Annotated[Literal["Log", "Packet"], Field(description="What is collected.")]
    state: Annotated[CaptureState, Field(description="How far it is.")]


class NodeDiagnosticStatus(ApiModel):
    """How far it is."""

    capture_statuses: Annotated[
        tuple[CaptureStatus, ...],
        Field(
            description="One entry for logs, one for packets.",
            json_schema_extra=rules(
                x_kubernetes_list_type="map", x_kubernetes_list_map_keys=["type"]
            ),
        ),
    ] = Field(default_factory=tuple)
    conditions: Annotated[Conditions, conditions_field("Conditions of the collection.")] = Field(
        default_factory=tuple
    )


class NodeDiagnostic(CustomResource):
    """Logs or packets to collect from one node."""

    GROUP: ClassVar[str] = labels.EKS_GROUP
    VERSION: ClassVar[str] = "v1alpha1"
    KIND: ClassVar[str] = "NodeDiagnostic"
    PLURAL: ClassVar[str] = "nodediagnostics"
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    )

    spec: Annotated[
        NodeDiagnosticSpec,
        Field(
            json_schema_extra=rules(
                Rule(
                    "has(self.logCapture) || has(self.packetCapture)",
                    "at least one of 'logCapture' and 'packetCapture' must be set",
                )
            )
        ),
    ]
    status: NodeDiagnosticStatus = Field(default_factory=NodeDiagnosticStatus)
