"""Which pool a fleet tries first: the allocation strategies of CreateFleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoctl.sim.cloud.ec2.network import Subnet
from autoctl.sim.cloud.ec2.records import SPOT, LaunchTemplate
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Params

CAPACITY_SCORE_BAND = 3
"""Pools whose depth differs by less count as equally likely to last; then the price decides."""


@dataclass
class Pool:
    """One override, resolved.

    `failure` is why nothing can be launched from it whatever capacity there is. `price` and
    `spot_price` are USD/hour (infinite or None where there is none); `depth` is how much spot
    capacity is said to be there, 0 to 10.
    """

    template: LaunchTemplate
    version: int
    data: Params
    override: Params
    subnet: Subnet | None
    failure: AwsFailure | None
    price: float
    spot_price: float | None
    depth: int
    position: int

    @property
    def instance_type(self) -> str:
        return str(self.data.get("InstanceType", ""))

    @property
    def zone(self) -> str | None:
        return self.subnet.zone if self.subnet else None

    @property
    def priority(self) -> float:
        """Lower goes first; overrides without one go last."""
        return float(self.override.get("Priority", float("inf")))

    def echo(self) -> dict[str, Any]:
        """LaunchTemplateAndOverrides of the answer."""
        overrides = dict(self.override)
        overrides.setdefault("InstanceType", self.instance_type)
        if "Placement" in overrides:
            name = overrides["Placement"].get("GroupName")
            overrides["Placement"] = {"GroupName": name} if name else {}
        if self.subnet is not None:
            overrides.setdefault("SubnetId", self.subnet.subnet_id)
            overrides.setdefault("AvailabilityZone", self.subnet.zone)
        return {
            "LaunchTemplateSpecification": {
                "LaunchTemplateId": self.template.template_id,
                "Version": str(self.version),
            },
            "Overrides": overrides,
        }


def ordered(pools: list[Pool], market: str, strategy: str) -> list[Pool]:
    """The pools in the order in which a strategy tries them; ties in the request's order."""
    if market != SPOT:
        if strategy == "prioritized":
            return sorted(pools, key=lambda p: (p.priority, p.position))
        return sorted(pools, key=lambda p: (p.price, p.position))
    deepest = max((pool.depth for pool in pools), default=0)
    if strategy == "capacity-optimized":
        return sorted(pools, key=lambda p: (-p.depth, p.position))
    if strategy == "capacity-optimized-prioritized":
        return sorted(pools, key=lambda p: (p.depth == 0, p.priority, -p.depth, p.position))
    if strategy == "price-capacity-optimized":
        return sorted(
            pools,
            key=lambda p: (deepest - p.depth > CAPACITY_SCORE_BAND, _spot(p), p.position),
        )
    return sorted(pools, key=lambda p: (_spot(p), p.position))


def _spot(pool: Pool) -> float:
    return float("inf") if pool.spot_price is None else pool.spot_price
