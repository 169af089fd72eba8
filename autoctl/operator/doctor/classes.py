"""NodeClasses: whether what they select and name is there, and has room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from autoctl.api.nodeclass import NodeClass
from autoctl.aws.call import Caller
from autoctl.aws.eks import node_policy
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.images import Images
from autoctl.aws.network import Network, Subnet
from autoctl.aws.reservations import Reservations
from autoctl.controllers.nodeclass.resolve import image_queries, selectors
from autoctl.operator.doctor.report import Finding, error, or_ok

_NODE_ENTRIES: Final = frozenset({"EC2", "EC2_LINUX"})
FEW_ADDRESSES: Final = 32
"""Two nodes with one /28 prefix each, which is where pods begin to wait for addresses."""


@dataclass(frozen=True)
class ClassChecks:
    """What the checks ask; `cluster` is EKS's description of the cluster."""

    network: Network
    images: Images
    reservations: Reservations
    iam: Caller
    eks: Caller
    cluster: Mapping[str, Any]

    async def check(self, node_class: NodeClass) -> list[Finding]:
        """All findings about one NodeClass."""
        findings = [
            *await self._subnets(node_class),
            *await self._groups(node_class),
            *await self._images(node_class),
            *await self._identity(node_class),
            *await self._placement_group(node_class),
        ]
        subject = f"NodeClass {node_class.name}"
        return or_ok(findings, "node-class", subject, "all that it names is there")

    async def default_network(self) -> list[Finding]:
        """The cluster's own subnets, where no NodeClass names any."""
        ids = (self.cluster.get("resourcesVpcConfig") or {}).get("subnetIds", ())
        subnets = await self.network.subnets(selectors(_terms(ids)))
        return or_ok(_crowded(subnets), "subnets", "cluster", "free addresses everywhere")

    async def _subnets(self, node_class: NodeClass) -> list[Finding]:
        found: list[Finding] = []
        for field, terms in (
            ("subnetSelectorTerms", node_class.spec.subnet_selector_terms),
            ("podSubnetSelectorTerms", node_class.spec.pod_subnet_selector_terms),
        ):
            if not terms:
                continue
            subnets = await self.network.subnets(selectors(terms))
            if not subnets:
                found.append(_unmatched("subnets", node_class, field, "subnet"))
            found += _crowded(subnets)
        return found

    async def _groups(self, node_class: NodeClass) -> list[Finding]:
        found: list[Finding] = []
        for field, terms in (
            ("securityGroupSelectorTerms", node_class.spec.security_group_selector_terms),
            ("podSecurityGroupSelectorTerms", node_class.spec.pod_security_group_selector_terms),
        ):
            if terms and not await self.network.security_groups(selectors(terms)):
                found.append(_unmatched("security-groups", node_class, field, "security group"))
        return found

    async def _images(self, node_class: NodeClass) -> list[Finding]:
        version = self.cluster["version"]
        queries = image_queries(node_class, version)
        if await self.images.find(queries):
            return []
        return [
            error(
                "images",
                f"NodeClass {node_class.name}",
                f"there is no Bottlerocket image for Kubernetes {version}: "
                f"{queries[-1].parameter} is not set",
                "use a Kubernetes version (and a region, for FIPS) that Bottlerocket is made for",
            )
        ]

    async def _identity(self, node_class: NodeClass) -> list[Finding]:
        subject = f"NodeClass {node_class.name}"
        role, profile = node_class.spec.role, node_class.spec.instance_profile
        if profile is not None:
            try:
                answer = await self.iam("get_instance_profile", InstanceProfileName=profile)
            except CloudError as failure:
                if failure.kind is not Kind.NOT_FOUND:
                    raise
                text = f"instance profile {profile!r} does not exist"
                return [error("node-role", subject, text, "create it with the node role in it")]
            roles = answer["InstanceProfile"].get("Roles", ())
            if not roles:
                text = f"instance profile {profile!r} has no role"
                return [error("node-role", subject, text, "put the node role into it")]
            return await self._access_entry(subject, roles[0]["Arn"], made=False)
        assert role is not None, "admission wants a role or an instance profile"
        try:
            answer = await self.iam("get_role", RoleName=role)
        except CloudError as failure:
            if failure.kind is Kind.UNAUTHORIZED:
                return []
            if failure.kind is not Kind.NOT_FOUND:
                raise
            text = f"the role {role!r} does not exist"
            return [
                error("node-role", subject, text, "create it (hack/iam/README.md), or correct it")
            ]
        return await self._access_entry(subject, answer["Role"]["Arn"], made=True)

    async def _access_entry(self, subject: str, role: str, *, made: bool) -> list[Finding]:
        """Whether nodes of the role may join; `made`: the operator makes an entry that is missing.

        A cluster that knows no access entries has a finding of its own.
        """
        if (self.cluster.get("accessConfig") or {}).get("authenticationMode") == "CONFIG_MAP":
            return []
        names = {"clusterName": self.cluster["name"], "principalArn": role}
        fix = "aws eks create-access-entry --type EC2, then associate-access-policy " + (
            node_policy(role)
        )
        try:
            entry = (await self.eks("describe_access_entry", **names))["accessEntry"]
            policies = await self.eks("list_associated_access_policies", **names)
        except CloudError as failure:
            if failure.kind is Kind.UNAUTHORIZED or (made and failure.kind is Kind.NOT_FOUND):
                return []
            if failure.kind is not Kind.NOT_FOUND:
                raise
            text = f"{role} has no access entry: nodes cannot join the cluster"
            return [error("access-entry", subject, text, fix)]
        if entry["type"] not in _NODE_ENTRIES:
            text = f"the access entry of {role} is of type {entry['type']}, not EC2"
            return [error("access-entry", subject, text, f"delete it; {fix}")]
        known = {p["policyArn"] for p in policies.get("associatedAccessPolicies", ())}
        if entry["type"] == "EC2" and not made and node_policy(role) not in known:
            text = f"the access entry of {role} lacks the policy AmazonEKSAutoNodePolicy"
            return [error("access-entry", subject, text, fix)]
        return []

    async def _placement_group(self, node_class: NodeClass) -> list[Finding]:
        wanted = node_class.spec.placement_group_selector
        if wanted is None or await self.reservations.placement_group(
            id=wanted.id, name=wanted.name
        ):
            return []
        return [
            error(
                "placement-group",
                f"NodeClass {node_class.name}",
                f"placement group {wanted.id or wanted.name!r} does not exist",
                "create it, or correct placementGroupSelector",
            )
        ]


@dataclass(frozen=True)
class _Term:
    id: str
    name: None = None
    tags: None = None


def _terms(ids: Iterable[str]) -> list[_Term]:
    return [_Term(one) for one in ids]


def _unmatched(check: str, node_class: NodeClass, field: str, what: str) -> Finding:
    return error(
        check,
        f"NodeClass {node_class.name}",
        f"{field} match no {what}",
        f"tag the {what}s as the terms say, or correct the terms",
    )


def _crowded(subnets: Iterable[Subnet]) -> list[Finding]:
    return [
        error(
            "addresses",
            subnet.id,
            f"{subnet.free_addresses} free addresses in {subnet.zone}",
            "select a larger subnet, or add a CIDR to the VPC and subnets in it",
        )
        for subnet in subnets
        if subnet.free_addresses < FEW_ADDRESSES
    ]
