"""Keys that the API knows: labels, annotations, taints, finalizers; their normal form and syntax.

Auto Mode's keys (`eks.amazonaws.com/*`) are the normal form. The keys of Karpenter's AWS provider
(`karpenter.k8s.aws/*`) and the deprecated Kubernetes ones are read as aliases of them, so that
manifests written for either apply unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

KARPENTER_GROUP: Final = "karpenter.sh"
EKS_GROUP: Final = "eks.amazonaws.com"
KARPENTER_AWS_GROUP: Final = "karpenter.k8s.aws"

# Kubernetes
ZONE: Final = "topology.kubernetes.io/zone"
REGION: Final = "topology.kubernetes.io/region"
HOSTNAME: Final = "kubernetes.io/hostname"
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""On every namespace, its name."""
ARCH: Final = "kubernetes.io/arch"
OS: Final = "kubernetes.io/os"
WINDOWS_BUILD: Final = "node.kubernetes.io/windows-build"
EXCLUDE_BALANCERS: Final = "node.kubernetes.io/exclude-from-external-load-balancers"

# Karpenter
NODEPOOL: Final = "karpenter.sh/nodepool"
NODECLAIM_TAG: Final = "karpenter.sh/nodeclaim"
CAPACITY_TYPE: Final = "karpenter.sh/capacity-type"
REGISTERED: Final = "karpenter.sh/registered"
INITIALIZED: Final = "karpenter.sh/initialized"
DO_NOT_SYNC_TAINTS: Final = "karpenter.sh/do-not-sync-taints"

CAPACITY_TYPE_ON_DEMAND: Final = "on-demand"
CAPACITY_TYPE_SPOT: Final = "spot"
CAPACITY_TYPE_RESERVED: Final = "reserved"
CAPACITY_TYPES: Final = (CAPACITY_TYPE_RESERVED, CAPACITY_TYPE_SPOT, CAPACITY_TYPE_ON_DEMAND)
"""In the order of preference when a pool allows all of them."""

# Auto Mode
COMPUTE_TYPE: Final = "eks.amazonaws.com/compute-type"
COMPUTE_TYPE_AUTO: Final = "auto"
NODECLASS: Final = "eks.amazonaws.com/nodeclass"
INSTANCE_HYPERVISOR: Final = "eks.amazonaws.com/instance-hypervisor"
INSTANCE_ENCRYPTION_IN_TRANSIT: Final = "eks.amazonaws.com/instance-encryption-in-transit-supported"
INSTANCE_CATEGORY: Final = "eks.amazonaws.com/instance-category"
INSTANCE_GENERATION: Final = "eks.amazonaws.com/instance-generation"
INSTANCE_FAMILY: Final = "eks.amazonaws.com/instance-family"
INSTANCE_SIZE: Final = "eks.amazonaws.com/instance-size"
INSTANCE_CPU: Final = "eks.amazonaws.com/instance-cpu"
INSTANCE_CPU_MANUFACTURER: Final = "eks.amazonaws.com/instance-cpu-manufacturer"
INSTANCE_CPU_CLOCK_SPEED: Final = "eks.amazonaws.com/instance-cpu-sustained-clock-speed-mhz"
INSTANCE_CAPABILITY_FLEX: Final = "eks.amazonaws.com/instance-capability-flex"
INSTANCE_MEMORY: Final = "eks.amazonaws.com/instance-memory"
INSTANCE_EBS_BANDWIDTH: Final = "eks.amazonaws.com/instance-ebs-bandwidth"
INSTANCE_NETWORK_BANDWIDTH: Final = "eks.amazonaws.com/instance-network-bandwidth"
INSTANCE_GPU_NAME: Final = "eks.amazonaws.com/instance-gpu-name"
INSTANCE_GPU_MANUFACTURER: Final = "eks.amazonaws.com/instance-gpu-manufacturer"
INSTANCE_GPU_COUNT: Final = "eks.amazonaws.com/instance-gpu-count"
INSTANCE_GPU_MEMORY: Final = "eks.amazonaws.com/instance-gpu-memory"
INSTANCE_ACCELERATOR_NAME: Final = "eks.amazonaws.com/instance-accelerator-name"
INSTANCE_ACCELERATOR_MANUFACTURER: Final = "eks.amazonaws.com/instance-accelerator-manufacturer"
INSTANCE_ACCELERATOR_COUNT: Final = "eks.amazonaws.com/instance-accelerator-count"
INSTANCE_LOCAL_NVME: Final = "eks.amazonaws.com/instance-local-nvme"
INSTANCE_TENANCY: Final = "eks.amazonaws.com/instance-tenancy"
NITRO_SANDBOX: Final = "eks.amazonaws.com/nitro-sandbox"
CAPACITY_RESERVATION_ID: Final = "eks.amazonaws.com/capacity-reservation-id"
CAPACITY_RESERVATION_TYPE: Final = "eks.amazonaws.com/capacity-reservation-type"
CAPACITY_RESERVATION_INTERRUPTIBLE: Final = "eks.amazonaws.com/capacity-reservation-interruptible"
PLACEMENT_GROUP_ID: Final = "eks.amazonaws.com/placement-group-id"
PLACEMENT_GROUP_PARTITION: Final = "eks.amazonaws.com/placement-group-partition"
ZONE_ID: Final = "topology.k8s.aws/zone-id"
EBS_CSI_ZONE: Final = "topology.ebs.csi.eks.amazonaws.com/zone"
EBS_CSI_ZONE_UPSTREAM: Final = "topology.ebs.csi.aws.com/zone"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"

# Annotations
DO_NOT_DISRUPT: Final = "karpenter.sh/do-not-disrupt"
NODEPOOL_HASH: Final = "karpenter.sh/nodepool-hash"
NODEPOOL_HASH_VERSION: Final = "karpenter.sh/nodepool-hash-version"
NODECLASS_HASH: Final = "eks.amazonaws.com/nodeclass-hash"
NODECLASS_HASH_VERSION: Final = "eks.amazonaws.com/nodeclass-hash-version"
NODE_SETTINGS_HASH: Final = "autoctl.io/node-settings-hash"
NODE_SETTINGS_HASH_VERSION: Final = "autoctl.io/node-settings-hash-version"
TERMINATION_TIMESTAMP: Final = "karpenter.sh/nodeclaim-termination-timestamp"
MIN_VALUES_RELAXED: Final = "karpenter.sh/nodeclaim-min-values-relaxed"
REQUESTED_DRA_DRIVERS: Final = "karpenter.sh/requested-dra-drivers"
PRICE_OVERLAY_APPLIED: Final = "karpenter.sh/price-overlay-applied"
CAPACITY_OVERLAY_APPLIED: Final = "karpenter.sh/capacity-overlay-applied"
CAPACITY_BUFFER_FAKE_POD: Final = "karpenter.sh/capacity-buffer-fake-pod"
CAPACITY_BUFFER_NAME: Final = "karpenter.sh/capacity-buffer-name"
CAPACITY_BUFFER_NAMESPACE: Final = "karpenter.sh/capacity-buffer-namespace"
INSTANCE_TAGGED: Final = "eks.amazonaws.com/tagged"
INSTANCE_PROFILE_NAME: Final = "eks.amazonaws.com/instance-profile-name"
BOTTLEROCKET_VERSION: Final = "autoctl.io/bottlerocket-version"
FORMER_ROLES: Final = "autoctl.io/former-roles"
"""On a NodeClass: the Bottlerocket release of its nodes, such as 1.50.0, instead of the latest."""
STEERED: Final = "autoctl.io/steered"
"""On a new Node while pods are being sent to it; who finds it and knows of none, ends it."""

# Taints (all without a value)
DISRUPTED_TAINT: Final = "karpenter.sh/disrupted"
"""Effect NoSchedule: on every node that is being terminated."""
UNREGISTERED_TAINT: Final = "karpenter.sh/unregistered"
"""Effect NoExecute: the kubelet registers with it; the operator removes it."""
AWAITING_PODS_TAINT: Final = "autoctl.io/awaiting-pods"
"""Effect NoSchedule: on a new node until the pods it was bought for have been sent to it."""

# Finalizers
TERMINATION_FINALIZER: Final = "karpenter.sh/termination"
NODECLASS_FINALIZER: Final = "eks.amazonaws.com/termination"

_EKS_INSTANCE_LABELS: Final = frozenset(
    {
        INSTANCE_HYPERVISOR,
        INSTANCE_ENCRYPTION_IN_TRANSIT,
        INSTANCE_CATEGORY,
        INSTANCE_GENERATION,
        INSTANCE_FAMILY,
        INSTANCE_SIZE,
        INSTANCE_CPU,
        INSTANCE_CPU_MANUFACTURER,
        INSTANCE_CPU_CLOCK_SPEED,
        INSTANCE_CAPABILITY_FLEX,
        INSTANCE_MEMORY,
        INSTANCE_EBS_BANDWIDTH,
        INSTANCE_NETWORK_BANDWIDTH,
        INSTANCE_GPU_NAME,
        INSTANCE_GPU_MANUFACTURER,
        INSTANCE_GPU_COUNT,
        INSTANCE_GPU_MEMORY,
        INSTANCE_ACCELERATOR_NAME,
        INSTANCE_ACCELERATOR_MANUFACTURER,
        INSTANCE_ACCELERATOR_COUNT,
        INSTANCE_LOCAL_NVME,
        INSTANCE_TENANCY,
        NITRO_SANDBOX,
        CAPACITY_RESERVATION_ID,
        CAPACITY_RESERVATION_TYPE,
        CAPACITY_RESERVATION_INTERRUPTIBLE,
        PLACEMENT_GROUP_ID,
        PLACEMENT_GROUP_PARTITION,
    }
)

WELL_KNOWN_LABELS: Final = frozenset(
    {
        NODEPOOL,
        CAPACITY_TYPE,
        ZONE,
        REGION,
        INSTANCE_TYPE,
        ARCH,
        OS,
        WINDOWS_BUILD,
        ZONE_ID,
        COMPUTE_TYPE,
    }
    | _EKS_INSTANCE_LABELS
)
"""Labels whose value the operator decides: a pod may ask for one that no NodePool mentions."""

EKS_USER_LABELS: Final = tuple(
    sorted(_EKS_INSTANCE_LABELS | {COMPUTE_TYPE, NODECLASS, EBS_CSI_ZONE})
)
"""Keys of the restricted domain `eks.amazonaws.com` that users may put in requirements, labels."""

KARPENTER_AWS_USER_LABELS: Final = tuple(
    sorted(
        {f"{KARPENTER_AWS_GROUP}/{key.partition('/')[2]}" for key in _EKS_INSTANCE_LABELS}
        | {f"{KARPENTER_AWS_GROUP}/ec2nodeclass"}
    )
)
"""Their aliases in Karpenter's AWS provider."""

WELL_KNOWN_VALUES: Final[Mapping[str, frozenset[str]]] = {
    CAPACITY_TYPE: frozenset(CAPACITY_TYPES),
    INSTANCE_TENANCY: frozenset({"default", "dedicated"}),
    COMPUTE_TYPE: frozenset({COMPUTE_TYPE_AUTO}),
}
"""Well-known labels with a closed set of values."""

RESTRICTED_LABELS: Final = frozenset({HOSTNAME})
RESTRICTED_LABEL_DOMAINS: Final = (KARPENTER_GROUP, EKS_GROUP, KARPENTER_AWS_GROUP)

LABEL_ALIASES: Final[Mapping[str, str]] = {
    "failure-domain.beta.kubernetes.io/zone": ZONE,
    "failure-domain.beta.kubernetes.io/region": REGION,
    "beta.kubernetes.io/arch": ARCH,
    "beta.kubernetes.io/os": OS,
    "beta.kubernetes.io/instance-type": INSTANCE_TYPE,
    EBS_CSI_ZONE: ZONE,
    EBS_CSI_ZONE_UPSTREAM: ZONE,
    f"{KARPENTER_AWS_GROUP}/ec2nodeclass": NODECLASS,
} | {f"{KARPENTER_AWS_GROUP}/{key.partition('/')[2]}": key for key in _EKS_INSTANCE_LABELS}

QUALIFIED_NAME_PATTERN: Final = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(\/))?"
    r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
)
LABEL_VALUE_PATTERN: Final = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"

_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_NAME_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_QUALIFIED_MESSAGE = (
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
    "used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS "
    "subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def normalize_label(key: str) -> str:
    """The key that the operator uses for `key`: its own, unless `key` is an alias."""
    return LABEL_ALIASES.get(key, key)


def label_domain(key: str) -> str:
    """What stands before the slash; empty without one."""
    domain, slash, _ = key.partition("/")
    return domain if slash else ""


def is_restricted_label(key: str) -> bool:
    """Whether users may not set the label or require it.

    Restricted are `kubernetes.io/hostname` and, but for well-known labels and their aliases, the
    domains `karpenter.sh`, `eks.amazonaws.com`, `karpenter.k8s.aws` with their sub-domains.
    `karpenter.sh/nodepool` is well-known and thus not restricted; NodePools refuse it by a rule of
    their own.
    """
    if key in RESTRICTED_LABELS:
        return True
    if (
        normalize_label(key) in WELL_KNOWN_LABELS
        or key in EKS_USER_LABELS
        or key in KARPENTER_AWS_USER_LABELS
    ):
        return False
    domain = label_domain(key)
    return any(
        domain == restricted or domain.endswith(f".{restricted}")
        for restricted in RESTRICTED_LABEL_DOMAINS
    )


@lru_cache(maxsize=16384)
def qualified_name_errors(key: str) -> tuple[str, ...]:
    """Why `key` is no qualified name (label key, taint key); empty when it is one.

    The texts are those of `k8s.io/apimachinery` `validation.IsQualifiedName`.
    """
    parts = key.split("/")
    errors: list[str] = []
    if len(parts) == 1:
        name = parts[0]
    elif len(parts) == 2:
        prefix, name = parts
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            errors += [f"prefix part {error}" for error in subdomain_errors(prefix)]
    else:
        return (_QUALIFIED_MESSAGE,)
    if not name:
        errors.append("name part must be non-empty")
    elif len(name) > 63:
        errors.append("name part must be no more than 63 characters")
    if not _NAME.fullmatch(name):
        errors.append(_NAME_MESSAGE)
    return tuple(errors)


@lru_cache(maxsize=16384)
def label_value_errors(value: str) -> tuple[str, ...]:
    """Why `value` is no label value; empty when it is one (`validation.IsValidLabelValue`)."""
    errors: list[str] = []
    if len(value) > 63:
        errors.append("must be no more than 63 characters")
    if not _VALUE.fullmatch(value):
        errors.append(_VALUE_MESSAGE)
    return tuple(errors)


def subdomain_errors(name: str) -> tuple[str, ...]:
    """Why `name` is no DNS-1123 subdomain, the form of most object names; empty when it is one."""
    errors: list[str] = []
    if len(name) > 253:
        errors.append("must be no more than 253 characters")
    if not _SUBDOMAIN.fullmatch(name):
        errors.append(_SUBDOMAIN_MESSAGE)
    return tuple(errors)
