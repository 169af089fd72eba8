"""`SimCluster`: the parts put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from autoctl.ports import kubernetes as k8s
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import RESOURCES, Object, Resource
from autoctl.sim.cluster.api import SimApi
from autoctl.sim.cluster.budgets import Budgets
from autoctl.sim.cluster.daemonset import DaemonSets
from autoctl.sim.cluster.deployment import Deployments, ReplicaSets
from autoctl.sim.cluster.faults import Faults
from autoctl.sim.cluster.gc import GarbageCollector
from autoctl.sim.cluster.jobs import Jobs
from autoctl.sim.cluster.kubelet import Kubelets
from autoctl.sim.cluster.nodes import NodeLifecycle
from autoctl.sim.cluster.registration import NodeRegistrar
from autoctl.sim.cluster.runtime import Controller, Wheel
from autoctl.sim.cluster.scheduler import Scheduler
from autoctl.sim.cluster.server import Admission, Defaulting, Server, condition_of, set_condition
from autoctl.sim.cluster.statefulset import StatefulSets
from autoctl.sim.cluster.stats import PodStats
from autoctl.sim.cluster.storage import AttachDetach, VolumeBinder
from autoctl.sim.cluster.store import Store
from autoctl.sim.cluster.timings import Timings

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_BY_KIND = {(r.api_version, r.kind): r for r in RESOURCES}


class SimCluster:
    """A Kubernetes cluster in memory. Make it inside a running event loop, then `start` it.

    `api` is what the operator uses and `faults` makes it misbehave; `users` is the API for
    everybody else, which neither fails nor is observed. `nodes` registers Nodes; `lifecycle`
    and `kubelets` lose and recover them; `stats` counts what happens to pods; `server` and `store`
    are for the simulator itself. Custom resources are accepted as they come unless `admission` and
    `defaulting` are given (`crd_errors` and `crd_defaults` follow our CRDs).

    An exception in a built-in controller is a defect of the simulator: every later API call raises
    it, and so does `stop`.
    """

    def __init__(
        self,
        clock: Clock,
        rng_seed: int = 0,
        *,
        admission: Admission | None = None,
        defaulting: Defaulting | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.clock = clock
        self.timings = timings or Timings()
        self._failure: Exception | None = None
        self.store = Store(clock, rng_seed, self.timings.history_window)
        self.store.on_failure = self._fail
        self.server = Server(self.store, admission=admission, defaulting=defaulting)
        self.faults = Faults(rng_seed)
        self._wheel = Wheel(self._fail)
        parts = (self.server, self._wheel, self.timings)
        self.budgets = Budgets(*parts)
        self.api = SimApi(
            self.server, self.faults, self.timings, self._check, self.budgets.covering
        )
        self.users = SimApi(
            self.server, Faults(rng_seed), self.timings, self._check, self.budgets.covering
        )
        self._attach_detach = AttachDetach(*parts, is_silent=lambda n: self.kubelets.is_silent(n))
        self.kubelets = Kubelets(*parts, volumes_ready=self._attach_detach.pod_may_start)
        self.nodes = NodeRegistrar(*parts, self.kubelets)
        self.lifecycle = NodeLifecycle(*parts, self.kubelets)
        self.scheduler = Scheduler(*parts)
        self.stats = PodStats(self.store)
        self._controllers: list[Controller[Any]] = [
            GarbageCollector(*parts),
            self.budgets,
            Deployments(*parts),
            ReplicaSets(*parts),
            ReplicaSets(*parts, resource=k8s.REPLICATION_CONTROLLERS),
            StatefulSets(*parts),
            DaemonSets(*parts),
            Jobs(*parts),
            VolumeBinder(*parts),
            self._attach_detach,
            self.lifecycle,
        ]
        for name in _NAMESPACES:
            self.ensure_namespace(name)

    async def start(self) -> None:
        """Start the built-in controllers."""
        for controller in self._controllers:
            controller.start()
        self.kubelets.start()
        self.scheduler.start()
        self.stats.start()
        for event in self.store.objects(k8s.EVENTS):
            self._event_created(None, event)
        self.store.subscribe(k8s.EVENTS, self._event_created)

    async def stop(self) -> None:
        """Stop them. Raises what went wrong in them, if anything did."""
        self._wheel.stop()
        self._check()

    @property
    def instance_exists(self) -> Callable[[str], bool] | None:
        """What the cloud node controller asks: whether a providerID's instance exists.

        While it is `None`, no Node is deleted because its instance is gone.
        """
        return self.lifecycle.instance_exists

    @instance_exists.setter
    def instance_exists(self, answer: Callable[[str], bool] | None) -> None:
        self.lifecycle.instance_exists = answer

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace where there is none of that name."""
        if self.store.get(k8s.NAMESPACES, name) is None:
            self.server.create(k8s.NAMESPACES, {"metadata": {"name": name}})

    def objects(self, resource: Resource) -> Iterable[Object]:
        """The stored objects themselves, cheaply: read them, never change them."""
        return self.store.objects(resource)

    def knows(self, obj: Object) -> bool:
        """Whether objects of this apiVersion and kind are simulated."""
        return (obj.get("apiVersion"), obj.get("kind")) in _BY_KIND

    def resource_of(self, obj: Object) -> Resource:
        """The resource of an object's apiVersion and kind. Raises `KeyError` for an unknown one."""
        return _BY_KIND[obj["apiVersion"], obj["kind"]]

    def load(self, objects: Iterable[Object]) -> None:
        """Restore objects of a dump: uids, times, status and owner references as they were.

        Objects without uid are created as a user would; missing namespaces are made; nodes without
        a Ready condition get one that is True, because their kubelets are simulated. Without
        latency, faults or observers. Raises `ApiError` for what the API server would refuse.
        """
        for given in objects:
            resource = self.resource_of(given)
            obj = _with_ready(given, self.clock.now()) if resource == k8s.NODES else given
            metadata = obj.get("metadata") or {}
            namespace = metadata.get("namespace") or ("default" if resource.namespaced else None)
            if namespace is not None:
                self.ensure_namespace(namespace)
            if resource == k8s.NAMESPACES and self.store.get(resource, metadata["name"]):
                continue
            self.server.create(resource, obj, namespace, restored=bool(metadata.get("uid")))

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the simulated cluster failed") from self._failure

    def _event_created(self, before: Object | None, after: Object | None) -> None:
        if before is None and after is not None:
            self._wheel.after(
                self.timings.event_ttl, partial(self._expire_event, after["metadata"]["uid"])
            )

    def _expire_event(self, uid: str) -> None:
        found = self.store.by_uid(uid)
        if found is not None:
            self.store.remove(*found)


def _with_ready(node: Object, now: datetime) -> Object:
    if condition_of(node, "Ready") is not None:
        return node
    status = node.get("status") or {}
    conditions = set_condition(status.get("conditions"), "Ready", "True", now=now)
    return {**node, "status": {**status, "conditions": conditions}}
