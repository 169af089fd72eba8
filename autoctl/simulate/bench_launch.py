"""Launching measured: many NodeClaims at once, then a cluster at rest, by what EC2 was asked.

The NodeClaims come in one moment, as a large plan leaves them; the operator, its requests and EC2's
request limits are those of `autoctl simulate`. The figures come from the account's request log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_POOLS, NODES, Object
from autoctl.sim.cloud.log import Request, RequestLog, busiest_minute
from autoctl.sim.loop import VirtualLoop
from autoctl.simulate.bench_cluster import (
    REGION,
    node_claim,
    node_class,
    node_pool,
    types_on_sale,
)
from autoctl.simulate.bench_watch import Progress, Watch
from autoctl.simulate.scenario import Scenario, Settings
from autoctl.simulate.world import World

PATIENCE_SECONDS: Final = 3600.0
REST_SECONDS: Final = 1800.0
TYPES_A_CLAIM: Final = 20
"""Instance types that each NodeClaim leaves open."""


def bench_launch(
    claims: int,
    shapes: int = 32,
    seed: int = 42,
    progress: Progress | None = None,
    rest: float = REST_SECONDS,
) -> dict[str, Any]:
    """Run the benchmark; the keys of the answer are documented in `docs/performance.md`.

    `shapes` is how many different NodeClaims there are among the `claims`. The cluster is watched
    for `rest` seconds, whole minutes, after as long for it to come to rest. Raises `BenchError`.
    """
    if rest < 60 or rest % 60:
        raise ValueError(f"rest must be whole minutes of seconds, got {rest:g}")
    if not 1 <= shapes <= claims:
        raise ValueError(f"shapes must be between 1 and {claims}, got {shapes}")
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_Run(claims, shapes, seed, progress, rest).run())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@dataclass
class _Run:
    claims: int
    shapes: int
    seed: int
    progress: Progress | None
    rest: float

    async def run(self) -> dict[str, Any]:
        scenario = Scenario(name="launch", region=REGION, settings=Settings())
        world = World(scenario, self.seed)
        self._world = world
        self._watch = Watch(world, self.progress, PATIENCE_SECONDS, "an hour")
        # Everything that is asked is counted, so everything is kept.
        world.cloud.log = RequestLog()
        await world.start([node_class(), node_pool("100%")])
        try:
            await self._watch.until("NodePool ready", self._pool_ready)
            world.cloud.log.clear()
            began = asyncio.get_running_loop().time()
            types = [t.name for t in types_on_sale()]
            world.cluster.load(
                _claim(index, index % self.shapes, types) for index in range(self.claims)
            )
            await self._watch.until("nodes ready", lambda: (self._initialized(), self.claims))
            seconds = asyncio.get_running_loop().time() - began
            launching = list(world.cloud.log.select(service="ec2"))
            await self._pass(self.rest, "coming to rest")
            nodes = sum(1 for _ in world.cluster.objects(NODES))
            world.cloud.log.clear()
            await self._pass(self.rest, "at rest")
            resting = list(world.cloud.log.select(service="ec2"))
        finally:
            await world.stop()
        return self._figures(nodes, seconds, launching, resting)

    def _figures(
        self, nodes: int, seconds: float, launching: list[Request], resting: list[Request]
    ) -> dict[str, Any]:
        fleets = [r for r in launching if r.operation == "CreateFleet"]
        throttled = Counter(r.operation for r in launching if r.outcome == "RequestLimitExceeded")
        return {
            "nodeClaims": self.claims,
            "shapes": self.shapes,
            "nodes": nodes,
            "clusterSeconds": round(seconds, 1),
            "createFleet": len(fleets),
            "createFleetBusiestMinute": busiest_minute(fleets),
            "requestsBusiestMinute": busiest_minute(launching),
            "throttled": dict(sorted(throttled.items())),
            "requestsAtRestAMinute": round(len(resting) * 60 / self.rest, 2),
            "requestsAtRestBusiestMinute": busiest_minute(resting),
            "requestsAtRest": dict(sorted(Counter(r.operation for r in resting).items())),
        }

    def _initialized(self) -> int:
        return sum(
            any(c["type"] == "Initialized" and c["status"] == "True" for c in conditions)
            for claim in self._world.cluster.objects(NODE_CLAIMS)
            if (conditions := claim.get("status", {}).get("conditions"))
        )

    def _pool_ready(self) -> tuple[int, int]:
        (pool,) = self._world.cluster.objects(NODE_POOLS)
        conditions = pool.get("status", {}).get("conditions", ())
        return sum(c["type"] == "Ready" and c["status"] == "True" for c in conditions), 1

    async def _pass(self, seconds: float, what: str) -> None:
        for minute in range(int(seconds // 60)):
            self._watch.tell(what, minute, int(seconds // 60))
            await asyncio.sleep(60)
            self._world.check()


def _claim(index: int, shape: int, types: list[str]) -> Object:
    """One NodeClaim; those of one shape ask for the same and leave the same types open."""
    open_types = [types[(shape + n) % len(types)] for n in range(min(TYPES_A_CLAIM, len(types)))]
    resources = {"requests": {"cpu": f"{500 + shape}m"}}
    name = f"launch-{index:05d}"
    return node_claim(name, open_types, expireAfter="336h", resources=resources)
