"""Brings the market up to date: instance types, where they are offered, and their prices.

Each part has its own period and its own failures: what cannot be had stays as it was (at first the
embedded catalog), and a metric tells how old it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from autoctl.aws.instance_types import InstanceTypes
from autoctl.aws.market import MarketApi
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

K = TypeVar("K")
V = TypeVar("V")

TYPES_SECONDS = 12 * 3600.0
ON_DEMAND_SECONDS = 12 * 3600.0
SPOT_SECONDS = 6 * 3600.0
"""Spot prices move slowly, within hours."""


class EmptyAnswer(Exception):
    """AWS answered without a single entry; no region is as empty as that."""


@dataclass
class MarketRefresh:
    """One part of the market; periodic."""

    name: str
    part: str
    period: float
    fetch: Callable[[], Awaitable[bool]]
    clock: Clock
    metrics: Metrics

    async def run_once(self) -> float:
        if await self.fetch():
            _log.info("catalog refreshed", part=self.part)
        self.metrics.catalog_refreshed.labels(self.part).set(self.clock.now().timestamp())
        return self.period


def market_refreshes(
    api: MarketApi, types: InstanceTypes, clock: Clock, metrics: Metrics
) -> list[MarketRefresh]:
    """The periodic controllers of all parts."""

    async def instance_types() -> bool:
        zones, found, offered = await api.zones(), await api.types(), await api.offered()
        return types.refresh(zones=_some(zones), types=_some(found), offered=_some(offered))

    async def on_demand() -> bool:
        found = _some(await api.on_demand())
        # A type that the list leaves out keeps the price it is known by.
        return types.refresh(on_demand={**types.market.on_demand, **found})

    async def spot() -> bool:
        return types.refresh(spot=_some(await api.spot(clock.now())))

    parts = (
        ("providers.instancetype", "instance-types", TYPES_SECONDS, instance_types),
        ("providers.pricing", "on-demand", ON_DEMAND_SECONDS, on_demand),
        ("providers.pricing.spot", "spot", SPOT_SECONDS, spot),
    )
    return [
        MarketRefresh(name, part, period, fetch, clock, metrics)
        for name, part, period, fetch in parts
    ]


def _some(found: Mapping[K, V]) -> Mapping[K, V]:
    if not found:
        raise EmptyAnswer("AWS's answer has no entries")
    return found
