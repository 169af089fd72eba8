"""The AWS half of the start checks: region, credentials, and whose cluster this is."""

from __future__ import annotations

import os
import random

import boto3
import structlog
from botocore.exceptions import BotoCoreError
from botocore.utils import IMDSRegionProvider

from autoctl.aws.call import Caller
from autoctl.aws.clients import Clients
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.executor import Executor
from autoctl.operator.preflight import PreflightError
from autoctl.operator.reach import silence

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def find_region(given: str) -> str:
    """The region: as given, else AWS_REGION, boto3's own (profile), the instance's.

    Blocks for some seconds in the last case. Raises `PreflightError`.
    """
    session = boto3.Session()
    # Pods get AWS_REGION from EKS; boto3 itself looks at AWS_DEFAULT_REGION alone.
    region = given or os.environ.get("AWS_REGION") or session.region_name
    if region:
        return region
    try:
        found = IMDSRegionProvider(session._session).provide()  # noqa: SLF001 - no public way
    except BotoCoreError as error:
        _log.debug("instance metadata not reached", error=str(error))
        found = None
    if not found:
        raise PreflightError(
            "no AWS region: set --region (AUTOCTL_REGION) or AWS_REGION; "
            "the instance metadata service gave none either"
        )
    return str(found)


async def preflight_aws(
    clients: Clients, executor: Executor, *, cluster: str, region: str, rng: random.Random
) -> None:
    """Raise `PreflightError` unless AWS accepts the credentials, the cluster is there, and EKS does
    not run Auto Mode on it.
    """
    sts = Caller("sts", clients.sts, executor, rng=rng)
    eks = Caller("eks", clients.eks, executor, rng=rng)
    try:
        identity = await sts("get_caller_identity")
        _log.info("AWS identity", arn=identity.get("Arn"), region=region)
        answer = await eks("describe_cluster", name=cluster)
    except CloudError as error:
        raise PreflightError(_explain(error, cluster, region)) from error
    compute = answer["cluster"].get("computeConfig") or {}
    if compute.get("enabled"):
        raise PreflightError(
            f"EKS Auto Mode is on for cluster {cluster!r}: its own controllers manage the same "
            "objects. Turn it off (computeConfig.enabled=false) before starting autoctl"
        )


def _explain(error: CloudError, cluster: str, region: str) -> str:
    if error.kind is Kind.NOT_FOUND:
        return f"there is no EKS cluster {cluster!r} in {region}: check --cluster-name and --region"
    if unreached := silence(error):
        return f"AWS cannot be reached: {unreached}"
    if error.operation == "get_caller_identity" and not error.transient:
        return f"AWS does not accept the credentials: {error.code}: {error.message}"
    if error.kind is Kind.UNAUTHORIZED:
        return (
            f"the AWS identity lacks a permission: {error}; "
            "attach the operator's IAM policy to its role"
        )
    return f"AWS does not answer: {error}"
