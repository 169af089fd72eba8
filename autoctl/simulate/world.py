"""The simulated world put together: cluster, cloud, and the operator's own controllers in them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import structlog

from autoctl.api.labels import CAPACITY_OVERLAY_APPLIED
from autoctl.aws.clients import Clients
from autoctl.aws.executor import DirectExecutor
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.operator.assembly import Assembly, Offload, Seams, assemble
from autoctl.operator.gate import GatedApi, GatedExecutor
from autoctl.ports.clock import LoopClock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_CLASSES, NODE_OVERLAYS, NODES, Object
from autoctl.ports.steady import SteadyClock
from autoctl.sim.cloud.cloud import CloudSettings, SimulatedCloud
from autoctl.sim.cloud.cloud import Timings as CloudTimings
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.sim.cloud.nodes import UserDataError, registration
from autoctl.sim.cluster import SimCluster, crd_defaults, crd_errors
from autoctl.sim.cluster.timings import Timings as ClusterTimings
from autoctl.simulate.account import furnish, furnish_reservations
from autoctl.simulate.operators import Lease, MachineClock, OperatorRun
from autoctl.simulate.scenario import CLUSTER, Scenario, operator_settings

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

KEPT_REQUESTS = 10_000
ELECTION_SECONDS = 13.0
"""After a leader died without giving up its Lease: its duration and one retry."""
CUT_OFF_SECONDS = 4.0
"""How long a leader that lost its Lease runs on before its process has ended."""


async def direct(work: Callable[[], T], /) -> T:
    """Runs a computation at once: virtual time stands still meanwhile."""
    return work()


class World:
    """One simulated world. Make it inside a running loop of virtual time."""

    def __init__(self, scenario: Scenario, seed: int, *, offload: Offload = direct) -> None:
        """`offload` runs the operator's long computations."""
        self.scenario = scenario
        self.seed = seed
        self._offload = offload
        self.clock = LoopClock(scenario.start)
        self.machine = MachineClock(self.clock)
        """What the operators' machine takes for the time."""
        settings = scenario.settings
        self.cluster = SimCluster(
            self.clock,
            seed,
            admission=crd_errors,
            defaulting=crd_defaults,
            timings=ClusterTimings(
                pod_start=settings.pod_start_seconds,
                bookmark_interval=ClusterTimings().bookmark_interval * settings.patience,
            ),
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
        self.clients = clients_of(self.cloud.client)
        """What operators reach the cloud by; those made later take what is here then."""
        self.cluster.instance_exists = self._instance_exists
        self.operator: OperatorRun | None = None
        """The one that leads."""
        self._standbys: list[OperatorRun] = []
        self.notes: list[str] = []
        self.on_assembly: list[Callable[[Assembly], None]] = []
        """Called with every operator that is put together, before it starts."""
        self._cloud_task: asyncio.Task[None] | None = None
        self._made = 0

    async def start(self, objects: Iterable[Object]) -> None:
        """Fill the cluster, then start cloud, cluster and operator."""
        furnish_reservations(self.cloud, self.scenario.settings.reservations)
        self.cluster.store.subscribe(NODE_CLASSES, self._class_changed)
        self.cluster.load(objects)
        await self.cluster.start()
        self._cloud_task = asyncio.create_task(self.cloud.run(), name="cloud")
        for _ in range(self.scenario.settings.operators):
            self._standbys.append(self._make_operator())
        self._elect()

    def _make_operator(self) -> OperatorRun:
        """A new replica, with nothing in memory, standing by."""
        self._made += 1
        settings = operator_settings(self.scenario.settings.operator)
        lease = Lease()
        clock = SteadyClock(self.machine, asyncio.get_running_loop().time)
        self.cluster.api.dates.append(clock.heard)
        assembly = assemble(
            Seams(
                api=GatedApi(self.cluster.api, lease.check),
                clients=self.clients,
                executor=GatedExecutor(DirectExecutor(), lease.check),
                clock=clock,
                rng=random.Random(f"{self.seed}/operator/{self._made}"),  # noqa: S311
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
        operator = OperatorRun(assembly, lease)
        operator.on_end = lambda: self.cluster.api.dates.remove(clock.heard)
        operator.start()
        return operator

    def start_operator(self) -> None:
        """Let a new replica lead at once, or one that stands by."""
        self._standbys.append(self._make_operator())
        self._elect()

    def _elect(self) -> None:
        """The replica that has stood by for longest leads."""
        self.operator = self._standbys.pop(0)
        self.operator.lead()

    async def lose_leader(self, *, cut_off: bool = False) -> None:
        """The leader dies; another one leads when the Lease has run out.

        Where nobody stands by a new replica is started then. With `cut_off` the old one runs on for
        some seconds without its Lease.
        """
        if self.operator is None:
            return
        operator, self.operator = self.operator, None
        if cut_off:
            operator.cut_off()
            await asyncio.sleep(CUT_OFF_SECONDS)
        await operator.kill()
        await asyncio.sleep(ELECTION_SECONDS - (CUT_OFF_SECONDS if cut_off else 0.0))
        self.start_operator()

    def check(self) -> None:
        """Raise if a part of the world broke."""
        for operator in (self.operator, *self._standbys):
            if operator is not None:
                operator.check()
        if self._cloud_task is not None and self._cloud_task.done():
            self._cloud_task.result()

    async def stop(self) -> None:
        """End everything."""
        running = [*self._standbys, *([self.operator] if self.operator is not None else [])]
        for operator in running:
            await operator.kill()
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
        devices = self._devices(facts.provider_id)
        self.cluster.nodes.register(
            facts.name,
            provider_id=facts.provider_id,
            capacity={**facts.capacity, **devices},
            allocatable={**facts.allocatable, **devices},
            labels=facts.labels,
            taints=[dict(t) for t in facts.taints],
            csi_drivers=facts.csi_drivers,
            architecture=facts.architecture,
        )

    def _devices(self, provider_id: str) -> dict[str, str]:
        """What a device plugin reports on the node: it makes true what NodeOverlays say."""
        overlays = any(True for _ in self.cluster.objects(NODE_OVERLAYS))
        for claim in self.cluster.objects(NODE_CLAIMS) if overlays else ():
            status, meta = claim.get("status") or {}, claim["metadata"]
            if status.get("providerID") == provider_id:
                if CAPACITY_OVERLAY_APPLIED not in (meta.get("annotations") or {}):
                    return {}
                return {k: v for k, v in status["capacity"].items() if "/" in k}
        return {}

    def _gone(self, instance: InstanceRecord) -> None:
        """The instance has ended: its kubelet is silent from now on."""
        if self.cluster.store.get(NODES, instance.instance_id) is not None:
            self.cluster.lifecycle.lose(instance.instance_id)

    def _instance_exists(self, provider_id: str) -> bool:
        record = self.cloud.ec2.instances.records.get(provider_id.rpartition("/")[2])
        return record is not None and record.terminated_at is None


def clients_of(client: Callable[[str], Any]) -> Clients:
    """The operator's clients, from something that makes the client of a service."""
    return Clients(
        ec2=client("ec2"),
        ssm=client("ssm"),
        iam=client("iam"),
        eks=client("eks"),
        sqs=client("sqs"),
        pricing=client("pricing"),
        sts=client("sts"),
    )
