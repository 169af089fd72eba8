"""`eks.amazonaws.com/v1` NodeClass: how instances are launched and nodes set up.

Fields, defaults and ranges are those of the Auto Mode user guide ("Create a Node Class for Amazon
EKS"). Selector terms are OR-ed, the fields within a term AND-ed.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import Field

from autoctl.api import labels
from autoctl.api.meta import (
    ApiModel,
    CustomResource,
    Int32,
    PrinterColumn,
    Rule,
    is_true,
    ready_column,
    rules,
)
from autoctl.api.nodeclass_compute import ADVANCED_COMPUTE_RULES, AdvancedCompute
from autoctl.api.nodeclass_network import (
    ADVANCED_NETWORKING_RULES,
    LEFT_TO_THE_CNI,
    AdvancedNetworking,
)
from autoctl.api.nodeclass_selectors import (
    CapacityReservationSelectorTerm,
    PlacementGroupSelector,
    PodSecurityGroupSelectorTerm,
    SecurityGroupSelectorTerm,
    SubnetSelectorTerm,
    exclusive_terms,
)
from autoctl.api.nodeclass_status import NodeClassStatus

# Condition types of NodeClasses
READY: Final = "Ready"
AMIS_READY: Final = "AMIsReady"
SUBNETS_READY: Final = "SubnetsReady"
SECURITY_GROUPS_READY: Final = "SecurityGroupsReady"
INSTANCE_PROFILE_READY: Final = "InstanceProfileReady"
CAPACITY_RESERVATIONS_READY: Final = "CapacityReservationsReady"
PLACEMENT_GROUP_READY: Final = "PlacementGroupReady"
VALIDATION_SUCCEEDED: Final = "ValidationSucceeded"
POD_NETWORKING_APPLIED: Final = "PodNetworkingApplied"
"""No part of `Ready`; there, and false, while the spec asks of pod networking what is not done."""

DEFAULT_NAME: Final = "default"
"""Reserved for the class of the built-in pools."""

_SIZE_PATTERN = (
    r"^(([1-9][0-9]{0,3}|[1-4][0-9]{4}|5[0-8][0-9]{3}|59000)Gi"
    r"|([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-3][0-9]{3}|64000)G"
    r"|([1-9]|[1-4][0-9]|5[0-8])Ti"
    r"|([1-9]|[1-5][0-9]|6[0-4])T)$"
)
_KMS_KEY = r"([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|mrk-[0-9a-f]{32})"
_KMS_ARN = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:"
_KMS_ALIAS = r"alias/[a-zA-Z0-9/_-]{1,250}"
_KMS_PATTERN = f"^({_KMS_KEY}|{_KMS_ARN}key/{_KMS_KEY}|({_KMS_ARN})?{_KMS_ALIAS})$"

_RESTRICTED_TAGS = (
    "eks:eks-cluster-name",
    labels.NODEPOOL,
    labels.NODECLAIM_TAG,
    "karpenter.sh/provisioner-name",
    "karpenter.sh/managed-by",
    labels.NODECLASS,
)

Role: TypeAlias = Annotated[
    str,
    Field(
        max_length=64,
        description=(
            "Name of the IAM role of the nodes; an instance profile is made for it. Exactly one "
            "of `role` and `instanceProfile` is set."
        ),
        json_schema_extra=rules(
            Rule("self != ''", "role cannot be empty"),
            Rule(
                "!self.contains('/') && !self.startsWith('arn:')",
                "role must be the name of an IAM role, not its ARN or path",
            ),
        ),
    ),
]


class EphemeralStorage(ApiModel):
    """The data volume (gp3), which holds images, logs and emptyDir volumes."""

    size: Annotated[
        str,
        Field(
            pattern=_SIZE_PATTERN,
            description="Size: 1-59000Gi, 1-64000G, 1-58Ti or 1-64T.",
        ),
    ] = "80Gi"
    iops: Annotated[Int32, Field(ge=3000, le=16000, description="I/O operations a second.")] = 3000
    throughput: Annotated[Int32, Field(ge=125, le=1000, description="Throughput in MiB/s.")] = 125
    kms_key_id: Annotated[
        str | None,
        Field(
            alias="kmsKeyID",
            max_length=2048,
            description=(
                "KMS key that encrypts the root and the data volume, as key ID, key ARN, alias "
                "name or alias ARN; the account's default key for EBS when absent."
            ),
            json_schema_extra=rules(
                Rule(
                    f"self.matches('{_KMS_PATTERN}')",
                    "kmsKeyID must be a key ID, key ARN, alias name or alias ARN",
                )
            ),
        ),
    ] = None


class AdvancedSecurity(ApiModel):
    """Hardening of the nodes."""

    fips: Annotated[
        bool,
        Field(description="Use an AMI with FIPS 140 validated modules (some regions only)."),
    ] = False
    kernel_lockdown: Annotated[
        Literal["integrity", "none"] | None,
        Field(description="Kernel lockdown mode; the AMI's own when absent."),
    ] = None


class CertificateBundle(ApiModel):
    """Certificates for the node's trust store."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=63,
            pattern=r"^[A-Za-z0-9_-]+$",
            description="Name of the bundle, unique within the NodeClass.",
        ),
    ]
    data: Annotated[
        str,
        Field(
            min_length=1,
            max_length=131072,
            pattern=r"^[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*$",
            description="Certificates in PEM form, base64-encoded.",
        ),
    ]


class NodeClassSpec(ApiModel):
    """How instances are launched and nodes set up."""

    role: Role | None = None
    instance_profile: Annotated[
        str | None,
        Field(
            max_length=128,
            description="Name of an instance profile of your own, in place of `role`.",
            json_schema_extra=rules(
                Rule("self != ''", "instanceProfile cannot be empty"),
                Rule(
                    "!self.contains('/') && !self.startsWith('arn:')",
                    "instanceProfile must be the name of an instance profile, not its ARN or path",
                ),
            ),
        ),
    ] = None
    subnet_selector_terms: Annotated[
        tuple[SubnetSelectorTerm, ...],
        Field(
            max_length=30,
            description=(
                "Subnets of the nodes. Of several in a zone, one has the primary network "
                "interface; further interfaces go to the others."
            ),
            json_schema_extra=rules(*exclusive_terms("subnetSelectorTerms", "subnet")),
        ),
    ]
    security_group_selector_terms: Annotated[
        tuple[SecurityGroupSelectorTerm, ...],
        Field(
            max_length=30,
            description="Security groups of the nodes.",
            json_schema_extra=rules(
                *exclusive_terms("securityGroupSelectorTerms", "security group", "name")
            ),
        ),
    ]
    pod_subnet_selector_terms: Annotated[
        tuple[SubnetSelectorTerm, ...] | None,
        Field(
            max_length=30,
            description=(
                "Subnets of the pods, when they are others than the nodes'. Set together with "
                "`podSecurityGroupSelectorTerms`. Counted in the density of nodes; nothing is "
                "launched in a zone where they have no free addresses. Static network interfaces "
                "beside the primary one are made in them, others are the CNI's."
            ),
            json_schema_extra=rules(*exclusive_terms("podSubnetSelectorTerms", "subnet")),
        ),
    ] = None
    pod_security_group_selector_terms: Annotated[
        tuple[PodSecurityGroupSelectorTerm, ...] | None,
        Field(
            max_length=30,
            description=(
                "Security groups of the pods, with `podSubnetSelectorTerms`: of static network "
                "interfaces beside the primary one; other interfaces of pods are the CNI's."
            ),
            json_schema_extra=rules(
                *exclusive_terms("podSecurityGroupSelectorTerms", "security group")
            ),
        ),
    ] = None
    capacity_reservation_selector_terms: Annotated[
        tuple[CapacityReservationSelectorTerm, ...] | None,
        Field(
            max_length=30,
            description=(
                "Capacity reservations to launch into. When any NodeClass has such terms, no "
                "instance of the cluster is matched to open reservations any more."
            ),
            json_schema_extra=rules(
                Rule(
                    "self.all(x, has(x.tags) || has(x.id))",
                    "expected at least one, got none, ['tags', 'id']",
                ),
                Rule(
                    "self.all(x, !(has(x.id) && (has(x.tags) || has(x.owner))))",
                    "'id' is mutually exclusive, cannot be set along with tags in a capacity "
                    "reservation selector term",
                ),
            ),
        ),
    ] = None
    placement_group_selector: Annotated[
        PlacementGroupSelector | None,
        Field(
            description="Placement group to launch into; without it nothing is launched.",
            json_schema_extra=rules(
                Rule("has(self.name) != has(self.id)", "expected exactly one of ['name', 'id']")
            ),
        ),
    ] = None
    snat_policy: Annotated[
        Literal["Random", "Disabled"],
        Field(
            description=f"Source NAT of pod traffic that leaves the VPC. {LEFT_TO_THE_CNI}",
        ),
    ] = "Random"
    network_policy: Annotated[
        Literal["DefaultAllow", "DefaultDeny"],
        Field(
            description=f"What pods may do before a network policy selects them. {LEFT_TO_THE_CNI}",
        ),
    ] = "DefaultAllow"
    network_policy_event_logs: Annotated[
        Literal["Disabled", "Enabled"],
        Field(description=f"Log network policy decisions on the node. {LEFT_TO_THE_CNI}"),
    ] = "Disabled"
    ephemeral_storage: Annotated[
        EphemeralStorage,
        Field(description="The data volume.", json_schema_extra=rules(default={})),
    ] = Field(default_factory=EphemeralStorage)
    advanced_networking: Annotated[
        AdvancedNetworking | None,
        Field(
            description="Addresses, proxies and interfaces.",
            json_schema_extra=rules(*ADVANCED_NETWORKING_RULES),
        ),
    ] = None
    advanced_security: Annotated[
        AdvancedSecurity | None, Field(description="Hardening of the nodes.")
    ] = None
    advanced_compute: Annotated[
        AdvancedCompute | None,
        Field(
            description="Huge pages, kubelet and kernel settings.",
            json_schema_extra=rules(*ADVANCED_COMPUTE_RULES),
        ),
    ] = None
    certificate_bundles: Annotated[
        tuple[CertificateBundle, ...] | None,
        Field(
            max_length=20,
            description="Certificates for the node's trust store.",
            json_schema_extra=rules(
                x_kubernetes_list_type="map", x_kubernetes_list_map_keys=["name"]
            ),
        ),
    ] = None
    tags: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]] | None,
        Field(
            max_length=50,
            description="Tags of instances, volumes, network interfaces and launch templates.",
            json_schema_extra=rules(
                Rule("self.all(k, k != '')", "empty tag keys aren't supported"),
                Rule(
                    "self.all(k, !k.startsWith('kubernetes.io/cluster'))",
                    "tag contains a restricted tag matching kubernetes.io/cluster/",
                ),
                *(
                    Rule(
                        f"self.all(k, k != '{tag}')",
                        f"tag contains a restricted tag matching {tag}",
                    )
                    for tag in _RESTRICTED_TAGS
                ),
            ),
        ),
    ] = None


SPEC_RULES: Final = (
    Rule(
        "has(self.role) != has(self.instanceProfile)",
        "must specify exactly one of ['role', 'instanceProfile']",
    ),
    Rule(
        "has(self.podSubnetSelectorTerms) == has(self.podSecurityGroupSelectorTerms)",
        "'podSubnetSelectorTerms' and 'podSecurityGroupSelectorTerms' must be set together",
    ),
    Rule(
        "!has(self.advancedCompute) || !has(self.advancedCompute.hugepages) || "
        "!has(self.advancedCompute.hugepages.pages) || "
        "self.advancedCompute.hugepages.pages.size() == 0 || "
        "!has(self.advancedNetworking) || !has(self.advancedNetworking.networkInterfaces) || "
        "!self.advancedNetworking.networkInterfaces.exists(x, x.interfaceType == 'efa-only')",
        "static hugepages cannot be combined with 'efa-only' network interfaces",
    ),
    Rule(
        "!has(self.podSubnetSelectorTerms) || !has(self.advancedNetworking) || "
        "!has(self.advancedNetworking.networkInterfaces) || "
        "self.advancedNetworking.networkInterfaces.all(x, "
        "x.networkCardIndex != 0 || x.deviceIndex != 0 || "
        "((!has(x.secondaryIPv4Count) || x.secondaryIPv4Count == 0) && "
        "(!has(x.secondaryIPv4PrefixCount) || x.secondaryIPv4PrefixCount == 0)))",
        "the primary network interface must have no secondary IPs when "
        "'podSubnetSelectorTerms' is set",
    ),
)


class NodeClass(CustomResource):
    """How instances are launched and nodes set up."""

    GROUP: ClassVar[str] = labels.EKS_GROUP
    VERSION: ClassVar[str] = "v1"
    KIND: ClassVar[str] = "NodeClass"
    PLURAL: ClassVar[str] = "nodeclasses"
    CATEGORIES: ClassVar[tuple[str, ...]] = ("karpenter",)
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn(name="Role", type="string", json_path=".spec.role"),
        ready_column(),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    )

    spec: Annotated[NodeClassSpec, Field(json_schema_extra=rules(*SPEC_RULES))]
    status: NodeClassStatus = Field(default_factory=NodeClassStatus)

    @property
    def ready(self) -> bool:
        return is_true(self.status.conditions, READY)

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones its subnets are in, sorted."""
        return tuple(sorted({subnet.zone for subnet in self.status.subnets}))
