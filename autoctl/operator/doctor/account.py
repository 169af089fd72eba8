"""The account: credentials, the EKS cluster, quotas, the interruption queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from botocore.parsers import ResponseParserError

from autoctl.api.nodepool import NodePool
from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.catalog.units import amounts
from autoctl.operator.doctor.endpoints import garbled, unanswered
from autoctl.operator.doctor.report import Finding, Level, error, ok, warning

OLDEST_KUBERNETES: Final = (1, 29)
"""EKS Auto Mode begins with this minor version, and so do its node images here."""
LOAD_BALANCER_TAGS: Final = ("kubernetes.io/role/internal-elb", "kubernetes.io/role/elb")
LEAST_VCPUS: Final = 32
"""Less does not start the second node of a middling size."""
QUOTAS: Final = {
    "L-1216C47A": ("on-demand", "Running On-Demand Standard instances"),
    "L-34B43A08": ("spot", "All Standard Spot Instance Requests"),
}
"""Quota code -> capacity type, the quota's name."""


async def check_credentials(sts: Caller) -> tuple[Finding, str]:
    """A finding about who calls, and the caller's ARN; empty when AWS knows none."""
    try:
        identity = await sts("get_caller_identity")
    except ResponseParserError as stranger:
        return garbled(stranger), ""
    except CloudError as failure:
        if unreached := unanswered(failure):
            return unreached, ""
        found = error(
            "credentials",
            "AWS",
            f"AWS does not accept the credentials: {failure.code}: {failure.message}",
            "give the pod an identity (EKS Pod Identity or IRSA), or log in",
        )
        return found, ""
    arn = identity["Arn"]
    return ok("credentials", identity["Account"], f"AWS knows the caller as {arn}"), arn


async def check_cluster(eks: Caller, name: str) -> tuple[list[Finding], Mapping[str, Any] | None]:
    """Findings about the EKS cluster, and its description where there is one."""
    try:
        cluster: Mapping[str, Any] = (await eks("describe_cluster", name=name))["cluster"]
    except CloudError as failure:
        if unreached := unanswered(failure):
            return [unreached], None
        missing = failure.kind is Kind.NOT_FOUND
        message = f"there is no EKS cluster {name!r}" if missing else str(failure)
        fix = (
            "check --cluster-name and --region"
            if missing
            else "allow eks:DescribeCluster to the operator's role"
        )
        return [error("cluster", name, message, fix)], None
    findings = []
    if (cluster.get("computeConfig") or {}).get("enabled"):
        findings.append(
            error(
                "cluster",
                name,
                "EKS Auto Mode is on: its own controllers manage the same objects",
                "turn it off (computeConfig.enabled=false)",
            )
        )
    version = cluster["version"]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_KUBERNETES:
        least = ".".join(map(str, OLDEST_KUBERNETES))
        findings.append(
            error("cluster", name, f"Kubernetes {version} is too old", f"upgrade to {least}")
        )
    mode = (cluster.get("accessConfig") or {}).get("authenticationMode", "API")
    if mode == "CONFIG_MAP":
        findings.append(
            warning(
                "cluster",
                name,
                "the cluster's authentication mode knows no access entries",
                "set it to API_AND_CONFIG_MAP, or put the node role into aws-auth yourself",
            )
        )
    return findings or [ok("cluster", name, f"Kubernetes {version}")], cluster


async def check_load_balancers(ec2: Caller, cluster: Mapping[str, Any]) -> list[Finding]:
    """Whether load balancers find subnets in the cluster's VPC by the tags that name their role."""
    vpc = (cluster.get("resourcesVpcConfig") or {}).get("vpcId", "")
    filters = [
        {"Name": "vpc-id", "Values": [vpc]},
        {"Name": "tag-key", "Values": list(LOAD_BALANCER_TAGS)},
    ]
    try:
        subnets = await ec2.pages("describe_subnets", "Subnets", Filters=filters)
    except CloudError as failure:
        if unreached := unanswered(failure):
            return [unreached]
        return [error("load-balancers", vpc, str(failure), "allow ec2:DescribeSubnets")]
    if subnets:
        return [ok("load-balancers", vpc, f"{len(subnets)} subnets are tagged for them")]
    return [
        warning(
            "load-balancers",
            vpc,
            f"no subnet has a tag {' or '.join(LOAD_BALANCER_TAGS)}: load balancers find none",
            "tag private subnets with the first, public ones with the second, value 1",
        )
    ]


async def check_quotas(quotas: Caller, pools: Sequence[NodePool]) -> list[Finding]:
    """vCPU quotas against what nodes need, and against the NodePools' own limits."""
    limits = [amounts(p.spec.limits).get("cpu") for p in pools]
    wanted = sum(x for x in limits if x is not None) / 1000
    findings = []
    for code, (capacity_type, name) in QUOTAS.items():
        try:
            answer = await quotas("get_service_quota", ServiceCode="ec2", QuotaCode=code)
        except CloudError as failure:
            if unreached := unanswered(failure, Level.WARNING):
                # It is asked for advice only; the operator does without it.
                return [unreached]
            findings.append(
                warning(
                    "quotas",
                    code,
                    f"the quota cannot be read: {failure}",
                    "allow servicequotas:GetServiceQuota to whoever runs the doctor",
                )
            )
            continue
        value = answer["Quota"]["Value"]
        fix = f"ask for more: Service Quotas, Amazon EC2, {name!r} ({code})"
        if value < LEAST_VCPUS:
            findings.append(
                error("quotas", code, f"only {value:g} vCPUs of {capacity_type} instances", fix)
            )
        elif value < wanted:
            text = f"{value:g} vCPUs of {capacity_type} instances, NodePools may use {wanted:g}"
            findings.append(warning("quotas", code, text, fix))
        else:
            findings.append(ok("quotas", code, f"{value:g} vCPUs of {capacity_type} instances"))
    return findings


async def check_queue(sqs: Caller, queue: str) -> Finding:
    """Whether the interruption queue is there."""
    if not queue:
        return warning(
            "interruption-queue",
            "SQS",
            "no queue is set: spot interruptions and maintenance come without warning",
            "set --interruption-queue",
        )
    name = queue.rpartition("/")[2]
    try:
        await sqs("get_queue_url", QueueName=name)
    except CloudError as failure:
        if unreached := unanswered(failure):
            return unreached
        text = "does not exist" if failure.kind is Kind.NOT_FOUND else str(failure)
        return error(
            "interruption-queue",
            name,
            f"queue {name!r}: {text}",
            "create it with the rules of hack/iam/README.md, or correct --interruption-queue",
        )
    return ok("interruption-queue", name, "the queue is there")
