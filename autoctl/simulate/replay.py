"""A trace replayed: its pods come and go on the simulated world at their times.

Bare pods act as if a controller kept them: one that is evicted, or whose node is lost, comes back
at once under a new name until its time in the trace is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from autoctl.api.labels import DO_NOT_DISRUPT
from autoctl.ports.kubernetes import NODE_CLASSES, NODE_POOLS, PODS, PRIORITY_CLASSES, Object
from autoctl.simulate.scenario import Scenario, Settings
from autoctl.simulate.trace import Trace, TracePod
from autoctl.simulate.world import World

TAIL: Final = timedelta(minutes=30)
"""Played on after the last pod, for the nodes to go."""
SAMPLE: Final = timedelta(minutes=10)
LONG_SAMPLE: Final = timedelta(hours=1)
"""Between the samples of replays over `_LONG`: a bound is solved for at each."""
_LONG: Final = timedelta(days=10)
_PATIENCE: Final = 60.0
"""A trace has no faults that only a look in time would find."""
_GPU: Final = "nvidia.com/gpu"
_ROLE: Final = "AutoctlNodeRole"
_POOL: Final = "default"


def default_pool() -> Object:
    """The NodePool a trace is played on when none is given: every family, on-demand and spot."""
    return {
        "apiVersion": NODE_POOLS.api_version,
        "kind": NODE_POOLS.kind,
        "metadata": {"name": _POOL},
        "spec": {
            "template": {
                "spec": {
                    "nodeClassRef": {
                        "group": "eks.amazonaws.com",
                        "kind": "NodeClass",
                        "name": "default",
                    },
                    "requirements": [
                        {
                            "key": "karpenter.sh/capacity-type",
                            "operator": "In",
                            "values": ["on-demand", "spot"],
                        },
                        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                    ],
                }
            },
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
                "consolidateAfter": "30s",
            },
        },
    }


def trace_objects(trace: Trace, given: Sequence[Object]) -> list[Object]:
    """What is in the cluster before the first pod: pools, their classes, priority classes.

    `given` are the user's objects; without a NodePool among them the default one is used, and every
    NodeClass that a pool names and nobody gave is made.
    """
    found = list(given)
    pools = [o for o in found if o.get("kind") == NODE_POOLS.kind]
    if not pools:
        pools = [default_pool()]
        found += pools
    classes = {o["metadata"]["name"] for o in found if o.get("kind") == NODE_CLASSES.kind}
    for pool in pools:
        name = pool["spec"]["template"]["spec"]["nodeClassRef"]["name"]
        if name not in classes:
            classes.add(name)
            found.append(_node_class(name))
    priorities = sorted({p.priority for p in trace.pods if p.priority})
    return [*(_priority_class(value) for value in priorities), *found]


def trace_scenario(trace: Trace, name: str, region: str) -> Scenario:
    """The scenario around a trace: when it starts and how long it is played."""
    duration = timedelta(seconds=trace.seconds) + TAIL
    update = {
        "name": name,
        "region": region,
        "duration": duration,
        "settings": Settings(patience=_PATIENCE),
        "sample": _sample(duration),
    }
    if trace.origin is not None:
        update["start"] = datetime.fromtimestamp(int(trace.origin), UTC)
    return Scenario().model_copy(update=update)


def _sample(duration: timedelta) -> timedelta | None:
    """Between two samples; None where a scenario's own are close enough."""
    if duration > _LONG:
        return LONG_SAMPLE
    return SAMPLE if duration > 100 * SAMPLE else None


def _node_class(name: str) -> Object:
    return {
        "apiVersion": NODE_CLASSES.api_version,
        "kind": NODE_CLASSES.kind,
        "metadata": {"name": name},
        "spec": {
            "role": _ROLE,
            "subnetSelectorTerms": [{"tags": {"kubernetes.io/role/internal-elb": "1"}}],
            "securityGroupSelectorTerms": [{"tags": {"aws:eks:cluster-name": "autoctl"}}],
        },
    }


def _priority_class(value: int) -> Object:
    return {
        "apiVersion": PRIORITY_CLASSES.api_version,
        "kind": PRIORITY_CLASSES.kind,
        "metadata": {"name": _priority_name(value)},
        "value": value,
    }


def _priority_name(value: int) -> str:
    return f"trace-{value}" if value >= 0 else f"trace-minus-{-value}"


def pod_object(pod: TracePod, incarnation: int) -> Object:
    """The Pod; `incarnation` counts how often it has been made, from 1."""
    resources: dict[str, str] = {"cpu": f"{pod.cpu}m", "memory": f"{pod.memory}Mi"}
    container: Object = {"name": "main", "image": "trace", "resources": {"requests": resources}}
    if pod.gpu:
        resources[_GPU] = str(pod.gpu)
        container["resources"]["limits"] = {_GPU: str(pod.gpu)}
    suffix = "" if incarnation == 1 else f"-again-{incarnation - 1}"
    made: Object = {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {"name": pod.name + suffix, "namespace": pod.namespace},
        "spec": {"containers": [container]},
    }
    if pod.node_selector:
        made["spec"]["nodeSelector"] = dict(pod.node_selector)
    if pod.priority:
        made["spec"]["priorityClassName"] = _priority_name(pod.priority)
    if pod.do_not_disrupt:
        made["metadata"]["annotations"] = {DO_NOT_DISRUPT: "true"}
    return made


@dataclass
class Replay:
    """Plays a trace beside a scenario; a `Watcher` of the player."""

    trace: Trace
    _made: dict[int, int] = field(default_factory=dict)
    """Index of a pod whose time is not over -> how often it was made."""
    _names: dict[tuple[str, str], int] = field(default_factory=dict)
    """Namespace and name of what is there now -> index in the trace."""
    _task: asyncio.Task[None] | None = None
    _played: int = 0

    @property
    def played(self) -> float:
        """How much of what pods do, from 0 to 1, has been done."""
        pods = self.trace.pods
        return self._played / (len(pods) + sum(p.deleted is not None for p in pods))

    def attach(self, world: World) -> None:
        """See `Watcher.attach`."""
        world.cluster.store.subscribe(PODS, partial(self._changed, world))
        self._task = asyncio.create_task(self._play(world), name="trace")

    def finish(self, world: World) -> None:  # noqa: ARG002 - the protocol's signature
        """See `Watcher.finish`; raises what went wrong while playing."""
        assert self._task is not None, "attached before"
        if not self._task.done():
            self._task.cancel()
            return
        self._task.result()

    async def _play(self, world: World) -> None:
        loop = asyncio.get_running_loop()
        for at, index, begins in self._agenda():
            if at > loop.time():
                await asyncio.sleep(at - loop.time())
            if begins:
                self._make(world, index)
            else:
                self._end(world, index)
            self._played += 1

    def _agenda(self) -> Iterator[tuple[float, int, bool]]:
        """Creations and deletions in order of time; at one instant, deletions first."""
        events = [(p.created, True, i) for i, p in enumerate(self.trace.pods)]
        events += [
            (p.deleted, False, i) for i, p in enumerate(self.trace.pods) if p.deleted is not None
        ]
        for at, begins, index in sorted(events):
            yield at, index, begins

    def _make(self, world: World, index: int) -> None:
        pod = self.trace.pods[index]
        incarnation = self._made.get(index, 0) + 1
        self._made[index] = incarnation
        made = pod_object(pod, incarnation)
        world.cluster.ensure_namespace(pod.namespace)
        self._names[pod.namespace, made["metadata"]["name"]] = index
        world.cluster.server.create(PODS, made, pod.namespace)

    def _end(self, world: World, index: int) -> None:
        pod = self.trace.pods[index]
        incarnation = self._made.pop(index)
        name = pod_object(pod, incarnation)["metadata"]["name"]
        self._names.pop((pod.namespace, name), None)
        if world.cluster.store.get(PODS, name, pod.namespace) is not None:
            world.cluster.server.delete(PODS, name, pod.namespace)

    def _changed(self, world: World, before: Object | None, after: Object | None) -> None:
        """A pod that leaves before its time comes back, as a ReplicaSet would bring it back."""
        if before is None:
            return
        metadata = before["metadata"]
        leaving = after is None or after["metadata"].get("deletionTimestamp")
        over = after is not None and after.get("status", {}).get("phase") in ("Failed", "Succeeded")
        if not leaving and not over:
            return
        index = self._names.pop((metadata["namespace"], metadata["name"]), None)
        if index is not None and index in self._made:
            self._make(world, index)
