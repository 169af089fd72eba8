"""boto3's clients, made once at start.

Credentials come from boto3's default chain (Pod Identity, IRSA, environment, instance profile) and
refresh themselves. Botocore itself repeats nothing: `call.Caller` does, where the token buckets see
each attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from autoctl.aws.executor import THREADS

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 1},
    connect_timeout=3,
    read_timeout=60,
    max_pool_connections=THREADS,
    user_agent_extra="autoctl",
)
_LONG_POLL = _CONFIG.merge(Config(read_timeout=30))


@dataclass(frozen=True)
class Clients:
    """The clients that gateways are made of; the simulated cloud offers the same methods."""

    ec2: Any
    ssm: Any
    iam: Any
    eks: Any
    sqs: Any
    pricing: Any
    sts: Any
    service_quotas: Any = None
    """For `autoctl doctor` alone."""


def pricing_region(region: str) -> str:
    """Where the Price List API answers for a region: it has end points in few of them."""
    for prefix, home in (("ap-", "ap-south-1"), ("cn-", "cn-northwest-1"), ("eu-", "eu-central-1")):
        if region.startswith(prefix):
            return home
    return "us-east-1"


def make_clients(region: str) -> Clients:
    """Clients for `region`. `AWS_ENDPOINT_URL` redirects them all, as boto3 documents."""
    # Any: service names that are not literals match none of the stubs' overloads.
    session: Any = boto3.Session(region_name=region)

    def client(service: str, **options: Any) -> Any:
        return session.client(service, **({"config": _CONFIG} | options))

    return Clients(
        ec2=client("ec2"),
        ssm=client("ssm"),
        iam=client("iam"),
        eks=client("eks"),
        sqs=client("sqs", config=_LONG_POLL),
        pricing=client("pricing", region_name=pricing_region(region)),
        sts=client("sts"),
        service_quotas=client("service-quotas"),
    )
