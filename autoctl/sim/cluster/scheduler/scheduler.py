"""The scheduler: pending pods to nodes, as kube-scheduler with its default plugins would.

It is written from the Kubernetes documentation ("Scheduling, Preemption and Eviction") and shares
no code with `autoctl.scheduling`, so that it can contradict it. Left out: preemption, extenders,
dynamic resources, image locality, sampling of nodes.

A pod's nominated node is tried first, and its room there is kept from pods of the same or lower
priority. A failed attempt clears the nomination, as kube-scheduler does up to 1.34 (and later with
the gate `NominatedNodeNameForExpectation` off).

Pods that no filter can tell apart form a group. One failed attempt speaks for the whole group, and
it is tried again only when something changed that could help; kube-scheduler reaches the same with
its queueing hints.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.runtime import Wheel
from autoctl.sim.cluster.scheduler import filters, scoring
from autoctl.sim.cluster.scheduler.books import NO_VOLUMES, Books
from autoctl.sim.cluster.scheduler.filters import Attempt
from autoctl.sim.cluster.scheduler.nodetable import Ints
from autoctl.sim.cluster.scheduler.nominees import Nominees
from autoctl.sim.cluster.scheduler.podinfo import (
    Shape,
)
from autoctl.sim.cluster.scheduler.queue import Group, GroupKey, Queue, Waiting
from autoctl.sim.cluster.scheduler.static import AFFINITY_REASON
from autoctl.sim.cluster.scheduler.volumefilter import PodVolumes
from autoctl.sim.cluster.server import Server, set_condition
from autoctl.sim.cluster.store import Key, key_of
from autoctl.sim.cluster.timings import Timings

NAME: Final = "default-scheduler"
REFUSED_REASON: Final = "node(s) were refused by another plugin"
_BIND_TIMEOUT: Final = 600.0

Refusal = Callable[[Object, Object], bool]
"""Whether a pod may not go to a node, for reasons that only this scheduler knows."""


@dataclass(slots=True, eq=False)
class Reserved:
    """A pod whose claims are being bound on its node."""

    pod: Key
    node: str
    claims: list[Key] = field(default_factory=list)


class Scheduler:
    """kube-scheduler. `start` subscribes; everything else happens by itself."""

    def __init__(self, server: Server, wheel: Wheel, timings: Timings) -> None:
        self._server = server
        self._store = server.store
        self._wheel = wheel
        self._timings = timings
        self._books = Books(server)
        self._table = self._books.table
        self._static = self._books.static
        self._volumes = self._books.volumes
        self._queue = Queue()
        self._nominees = Nominees()
        self._refusals: list[Refusal] = []
        self._reserved: dict[str, Reserved] = {}
        self._keys_version = 0
        self._planned: float | None = None

    def start(self) -> None:
        """Take in what is there, and subscribe to changes."""
        for node in list(self._store.objects(k8s.NODES)):
            self._node_changed(None, node)
        for pod in list(self._store.objects(k8s.PODS)):
            self._pod_changed(None, pod)
        self._store.subscribe(k8s.NODES, self._node_changed)
        self._store.subscribe(k8s.PODS, self._pod_changed)
        self._store.subscribe(k8s.NAMESPACES, self._namespace_changed)
        for resource in (
            k8s.PERSISTENT_VOLUME_CLAIMS,
            k8s.PERSISTENT_VOLUMES,
            k8s.STORAGE_CLASSES,
            k8s.CSI_NODES,
        ):
            self._store.subscribe(resource, self._storage_changed)

    @property
    def pending(self) -> int:
        """How many pods wait for a node."""
        return len(self._queue)

    def refuse(self, refusal: Refusal) -> Callable[[], None]:
        """Refuse pods (first argument) certain nodes (second); call the result to lift it.

        As a scheduler with plugins of its own does, of whose rules nobody else knows.
        """
        self._refusals.append(refusal)
        for waiting in list(self._queue):
            # Pods alike in everything else may be told apart now.
            self._queue.move(waiting, self._group_key(waiting))

        def lift() -> None:
            self._refusals.remove(refusal)
            self._books.changed = True
            for row in self._table.active().tolist():
                self._books.dirty[row] = None
            self._kick(self._timings.scheduler_delay)

        return lift

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        if after is None:
            assert before is not None
            self._forget_node(before["metadata"]["name"])
            return
        name = after["metadata"]["name"]
        known = name in self._table.rows
        if known and before is not None and _matters(before) == _matters(after):
            return
        row = self._table.put(after)
        self._books.counting.resize(self._table.size)
        if not known:
            for pod in self._store.pods_on(name):
                self._pod_changed(None, pod)
        self._books.dirty[row] = None
        self._kick(self._timings.scheduler_delay)

    def _forget_node(self, name: str) -> None:
        row = self._table.rows.get(name)
        if row is None:
            return
        for uid in [uid for uid, placed in self._books.placed.items() if placed.row == row]:
            self._take_off(uid)
        for uid in [uid for uid, reserved in self._reserved.items() if reserved.node == name]:
            self._release(uid)
        self._table.remove(name)
        self._books.dirty.pop(row, None)
        self._books.changed = True
        self._kick(self._timings.scheduler_delay)

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        if after is None:
            assert before is not None
            self._forget_pod(before["metadata"]["uid"])
            return
        uid, spec = after["metadata"]["uid"], after["spec"]
        if spec.get("nodeName"):
            self._drop_waiting(uid)
            self._reserved.pop(uid, None)
            self._account(before, after)
        elif uid in self._reserved:
            return
        elif spec.get("schedulerName", NAME) == NAME:
            if uid in self._queue:
                if before is not None and _matters_to_pod(before) == _matters_to_pod(after):
                    self._nominate(uid, _nominated(after))
                    return
                self._drop_waiting(uid)
            self._enqueue(after)

    def _nominate(self, uid: str, node: str) -> None:
        """Note a pending pod's nominated node. That alone is no reason to try it again."""
        waiting = self._queue.get(uid)
        if waiting.nominated == node:
            return
        row = self._table.rows.get(waiting.nominated)
        if row is not None:
            # Others may have the room that was kept.
            self._books.dirty[row] = None
            self._books.changed = True
            self._kick(self._timings.scheduler_delay)
        self._nominees.remove(waiting)
        waiting.nominated = node
        self._nominees.add(waiting)
        self._queue.move(waiting, self._group_key(waiting))

    def _account(self, before: Object | None, after: Object) -> None:
        """Keep the books of a bound pod."""
        uid = after["metadata"]["uid"]
        if (after.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            self._take_off(uid)
            return
        placed = self._books.placed.get(uid)
        live = not after["metadata"].get("deletionTimestamp")
        if placed is not None:
            old = {} if before is None else before["metadata"].get("labels") or {}
            same_labels = old == (after["metadata"].get("labels") or {})
            same_row = placed.row == self._table.rows.get(after["spec"]["nodeName"])
            if placed.live == live and same_labels and same_row:
                return
            self._take_off(uid)
        row = self._table.rows.get(after["spec"]["nodeName"])
        if row is not None:
            self._books.put_on(after, row)

    def _forget_pod(self, uid: str) -> None:
        self._drop_waiting(uid)
        self._reserved.pop(uid, None)
        self._take_off(uid)

    def _storage_changed(self, _: Object | None, after: Object | None) -> None:
        self._books.changed = True
        if after is not None and after["kind"] == "PersistentVolumeClaim":
            self._claim_changed(after)
        if len(self._queue):
            self._kick(self._timings.scheduler_delay)

    def _namespace_changed(self, before: Object | None, after: Object | None) -> None:
        if before is None or after is None:
            return
        if (before["metadata"].get("labels") or {}) != (after["metadata"].get("labels") or {}):
            self._recount()

    def _recount(self) -> None:
        """Count everything anew, because namespaces are selected by labels that changed."""
        waiting = [entry.uid for entry in self._queue]
        for uid in waiting:
            self._nominees.remove(self._queue.get(uid))
            self._queue.remove(uid)
        self._books.recount()
        for uid in waiting:
            found = self._store.by_uid(uid)
            if found is not None:
                self._enqueue(found[1])

    def _enqueue(self, pod: Object) -> None:
        shape = self._books.shapes.of(pod)
        if shape.gated or pod["metadata"].get("deletionTimestamp"):
            return
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        waiting = Waiting(
            uid=metadata["uid"],
            key=key_of(pod),
            number=self._queue.number(),
            shape=shape,
            constraints=self._books.constraints(pod),
            label_class=self._books.counting.enter(metadata["namespace"], labels),
            nominated=_nominated(pod),
        )
        self._nominees.add(waiting)
        if self._keys_version != self._books.counting.keys_version:
            # A selector asks for a label that no selector asked for before: groups may part.
            self._keys_version = self._books.counting.keys_version
            others = list(self._queue)
            for other in others:
                self._queue.remove(other.uid)
            for other in others:
                self._queue.add(other, self._group_key(other))
        group = self._queue.add(waiting, self._group_key(waiting))
        if group.failed and not group.woken:
            self._report(group, [waiting])
        self._kick(self._timings.scheduler_delay)

    def _group_key(self, waiting: Waiting) -> GroupKey:
        label_class = waiting.label_class
        owner = waiting.uid if waiting.shape.has_claims or self._refusals else ""
        relevant = self._books.counting.relevant(label_class.labels)
        return (waiting.shape.number, label_class.namespace, relevant, owner, waiting.nominated)

    def _take_off(self, uid: str) -> None:
        self._books.take_off(uid)
        if len(self._queue):
            self._kick(self._timings.scheduler_delay)

    def _drop_waiting(self, uid: str) -> None:
        waiting = self._queue.remove(uid)
        if waiting is not None:
            self._nominees.remove(waiting)
            self._books.counting.leave(waiting.label_class)

    def _kick(self, seconds: float) -> None:
        """Make sure that a pass begins within `seconds`."""
        target = self._wheel.time() + seconds
        if self._planned is None or target < self._planned - 1e-6:
            self._planned = target
            self._wheel.after(seconds, self._pass)

    def _pass(self) -> None:
        """One pass: attempts in order of priority and age, as many as the rate allows."""
        self._planned = None
        self._store.deliver()
        now = self._wheel.time()
        self._wake()
        for group in self._queue.groups.values():
            if group.report_at is not None and group.report_at <= now + 1e-6:
                self._report_all(group)
        heap = [
            (-group.head.shape.priority, group.head.number, group)
            for group in self._queue.groups.values()
            if group.due(now)
        ]
        heapq.heapify(heap)
        delay = self._timings.scheduler_delay
        budget = max(int(self._timings.scheduler_pods_per_second * delay), 1)
        while heap and budget:
            _, _, group = heapq.heappop(heap)
            waiting = group.head
            message = self._schedule(waiting)
            if message is None:
                budget -= 1
                group.succeed()
                if group.pods:
                    heapq.heappush(heap, (-group.head.shape.priority, group.head.number, group))
            else:
                group.fail(message, now, self._timings)
                self._report_all(group)
                self._clear_nominations(group)
        if heap or self._books.changed or self._books.dirty:
            self._kick(delay)
        later = [g.retry_at for g in self._queue.groups.values() if g.failed and g.woken]
        later += [g.report_at for g in self._queue.groups.values() if g.report_at is not None]
        if later:
            self._kick(max(min(later) - now, delay))

    def _wake(self) -> None:
        """Wake the failed groups that the changes since the last pass may help."""
        changed, dirty = self._books.changed, np.array(sorted(self._books.dirty), dtype=np.int64)
        self._books.changed, self._books.dirty = False, {}
        if not changed and not len(dirty):
            return
        for group in self._queue.groups.values():
            if group.failed and not group.woken:
                group.woken = self._may_help(group, dirty)

    def _may_help(self, group: Group, dirty: Ints) -> bool:
        waiting = group.head
        repelled = any(carried.kind == "anti" for carried in waiting.label_class.meant_by)
        if waiting.constraints.any_required or waiting.shape.has_claims or repelled:
            return True
        if waiting.shape.host_ports:
            return bool(len(dirty))
        rows = self._candidates(waiting.shape)
        rows = rows[np.isin(rows, dirty)]
        if not len(rows):
            return False
        attempt = Attempt(rows, np.ones(len(rows), dtype=np.bool_))
        filters.filter_static(attempt, self._static, self._static.of(waiting.shape, rows))
        filters.filter_resources(attempt, self._table, waiting.shape)
        return bool(attempt.left.any())

    def _candidates(self, shape: Shape) -> Ints:
        if shape.pin is None:
            return self._table.active()
        row = self._table.rows.get(shape.pin)
        return np.array([] if row is None else [row], dtype=np.int64)

    def _schedule(self, waiting: Waiting) -> str | None:
        """Try to place a pod: `None` when it has a place, else why not."""
        namespace, name = waiting.key
        pod = self._store.get(k8s.PODS, name, namespace)
        assert pod is not None
        assert pod["metadata"]["uid"] == waiting.uid
        volumes = self._volumes.of(pod) if waiting.shape.has_claims else NO_VOLUMES
        total = len(self._table.rows)
        if total == 0:
            return "no nodes available to schedule pods"
        if volumes.problem:
            return f"0/{total} nodes are available: {volumes.problem}."
        nominated = self._table.rows.get(waiting.nominated)
        if nominated is not None and waiting.shape.pin in (None, waiting.nominated):
            # kube-scheduler looks at the nominated node first, and at no other if it will do.
            only = np.array([nominated], dtype=np.int64)
            if self._filter(waiting, volumes, only).left.any():
                self._place(pod, nominated, volumes)
                return None
        attempt = self._filter(waiting, volumes, self._candidates(waiting.shape))
        if not attempt.left.any():
            elsewhere = total - len(attempt.rows)
            if elsewhere:
                known = attempt.reasons.get(AFFINITY_REASON, 0)
                attempt.reasons[AFFINITY_REASON] = known + elsewhere
            listed = sorted(f"{count} {reason}" for reason, count in attempt.reasons.items())
            return f"0/{total} nodes are available: {', '.join(listed)}."
        rows = attempt.rows[attempt.left]
        best = int(rows[0])
        if len(rows) > 1:
            scores = scoring.score(
                rows,
                self._static.of(waiting.shape, rows),
                self._table,
                self._books.counting,
                waiting.shape,
                waiting.constraints,
                waiting.label_class,
            )
            best = int(rows[int(np.argmax(scores))])
        self._place(pod, best, volumes)
        return None

    def _filter(self, waiting: Waiting, volumes: PodVolumes, rows: Ints) -> Attempt:
        """Which of the rows take the pod, with the pods nominated there and without them."""
        attempt = self._filter_as_is(waiting, volumes, rows)
        if self._nominees and attempt.left.any():
            crowded = {self._table.rows.get(name) for name in self._nominees.nodes()}
            for index in np.flatnonzero(attempt.left).tolist():
                row = int(attempt.rows[index])
                if row in crowded:
                    self._leave_room(attempt, index, waiting, volumes)
        return attempt

    def _leave_room(
        self, attempt: Attempt, index: int, waiting: Waiting, volumes: PodVolumes
    ) -> None:
        """Refuse a row where the pod does not fit beside those that are nominated to it."""
        row = int(attempt.rows[index])
        node = self._table.nodes[row]
        assert node is not None
        ahead = self._nominees.ahead_of(waiting, node["metadata"]["name"])
        if not ahead:
            return
        dirty, changed = dict(self._books.dirty), self._books.changed
        present = []
        for other in ahead:
            found = self._store.by_uid(other.uid)
            if found is not None and not found[1]["spec"].get("nodeName"):
                self._books.put_on(found[1], row)
                present.append(other.uid)
        beside = self._filter_as_is(waiting, volumes, np.array([row], dtype=np.int64))
        for uid in present:
            self._books.take_off(uid)
        self._books.dirty, self._books.changed = dirty, changed
        if not beside.left.any():
            attempt.left[index] = False
            for reason, count in beside.reasons.items():
                attempt.reasons[reason] = attempt.reasons.get(reason, 0) + count

    def _filter_as_is(self, waiting: Waiting, volumes: PodVolumes, rows: Ints) -> Attempt:
        shape, table = waiting.shape, self._table
        all_rows = table.active()
        attempt = Attempt(rows, np.ones(len(rows), dtype=np.bool_))
        columns = self._static.of(shape, rows)
        filters.filter_static(attempt, self._static, columns)
        if self._refusals:
            self._filter_refused(attempt, waiting)
        filters.filter_ports(attempt, self._books.ports, shape)
        filters.filter_resources(attempt, table, shape)
        if shape.has_claims:
            self._volumes.filter(attempt, volumes)
        if attempt.left.any() and any(c.hard for c in waiting.constraints.spread):
            filters.filter_spread(
                attempt,
                table,
                self._books.counting,
                waiting.constraints,
                waiting.label_class,
                all_rows,
                self._static.of(shape, all_rows),
                self._static,
            )
        if attempt.left.any():
            filters.filter_inter_pod(
                attempt,
                table,
                self._books.counting,
                waiting.constraints,
                waiting.label_class,
                all_rows,
            )
        return attempt

    def _filter_refused(self, attempt: Attempt, waiting: Waiting) -> None:
        found = self._store.by_uid(waiting.uid)
        if found is None:
            return
        refused = [
            node is not None and any(rule(found[1], node) for rule in self._refusals)
            for node in (self._table.nodes[row] for row in attempt.rows.tolist())
        ]
        attempt.refuse(np.array(refused, dtype=np.bool_), REFUSED_REASON)

    def _place(self, pod: Object, row: int, volumes: PodVolumes) -> None:
        """Assume the pod on the row; bind it now, or when its claims are bound."""
        node = self._table.nodes[row]
        assert node is not None
        name = node["metadata"]["name"]
        metadata = pod["metadata"]
        uid = metadata["uid"]
        self._drop_waiting(uid)
        self._books.put_on(pod, row, volumes)
        if not volumes.undecided:
            self._server.bind(metadata["name"], metadata["namespace"], name, uid=uid)
            return
        self._reserved[uid] = Reserved(key_of(pod), name, self._volumes.select_node(volumes, name))
        self._wheel.after(_BIND_TIMEOUT, partial(self._give_up, uid))

    def _claim_changed(self, claim: Object) -> None:
        """Bind the pods that waited for this claim; begin anew where provisioning failed."""
        for uid, reserved in list(self._reserved.items()):
            if key_of(claim) not in reserved.claims:
                continue
            claims = [
                self._store.get(k8s.PERSISTENT_VOLUME_CLAIMS, name, namespace)
                for namespace, name in reserved.claims
            ]
            if reserved.node not in self._table.rows or any(c is None for c in claims):
                self._release(uid)
            elif all(c and (c.get("status") or {}).get("phase") == "Bound" for c in claims):
                self._bind_reserved(uid, self._reserved.pop(uid))

    def _bind_reserved(self, uid: str, reserved: Reserved) -> None:
        found = self._store.by_uid(uid)
        if found is None or found[1]["metadata"].get("deletionTimestamp"):
            self._take_off(uid)
        elif not found[1]["spec"].get("nodeName"):
            namespace, name = reserved.pod
            self._server.bind(name, namespace, reserved.node, uid=uid)

    def _give_up(self, uid: str) -> None:
        if uid in self._reserved:
            self._release(uid)

    def _release(self, uid: str) -> None:
        """Take a reserved pod off its node and queue it again."""
        del self._reserved[uid]
        self._take_off(uid)
        found = self._store.by_uid(uid)
        if found is not None:
            self._enqueue(found[1])

    def _report_all(self, group: Group) -> None:
        group.report_at = None
        self._report(group, group.pods.values())

    def _report(self, group: Group, pods: Iterable[Waiting]) -> None:
        """Write the PodScheduled conditions of a failed group's pods, where that may be now."""
        now = self._wheel.time()
        for waiting in pods:
            when = waiting.write_at(group.message, now)
            if when is None:
                continue
            if when <= now + 1e-6:
                self._write(waiting, group.message)
                waiting.message, waiting.written = group.message, now
            elif group.report_at is None or when < group.report_at:
                group.report_at = when

    def _clear_nominations(self, group: Group) -> None:
        for waiting in list(group.pods.values()):
            found = self._store.by_uid(waiting.uid) if waiting.nominated else None
            if found is not None and not found[1]["spec"].get("nodeName"):
                self._server.mutate(k8s.PODS, found[1], status={"nominatedNodeName": None})

    def _write(self, waiting: Waiting, message: str) -> None:
        found = self._store.by_uid(waiting.uid)
        if found is None or found[1]["spec"].get("nodeName"):
            # Deleted, or bound by somebody else, and the news has not come yet.
            return
        pod = found[1]
        conditions = set_condition(
            (pod.get("status") or {}).get("conditions"),
            "PodScheduled",
            "False",
            now=self._store.now(),
            reason="Unschedulable",
            message=message,
        )
        self._server.mutate(k8s.PODS, pod, status={"conditions": conditions})


def _nominated(pod: Object) -> str:
    return (pod.get("status") or {}).get("nominatedNodeName") or ""


def _matters(node: Object) -> tuple[object, ...]:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return (
        node["metadata"].get("labels"),
        spec.get("taints"),
        spec.get("unschedulable"),
        status.get("allocatable"),
    )


def _matters_to_pod(pod: Object) -> tuple[object, ...]:
    metadata = pod["metadata"]
    return metadata.get("labels"), metadata.get("deletionTimestamp"), pod["spec"]
