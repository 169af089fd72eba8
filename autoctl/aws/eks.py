"""The EKS cluster that nodes join, and the access entries that let them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.ports.clock import Clock

_NODE_POLICY = "cluster-access-policy/AmazonEKSAutoNodePolicy"


def node_policy(role_arn: str) -> str:
    """The ARN of Auto Mode's access policy for nodes, in the partition of the role.

    Partitions are `aws`, `aws-us-gov`, `aws-cn` and others.
    """
    partition = role_arn.split(":")[1]
    return f"arn:{partition}:eks::aws:{_NODE_POLICY}"


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """What a node must know to join. `version` is the Kubernetes minor, such as 1.34.

    `subnet_ids` and `security_group_id` are the cluster's own. `registry_mirrors` maps container
    registries to the end points that are tried before them, in order.
    """

    name: str
    endpoint: str
    certificate_authority: str
    version: str
    service_cidr: str
    ipv6: bool = False
    subnet_ids: tuple[str, ...] = ()
    security_group_id: str = ""
    registry_mirrors: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def dns_address(self) -> str:
        """The tenth address of the service network, which EKS gives to the DNS service."""
        return str(ipaddress.ip_network(self.service_cidr)[10])


_KEEP = timedelta(minutes=5)
_NO_MIRRORS: Mapping[str, Sequence[str]] = MappingProxyType({})


class ClusterFacts:
    """The cluster's facts, asked for again every five minutes; the last answer outlives errors."""

    def __init__(self, cluster: EksCluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: tuple[ClusterInfo, datetime] | None = None

    async def get(self) -> ClusterInfo:
        """Raises `CloudError` only while nothing is known."""
        now = self._clock.now()
        if self._known is not None and now - self._known[1] < _KEEP:
            return self._known[0]
        try:
            info = await self._cluster.describe()
        except CloudError:
            if self._known is None:
                raise
            info = self._known[0]
        self._known = (info, now)
        return info


class EksCluster:
    """DescribeCluster and access entries of one cluster.

    `endpoint` replaces the one that EKS tells, for nodes that reach the API server another way;
    `mirrors` go to the nodes with the rest.
    """

    def __init__(
        self,
        eks: Caller,
        *,
        cluster: str,
        endpoint: str = "",
        mirrors: Mapping[str, Sequence[str]] = _NO_MIRRORS,
    ) -> None:
        self._eks = eks
        self._cluster = cluster
        self._endpoint = endpoint
        self._mirrors = tuple((name, tuple(mirrors[name])) for name in sorted(mirrors))

    async def describe(self) -> ClusterInfo:
        answer = await self._eks("describe_cluster", name=self._cluster)
        cluster = answer["cluster"]
        network = cluster.get("kubernetesNetworkConfig", {})
        vpc = cluster.get("resourcesVpcConfig", {})
        ipv6 = network.get("ipFamily") == "ipv6"
        cidr = network.get("serviceIpv6Cidr" if ipv6 else "serviceIpv4Cidr")
        return ClusterInfo(
            name=cluster["name"],
            endpoint=self._endpoint or cluster["endpoint"],
            certificate_authority=cluster["certificateAuthority"]["data"],
            version=cluster["version"],
            service_cidr=cidr or ("fd00::/108" if ipv6 else "10.100.0.0/16"),
            ipv6=ipv6,
            subnet_ids=tuple(vpc.get("subnetIds", ())),
            security_group_id=vpc.get("clusterSecurityGroupId", ""),
            registry_mirrors=self._mirrors,
        )

    async def ensure_access_entry(self, role_arn: str, tags: Mapping[str, str]) -> None:
        """Let instances of the role join: an entry of type EC2 with the Auto Mode node policy."""
        try:
            await self._eks(
                "create_access_entry",
                clusterName=self._cluster,
                principalArn=role_arn,
                type="EC2",
                tags=dict(tags),
            )
        except CloudError as error:
            if error.kind is not Kind.EXISTS and error.code != "ResourceInUseException":
                raise
        await self._eks(
            "associate_access_policy",
            clusterName=self._cluster,
            principalArn=role_arn,
            policyArn=node_policy(role_arn),
            accessScope={"type": "cluster"},
        )

    async def delete_access_entry(self, role_arn: str, owner: str) -> None:
        """Remove the entry if the tag `owner` is on it; one that is gone already is no error."""
        try:
            answer = await self._eks(
                "describe_access_entry", clusterName=self._cluster, principalArn=role_arn
            )
            if owner not in answer["accessEntry"].get("tags", {}):
                return
            await self._eks("delete_access_entry", clusterName=self._cluster, principalArn=role_arn)
        except CloudError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
