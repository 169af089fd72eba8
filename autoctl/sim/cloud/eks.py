"""Simulated EKS: the cluster's description and its access entries."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params, Service

if TYPE_CHECKING:
    from autoctl.sim.cloud.cloud import SimulatedCloud

ENTRY_TYPES = ("STANDARD", "EC2", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX")


@dataclass
class AccessEntry:
    principal: str
    kind: str
    created_at: datetime
    username: str
    groups: list[str]
    tags: dict[str, str] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)


SERVICE_CIDRS = {"ipv4": "172.20.0.0/16", "ipv6": "fd30:1c53:5f8a::/108"}


class Eks(Service):
    """One cluster; `endpoint` and `certificate_authority` (PEM) are what nodes are told.

    `auto_mode` true makes it a cluster that EKS Auto Mode itself manages.
    """

    name = "eks"

    def __init__(self, cloud: SimulatedCloud) -> None:
        super().__init__(cloud)
        self.created_at = cloud.now()
        self.endpoint = f"https://{cloud.settings.cluster}.gr7.{cloud.region}.eks.invalid"
        self.certificate_authority = (
            "-----BEGIN CERTIFICATE-----\nc2ltdWxhdGVk\n-----END CERTIFICATE-----\n"
        )
        self.entries: dict[str, AccessEntry] = {}
        self.version = cloud.settings.kubernetes
        self.ipv6 = False
        """Whether pods and services have IPv6 addresses; of subnets, each says so itself."""
        self.auto_mode = False

    def _check_cluster(self, name: str) -> None:
        if name != self.cloud.settings.cluster:
            raise AwsFailure(
                "ResourceNotFoundException", f"No cluster found for name: {name}.", 404
            )

    def describe_cluster(self, params: Params) -> Answer:
        name = params["name"]
        self._check_cluster(name)
        network = self.cloud.ec2.network
        groups = [g for g in network.groups.values() if g.name == f"{name}-node"]
        return {
            "cluster": {
                "name": name,
                "arn": f"arn:aws:eks:{self.cloud.region}:{ACCOUNT}:cluster/{name}",
                "createdAt": self.created_at,
                "version": self.version,
                "endpoint": self.endpoint,
                "roleArn": f"arn:aws:iam::{ACCOUNT}:role/{name}-cluster",
                "status": "ACTIVE",
                "platformVersion": "eks.1",
                "certificateAuthority": {
                    "data": base64.b64encode(self.certificate_authority.encode()).decode()
                },
                "identity": {
                    "oidc": {"issuer": f"https://oidc.eks.{self.cloud.region}.invalid/id/SIMULATED"}
                },
                "resourcesVpcConfig": {
                    "subnetIds": list(network.subnets),
                    "securityGroupIds": [],
                    "clusterSecurityGroupId": groups[0].group_id,
                    "vpcId": next(iter(network.vpcs)),
                    "endpointPublicAccess": True,
                    "endpointPrivateAccess": True,
                    "publicAccessCidrs": ["0.0.0.0/0"],
                },
                "kubernetesNetworkConfig": {
                    **(
                        {"ipFamily": "ipv6", "serviceIpv6Cidr": SERVICE_CIDRS["ipv6"]}
                        if self.ipv6
                        else {"ipFamily": "ipv4", "serviceIpv4Cidr": SERVICE_CIDRS["ipv4"]}
                    ),
                    "elasticLoadBalancing": {"enabled": self.auto_mode},
                },
                "accessConfig": {
                    "bootstrapClusterCreatorAdminPermissions": True,
                    "authenticationMode": "API",
                },
                "computeConfig": {"enabled": self.auto_mode},
                "storageConfig": {"blockStorage": {"enabled": self.auto_mode}},
                "tags": {},
            }
        }

    def _entry(self, params: Params) -> AccessEntry:
        self._check_cluster(params["clusterName"])
        principal = params["principalArn"]
        if principal not in self.entries:
            raise AwsFailure(
                "ResourceNotFoundException",
                f"The specified principalArn could not be found: {principal}",
                404,
            )
        return self.entries[principal]

    def create_access_entry(self, params: Params) -> Answer:
        self._check_cluster(params["clusterName"])
        principal = params["principalArn"]
        kind = params.get("type", "STANDARD")
        if kind not in ENTRY_TYPES:
            raise AwsFailure("InvalidParameterException", f"The type {kind} is not valid")
        if kind.startswith("EC2") and params.get("kubernetesGroups"):
            raise AwsFailure(
                "InvalidParameterException",
                f"The parameter kubernetesGroups cannot be used with the type {kind}",
            )
        if principal in self.entries:
            raise AwsFailure(
                "ResourceInUseException",
                "The specified access entry resource is already in use on this cluster.",
                409,
            )
        name = principal.rpartition("/")[2]
        if ":role/" in principal and name not in self.cloud.iam.roles:
            raise AwsFailure(
                "InvalidParameterException",
                "The specified principalArn is invalid: invalid principal.",
            )
        entry = AccessEntry(
            principal=principal,
            kind=kind,
            created_at=self.cloud.now(),
            username=params.get("username", "system:node:{{SessionName}}"),
            groups=params.get("kubernetesGroups", ["system:nodes"] if kind != "STANDARD" else []),
            tags=dict(params.get("tags", {})),
        )
        self.entries[principal] = entry
        return {"accessEntry": self._describe(entry)}

    def describe_access_entry(self, params: Params) -> Answer:
        return {"accessEntry": self._describe(self._entry(params))}

    def delete_access_entry(self, params: Params) -> Answer:
        del self.entries[self._entry(params).principal]
        return {}

    def list_access_entries(self, params: Params) -> Answer:
        self._check_cluster(params["clusterName"])
        policy = params.get("associatedPolicyArn")
        found = [
            e.principal for e in self.entries.values() if policy is None or policy in e.policies
        ]
        start, size = int(params.get("nextToken", "0")), params.get("maxResults", 100)
        answer: Answer = {"accessEntries": found[start : start + size]}
        if start + size < len(found):
            answer["nextToken"] = str(start + size)
        return answer

    def associate_access_policy(self, params: Params) -> Answer:
        entry = self._entry(params)
        policy = {
            "policyArn": params["policyArn"],
            "accessScope": params["accessScope"],
            "associatedAt": self.cloud.now(),
            "modifiedAt": self.cloud.now(),
        }
        entry.policies[params["policyArn"]] = policy
        return {
            "clusterName": params["clusterName"],
            "principalArn": entry.principal,
            "associatedAccessPolicy": policy,
        }

    def disassociate_access_policy(self, params: Params) -> Answer:
        entry = self._entry(params)
        if entry.policies.pop(params["policyArn"], None) is None:
            raise AwsFailure(
                "ResourceNotFoundException", "The specified policy is not associated.", 404
            )
        return {}

    def list_associated_access_policies(self, params: Params) -> Answer:
        entry = self._entry(params)
        return {
            "clusterName": params["clusterName"],
            "principalArn": entry.principal,
            "associatedAccessPolicies": list(entry.policies.values()),
        }

    def _describe(self, entry: AccessEntry) -> dict[str, Any]:
        cluster = self.cloud.settings.cluster
        return {
            "clusterName": cluster,
            "principalArn": entry.principal,
            "kubernetesGroups": entry.groups,
            "accessEntryArn": f"arn:aws:eks:{self.cloud.region}:{ACCOUNT}:access-entry/{cluster}/"
            f"role/{ACCOUNT}/{entry.principal.rpartition('/')[2]}",
            "createdAt": entry.created_at,
            "modifiedAt": entry.created_at,
            "tags": entry.tags,
            "username": entry.username,
            "type": entry.kind,
        }
