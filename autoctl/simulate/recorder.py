"""What happens in a simulated world, written down while it happens.

Counts come from the world itself (every change of the store, every instance the cloud launched),
not from what the operator says it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from autoctl.catalog.units import amount
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, PODS, Object
from autoctl.sim.cloud.cloud import SimulatedCloud
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.sim.cloud.ec2.types import InstanceTypes
from autoctl.sim.cluster.cluster import SimCluster
from autoctl.sim.cluster.faults import Point, Request
from autoctl.simulate.owners import is_daemon


@dataclass(frozen=True, slots=True)
class Sample:
    """The world at one instant; cpu in millicores, memory in bytes, money in USD/hour.

    `requested` sums the requests of bound pods that are not daemons', `provided` what the nodes can
    allocate. `longest_wait` is that of pods that were bound since the last sample or wait still, in
    seconds; None where there were none.
    """

    at: float
    nodes: int
    pods_pending: int
    pods_running: int
    usd_per_hour: float
    bound: float | None
    cpu_requested: int
    cpu_provided: int
    memory_requested: int
    memory_provided: int
    launched: int
    terminated: int
    evictions: int
    longest_wait: float | None = None


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision: when (seconds from the start), what, why, and USD/hour it adds."""

    at: float
    kind: str
    reason: str
    subjects: tuple[str, ...]
    detail: str = ""
    usd_per_hour: float = 0.0


@dataclass
class Recorder:
    """Watches one world. `start` is the scenario's first instant."""

    cluster: SimCluster
    cloud: SimulatedCloud
    start: datetime
    on_decision: Callable[[DecisionRecord], None] | None = None
    decisions: list[DecisionRecord] = field(default_factory=list)
    pending_seconds: list[float] = field(default_factory=list)
    evictions: int = 0
    pods_created: int = 0
    running: int = 0
    pending: int = 0
    _unbound: dict[str, float] = field(default_factory=dict)
    """Pods by uid, with when they were created, until they are bound; the oldest come first."""
    _longest_wait: float | None = None
    _asked: dict[tuple[str, str], str] = field(default_factory=dict)
    _evicted: set[str] = field(default_factory=set)
    _launches: dict[str, int] = field(default_factory=dict)
    """NodeClaim's uid -> index of the decision to launch it."""

    def attach(self) -> None:
        """Begin to watch."""
        self.cluster.store.subscribe(PODS, self._pod_changed)
        self.cluster.store.subscribe(NODE_CLAIMS, self._claim_changed)
        self.cluster.faults.observe(self._request)

    def elapsed(self) -> float:
        """Seconds since the start, in virtual time."""
        return (self.cloud.now() - self.start).total_seconds()

    def decide(self, record: DecisionRecord) -> None:
        """Add a decision that an operator reported."""
        self.decisions.append(record)
        if self.on_decision is not None:
            self.on_decision(record)

    def _request(self, request: Request, point: Point) -> None:
        """Count the pods that were made to go; a request that is refused has no AFTER."""
        if request.resource is not PODS or request.verb not in ("evict", "delete"):
            return
        key = (request.namespace, request.name)
        if point is Point.BEFORE:
            pod = self.cluster.store.get(PODS, request.name, request.namespace)
            if pod is not None and not is_daemon(pod):
                self._asked[key] = pod["metadata"]["uid"]
            return
        uid = self._asked.pop(key, None)
        if uid is not None and uid not in self._evicted:
            self._evicted.add(uid)
            self.evictions += 1

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        obj = after or before
        assert obj is not None, "a change has an object before or after it"
        if is_daemon(obj):
            return
        uid = obj["metadata"]["uid"]
        if before is None:
            self.pods_created += 1
            self._unbound[uid] = self.elapsed()
        if uid in self._unbound and obj.get("spec", {}).get("nodeName"):
            waited = self.elapsed() - self._unbound.pop(uid)
            self.pending_seconds.append(waited)
            self._longest_wait = max(waited, self._longest_wait or 0.0)
        self.running += int(_is_running(after)) - int(_is_running(before))
        self.pending += int(_is_pending(after)) - int(_is_pending(before))
        if after is None:
            self._unbound.pop(uid, None)
            self._evicted.discard(uid)

    def _launched(self, claim: Object) -> None:
        """The NodeClaim got its instance: now is known what the decision costs."""
        index = self._launches.get(claim["metadata"]["uid"])
        instance = self.cloud.ec2.instances.records.get(
            claim["status"]["providerID"].rpartition("/")[2]
        )
        if index is not None and instance is not None:
            self.decisions[index] = replace(
                self.decisions[index],
                detail=instance.instance_type,
                usd_per_hour=self.price(instance),
            )

    def _claim_changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None and before is not None:
            had = (before.get("status") or {}).get("providerID")
            if not had and (after.get("status") or {}).get("providerID"):
                self._launched(after)
        if before is None and after is not None:
            requirements = after.get("spec", {}).get("requirements", ())
            types: list[str] = next(
                (
                    r["values"]
                    for r in requirements
                    if r["key"] == "node.kubernetes.io/instance-type"
                ),
                [],
            )
            self._launches[after["metadata"]["uid"]] = len(self.decisions)
            self.decide(
                DecisionRecord(
                    at=self.elapsed(),
                    kind="launch",
                    reason=after["metadata"]
                    .get("annotations", {})
                    .get("autoctl.io/reason", "provisioned"),
                    subjects=(after["metadata"]["name"],),
                    detail=types[0] if types else "",
                )
            )

    def still_pending(self) -> list[float]:
        """How long each pod that is not bound yet has waited, in seconds."""
        now = self.elapsed()
        return [now - created for created in self._unbound.values()]

    def instances(self) -> Iterable[InstanceRecord]:
        """Every instance launched so far."""
        return self.cloud.ec2.instances.history

    def price(self, instance: InstanceRecord) -> float:
        """USD/hour of an instance."""
        return hourly_price(self.cloud.ec2.types, instance)

    def begin_interval(self) -> None:
        """From now on `Sample.longest_wait` tells of other pods."""
        self._longest_wait = None

    def _longest(self) -> float | None:
        oldest = next(iter(self._unbound.values()), None)
        waits = (self._longest_wait, None if oldest is None else self.elapsed() - oldest)
        return max((w for w in waits if w is not None), default=None)

    def sample(self, bound: float | None) -> Sample:
        """The world now."""
        alive = self.cloud.ec2.instances.alive()
        requested = _Totals()
        for pod in self.cluster.objects(PODS):
            if pod.get("spec", {}).get("nodeName") and not is_daemon(pod) and not _is_over(pod):
                requested.add_pod(pod)
        provided = _Totals()
        nodes = 0
        for node in self.cluster.objects(NODES):
            nodes += 1
            provided.add(node.get("status", {}).get("allocatable", {}))
        history = self.cloud.ec2.instances.history
        return Sample(
            at=self.elapsed(),
            nodes=nodes,
            pods_pending=self.pending,
            pods_running=self.running,
            usd_per_hour=sum(self.price(i) for i in alive),
            bound=bound,
            cpu_requested=requested.cpu,
            cpu_provided=provided.cpu,
            memory_requested=requested.memory,
            memory_provided=provided.memory,
            launched=len(history),
            terminated=sum(1 for i in history if not i.alive),
            evictions=self.evictions,
            longest_wait=self._longest(),
        )


def hourly_price(types: InstanceTypes, instance: InstanceRecord) -> float:
    """USD/hour of an instance."""
    if instance.capacity_type == "spot":
        spot = types.spot_price(instance.instance_type, instance.zone)
        if spot is not None:
            return spot
    return types.on_demand_price(instance.instance_type)


class _Totals:
    """CPU and memory summed from quantities."""

    def __init__(self) -> None:
        self.cpu = 0
        self.memory = 0

    def add(self, quantities: dict[str, Any]) -> None:
        self.cpu += amount("cpu", quantities.get("cpu", 0))
        self.memory += amount("memory", quantities.get("memory", 0))

    def add_pod(self, pod: Object) -> None:
        for container in pod.get("spec", {}).get("containers", ()):
            self.add((container.get("resources") or {}).get("requests") or {})


def _is_over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _is_running(pod: Object | None) -> bool:
    return (
        pod is not None
        and pod.get("status", {}).get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    )


def _is_pending(pod: Object | None) -> bool:
    return (
        pod is not None
        and not pod.get("spec", {}).get("nodeName")
        and not _is_over(pod)
        and "deletionTimestamp" not in pod["metadata"]
    )
