"""Consolidation measured: a cluster of badly used nodes, from the start until it is at rest.

Nodes of many types are launched by hand-made NodeClaims, filled to a part of what they can
allocate, and then consolidation is switched on. The operator, its decisions and the simulated
cluster are those of `autoctl simulate`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from autoctl.api.nodeclaim import INITIALIZED, INSTANCE_TERMINATING
from autoctl.controllers.disruption.marks import COMMAND, under_way
from autoctl.controllers.disruption.model import Command
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.operator.assembly import Assembly
from autoctl.operator.planning import world_lower_bound
from autoctl.ports.kubernetes import DEPLOYMENTS, NODE_CLAIMS, NODE_POOLS, Object
from autoctl.sim.loop import VirtualLoop
from autoctl.simulate.bench_cluster import (
    REGION,
    node_claim,
    node_class,
    node_pool,
    types_on_sale,
)
from autoctl.simulate.bench_watch import BenchError, Progress, Watch
from autoctl.simulate.recorder import Recorder
from autoctl.simulate.scenario import Scenario, Settings
from autoctl.simulate.world import World
from autoctl.state.snapshot import Snapshot

BOOT_SECONDS: Final = 40.0
POD_START_SECONDS: Final = 2.0
"""With the 3 s that a container takes to end, a pod moves in 5 s."""
QUIET_SECONDS: Final = 60.0
"""A cluster in which nothing changed for this long is at rest."""
PATIENCE_SECONDS: Final = 3 * 3600.0
_CPUS: Final = (250, 500, 1000, 2000)
_GIB_A_CORE: Final = (1, 2, 4, 8)
_WORKLOADS: Final = 32

T = TypeVar("T")


@dataclass
class _Stopwatch:
    """Real seconds of the slowest computation run off the event loop."""

    slowest: float = 0.0

    async def __call__(self, work: Callable[[], T], /) -> T:
        began = time.perf_counter()
        result = work()
        self.slowest = max(self.slowest, time.perf_counter() - began)
        return result


def bench_consolidate(
    nodes: int,
    fill: float = 0.3,
    seed: int = 42,
    budget: str = "100%",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the benchmark; the keys of the answer are documented in `docs/performance.md`.

    Raises `BenchError`.
    """
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, got {nodes}")
    if not 0 < fill < 1:
        raise ValueError(f"fill must be between 0 and 1, got {fill}")
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_Run(nodes, fill, seed, budget, progress).run())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@dataclass
class _Run:
    nodes: int
    fill: float
    seed: int
    budget: str
    progress: Progress | None
    commands: list[Command] = field(default_factory=list)
    stopwatch: _Stopwatch = field(default_factory=_Stopwatch)
    most_disrupted: int = 0
    most_over_budget: int = 0

    async def run(self) -> dict[str, Any]:
        self._rng = random.Random(self.seed)  # noqa: S311 - reproducible, not secret
        self._types = types_on_sale()
        scenario = Scenario(
            name="consolidation",
            region=REGION,
            settings=Settings(boot_seconds=BOOT_SECONDS, pod_start_seconds=POD_START_SECONDS),
        )
        self._world = World(scenario, self.seed, offload=self.stopwatch)
        self._watch = Watch(self._world, self.progress, PATIENCE_SECONDS, "hours")
        self._recorder = Recorder(self._world.cluster, self._world.cloud, scenario.start)
        self._recorder.attach()
        self._world.on_assembly.append(self._listen)
        workloads = self._workloads()
        await self._world.start([node_class(), node_pool(self.budget), *workloads])
        try:
            await self._prepare(workloads)
            return await self._measure()
        finally:
            await self._world.stop()

    def _listen(self, assembly: Assembly) -> None:
        assembly.reporter.listeners.append(lambda _, command: self.commands.append(command))

    async def _prepare(self, workloads: list[Object]) -> None:
        """Launch the nodes, then scale the workloads to the fill."""
        api = self._world.cluster.api
        await self._watch.until("NodePool ready", self._pool_ready)
        chosen = [self._rng.choice(self._types) for _ in range(self.nodes)]
        for index, instance_type in enumerate(chosen):
            await api.create(NODE_CLAIMS, node_claim(f"start-{index:05d}", [instance_type.name]))
        await self._watch.until("nodes ready", lambda: (self._initialized(), self.nodes))
        capacity = sum(t.allocatable["cpu"] for t in chosen)
        memory = sum(t.allocatable["memory"] for t in chosen)
        cpu_each = sum(_cpu(w) for w in workloads) / len(workloads)
        memory_each = sum(_memory(w) for w in workloads) / len(workloads)
        pods = int(self.fill * min(capacity / cpu_each, memory / memory_each))
        for index, workload in enumerate(workloads):
            replicas = pods // len(workloads) + (index < pods % len(workloads))
            body = {"spec": {"replicas": replicas}}
            await api.patch(DEPLOYMENTS, workload["metadata"]["name"], body, "default")
        await self._watch.until("pods running", lambda: (self._recorder.running, pods))
        self.pods = pods

    async def _measure(self) -> dict[str, Any]:
        """Switch consolidation on and wait for rest."""
        world = self._world
        self.commands.clear()
        self.stopwatch.slowest = 0.0
        evictions_before = self._recorder.evictions
        before = self._recorder.sample(None)
        started = asyncio.get_running_loop().time()
        body = {"spec": {"disruption": {"consolidateAfter": "0s"}}}
        await world.cluster.api.patch(NODE_POOLS, "default", body)
        seconds = await self._rest(started)
        snapshot = self._snapshot()
        after = self._recorder.sample(world_lower_bound(snapshot))
        bound = after.bound or 0.0
        evictions = self._recorder.evictions - evictions_before
        return {
            "nodesBefore": self.nodes,
            "nodesAfter": after.nodes,
            "pods": self.pods,
            "clusterSeconds": round(seconds, 1),
            "evictions": evictions,
            "evictionsPerPod": round(evictions / self.pods, 4),
            "usdPerHourBefore": round(before.usd_per_hour, 4),
            "usdPerHourAfter": round(after.usd_per_hour, 4),
            "lowerBound": round(bound, 4),
            "costOverBound": round(after.usd_per_hour / bound - 1, 4) if bound else 0.0,
            "commands": len(self.commands),
            "mostDisruptedAtOnce": self.most_disrupted,
            "mostOverBudget": self.most_over_budget,
            "decisionSeconds": round(self.stopwatch.slowest, 3),
        }

    async def _rest(self, started: float) -> float:
        """Seconds from `started` to the last change before a quiet time.

        Where budgets hold moves back, nodes bought on the way are replaced once they are young no
        more: such a cluster is at rest only after that.
        """
        loop = asyncio.get_running_loop()
        quiet = QUIET_SECONDS
        if self.budget != "100%":
            quiet += DisruptionOptions().young.total_seconds()
        last_change, last_state = started, self._state()
        while loop.time() - last_change < quiet or self._busy():
            await asyncio.sleep(1.0)
            self._world.check()
            state = self._state()
            if state != last_state:
                last_change, last_state = loop.time(), state
            self._count_disrupted()
            self._watch.tell("consolidating", self.nodes - len(state[0]), self.nodes)
            if loop.time() - started > PATIENCE_SECONDS:
                raise BenchError(f"not at rest after {PATIENCE_SECONDS / 3600:g} h of cluster time")
        return last_change - started

    def _state(self) -> tuple[frozenset[str], int]:
        claims = self._world.cluster.objects(NODE_CLAIMS)
        return frozenset(c["metadata"]["name"] for c in claims), self._recorder.running

    def _busy(self) -> bool:
        return bool(under_way(self._snapshot())) or self._recorder.pending > 0

    def _count_disrupted(self) -> None:
        """Note how many nodes are leaving, and how far that is beyond the budget.

        Counted from the objects as Karpenter counts: nodes whose instances are being terminated
        are neither part of the pool any more nor on their way out of it.
        """
        leaving = [c for c in self._world.cluster.objects(NODE_CLAIMS) if _is_leaving(c)]
        self.most_disrupted = max(self.most_disrupted, len(leaving))
        snapshot = self._snapshot()
        pool = snapshot.node_pools["default"]
        staying = [
            c
            for c in self._world.cluster.objects(NODE_CLAIMS)
            if _has(c, INITIALIZED) and not _has(c, INSTANCE_TERMINATING)
        ]
        going = sum(_is_leaving(c) for c in staying)
        allowed = pool.spec.disruption.allowed("Underutilized", len(staying), snapshot.now)
        self.most_over_budget = max(self.most_over_budget, going - allowed)

    def _snapshot(self) -> Snapshot:
        operator = self._world.operator
        assert operator is not None, "the benchmark's leader lives"
        return operator.assembly.state.snapshot()

    def _initialized(self) -> int:
        return sum(1 for c in self._snapshot().node_claims.values() if c.initialized)

    def _pool_ready(self) -> tuple[int, int]:
        pool = self._snapshot().node_pools.get("default")
        return (1 if pool is not None and pool.ready else 0), 1

    def _workloads(self) -> list[Object]:
        made = []
        for index in range(_WORKLOADS):
            cpu = self._rng.choice(_CPUS)
            memory = cpu * self._rng.choice(_GIB_A_CORE) * 1024 // 1000
            made.append(_deployment(f"load-{index:02d}", f"{cpu}m", f"{memory}Mi"))
        return made


def _is_leaving(claim: Object) -> bool:
    annotations = claim["metadata"].get("annotations") or {}
    return "deletionTimestamp" in claim["metadata"] or COMMAND in annotations


def _has(claim: Object, condition: str) -> bool:
    found = (claim.get("status") or {}).get("conditions") or ()
    return any(c["type"] == condition and c["status"] == "True" for c in found)


def _deployment(name: str, cpu: str, memory: str) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [
                        {
                            "name": "load",
                            "image": "load",
                            "resources": {"requests": {"cpu": cpu, "memory": memory}},
                        }
                    ]
                },
            },
        },
    }


def _requests(workload: Object) -> Mapping[str, str]:
    containers = workload["spec"]["template"]["spec"]["containers"]
    requests: Mapping[str, str] = containers[0]["resources"]["requests"]
    return requests


def _cpu(workload: Object) -> int:
    return int(_requests(workload)["cpu"].removesuffix("m"))


def _memory(workload: Object) -> int:
    return int(_requests(workload)["memory"].removesuffix("Mi")) * 2**20
