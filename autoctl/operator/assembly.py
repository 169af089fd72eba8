"""All controllers, put together: the same list for the operator and for the simulator."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from autoctl.api.hashing import NODE_SETTINGS_VERSION, node_settings_hash
from autoctl.api.labels import COMPUTE_TYPE, NODE_SETTINGS_HASH, NODE_SETTINGS_HASH_VERSION
from autoctl.aws.clients import Clients
from autoctl.aws.executor import Executor
from autoctl.aws.instances import instance_id
from autoctl.aws.subnet_use import SubnetUse
from autoctl.controllers.builtin.controller import BuiltinController
from autoctl.controllers.capacitybuffer.controller import NOTICE_SECONDS, CapacityBufferController
from autoctl.controllers.catalog.memory import MemoryController
from autoctl.controllers.catalog.refresh import market_refreshes
from autoctl.controllers.disruption.conditions_controller import (
    DRIFT_SECONDS,
    DisruptionConditionsController,
)
from autoctl.controllers.disruption.controller import (
    LONGEST_IDLE,
    DisruptionController,
    DisruptionQueue,
)
from autoctl.controllers.disruption.execution import Execution
from autoctl.controllers.disruption.expiry_controller import ExpirationController
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.reporting import Reporter
from autoctl.controllers.disruption.static_controller import StaticDeprovisioner
from autoctl.controllers.health.clock import ClockController
from autoctl.controllers.health.interruption import InterruptionController
from autoctl.controllers.health.repair import RepairController
from autoctl.controllers.health.reservations import ReservationController
from autoctl.controllers.health.status import InstanceStatusController
from autoctl.controllers.lifecycle.adoption import Adoption
from autoctl.controllers.lifecycle.controller import LifecycleController, LifecycleDependencies
from autoctl.controllers.lifecycle.garbage import GarbageCollector
from autoctl.controllers.lifecycle.launch import Launcher, LauncherDependencies
from autoctl.controllers.lifecycle.launch_options import PreparedOptions
from autoctl.controllers.lifecycle.liveness import Timeouts
from autoctl.controllers.lifecycle.pod_events import PASS_SECONDS, PodEventsController
from autoctl.controllers.lifecycle.tagging import TaggingController
from autoctl.controllers.metrics.controller import Detail, StateMetrics
from autoctl.controllers.nodeclass.controller import (
    REFRESH_SECONDS,
    NodeClassController,
    NodeClassDependencies,
)
from autoctl.controllers.nodeclass.templates import TemplateCollector, TemplateStore
from autoctl.controllers.nodeclass.validation import Validation
from autoctl.controllers.nodeoverlay.controller import NodeOverlayController
from autoctl.controllers.nodepool.controller import NodePoolController
from autoctl.controllers.nodepool.registration_health import RegistrationHealth
from autoctl.controllers.provisioning.claims import ClaimCreator
from autoctl.controllers.provisioning.provisioner import Provisioner, ProvisionerDependencies
from autoctl.controllers.provisioning.static import StaticProvisioner
from autoctl.controllers.provisioning.steering import ProvisionSteering
from autoctl.controllers.runtime.controller import Registration, Watch
from autoctl.controllers.runtime.events import EventRecorder
from autoctl.controllers.runtime.manager import Manager
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.runtime.patience import patient
from autoctl.controllers.termination.claim import ClaimFinalizer, ClaimFinalizerDependencies
from autoctl.controllers.termination.eviction import Evictor
from autoctl.controllers.termination.instance import Terminator
from autoctl.controllers.termination.node import (
    NodeTerminationController,
    NodeTerminationDependencies,
)
from autoctl.operator.gateways import Gateways, make_gateways
from autoctl.operator.settings import Settings
from autoctl.operator.wiring import InstanceDescriber, Keys, LaunchFailures
from autoctl.ports.kubernetes import (
    CAPACITY_BUFFERS,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_OVERLAYS,
    NODE_POOLS,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    KubernetesApi,
)
from autoctl.ports.steady import SteadyClock
from autoctl.scheduling.problem import SchedulingProblem, Solution, SolverOptions
from autoctl.scheduling.solve import solve
from autoctl.state.cluster import ClusterState
from autoctl.state.own_writes import NotedApi
from autoctl.state.reflector import Extent

T = TypeVar("T")

DISRUPTION_REST_SECONDS = 10.0
"""Between two looks for nodes to take away, however much changes (Karpenter's polling period)."""
STEERING_REST_SECONDS = 0.1
"""Between two looks at nodes that wait for their pods, however much changes."""
_DISRUPTION_READS = (
    PODS,
    NODES,
    NODE_CLAIMS,
    NODE_POOLS,
    NODE_CLASSES,
    NODE_OVERLAYS,
    CAPACITY_BUFFERS,
    POD_DISRUPTION_BUDGETS,
)


_ROUTINE = frozenset(
    {
        "builtin",
        "interruption.instancestatus",
        "static.provisioning",
        "static.deprovisioning",
        "capacitybuffer",
        "nodeoverlay",
        "nodeclaim.garbagecollection",
        "capacityreservation",
        "clock",
        "metrics.state",
        "providers.instancetype",
        "providers.pricing",
        "providers.pricing.spot",
    }
)
"""Controllers that look at everything again and again, mostly to find nothing new."""


class Offload(Protocol):
    """Runs work of some seconds of CPU where it holds up nothing (in the simulator: here)."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True)
class Seams:
    """The world, real or simulated. `instance` names this replica in events."""

    api: KubernetesApi
    clients: Clients
    executor: Executor
    clock: SteadyClock
    rng: random.Random
    offload: Offload
    region: str
    metrics: Metrics
    instance: str = "autoctl"
    patience: float = 1.0
    """Factor on the periods of looks without cause; more than 1 in long simulations only."""


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
    clock: SteadyClock
    offload: Offload
    state: ClusterState
    events: EventRecorder
    metrics: Metrics
    aws: Gateways
    reporter: Reporter
    patience: float = 1.0


def assemble(seams: Seams, settings: Settings) -> Assembly:
    """Make everything. Raises `LookupError` for a region of which nothing is packaged."""
    gateways = make_gateways(
        seams.clients,
        seams.executor,
        region=seams.region,
        cluster=settings.cluster_name,
        endpoint=settings.cluster_endpoint,
        mirrors=settings.mirrors,
        unlabelled=_unlabelled(settings),
        interruption_queue=settings.interruption_queue,
        fleets_per_minute=settings.fleets_per_minute,
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
        api=NotedApi(seams.api, state.own_writes),
        clock=seams.clock,
        offload=seams.offload,
        state=state,
        events=events,
        metrics=seams.metrics,
        aws=gateways,
        reporter=reporter,
        patience=seams.patience,
    )
    controllers = patient(build_controllers(dependencies), _ROUTINE, seams.patience)
    manager = Manager(controllers, seams.metrics, grace=settings.stop_grace)
    return Assembly(state, events, manager, gateways, reporter)


def build_controllers(d: Dependencies) -> list[Registration]:
    """Every controller and what wakes it."""
    templates = TemplateStore(d.aws.templates, d.clock, d.metrics, patience=d.patience)
    options = PreparedOptions(d.region)
    creator = ClaimCreator(d.api, d.state, d.metrics)
    health = RegistrationHealth(d.api, d.state, d.clock)
    steering = ProvisionSteering(d.api, d.state)
    return [
        *_node_classes(d, templates, options),
        _node_pool(d, health),
        _node_overlays(d),
        *_provisioning(d, creator),
        Registration(
            steering, (Watch(PODS), Watch(NODES), Watch(NODE_CLAIMS)), rest=STEERING_REST_SECONDS
        ),
        *_node_lives(d, templates, options, health, steering),
        *_disruption(d, creator),
        *_health(d),
        *_catalog(d),
        *_metrics(d),
    ]


def _unlabelled(settings: Settings) -> tuple[str, ...]:
    """Labels that nodes are not given."""
    return () if settings.compute_type_label else (COMPUTE_TYPE,)


def _settings_hash(settings: Settings) -> dict[str, str]:
    return {
        NODE_SETTINGS_HASH: node_settings_hash(settings.mirrors, _unlabelled(settings)),
        NODE_SETTINGS_HASH_VERSION: NODE_SETTINGS_VERSION,
    }


def _solver_options(settings: Settings) -> SolverOptions:
    return SolverOptions(
        budget=settings.solver_budget,
        preference_policy=settings.preference_policy,
        min_values_policy=settings.min_values_policy,
        max_pod_share=settings.max_pod_share,
    )


def _node_classes(
    d: Dependencies, templates: TemplateStore, options: PreparedOptions
) -> list[Registration]:
    controller = NodeClassController(
        NodeClassDependencies(
            api=d.api,
            state=d.state,
            clock=d.clock,
            events=d.events,
            network=d.aws.network,
            images=d.aws.images,
            profiles=d.aws.profiles,
            reservations=d.aws.reservations,
            cluster=d.aws.cluster,
            access=d.aws.access,
            templates=templates,
            validation=Validation(
                d.aws.dry_runs,
                templates,
                d.clock,
                types=d.aws.types.known,
                pools=lambda: d.state.node_pools.reflector,
                options=options,
                disabled=d.settings.disable_dry_run,
                patience=d.patience,
            ),
            region=d.region,
            cluster_name=d.settings.cluster_name,
            settings_hash=_settings_hash(d.settings),
            refresh_seconds=REFRESH_SECONDS * d.patience,
        )
    )
    builtin = BuiltinController(
        api=d.api,
        state=d.state,
        events=d.events,
        cluster=d.aws.cluster.get,
        wanted=d.settings.builtin_node_pools,
        role=d.settings.node_role,
    )
    return [
        Registration(builtin, (Watch(NODE_POOLS), Watch(NODE_CLASSES)), rest=1.0),
        Registration(
            controller,
            (
                Watch(NODE_CLASSES),
                Watch(NODE_CLAIMS, Keys(d.state).class_of_claim, Extent.EXISTENCE),
            ),
        ),
        Registration(
            TemplateCollector(templates, d.state.classes_in_use),
            # A dry run makes a template where no NodeClaim is; its class's status follows it.
            (Watch(NODE_CLAIMS, extent=Extent.EXISTENCE), Watch(NODE_CLASSES)),
        ),
    ]


def _node_pool(d: Dependencies, health: RegistrationHealth) -> Registration:
    keys = Keys(d.state)
    return Registration(
        NodePoolController(
            api=d.api, state=d.state, clock=d.clock, metrics=d.metrics, health=health
        ),
        (
            Watch(NODE_POOLS),
            Watch(NODE_CLASSES, keys.pools_of_class),
            Watch(NODE_CLAIMS, keys.pool_of_claim),
        ),
    )


def _node_overlays(d: Dependencies) -> Registration:
    controller = NodeOverlayController(d.api, d.state, d.clock)
    return Registration(
        controller, (Watch(NODE_OVERLAYS), Watch(NODE_POOLS), Watch(NODE_CLASSES)), rest=1.0
    )


def _provisioning(d: Dependencies, creator: ClaimCreator) -> list[Registration]:
    async def solve_elsewhere(problem: SchedulingProblem) -> Solution:
        return await d.offload(lambda: solve(problem))

    provisioner = Provisioner(
        ProvisionerDependencies(
            state=d.state,
            clock=d.clock,
            events=d.events,
            metrics=d.metrics,
            creator=creator,
            solve=solve_elsewhere,
            options=_solver_options(d.settings),
            idle_seconds=d.settings.batch_idle_duration,
            longest_seconds=d.settings.batch_max_duration,
        )
    )
    return [
        Registration(
            provisioner,
            (Watch(PODS), Watch(NODES), Watch(NODE_CLAIMS), Watch(CAPACITY_BUFFERS)),
        ),
        Registration(
            CapacityBufferController(d.api, d.state, d.clock, d.offload),
            (Watch(CAPACITY_BUFFERS), Watch(NODES), Watch(PODS)),
            rest=NOTICE_SECONDS,
        ),
        Registration(
            StaticProvisioner(d.state, creator, d.events), (Watch(NODE_POOLS), Watch(NODE_CLAIMS))
        ),
    ]


def _node_lives(
    d: Dependencies,
    templates: TemplateStore,
    options: PreparedOptions,
    health: RegistrationHealth,
    steering: ProvisionSteering,
) -> list[Registration]:
    """From NodeClaim to instance to Node, and the way back."""
    keys = Keys(d.state)
    terminator = Terminator(d.aws.instances, d.clock, d.metrics)
    adoption = Adoption(d.aws.instances, d.state, d.clock)
    launcher = Launcher(
        LauncherDependencies(
            state=d.state,
            fleets=d.aws.fleets,
            templates=templates,
            types=d.aws.types,
            unavailable=d.aws.unavailable,
            subnets=SubnetUse(d.clock, timedelta(seconds=REFRESH_SECONDS * d.patience)),
            cluster=d.aws.cluster,
            adoption=adoption,
            options=options,
            region=d.region,
            cluster_name=d.settings.cluster_name,
            on_failure=LaunchFailures(d.metrics, d.aws.types),
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
    lifecycle = LifecycleController(
        LifecycleDependencies(
            api=d.api,
            state=d.state,
            clock=d.clock,
            events=d.events,
            metrics=d.metrics,
            launcher=launcher,
            health=health,
            finalizer=finalizer,
            timeouts=_timeouts(d.settings),
            settings_hash=_settings_hash(d.settings),
            steers=steering.steers,
        )
    )
    termination = NodeTerminationController(
        NodeTerminationDependencies(
            api=d.api,
            state=d.state,
            clock=d.clock,
            events=d.events,
            metrics=d.metrics,
            evictor=Evictor(d.api, d.events, d.metrics),
            terminator=terminator,
        )
    )
    return [
        Registration(
            lifecycle,
            (
                Watch(NODE_CLAIMS),
                Watch(NODES, keys.claims_of_node),
                Watch(NODE_CLASSES, keys.unlaunched_of_class),
            ),
            concurrency=1000,
        ),
        Registration(
            termination,
            (
                Watch(NODES, keys.leaving_node),
                Watch(NODE_CLAIMS, keys.leaving_nodes_of_claim),
            ),
            concurrency=100,
            base_delay=0.1,
            max_delay=10.0,
        ),
        Registration(
            TaggingController(d.api, d.state, d.aws.instances, d.settings.cluster_name),
            (Watch(NODE_CLAIMS, keys.untagged),),
            concurrency=1,
        ),
        Registration(
            PodEventsController(d.api, d.state, d.clock), (Watch(PODS),), rest=PASS_SECONDS
        ),
        Registration(
            GarbageCollector(
                api=d.api,
                state=d.state,
                clock=d.clock,
                metrics=d.metrics,
                instances=d.aws.instances,
                awaited=adoption.awaited,
            )
        ),
    ]


def _timeouts(settings: Settings) -> Timeouts:
    seconds = settings.initialization_timeout
    return Timeouts(initialization=timedelta(seconds=seconds) if seconds else None)


def _disruption(d: Dependencies, creator: ClaimCreator) -> list[Registration]:
    keys = Keys(d.state)
    execution = Execution(
        api=d.api,
        state=d.state,
        clock=d.clock,
        events=d.events,
        metrics=d.metrics,
        launch=creator.launch,
        evictor=Evictor(d.api, d.events, d.metrics),
    )
    options = DisruptionOptions(
        solver=_solver_options(d.settings),
        savings_threshold=d.settings.savings_threshold,
    )

    async def end_instance(provider_id: str) -> None:
        await d.aws.instances.terminate(instance_id(provider_id))

    conditions = DisruptionConditionsController(
        api=d.api,
        state=d.state,
        clock=d.clock,
        types=d.aws.types,
        describe=InstanceDescriber(d.aws.instances, d.clock),
        seconds=DRIFT_SECONDS * d.patience,
    )
    expiration = ExpirationController(
        api=d.api,
        state=d.state,
        clock=d.clock,
        events=d.events,
        metrics=d.metrics,
        terminate=end_instance,
        skipped=d.clock.skipped,
    )
    return [
        Registration(
            conditions,
            (
                Watch(NODE_CLAIMS),
                Watch(NODE_POOLS, keys.claims_of_pool, Extent.SPEC),
                Watch(NODE_CLASSES, keys.claims_of_class),
            ),
        ),
        Registration(
            DisruptionController(
                state=d.state,
                execution=execution,
                reporter=d.reporter,
                offload=d.offload,
                options=options,
                longest_idle=LONGEST_IDLE * d.patience,
            ),
            tuple(map(Watch, _DISRUPTION_READS)),
            rest=DISRUPTION_REST_SECONDS,
        ),
        Registration(
            DisruptionQueue(d.state, execution, longest_idle=LONGEST_IDLE * d.patience),
            (Watch(NODE_CLAIMS),),
        ),
        Registration(
            StaticDeprovisioner(d.api, d.state, d.metrics),
            (Watch(NODE_POOLS), Watch(NODE_CLAIMS)),
        ),
        Registration(
            expiration,
            (
                Watch(NODE_CLAIMS, extent=Extent.SPEC),
                Watch(NODE_POOLS, keys.claims_of_pool, Extent.SPEC),
            ),
        ),
    ]


def _health(d: Dependencies) -> list[Registration]:
    status = InstanceStatusController(
        api=d.api,
        state=d.state,
        clock=d.clock,
        events=d.events,
        metrics=d.metrics,
        instances=d.aws.instances,
    )
    reservations = ReservationController(
        d.api, d.state, d.events, d.metrics, d.aws.instances, d.clock
    )
    clock = ClockController(d.clock, d.state, d.events, d.metrics)
    found = [Registration(status), Registration(reservations), Registration(clock)]
    if d.settings.node_repair:
        repair = RepairController(
            api=d.api,
            state=d.state,
            clock=d.clock,
            events=d.events,
            metrics=d.metrics,
            share=d.settings.node_repair_threshold,
        )
        found.append(Registration(repair, (Watch(NODES),)))
    if d.aws.queue is not None:
        interruption = InterruptionController(
            api=d.api,
            state=d.state,
            clock=d.clock,
            events=d.events,
            metrics=d.metrics,
            queue=d.aws.queue,
            unavailable=d.aws.unavailable,
        )
        found.append(Registration(interruption))
    return found


def _catalog(d: Dependencies) -> list[Registration]:
    refreshes = market_refreshes(d.aws.market, d.aws.types, d.clock, d.metrics)
    memory = MemoryController(d.state, d.aws.types)
    return [
        *(Registration(r, base_delay=5.0, max_delay=600.0) for r in refreshes),
        # A Node changes once more, by its label, after its NodeClaim is registered.
        Registration(memory, (Watch(NODES),), concurrency=1),
    ]


def _metrics(d: Dependencies) -> list[Registration]:
    detail = d.settings.metrics_detail
    if detail is Detail.NONE:
        return []
    return [Registration(StateMetrics(d.state, d.clock, d.metrics, detail=detail))]
