"""`metrics.state`: brings all gauges about the cluster's state up to date."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from autoctl.controllers.metrics.conditions import ConditionMetrics
from autoctl.controllers.metrics.nodes import NodeMetrics
from autoctl.controllers.metrics.pods import PodMetrics
from autoctl.controllers.metrics.pools import OfferMetrics, PoolMetrics
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.state.cluster import ClusterState

PERIOD_SECONDS = 30.0


class Detail(StrEnum):
    """What has series of its own: nothing, each NodePool, each node too, each pod too."""

    NONE = "none"
    POOL = "pool"
    NODE = "node"
    POD = "pod"


class StateMetrics:
    """Periodic. Without `detail` beyond the pools a large cluster has few series."""

    name = "metrics.state"

    def __init__(
        self, state: ClusterState, clock: Clock, metrics: Metrics, *, detail: Detail
    ) -> None:
        self._state = state
        self._clock = clock
        self._detail = detail
        self._nodes = NodeMetrics(metrics)
        self._pods = PodMetrics(state, clock, metrics)
        self._pools = PoolMetrics(metrics)
        self._offers = OfferMetrics(metrics)
        self._conditions = ConditionMetrics(state, clock, metrics)
        self._revision: tuple[int, ...] = ()

    async def run_once(self) -> float:
        if not self._state.synced:
            return 1.0
        revision = self._state.revision()
        each_node = self._detail is not Detail.POOL
        if revision == self._revision and not each_node:
            return PERIOD_SECONDS
        self._revision = revision
        snapshot = self._state.snapshot()
        await self._nodes.update(snapshot, each_node=each_node)
        self._pods.update(snapshot, each_pod=self._detail is Detail.POD)
        self._pools.update(snapshot)
        await asyncio.sleep(0)
        self._offers.update(snapshot)
        self._conditions.update(self._clock.now(), each_object=each_node)
        return PERIOD_SECONDS
