"""What each node has and what its pods take of it; the whole cluster's utilization."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from autoctl.api import core
from autoctl.catalog.units import amounts
from autoctl.controllers.disruption.expiration import lifetime_of
from autoctl.controllers.metrics.series import Series
from autoctl.controllers.runtime.metrics import NODE_LABEL_KEYS, Metrics
from autoctl.scheduling.resources import ResourceError, pod_requests
from autoctl.state.nodes import StateNode
from autoctl.state.pods import is_daemon, is_terminal
from autoctl.state.snapshot import Snapshot


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
            requests = pod_requests(pod.spec, pod.status.container_statuses)
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
    total: Counter[str] = Counter()
    for container in spec.containers or ():
        if container.resources is not None:
            total.update(amounts(container.resources.limits))
    return dict(total)


def node_labels(node: StateNode) -> tuple[str, ...]:
    """Values of the labels that all metrics of a node share."""
    managed = "true" if node.managed else "false"
    known = node.labels
    return (node.name, "", managed, *(known.get(key, "") for key in NODE_LABEL_KEYS))


class NodeMetrics:
    """The gauges of nodes; one set of series a Node that is there."""

    def __init__(self, metrics: Metrics) -> None:
        self._uses = PodUses()
        self._lifetime = Series(metrics.nodes_current_lifetime)
        self._cap = Series(metrics.lifetime_cap_remaining)
        self._utilization = Series(metrics.cluster_utilization)
        self._gauges = {name: Series(gauge) for name, gauge in metrics.nodes_resources.items()}

    def update(self, snapshot: Snapshot, *, each_node: bool) -> None:
        """Measure all nodes; their own series only with `each_node`."""
        samples: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        lifetimes: dict[tuple[str, ...], float] = {}
        allocatable: Counter[str] = Counter()
        requested: Counter[str] = Counter()
        for node in snapshot.state_nodes.values():
            if node.node is None:
                continue
            measured = self._measure(node)
            allocatable.update(measured["allocatable"])
            requested.update(measured["total_pod_requests"])
            requested.update(measured["total_daemon_requests"])
            if not each_node:
                continue
            labels = node_labels(node)
            for name, resources in measured.items():
                for resource, amount in resources.items():
                    key = (resource_type(resource), *labels)
                    samples[name][key] = in_units(resource, amount)
            if node.created is not None:
                lifetimes[labels] = (snapshot.now - node.created).total_seconds()
        for name, series in self._gauges.items():
            series.replace(samples[name])
        self._lifetime.replace(lifetimes)
        self._cap.replace(_left_to_live(snapshot) if each_node else {})
        self._utilization.replace(
            {
                (resource_type(resource),): 100 * requested[resource] / amount
                for resource, amount in allocatable.items()
                if amount > 0
            }
        )
        self._uses.keep(snapshot.pods.values())

    def _measure(self, node: StateNode) -> dict[str, Mapping[str, int]]:
        assert node.node is not None, "only nodes that are there are measured"
        capacity = amounts(node.node.status.capacity)
        free = amounts(node.node.status.allocatable)
        totals: dict[str, Counter[str]] = {
            name: Counter()
            for name in (
                "total_pod_requests",
                "total_pod_limits",
                "total_daemon_requests",
                "total_daemon_limits",
            )
        }
        for pod in node.pods:
            if is_terminal(pod):
                continue
            use = self._uses.of(pod)
            kind = "daemon" if use.daemon else "pod"
            totals[f"total_{kind}_requests"].update(use.requests)
            totals[f"total_{kind}_limits"].update(use.limits)
        overhead = {k: v - free.get(k, 0) for k, v in capacity.items()}
        return {"allocatable": free, "system_overhead": overhead, **totals}


def _left_to_live(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """(NodePool, node) -> seconds until the cap on an instance's life."""
    found: dict[tuple[str, ...], float] = {}
    for node in snapshot.state_nodes.values():
        lifetime = None if node.claim is None else lifetime_of(node.claim)
        if lifetime is not None:
            left = (lifetime.cap - snapshot.now).total_seconds()
            found[node.pool or "", node.name] = left
    return found
