"""Token buckets in front of the AWS API, one per operation, that give way when AWS throttles.

EC2 keeps a request bucket for each account, region and operation (EC2 Developer Guide, "Request
throttling"). The buckets here start a little below those rates. A throttled answer halves an
operation's rate, successes bring it back step by step (additive increase, multiplicative decrease),
so that several controllers sharing an account settle on what the account allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

_SHARE = 0.9
"""Of the account's rates: exactly at them, every late or early request would be refused."""
FLEETS_PER_MINUTE = 60
_LOWEST_SHARE = 0.05
_DECREASE = 0.5
_INCREASE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` requests at once, then `per_second`."""

    burst: float
    per_second: float


NON_MUTATING = Rate(100, 20)
NON_MUTATING_UNFILTERED = Rate(50, 10)
MUTATING = Rate(50, 5)
RESOURCE_INTENSIVE = Rate(50, 5)

RATES: Mapping[str, Rate] = {
    "create_fleet": RESOURCE_INTENSIVE,
    "run_instances": Rate(5, 2),
    "terminate_instances": Rate(100, 5),
    "create_tags": Rate(100, 10),
    "delete_tags": Rate(100, 10),
    "create_launch_template": MUTATING,
    "delete_launch_template": MUTATING,
    "describe_instances": Rate(100, 20),
    "describe_instance_types": Rate(100, 20),
    "describe_spot_price_history": Rate(100, 20),
    # The other services publish lower or no figures; these are what their defaults bear.
    "get_parameter": Rate(40, 20),
    "get_products": Rate(10, 5),
    "create_instance_profile": Rate(10, 2),
    "add_role_to_instance_profile": Rate(10, 2),
    "remove_role_from_instance_profile": Rate(10, 2),
    "delete_instance_profile": Rate(10, 2),
    "get_instance_profile": Rate(20, 5),
}


class TokenBucket:
    """One operation's budget, in the event loop's time."""

    def __init__(self, rate: Rate) -> None:
        self._full = rate
        self.per_second = rate.per_second
        """The present rate."""
        self._tokens = rate.burst
        self._filled_at: float | None = None
        self._turn = asyncio.Lock()

    async def acquire(self) -> None:
        """Wait for one token; callers are served in the order in which they came."""
        async with self._turn:
            self._refill()
            if self._tokens < 1:
                await asyncio.sleep((1 - self._tokens) / self.per_second)
                self._refill()
            self._tokens -= 1

    def available(self) -> int:
        """How many requests could be made at once now."""
        return max(0, int(self._refill()))

    async def ready(self) -> None:
        """Wait until there should be a token, and leave it."""
        missing = 1 - self._refill()
        if missing > 0:
            await asyncio.sleep(missing / self.per_second)

    def throttled(self) -> None:
        """AWS refused: halve the rate and forget the burst."""
        self._refill()
        self._tokens = min(self._tokens, 0.0)
        lowest = self._full.per_second * _LOWEST_SHARE
        self.per_second = max(lowest, self.per_second * _DECREASE)

    def succeeded(self) -> None:
        """AWS answered: come nearer to the full rate."""
        step = self._full.per_second * _INCREASE_SHARE
        self.per_second = min(self._full.per_second, self.per_second + step)

    def _refill(self) -> float:
        """The tokens there are now."""
        now = asyncio.get_running_loop().time()
        if self._filled_at is not None:
            earned = (now - self._filled_at) * self.per_second
            self._tokens = min(self._full.burst, self._tokens + earned)
        self._filled_at = now
        return self._tokens


class RateLimits:
    """The buckets of all operations.

    Launching is expensive for EC2, so CreateFleet is held to `fleets_per_minute` requests in any
    minute, if that is less than the account's rate: half of them at once, the others evenly.
    """

    def __init__(
        self,
        rates: Mapping[str, Rate] = RATES,
        *,
        fleets_per_minute: int = FLEETS_PER_MINUTE,
    ) -> None:
        self._rates = rates
        self._fleets = fleets_per_minute
        self._buckets: dict[str, TokenBucket] = {}

    def bucket(self, operation: str) -> TokenBucket:
        bucket = self._buckets.get(operation)
        if bucket is None:
            reads = operation.startswith(("describe_", "get_", "list_", "receive_"))
            rate = self._rates.get(operation, NON_MUTATING if reads else MUTATING)
            rate = Rate(max(1.0, rate.burst * _SHARE), rate.per_second * _SHARE)
            if operation == "create_fleet":
                burst = min(rate.burst, self._fleets / 2)
                rate = Rate(burst, min(rate.per_second, (self._fleets - burst) / 60))
            bucket = self._buckets[operation] = TokenBucket(rate)
        return bucket
