"""All controllers, put together: the same list for the operator and for the simulator."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from autoctl.aws.clients import Clients
from autoctl.aws.executor import Executor
from autoctl.aws.fleet import FleetError
from autoctl.aws.instance_types import InstanceTypes
from autoctl.controllers.disruption.reporting import Reporter
from autoctl.controllers.lifecycle.adoption import Adoption
from autoctl.controllers.lifecycle.controller import LifecycleController, LifecycleDependencies
from autoctl.controllers.lifecycle.launch import Launcher, LauncherDependencies
from autoctl.controllers.lifecycle.liveness import Timeouts
from autoctl.controllers.nodeclass.controller import NodeClassController, NodeClassDependencies
from autoctl.controllers.nodeclass.templates import TemplateStore
from autoctl.controllers.nodepool.registration_health import RegistrationHealth
from autoctl.controllers.runtime.controller import Registration, Watch
from autoctl.controllers.runtime.events import EventRecorder
from autoctl.controllers.runtime.manager import Manager
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.claim import ClaimFinalizer, ClaimFinalizerDependencies
from autoctl.controllers.termination.eviction import Evictor
from autoctl.controllers.termination.instance import Terminator
from autoctl.controllers.termination.node import (
    NodeTerminationController,
    NodeTerminationDependencies,
)
from autoctl.operator.gateways import Gateways, make_gateways
from autoctl.operator.settings import Settings
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import (
    NODE_CLAIMS,
    NODE_CLASSES,
    NODES,
    KubernetesApi,
)
from autoctl.state.cluster import ClusterState

T = TypeVar("T")


class Offload(Protocol):
    """Runs work of some seconds of CPU where it holds up nothing (in the simulator: here)."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True)
class Seams:
    """The world, real or simulated. `instance` names this replica in events."""

    api: KubernetesApi
    clients: Clients
    executor: Executor
    clock: Clock
    rng: random.Random
    offload: Offload
    region: str
    metrics: Metrics
    instance: str = "autoctl"


@dataclass(frozen=True)
class Assembly:
    """The operator without its process: run `state.run`, `events.run` and `manager.run`.

    Connect them with `state.listen(manager.notify)` when this replica leads.
    """

    state: ClusterState
    events: EventRecorder
    manager: Manager
    gateways: Gateways
    reporter: Reporter


@dataclass(frozen=True)
class Dependencies:
    """What controllers are made of."""

    settings: Settings
    region: str
    api: KubernetesApi
    clock: Clock
    offload: Offload
    state: ClusterState
    events: EventRecorder
    metrics: Metrics
    aws: Gateways
    reporter: Reporter


def assemble(seams: Seams, settings: Settings) -> Assembly:
    """Make everything. Raises `LookupError` for a region of which nothing is packaged."""
    gateways = make_gateways(
        seams.clients,
        seams.executor,
        region=seams.region,
        cluster=settings.cluster_name,
        interruption_queue=settings.interruption_queue,
        clock=seams.clock,
        rng=seams.rng,
        metrics=seams.metrics,
    )
    state = ClusterState(seams.api, seams.clock, rng=seams.rng, instance_types=gateways.types)
    events = EventRecorder(
        seams.api,
        seams.clock,
        metrics=seams.metrics,
        component=settings.event_component,
        instance=seams.instance,
    )
    reporter = Reporter(events, seams.metrics)
    dependencies = Dependencies(
        settings=settings,
        region=seams.region,
        api=seams.api,
        clock=seams.clock,
        offload=seams.offload,
        state=state,
        events=events,
        metrics=seams.metrics,
        aws=gateways,
        reporter=reporter,
    )
    manager = Manager(build_controllers(dependencies), seams.metrics, grace=settings.stop_grace)
    return Assembly(state, events, manager, gateways, reporter)


def build_controllers(d: Dependencies) -> list[Registration]:
    """Every controller and what wakes it."""
    aws, settings = d.aws, d.settings
    keys = _Keys(d.state)
    templates = TemplateStore(aws.templates, d.clock)
    terminator = Terminator(aws.instances, d.clock, d.metrics)
    launcher = Launcher(
        LauncherDependencies(
            state=d.state,
            fleets=aws.fleets,
            templates=templates,
            types=aws.types,
            unavailable=aws.unavailable,
            cluster=aws.cluster,
            adoption=Adoption(aws.instances, d.state, d.clock),
            region=d.region,
            cluster_name=settings.cluster_name,
            on_failure=_LaunchFailures(d.metrics, aws.types),
        )
    )
    finalizer = ClaimFinalizer(
        ClaimFinalizerDependencies(
            api=d.api,
            state=d.state,
            clock=d.clock,
            metrics=d.metrics,
            terminator=terminator,
            launched=launcher.provider_id_of,
        )
    )
    return [
        Registration(
            NodeClassController(
                NodeClassDependencies(
                    api=d.api,
                    state=d.state,
                    clock=d.clock,
                    events=d.events,
                    network=aws.network,
                    images=aws.images,
                    profiles=aws.profiles,
                    cluster=aws.cluster,
                    templates=templates,
                    region=d.region,
                    cluster_name=settings.cluster_name,
                )
            ),
            watches=(Watch(NODE_CLASSES), Watch(NODE_CLAIMS, keys.class_of_claim)),
        ),
        Registration(
            LifecycleController(
                LifecycleDependencies(
                    api=d.api,
                    state=d.state,
                    clock=d.clock,
                    events=d.events,
                    metrics=d.metrics,
                    launcher=launcher,
                    health=RegistrationHealth(d.api, d.state, d.clock),
                    finalizer=finalizer,
                    timeouts=Timeouts(),
                )
            ),
            watches=(
                Watch(NODE_CLAIMS),
                Watch(NODES, keys.claims_of_node),
                Watch(NODE_CLASSES, keys.claims_of_class),
            ),
            concurrency=1000,
        ),
        Registration(
            NodeTerminationController(
                NodeTerminationDependencies(
                    api=d.api,
                    state=d.state,
                    clock=d.clock,
                    events=d.events,
                    metrics=d.metrics,
                    evictor=Evictor(d.api, d.events, d.metrics),
                    terminator=terminator,
                )
            ),
            watches=(Watch(NODES), Watch(NODE_CLAIMS, keys.nodes_of_claim)),
            concurrency=100,
            base_delay=0.1,
            max_delay=10.0,
        ),
    ]


class _LaunchFailures:
    """Counts what EC2 refused to launch."""

    def __init__(self, metrics: Metrics, types: InstanceTypes) -> None:
        self._metrics = metrics
        self._types = types

    def __call__(self, error: FleetError) -> None:
        zone_id = self._types.market.zones.get(error.zone, "")
        self._metrics.launch_failures.labels(
            error.zone, zone_id, error.capacity_type, error.code
        ).inc()


class _Keys:
    """From a changed object to the keys of those that it concerns."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def class_of_claim(self, _: str | None, name: str) -> Iterable[str]:
        claim = self._state.claim(name)
        return () if claim is None else (claim.spec.node_class_ref.name,)

    def claims_of_node(self, _: str | None, name: str) -> Iterable[str]:
        node = self._state.node(name)
        claim = None if node is None else self._state.claim_of_node(node)
        if claim is not None:
            return (claim.name,)
        return tuple(self._state.claims_by_node[name])

    def claims_of_class(self, _: str | None, name: str) -> Iterable[str]:
        return tuple(self._state.claims_by_class[name])

    def claims_of_pool(self, _: str | None, name: str) -> Iterable[str]:
        return tuple(self._state.claims_by_pool[name])

    def nodes_of_claim(self, _: str | None, name: str) -> Iterable[str]:
        claim = self._state.claim(name)
        return () if claim is None else [n.metadata.name for n in self._state.nodes_of_claim(claim)]
