"""The life of an `autoctl run` process, from its first check to its last write.

Every replica mirrors the cluster from the start; the one that holds the Lease acts. Told to stop,
the leader finishes what it began, then gives the Lease away; without the Lease, it ends at once.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import structlog

from autoctl import __version__
from autoctl.aws.clients import Clients, make_clients
from autoctl.aws.executor import ThreadExecutor
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.kube.client import KubeClient
from autoctl.kube.config import ConnectionConfig, load_config
from autoctl.kube.credentials import ConfigError
from autoctl.operator.assembly import Assembly, Seams, assemble
from autoctl.operator.gate import GatedApi, GatedExecutor
from autoctl.operator.health import HealthServer, LoopPulse, MetricsServer, PortInUseError
from autoctl.operator.kopf_bridge import KopfBridge
from autoctl.operator.leader import LeaseTerms
from autoctl.operator.leader_thread import LOST_EXIT_CODE, LeaderThread
from autoctl.operator.logging import configure_logging
from autoctl.operator.memory import settle_memory
from autoctl.operator.observers import ApiObserver, StateReporter
from autoctl.operator.preflight import PreflightError, preflight
from autoctl.operator.preflight_aws import find_region, preflight_aws
from autoctl.operator.settings import Settings
from autoctl.ports.clock import SystemClock
from autoctl.ports.kubernetes import (
    CAPACITY_BUFFERS,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_OVERLAYS,
    NODE_POOLS,
    PODS,
    Resource,
)
from autoctl.ports.steady import SteadyClock
from autoctl.state.reflector import Extent

T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

WATCHED = (NODE_POOLS, NODE_CLASSES, NODE_CLAIMS, NODE_OVERLAYS, CAPACITY_BUFFERS, PODS)
"""What kopf watches; of pods, those without a node."""
_SILENT_WATCH_SECONDS = 300.0
_FLUSH_SECONDS = 2.0


def run_operator(
    settings: Settings, *, kubeconfig: str | None = None, context: str | None = None
) -> int:
    """Run until told to stop; return the exit code."""
    configure_logging(settings.log_level, settings.log_format)
    _log.info("autoctl starts", version=__version__, cluster=settings.cluster_name)
    try:
        return asyncio.run(_Process(settings, kubeconfig, context).run())
    except (ConfigError, PreflightError, PortInUseError) as error:
        _log.critical("cannot run here", error=str(error))
        return 1


class _Process:
    """The parts of one process and the order in which they start and stop."""

    def __init__(self, settings: Settings, kubeconfig: str | None, context: str | None) -> None:
        self._settings = settings
        self._load: Callable[[], ConnectionConfig] = lambda: load_config(kubeconfig, context)
        self._clock = SteadyClock(SystemClock(), time.monotonic)
        self._rng = random.Random()  # noqa: S311 - jitter, no secrets
        self._metrics = Metrics()
        self._pulse = LoopPulse()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._assembly: Assembly | None = None
        self._leading = False
        self._failed: BaseException | None = None

    async def run(self) -> int:
        self._handle_signals()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._cancel_tasks)
            code = await self._until_stopped(stack)
        return code if self._failed is None else 1

    async def _until_stopped(self, stack: AsyncExitStack) -> int:
        settings = self._settings
        config = self._load()
        self._serve(stack)
        api = KubeClient(
            config,
            rng=self._rng,
            qps=settings.kube_client_qps,
            burst=settings.kube_client_burst,
            observer=ApiObserver(self._metrics),
            heard=self._clock.heard,
            user_agent=f"autoctl/{__version__}",
        )
        await stack.enter_async_context(api)
        if not await self._first(preflight(api, self._clock, server=config.server)):
            return 0
        leader = self._leader(config)
        aws = ThreadExecutor()
        stack.callback(aws.shutdown)
        region, clients = await asyncio.get_running_loop().run_in_executor(None, self._aws)
        looked = preflight_aws(
            clients, aws, cluster=settings.cluster_name, region=region, rng=self._rng
        )
        if not await self._first(looked):
            return 0
        assembly = self._assemble(api, leader, clients, aws, region, stack)

        self._spawn(assembly.state.run(), "mirror")
        bridge = KopfBridge(
            self._load(),
            WATCHED,
            self._changed,
            rng=self._rng,
            restarted=self._metrics.kopf_restarts.inc,
        )
        bridge.start()
        stack.push_async_callback(bridge.stop)
        if not await self._first(assembly.state.wait_synced()):
            return 0
        settle_memory()
        _log.info("mirror complete", server=config.server, region=region)
        if leader is not None:
            leader.start()
            stack.push_async_callback(leader.stop)
            if not await self._first(leader.elected.wait()):
                return 0
        return await self._lead(assembly, leader)

    async def _lead(self, assembly: Assembly, leader: LeaderThread | None) -> int:
        """Act until told to stop or until the Lease is lost."""
        self._leading = True
        self._metrics.leader_election_master_status.labels(self._settings.leader_election_name).set(
            1
        )
        # Only now: a standby would gather the keys of every pod that ever was.
        assembly.state.listen(assembly.manager.notify)
        running = asyncio.create_task(assembly.manager.run(), name="manager")
        self._spawn(assembly.events.run(), "events")
        stopping = asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Task[Any]] = {running, stopping}
        if leader is not None:
            waiting.add(asyncio.create_task(leader.lost.wait()))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if leader is not None and leader.lost.is_set():
            running.cancel()
            return LOST_EXIT_CODE
        if not self._stop.is_set():
            running.result()
            raise RuntimeError("the controllers ended without being told to")
        assembly.manager.stop()
        _log.info("stopping, finishing what was begun", grace=self._settings.stop_grace)
        await running
        self._leading = False
        await self._flush(assembly)
        return 0

    async def _flush(self, assembly: Assembly) -> None:
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await assembly.events.flush()
        except TimeoutError:
            _log.warning("events left unwritten at the end")

    def _changed(self, resource: Resource, namespace: str | None, name: str) -> None:
        if self._leading and self._assembly is not None:
            # Kopf does not say what changed. Who cares is told by the mirror, which knows.
            self._assembly.manager.notify(resource, namespace, name, Extent.STATUS)

    def _assemble(
        self,
        api: KubeClient,
        leader: LeaderThread | None,
        clients: Clients,
        aws: ThreadExecutor,
        region: str,
        stack: AsyncExitStack,
    ) -> Assembly:
        check = (lambda: None) if leader is None else leader.check
        solver = ThreadPoolExecutor(1, thread_name_prefix="solver")
        stack.callback(solver.shutdown, wait=False, cancel_futures=True)

        async def offload(work: Callable[[], T]) -> T:
            return await asyncio.get_running_loop().run_in_executor(solver, work)

        self._assembly = assemble(
            Seams(
                api=GatedApi(api, check),
                clients=clients,
                executor=GatedExecutor(aws, check),
                clock=self._clock,
                rng=self._rng,
                offload=offload,
                region=region,
                metrics=self._metrics,
                instance=_identity(),
            ),
            self._settings,
        )
        reporter = StateReporter(self._assembly.state, self._assembly.manager, self._metrics)
        self._spawn(reporter.run(), "reporter")
        return self._assembly

    def _aws(self) -> tuple[str, Clients]:
        region = find_region(self._settings.region)
        return region, make_clients(region)

    def _leader(self, config: ConnectionConfig) -> LeaderThread | None:
        settings = self._settings
        if not settings.leader_elect:
            return None
        namespace = (
            settings.leader_election_namespace
            or os.environ.get("POD_NAMESPACE")
            or config.namespace
        )
        terms = LeaseTerms(
            name=settings.leader_election_name,
            namespace=namespace,
            identity=f"{_identity()}_{uuid.uuid4()}",
            duration=settings.lease_duration,
            renew_deadline=settings.renew_deadline,
            retry_period=settings.retry_period,
        )
        name = settings.leader_election_name
        return LeaderThread(
            self._load(),
            terms,
            self._clock,
            rng=self._rng,
            heard=self._clock.heard,
            on_late=self._metrics.leader_election_slowpath.labels(name).inc,
        )

    def _serve(self, stack: AsyncExitStack) -> None:
        """Answer probes and scrapes from now on; not ready until the mirror is complete."""
        settings = self._settings
        self._spawn(self._pulse.run(), "pulse")
        health = HealthServer(
            settings.bind_address,
            settings.health_port,
            live={"loop": self._pulse.check, "watches": self._silent_watch},
            ready={"mirror": self._unsynced},
        )
        stack.callback(health.close)
        metrics = MetricsServer(
            settings.bind_address, settings.metrics_port, self._metrics.registry
        )
        stack.callback(metrics.close)
        _log.info("serving", metrics_port=metrics.port, health_port=health.port)
        self._metrics.leader_election_master_status.labels(settings.leader_election_name).set(0)

    def _unsynced(self) -> str | None:
        if self._assembly is None:
            return "starting"
        missing = [
            str(resource)
            for resource, reflector in self._assembly.state.reflectors().items()
            if not reflector.synced.is_set()
        ]
        return f"waiting for {', '.join(missing)}" if missing else None

    def _silent_watch(self) -> str | None:
        if self._assembly is None:
            return None
        now = self._pulse.now()
        silent = [
            str(resource)
            for resource, reflector in self._assembly.state.reflectors().items()
            if reflector.last_activity is not None
            and now - reflector.last_activity > _SILENT_WATCH_SECONDS
        ]
        return f"nothing heard about {', '.join(silent)}" if silent else None

    async def _first(self, condition: Coroutine[Any, Any, object]) -> bool:
        """Wait for the condition; False when told to stop before."""
        wanted = asyncio.create_task(condition)
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({wanted, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not wanted.done():
            wanted.cancel()
            return False
        wanted.result()
        return True

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run in the background until the end; a failure there ends the process, with its cause."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                self._failed = task.exception()
                _log.critical("a part failed", part=name, exc_info=self._failed)
                self._stop.set()

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)

    async def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _identity() -> str:
    """The pod's name, or the machine's."""
    return os.environ.get("POD_NAME") or socket.gethostname()
