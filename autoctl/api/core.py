"""Core Kubernetes objects, trimmed to what decisions read.

`msgspec` structs, decoded straight from the wire (`msgspec.json.Decoder(Pod)`) or from dicts
(`msgspec.convert(obj, Pod, strict=False)`); fields that no decision reads are skipped while
decoding. Quantities stay as written (`Quantity`): `autoctl.api.quantity` parses them, cached.

All structs are immutable by convention as well as by `frozen=True`: mappings and lists inside are
never changed after decoding, so that snapshots may share them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, field

Int32: TypeAlias = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Quantity: TypeAlias = str | Int64 | float
ResourceList: TypeAlias = dict[str, Quantity]
IntOrString: TypeAlias = Int32 | str


class _Object(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Base of everything below: camelCase on the wire, immutable, invisible to the collector."""


class OwnerReference(_Object, frozen=True):
    """metav1.OwnerReference."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(_Object, frozen=True):
    """metav1.ObjectMeta without managedFields."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: Int64 = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: Int64 | None = None
    owner_references: list[OwnerReference] | None = None
    finalizers: list[str] | None = None


class Condition(_Object, frozen=True):
    """Conditions of pods, nodes and workloads; `status` is "True", "False" or "Unknown"."""

    type: str
    status: str = "Unknown"
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None
    observed_generation: Int64 | None = None


class LabelSelectorRequirement(_Object, frozen=True):
    """metav1.LabelSelectorRequirement; operator In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(_Object, frozen=True):
    """metav1.LabelSelector; an empty selector matches everything, an absent one nothing."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None


class NodeSelectorRequirement(_Object, frozen=True):
    """v1.NodeSelectorRequirement; operators as labels plus Gt, Lt (and Gte, Lte here)."""

    key: str
    operator: str
    values: list[str] | None = None


class NodeSelectorTerm(_Object, frozen=True):
    """v1.NodeSelectorTerm: all expressions and fields must hold."""

    match_expressions: list[NodeSelectorRequirement] | None = None
    match_fields: list[NodeSelectorRequirement] | None = None


class NodeSelector(_Object, frozen=True):
    """v1.NodeSelector: one of the terms must hold."""

    node_selector_terms: list[NodeSelectorTerm] | None = None


class PreferredSchedulingTerm(_Object, frozen=True):
    """v1.PreferredSchedulingTerm; weight 1-100."""

    weight: Int32 = 1
    preference: NodeSelectorTerm = field(default_factory=NodeSelectorTerm)


class NodeAffinity(_Object, frozen=True):
    """v1.NodeAffinity."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredSchedulingTerm] | None = (
        None
    )


class PodAffinityTerm(_Object, frozen=True):
    """v1.PodAffinityTerm."""

    topology_key: str = ""
    label_selector: LabelSelector | None = None
    namespaces: list[str] | None = None
    namespace_selector: LabelSelector | None = None
    match_label_keys: list[str] | None = None
    mismatch_label_keys: list[str] | None = None


class WeightedPodAffinityTerm(_Object, frozen=True):
    """v1.WeightedPodAffinityTerm; weight 1-100."""

    weight: Int32 = 1
    pod_affinity_term: PodAffinityTerm = field(default_factory=PodAffinityTerm)


class PodAffinity(_Object, frozen=True):
    """v1.PodAffinity and, with the same fields, v1.PodAntiAffinity."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] | None = None
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] | None = (
        None
    )


class Affinity(_Object, frozen=True):
    """v1.Affinity."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(_Object, frozen=True):
    """v1.Toleration; no key with Exists: everything; no effect: every effect."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: Int64 | None = None


class Taint(_Object, frozen=True):
    """v1.Taint; effect NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    effect: str
    value: str | None = None


class TopologySpreadConstraint(_Object, frozen=True):
    """v1.TopologySpreadConstraint."""

    max_skew: Int32
    topology_key: str
    when_unsatisfiable: str
    label_selector: LabelSelector | None = None
    min_domains: Int32 | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: list[str] | None = None


class ResourceClaimReference(_Object, frozen=True):
    """A container's use of one of the pod's resource claims."""

    name: str = ""


class ResourceRequirements(_Object, frozen=True):
    """v1.ResourceRequirements."""

    requests: ResourceList | None = None
    limits: ResourceList | None = None
    claims: list[ResourceClaimReference] | None = None


class ContainerPort(_Object, frozen=True):
    """v1.ContainerPort."""

    container_port: Int32 = 0
    host_port: Int32 = 0
    host_ip: str = field(default="", name="hostIP")
    protocol: str = "TCP"


class Container(_Object, frozen=True):
    """v1.Container; an init container with `restartPolicy: Always` is a sidecar."""

    name: str = ""
    resources: ResourceRequirements | None = None
    ports: list[ContainerPort] | None = None
    restart_policy: str | None = None


class PersistentVolumeClaimSource(_Object, frozen=True):
    """A pod's volume that names a claim."""

    claim_name: str = ""


class PersistentVolumeClaimSpec(_Object, frozen=True):
    """v1.PersistentVolumeClaimSpec."""

    storage_class_name: str | None = None
    volume_name: str | None = None
    access_modes: list[str] | None = None


class PersistentVolumeClaimTemplate(_Object, frozen=True):
    """The template of a generic ephemeral volume."""

    spec: PersistentVolumeClaimSpec = field(default_factory=PersistentVolumeClaimSpec)


class EphemeralVolumeSource(_Object, frozen=True):
    """A generic ephemeral volume: its claim is named POD-VOLUME."""

    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class Volume(_Object, frozen=True):
    """v1.Volume; kinds that do not bear on placement leave both sources unset."""

    name: str = ""
    persistent_volume_claim: PersistentVolumeClaimSource | None = None
    ephemeral: EphemeralVolumeSource | None = None


class SchedulingGate(_Object, frozen=True):
    """v1.PodSchedulingGate."""

    name: str = ""


class PodResourceClaim(_Object, frozen=True):
    """v1.PodResourceClaim (dynamic resource allocation)."""

    name: str = ""


class PodSpec(_Object, frozen=True):
    """v1.PodSpec."""

    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: list[Toleration] | None = None
    topology_spread_constraints: list[TopologySpreadConstraint] | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    overhead: ResourceList | None = None
    resources: ResourceRequirements | None = None
    priority: Int32 | None = None
    priority_class_name: str | None = None
    scheduler_name: str | None = None
    scheduling_gates: list[SchedulingGate] | None = None
    volumes: list[Volume] | None = None
    resource_claims: list[PodResourceClaim] | None = None
    termination_grace_period_seconds: Int64 | None = None
    host_network: bool | None = None


class ContainerStatus(_Object, frozen=True):
    """v1.ContainerStatus: the resources actually given (in-place resize)."""

    name: str = ""
    resources: ResourceRequirements | None = None
    allocated_resources: ResourceList | None = None


class PodStatus(_Object, frozen=True):
    """v1.PodStatus."""

    phase: str = "Pending"
    conditions: list[Condition] | None = None
    nominated_node_name: str | None = None
    start_time: datetime | None = None
    container_statuses: list[ContainerStatus] | None = None


class Pod(_Object, frozen=True):
    """v1.Pod."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)

    @property
    def key(self) -> str:
        """`namespace/name`, as the API names the pod; the namespace defaults to `default`."""
        return f"{self.metadata.namespace or 'default'}/{self.metadata.name}"


class NodeSpec(_Object, frozen=True):
    """v1.NodeSpec."""

    provider_id: str | None = field(default=None, name="providerID")
    taints: list[Taint] | None = None
    unschedulable: bool | None = None


class NodeSystemInfo(_Object, frozen=True):
    """v1.NodeSystemInfo."""

    kubelet_version: str = ""


class NodeStatus(_Object, frozen=True):
    """v1.NodeStatus."""

    capacity: ResourceList | None = None
    allocatable: ResourceList | None = None
    conditions: list[Condition] | None = None
    node_info: NodeSystemInfo | None = None


class Node(_Object, frozen=True):
    """v1.Node."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class PodTemplateSpec(_Object, frozen=True):
    """v1.PodTemplateSpec."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec = field(default_factory=PodSpec)


class DaemonSetSpec(_Object, frozen=True):
    """apps/v1 DaemonSetSpec."""

    selector: LabelSelector | None = None
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)


class DaemonSet(_Object, frozen=True):
    """apps/v1 DaemonSet."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: DaemonSetSpec = field(default_factory=DaemonSetSpec)


class PodDisruptionBudgetSpec(_Object, frozen=True):
    """policy/v1 PodDisruptionBudgetSpec."""

    min_available: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(_Object, frozen=True):
    """policy/v1 PodDisruptionBudgetStatus."""

    disruptions_allowed: Int32 = 0
    current_healthy: Int32 = 0
    desired_healthy: Int32 = 0
    expected_pods: Int32 = 0
    observed_generation: Int64 = 0


class PodDisruptionBudget(_Object, frozen=True):
    """policy/v1 PodDisruptionBudget; without a status its controller has not looked yet."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodDisruptionBudgetSpec = field(default_factory=PodDisruptionBudgetSpec)
    status: PodDisruptionBudgetStatus | None = None


class PersistentVolumeClaimStatus(_Object, frozen=True):
    """v1.PersistentVolumeClaimStatus."""

    phase: str = "Pending"


class PersistentVolumeClaim(_Object, frozen=True):
    """v1.PersistentVolumeClaim."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PersistentVolumeClaimSpec = field(default_factory=PersistentVolumeClaimSpec)
    status: PersistentVolumeClaimStatus = field(default_factory=PersistentVolumeClaimStatus)


class VolumeNodeAffinity(_Object, frozen=True):
    """v1.VolumeNodeAffinity."""

    required: NodeSelector | None = None


class CSIPersistentVolumeSource(_Object, frozen=True):
    """The CSI driver behind a volume."""

    driver: str = ""
    volume_handle: str = ""


class PersistentVolumeSpec(_Object, frozen=True):
    """v1.PersistentVolumeSpec; `local` and `hostPath` are kept only as present or absent."""

    node_affinity: VolumeNodeAffinity | None = None
    storage_class_name: str | None = None
    csi: CSIPersistentVolumeSource | None = None
    local: dict[str, Any] | None = None
    host_path: dict[str, Any] | None = None
    aws_elastic_block_store: dict[str, Any] | None = None


class PersistentVolume(_Object, frozen=True):
    """v1.PersistentVolume."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PersistentVolumeSpec = field(default_factory=PersistentVolumeSpec)


class TopologySelectorLabelRequirement(_Object, frozen=True):
    """v1.TopologySelectorLabelRequirement."""

    key: str
    values: list[str] = field(default_factory=list)


class TopologySelectorTerm(_Object, frozen=True):
    """v1.TopologySelectorTerm."""

    match_label_expressions: list[TopologySelectorLabelRequirement] | None = None


class StorageClass(_Object, frozen=True):
    """storage.k8s.io/v1 StorageClass."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    provisioner: str = ""
    volume_binding_mode: str | None = None
    allowed_topologies: list[TopologySelectorTerm] | None = None


class CSINodeDriverAllocatable(_Object, frozen=True):
    """How many volumes of a driver a node can attach."""

    count: Int32 | None = None


class CSINodeDriver(_Object, frozen=True):
    """storage.k8s.io/v1 CSINodeDriver."""

    name: str = ""
    allocatable: CSINodeDriverAllocatable | None = None


class CSINodeSpec(_Object, frozen=True):
    """storage.k8s.io/v1 CSINodeSpec."""

    drivers: list[CSINodeDriver] = field(default_factory=list)


class CSINode(_Object, frozen=True):
    """storage.k8s.io/v1 CSINode."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: CSINodeSpec = field(default_factory=CSINodeSpec)


class VolumeAttachmentSource(_Object, frozen=True):
    """What a VolumeAttachment attaches."""

    persistent_volume_name: str | None = None


class VolumeAttachmentSpec(_Object, frozen=True):
    """storage.k8s.io/v1 VolumeAttachmentSpec."""

    attacher: str = ""
    node_name: str = ""
    source: VolumeAttachmentSource = field(default_factory=VolumeAttachmentSource)


class VolumeAttachment(_Object, frozen=True):
    """storage.k8s.io/v1 VolumeAttachment."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: VolumeAttachmentSpec = field(default_factory=VolumeAttachmentSpec)


class Namespace(_Object, frozen=True):
    """v1.Namespace."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
