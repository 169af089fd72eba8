"""Request limits as EC2 enforces them: token buckets an account, a region and an API action.

Sizes and refill rates are the defaults of the EC2 page on request throttling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket holds `burst` requests and refills by `per_second`."""

    burst: float
    per_second: float


MUTATING = Rate(50, 5)
NON_MUTATING = Rate(100, 20)
UNFILTERED = Rate(50, 10)
"""Describe calls without filter, ids or page size."""

ACTIONS = {
    "CreateFleet": Rate(50, 5),
    "RunInstances": Rate(1000, 2),
    "TerminateInstances": Rate(100, 5),
    "CreateLaunchTemplate": Rate(100, 5),
    "DeleteLaunchTemplate": Rate(100, 5),
    "CreateTags": Rate(100, 10),
    "DescribeInstances": Rate(100, 20),
    "DescribeSpotPriceHistory": Rate(100, 20),
    "DescribeInstanceTypes": Rate(100, 20),
    "AssignPrivateIpAddresses": Rate(100, 10),
    "UnassignPrivateIpAddresses": Rate(100, 10),
    "AttachNetworkInterface": Rate(100, 10),
    "CreateNetworkInterface": Rate(100, 10),
    "DeleteNetworkInterface": Rate(100, 10),
}
"""Actions with a bucket of a size of their own."""


def default_rate(operation: str) -> Rate:
    """The bucket of an EC2 action."""
    if operation in ACTIONS:
        return ACTIONS[operation]
    return NON_MUTATING if operation.startswith(("Describe", "Get", "List")) else MUTATING


@dataclass
class TokenBucket:
    """The tokens left of a `Rate`, as of a moment."""

    rate: Rate
    tokens: float
    at: datetime

    def take(self, now: datetime) -> bool:
        """Take a token; false when there is none."""
        elapsed = max(0.0, (now - self.at).total_seconds())
        self.tokens = min(self.rate.burst, self.tokens + elapsed * self.rate.per_second)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class RequestLimits:
    """The buckets of one account: EC2's actions are limited, other services' are not.

    `rates` overrides defaults by operation name; `enforced` false lets everything pass.
    """

    enforced: bool = True
    rates: dict[str, Rate] = field(default_factory=dict)
    buckets: dict[str, TokenBucket] = field(default_factory=dict)

    def allows(self, service: str, operation: str, now: datetime) -> bool:
        if not self.enforced or service != "ec2":
            return True
        bucket = self.buckets.get(operation)
        if bucket is None:
            rate = self.rates.get(operation) or default_rate(operation)
            bucket = self.buckets[operation] = TokenBucket(rate, rate.burst, now)
        return bucket.take(now)
