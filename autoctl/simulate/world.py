"""The simulated world put together: cluster, cloud, and the operator's own controllers in them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import structlog

from autoctl.aws.clients import Clients
from autoctl.aws.executor import DirectExecutor
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.operator.assembly import Assembly, Offload, Seams, assemble
from autoctl.operator.settings import Settings
from autoctl.ports.clock import LoopClock
from autoctl.ports.kubernetes import NODE_CLASSES, NODES, Object
from autoctl.sim.cloud.cloud import CloudSettings, SimulatedCloud
from autoctl.sim.cloud.cloud import Timings as CloudTimings
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.sim.cloud.nodes import UserDataError, registration
from autoctl.sim.cluster import SimCluster, crd_defaults, crd_errors
from autoctl.sim.cluster.timings import Timings as ClusterTimings
from autoctl.simulate.account import furnish
from autoctl.simulate.scenario import Scenario

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

CLUSTER = "autoctl"
KEPT_REQUESTS = 10_000
ELECTION_SECONDS = 13.0
"""After a leader died without giving up its Lease: its duration and one retry."""


async def direct(work: Callable[[], T], /) -> T:
    """Runs a computation at once: virtual time stands still meanwhile."""
    return work()


class OperatorRun:
    """One leader's life: the assembly and its tasks."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to mirror; lead as soon as the mirror is complete."""
        self._tasks = [
            asyncio.create_task(self.assembly.state.run(), name="mirror"),
            asyncio.create_task(self.assembly.events.run(), name="events"),
            asyncio.create_task(self._lead(), name="manager"),
        ]

    async def _lead(self) -> None:
        await self.assembly.state.wait_synced()
        self.assembly.state.listen(self.assembly.manager.notify)
        await self.assembly.manager.run()

    async def kill(self) -> None:
        """End at once, wherever it is: nothing is finished, nothing handed over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raise what ended a task, if anything did: a defect, not a fault of the scenario."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is not None:
                    raise RuntimeError(f"the operator's {task.get_name()} failed") from error


class World:
    """One simulated world. Make it inside a running loop of virtual time."""

    def __init__(self, scenario: Scenario, seed: int, *, offload: Offload = direct) -> None:
        """`offload` runs the operator's long computations."""
        self.scenario = scenario
        self.seed = seed
        self._offload = offload
        self.clock = LoopClock(scenario.start)
        settings = scenario.settings
        self.cluster = SimCluster(
            self.clock,
            seed,
            admission=crd_errors,
            defaulting=crd_defaults,
            timings=ClusterTimings(pod_start=settings.pod_start_seconds),
        )
        self.cloud = SimulatedCloud(
            self.clock,
            CloudSettings(
                region=scenario.region,
                cluster=CLUSTER,
                seed=seed,
                instance_types=settings.instance_types,
                timings=CloudTimings(boot=settings.boot_seconds),
                boot_jitter=settings.boot_jitter,
                check_answers=False,
                empty_polls=False,
                keep_requests=KEPT_REQUESTS,
            ),
            on_boot=self._booted,
            on_gone=self._gone,
        )
        self.cluster.instance_exists = self._instance_exists
        self.operator: OperatorRun | None = None
        self.notes: list[str] = []
        self.on_assembly: list[Callable[[Assembly], None]] = []
        """Called with every operator that is put together, before it starts."""
        self._cloud_task: asyncio.Task[None] | None = None
        self._leaders = 0

    async def start(self, objects: Iterable[Object]) -> None:
        """Fill the cluster, then start cloud, cluster and operator."""
        self.cluster.store.subscribe(NODE_CLASSES, self._class_changed)
        self.cluster.load(objects)
        await self.cluster.start()
        self._cloud_task = asyncio.create_task(self.cloud.run(), name="cloud")
        self.start_operator()

    def start_operator(self) -> None:
        """Put a new leader in place, with nothing in memory."""
        self._leaders += 1
        settings = Settings.model_validate(
            {
                "cluster_name": CLUSTER,
                "interruption_queue": CLUSTER,
                "leader_elect": False,
                "metrics_detail": "none",
                **self.scenario.settings.operator,
            }
        )
        assembly = assemble(
            Seams(
                api=self.cluster.api,
                clients=_clients(self.cloud),
                executor=DirectExecutor(),
                clock=self.clock,
                rng=random.Random(f"{self.seed}/operator/{self._leaders}"),  # noqa: S311
                offload=self._offload,
                region=self.scenario.region,
                metrics=Metrics(),
                patience=self.scenario.settings.patience,
            ),
            settings,
        )
        if self.scenario.settings.instance_types:
            # What is packaged with the operator knows of more than this region has.
            offered = self.cloud.ec2.types
            assembly.gateways.types.refresh(types={n: offered.get(n) for n in offered.names})
        for hook in self.on_assembly:
            hook(assembly)
        self.operator = OperatorRun(assembly)
        self.operator.start()

    async def lose_leader(self) -> None:
        """The leader dies; the next one leads when the Lease has run out.

        Nothing more happens while there is no leader.
        """
        if self.operator is None:
            return
        operator, self.operator = self.operator, None
        await operator.kill()
        await asyncio.sleep(ELECTION_SECONDS)
        self.start_operator()

    def check(self) -> None:
        """Raise if a part of the world broke."""
        if self.operator is not None:
            self.operator.check()
        if self._cloud_task is not None and self._cloud_task.done():
            self._cloud_task.result()

    async def stop(self) -> None:
        """End everything."""
        if self.operator is not None:
            await self.operator.kill()
        if self._cloud_task is not None:
            self._cloud_task.cancel()
            await asyncio.gather(self._cloud_task, return_exceptions=True)
        await self.cluster.stop()

    def _class_changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None:
            furnish(self.cloud, after)

    def _booted(self, instance: InstanceRecord) -> None:
        """The instance's kubelet registers its Node."""
        try:
            facts = registration(instance, self.scenario.region)
        except UserDataError as error:
            self.notes.append(f"{instance.instance_id} never joined: {error}")
            return
        self.cluster.nodes.register(
            facts.name,
            provider_id=facts.provider_id,
            capacity=facts.capacity,
            allocatable=facts.allocatable,
            labels=facts.labels,
            taints=[dict(t) for t in facts.taints],
            csi_drivers=facts.csi_drivers,
            architecture=facts.architecture,
        )

    def _gone(self, instance: InstanceRecord) -> None:
        """The instance has ended: its kubelet is silent from now on."""
        if self.cluster.store.get(NODES, instance.instance_id) is not None:
            self.cluster.lifecycle.lose(instance.instance_id)

    def _instance_exists(self, provider_id: str) -> bool:
        record = self.cloud.ec2.instances.records.get(provider_id.rpartition("/")[2])
        return record is not None and record.terminated_at is None


def _clients(cloud: SimulatedCloud) -> Clients:
    def client(service: str) -> Any:
        return cloud.client(service)

    return Clients(
        ec2=client("ec2"),
        ssm=client("ssm"),
        iam=client("iam"),
        eks=client("eks"),
        sqs=client("sqs"),
        pricing=client("pricing"),
        sts=client("sts"),
    )
