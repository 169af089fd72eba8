"""What each node has and what its pods take of it; the whole cluster's utilization."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import is_

from autoctl.api import core
from autoctl.catalog.units import amounts
from autoctl.controllers.disruption.expiration import lifetime_of
from autoctl.controllers.metrics.series import Series
from autoctl.controllers.runtime.metrics import NODE_LABEL_KEYS, Metrics
from autoctl.scheduling.resources import ResourceError, pod_requests, resize_infeasible
from autoctl.state.nodes import StateNode
from autoctl.state.pods import is_daemon, is_terminal
from autoctl.state.snapshot import Snapshot

_NODES_PER_TURN = 250
"""Other tasks come in between: nothing waits for metrics."""


def resource_type(resource: str) -> str:
    """A resource's name as the label `resource_type` has it."""
    return resource.lower().replace("-", "_")


def in_units(resource: str, amount: int) -> float:
    """An amount in the unit that metrics use: cores, bytes, pieces."""
    return amount / 1000 if resource == "cpu" else float(amount)


@dataclass(frozen=True)
class PodUse:
    """What one pod takes of its node."""

    requests: Mapping[str, int]
    limits: Mapping[str, int]
    daemon: bool


@dataclass
class PodUses:
    """`PodUse` by pod, computed once for each version of a pod."""

    _known: dict[str, tuple[core.Pod, PodUse]] = field(default_factory=dict)

    def of(self, pod: core.Pod) -> PodUse:
        known = self._known.get(pod.metadata.uid)
        if known is not None and known[0] is pod:
            return known[1]
        try:
            requests = pod_requests(
                pod.spec,
                pod.status.container_statuses,
                infeasible=resize_infeasible(pod.status),
            )
        except ResourceError:
            # The API server lets no such pod in; without its sizes it counts as nothing.
            requests = {}
        use = PodUse(requests, _limits(pod.spec), is_daemon(pod))
        self._known[pod.metadata.uid] = (pod, use)
        return use

    def keep(self, pods: Iterable[core.Pod]) -> None:
        """Forget all but `pods`."""
        kept = {pod.metadata.uid for pod in pods}
        self._known = {uid: use for uid, use in self._known.items() if uid in kept}


def _limits(spec: core.PodSpec) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in spec.containers or ():
        if container.resources is not None:
            _add(total, amounts(container.resources.limits))
    return total


def node_labels(node: StateNode) -> tuple[str, ...]:
    """Values of the labels that all metrics of a node share."""
    managed = "true" if node.managed else "false"
    known = node.labels
    return (node.name, "", managed, *(known.get(key, "") for key in NODE_LABEL_KEYS))


@dataclass(frozen=True)
class Measured:
    """A node's figures, with the objects that they were computed from."""

    state: StateNode
    labels: tuple[str, ...]
    allocatable: Mapping[str, int]
    requested: Mapping[str, int]
    samples: Mapping[str, Mapping[tuple[str, ...], float]]

    def still_of(self, state: StateNode) -> bool:
        """Whether nothing about the node has changed since."""
        mine = self.state
        return (
            mine.node is state.node
            and mine.claim is state.claim
            and len(mine.pods) == len(state.pods)
            and all(map(is_, mine.pods, state.pods))
        )


class NodeMetrics:
    """The gauges of nodes; one set of series a Node that is there.

    A pass costs little for nodes that have not changed since the last.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._uses = PodUses()
        self._measured: dict[str, Measured] = {}
        self._lifetime = Series(metrics.nodes_current_lifetime)
        self._cap = Series(metrics.lifetime_cap_remaining)
        self._utilization = Series(metrics.cluster_utilization)
        self._gauges = {name: Series(gauge) for name, gauge in metrics.nodes_resources.items()}

    async def update(self, snapshot: Snapshot, *, each_node: bool) -> None:
        """Measure all nodes; their own series only with `each_node`."""
        await self._measure(snapshot)
        allocatable: dict[str, int] = {}
        requested: dict[str, int] = {}
        samples: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in self._gauges}
        lifetimes: dict[tuple[str, ...], float] = {}
        for measured in self._measured.values():
            _add(allocatable, measured.allocatable)
            _add(requested, measured.requested)
            if each_node:
                for name, found in measured.samples.items():
                    samples[name].update(found)
                created = measured.state.created
                if created is not None:
                    lifetimes[measured.labels] = (snapshot.now - created).total_seconds()
        for name, series in self._gauges.items():
            series.replace(samples[name])
            await asyncio.sleep(0)
        self._lifetime.replace(lifetimes)
        self._cap.replace(_left_to_live(snapshot) if each_node else {})
        self._utilization.replace(
            {
                (resource_type(resource),): 100 * requested.get(resource, 0) / amount
                for resource, amount in allocatable.items()
                if amount > 0
            }
        )

    async def _measure(self, snapshot: Snapshot) -> None:
        """Bring the figures of changed nodes up to date, and forget nodes that are gone."""
        before, self._measured = self._measured, {}
        changed = 0
        for name, state in snapshot.state_nodes.items():
            if state.node is None:
                continue
            known = before.get(name)
            if known is None or not known.still_of(state):
                known = self._measure_one(state, state.node)
                changed += 1
                if changed % _NODES_PER_TURN == 0:
                    await asyncio.sleep(0)
            self._measured[name] = known
        if changed:
            self._uses.keep(snapshot.pods.values())

    def _measure_one(self, state: StateNode, node: core.Node) -> Measured:
        capacity = amounts(node.status.capacity)
        free = amounts(node.status.allocatable)
        totals: dict[str, dict[str, int]] = {
            "allocatable": free,
            "system_overhead": {k: v - free.get(k, 0) for k, v in capacity.items()},
            "total_pod_requests": {},
            "total_pod_limits": {},
            "total_daemon_requests": {},
            "total_daemon_limits": {},
        }
        for pod in state.pods:
            if is_terminal(pod):
                continue
            use = self._uses.of(pod)
            kind = "daemon" if use.daemon else "pod"
            _add(totals[f"total_{kind}_requests"], use.requests)
            _add(totals[f"total_{kind}_limits"], use.limits)
        labels = node_labels(state)
        requested: dict[str, int] = {}
        _add(requested, totals["total_pod_requests"])
        _add(requested, totals["total_daemon_requests"])
        samples = {
            name: {
                (resource_type(resource), *labels): in_units(resource, amount)
                for resource, amount in resources.items()
            }
            for name, resources in totals.items()
        }
        return Measured(state, labels, free, requested, samples)


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for resource, amount in more.items():
        total[resource] = total.get(resource, 0) + amount


def _left_to_live(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """(NodePool, node) -> seconds until the cap on an instance's life."""
    found: dict[tuple[str, ...], float] = {}
    for node in snapshot.state_nodes.values():
        lifetime = None if node.claim is None else lifetime_of(node.claim)
        if lifetime is not None:
            left = (lifetime.cap - snapshot.now).total_seconds()
            found[node.pool or "", node.name] = left
    return found
