"""`provisioner`: decides where pending pods go, and creates the NodeClaims they need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.catalog.units import amounts
from autoctl.controllers.metrics.series import Series
from autoctl.controllers.provisioning.claims import ClaimCreator
from autoctl.controllers.provisioning.failures import failure_text
from autoctl.controllers.provisioning.limits import exceeded
from autoctl.controllers.provisioning.refusals import tell_refusals
from autoctl.controllers.provisioning.window import BatchWindow
from autoctl.controllers.provisioning.zones import pending_by_zone
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import PODS, ApiError, EventType
from autoctl.scheduling.problem import (
    NewNode,
    SchedulingProblem,
    Solution,
    SolverOptions,
    Unschedulable,
)
from autoctl.scheduling.reserve import without_placements
from autoctl.state.buffers import Buffer
from autoctl.state.cluster import ClusterState
from autoctl.state.pods import is_provisionable
from autoctl.state.problem import displaced_pods, pool_usage, provisionable_pods, scheduling_problem
from autoctl.state.reflector import Change
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

RETRY_SECONDS = 10.0
"""How soon pods that could not be placed are tried again."""
_UNSYNCED_SECONDS = 1.0
_REST_SECONDS = 600.0
_ROUNDING_SECONDS = 0.001
_FAILED_DEDUPE_SECONDS = 300.0
_CREATES_AT_ONCE = 50
_NAME = "provisioner"

Solver = Callable[[SchedulingProblem], Awaitable[Solution]]
"""Solves without holding up the event loop."""


@dataclass(frozen=True)
class ProvisionerDependencies:
    """What the provisioner talks to."""

    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    creator: ClaimCreator
    solve: Solver
    options: SolverOptions = field(default_factory=SolverOptions)
    idle_seconds: float = 1.0
    longest_seconds: float = 10.0


class Provisioner:
    """Periodic: sleeps until pods wait, then decides about all of them at once."""

    name = _NAME

    def __init__(self, dependencies: ProvisionerDependencies) -> None:
        self._d = dependencies
        self._window = BatchWindow(dependencies.idle_seconds, dependencies.longest_seconds)
        self._first_seen: dict[str, float] = {}
        self._asked: tuple[object, ...] | None = None
        self._unplaced = False
        self._kept: Mapping[str, Buffer] = {}
        """The buffers whose room was looked at last, at `_looked` (loop time)."""
        self._looked = 0.0
        self._zones = Series(dependencies.metrics.pending_pods_by_zone)
        dependencies.state.pods.reflector.subscribe(self._pods_changed)
        dependencies.state.nodes.reflector.subscribe(self._nodes_changed)
        dependencies.state.node_claims.reflector.subscribe(self._claims_changed)

    async def run_once(self) -> float:
        if not self._d.state.synced:
            return _UNSYNCED_SECONDS
        now = asyncio.get_running_loop().time()
        wait = self._window.closes_in(now)
        if wait is None and not self._unplaced:
            if not self._d.state.buffers:
                return _REST_SECONDS
            # Room may be taken without any pod waiting for a node.
            due = self._looked + RETRY_SECONDS - now
            if due > _ROUNDING_SECONDS and self._d.state.buffers is self._kept:
                return due
        if wait is None and self._unplaced:
            # Changes come in swarms, and each of them may have made room, or not.
            due = self._looked + self._d.idle_seconds - now
            if due > _ROUNDING_SECONDS:
                return due
        if wait is not None and wait > 0:
            return wait
        self._window.take()
        await self._provision()
        return RETRY_SECONDS if self._unplaced or self._d.state.buffers else 0.0

    def _pods_changed(self, changes: Sequence[Change[core.Pod]]) -> None:
        now = asyncio.get_running_loop().time()
        for change in changes:
            pod = change.object
            if change.type is not EventType.DELETED and is_provisionable(pod):
                before = change.previous
                if before is None or not is_provisionable(before):
                    self._window.add(pod.metadata.uid, now)
                    self._first_seen.setdefault(pod.metadata.uid, now)
            else:
                self._first_seen.pop(pod.metadata.uid, None)

    def _nodes_changed(self, changes: Sequence[Change[core.Node]]) -> None:
        """Pods on a node that has to go need another one."""
        now = asyncio.get_running_loop().time()
        for change in changes:
            meta, before = change.object.metadata, change.previous
            if meta.deletion_timestamp is not None and (
                before is None or before.metadata.deletion_timestamp is None
            ):
                self._window.add(meta.uid, now)

    def _claims_changed(self, changes: Sequence[Change[NodeClaim]]) -> None:
        """Pods that were promised a node which will not come wait again."""
        now = asyncio.get_running_loop().time()
        for change in changes:
            if change.type is EventType.DELETED:
                self._window.add(change.object.metadata.uid, now)

    async def _provision(self) -> None:
        state = self._d.state
        snapshot = state.snapshot()
        tell_refusals(state, snapshot, self._d.events, self._d.metrics)
        pending = provisionable_pods(snapshot)
        pods = (*pending, *displaced_pods(snapshot))
        # Promised pods may have to be planned for anew once their promises are over.
        self._unplaced = bool(pods or snapshot.nominations or snapshot.resting)
        reserve = snapshot.reserve
        self._kept, self._looked = snapshot.buffers, asyncio.get_running_loop().time()
        if not pods and not reserve:
            self._zones.replace({})
            return
        uids = tuple(sorted(p.metadata.uid for p in pods))
        question = state.revision(), snapshot.refused, uids
        if question == self._asked:
            return
        started = asyncio.get_running_loop().time()
        problem = scheduling_problem(snapshot, pods, reserve=reserve, options=self._d.options)
        solution = await self._d.solve(problem)
        reserved = {p.key for p in reserve}
        self._d.metrics.scheduling_duration.labels(_NAME).observe(
            asyncio.get_running_loop().time() - started
        )
        solution = without_placements(solution, reserved)
        self._measure(snapshot, pending, solution)
        zones = pending_by_zone(problem, pending)
        self._zones.replace({(_NAME, zone): float(count) for zone, count in zones.items()})
        await self._act(snapshot, {p.key: p for p in pods}, solution)
        # What was created or promised is news; an answer without either would be the same again.
        acted = bool(solution.new_nodes or solution.placements)
        self._asked = None if acted else question

    async def _act(self, snapshot: Snapshot, pods: dict[str, core.Pod], solution: Solution) -> None:
        self._promise(snapshot, pods, solution)
        allowed = self._within_limits(solution.new_nodes)
        slots = asyncio.Semaphore(_CREATES_AT_ONCE)

        async def create(node: NewNode, pool: NodePool) -> None:
            async with slots:
                claim = await self._d.creator.launch(node, pool, "provisioned", {})
            placed = [pods[key] for key in node.pods if key in pods]
            self._d.state.nominations.await_node(_identities(placed), claim.name)
            self._d.state.refusals.buy((pod.metadata.uid for pod in placed), claim.name)
            self._tell_nominated(placed, f"nodeclaim/{claim.name}")

        outcomes = await asyncio.gather(
            *(create(node, pool) for node, pool in allowed), return_exceptions=True
        )
        for key, why in solution.unschedulable.items():
            if key in snapshot.pods and not pods[key].spec.node_name:
                self._tell_failed(pods[key], why)
        refused = [e for e in outcomes if isinstance(e, BaseException)]
        for error in refused:
            if not isinstance(error, ApiError):
                raise error
        if refused:
            _log.warning("NodeClaims not created", count=len(refused), error=str(refused[0]))
            raise refused[0]
        if allowed or solution.placements:
            _log.info(
                "provisioned",
                pods=len(pods),
                node_claims=len(allowed),
                placed=len(solution.placements),
                unschedulable=len(solution.unschedulable),
                usd_per_hour=round(solution.cost, 4),
                lower_bound=round(solution.lower_bound, 4),
            )

    def _promise(self, snapshot: Snapshot, pods: dict[str, core.Pod], solution: Solution) -> None:
        """Pods that fit what is there, or is coming, are promised it."""
        by_target: dict[str, list[core.Pod]] = {}
        for key, target in solution.placements.items():
            by_target.setdefault(target, []).append(pods[key])
        nominations = self._d.state.nominations
        for target, placed in by_target.items():
            node = snapshot.state_nodes[target]
            if node.claim is not None and not node.initialized:
                nominations.await_node(_identities(placed), node.claim.name)
                self._tell_nominated(placed, f"nodeclaim/{node.claim.name}")
            else:
                nominations.nominate(_identities(placed), target, self._d.clock.now())
                self._tell_nominated(placed, f"node/{target}")

    def _within_limits(self, nodes: Iterable[NewNode]) -> list[tuple[NewNode, NodePool]]:
        """The nodes that the pools, as they are now, still allow."""
        fresh = self._d.state.snapshot()
        usage = pool_usage(fresh)
        allowed = []
        for node in nodes:
            pool = fresh.node_pools.get(node.pool)
            if pool is None or pool.deleting:
                continue
            found = fresh.types_by_pool[pool.name].get(node.offer.instance_type)
            capacity = dict(found.capacity) if found is not None else dict(node.requests)
            used = usage.setdefault(pool.name, {})
            broken = exceeded(amounts(pool.spec.limits), used, capacity)
            if broken is not None:
                _log.info("node not bought", node_pool=pool.name, reason=broken)
                continue
            for resource, amount in {**capacity, "nodes": 1}.items():
                used[resource] = used.get(resource, 0) + amount
            allowed.append((node, pool))
        return allowed

    def _measure(self, snapshot: Snapshot, pending: Sequence[core.Pod], solution: Solution) -> None:
        metrics = self._d.metrics
        metrics.unschedulable_pods.labels(_NAME).set(len(solution.unschedulable))
        waiting = sum(1 for p in snapshot.pods.values() if is_provisionable(p))
        ignored = waiting - len(pending) - len(snapshot.nominations)
        metrics.ignored_pods.set(max(0, ignored))
        now = asyncio.get_running_loop().time()
        for pod in pending:
            seen = self._first_seen.pop(pod.metadata.uid, None)
            if seen is not None:
                metrics.pods_scheduling_decision_duration.observe(now - seen)

    def _tell_nominated(self, pods: Iterable[core.Pod], target: str) -> None:
        message = f"Pod should schedule on: {target}"
        self._d.events.publish(*(Event(_about(pod), "Nominated", message) for pod in pods))

    def _tell_failed(self, pod: core.Pod, why: Unschedulable) -> None:
        self._d.events.publish(
            Event(
                _about(pod),
                "FailedScheduling",
                failure_text(why),
                "Warning",
                dedupe_seconds=_FAILED_DEDUPE_SECONDS,
            )
        )


def _identities(pods: Iterable[core.Pod]) -> list[tuple[str, str]]:
    return [(pod.key, pod.metadata.uid) for pod in pods]


def _about(pod: core.Pod) -> ObjectReference:
    meta = pod.metadata
    return ObjectReference.of(PODS, meta.name, meta.namespace or "default", meta.uid)
