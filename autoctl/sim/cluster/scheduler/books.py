"""The scheduler's books: which pods are on which row, and all that they take there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.scheduler.counting import Carried, Counting, LabelClass
from autoctl.sim.cluster.scheduler.nodetable import NodeTable
from autoctl.sim.cluster.scheduler.podinfo import (
    AffinityTerm,
    Constraints,
    Labels,
    Shape,
    ShapeCache,
    constraints_of,
)
from autoctl.sim.cluster.scheduler.ports import PortTable
from autoctl.sim.cluster.scheduler.static import StaticFilters
from autoctl.sim.cluster.scheduler.volumefilter import PodVolumes, VolumeFilter
from autoctl.sim.cluster.server import Server, controller_of

NO_VOLUMES: Final = PodVolumes()


@dataclass(slots=True, eq=False)
class Placed:
    """A pod on a node (or assumed to be), and all that it takes there."""

    row: int
    shape: Shape
    label_class: LabelClass
    live: bool
    carried: list[Carried]
    volumes: PodVolumes


class Books:
    """Everything the filters and scores look at, kept change by change.

    `dirty` are the rows where room came free or the node changed, `changed` tells whether anything
    did, both since the scheduler last asked.
    """

    def __init__(self, server: Server) -> None:
        self._store = server.store
        self.table = NodeTable()
        self.counting = Counting(self.table.size, self._namespace_labels)
        self.static = StaticFilters(self.table)
        self.ports = PortTable()
        self.volumes = VolumeFilter(server, self.table, self.static)
        self.shapes = ShapeCache()
        self.placed: dict[str, Placed] = {}
        self.dirty: dict[int, None] = {}
        self.changed = False

    def recount(self) -> None:
        """Begin new counters and enter every placed pod again."""
        rows = {uid: placed.row for uid, placed in self.placed.items()}
        for uid in rows:
            self.take_off(uid)
        self.counting = Counting(self.table.size, self._namespace_labels)
        for uid, row in rows.items():
            found = self._store.by_uid(uid)
            if found is not None:
                self.put_on(found[1], row)

    def _namespace_labels(self, name: str) -> Labels:
        namespace = self._store.get(k8s.NAMESPACES, name)
        return {} if namespace is None else namespace["metadata"].get("labels") or {}

    def constraints(self, pod: Object) -> Constraints:
        """The pod's spread and affinity terms, with counters for all of them."""
        selector = None
        if not pod["spec"].get("topologySpreadConstraints"):
            owner = controller_of(pod)
            found = None if owner is None else self._store.by_uid(owner["uid"])
            if found is not None and found[0] in (k8s.REPLICA_SETS, k8s.STATEFUL_SETS):
                selector = found[1]["spec"].get("selector")
        metadata = pod["metadata"]
        constraints = constraints_of(
            pod["spec"], metadata["namespace"], metadata.get("labels") or {}, selector
        )
        for term in constraints.terms():
            self.counting.counter((term,))
        if constraints.affinity:
            self.counting.counter(tuple(item.term for item in constraints.affinity))
        return constraints

    def put_on(self, pod: Object, row: int, volumes: PodVolumes | None = None) -> None:
        """Enter a pod into the books of a row."""
        shape = self.shapes.of(pod)
        metadata = pod["metadata"]
        label_class = self.counting.enter(metadata["namespace"], metadata.get("labels") or {})
        if volumes is None:
            volumes = self.volumes.of(pod) if shape.has_claims else NO_VOLUMES
        placed = Placed(
            row=row,
            shape=shape,
            label_class=label_class,
            live=not metadata.get("deletionTimestamp"),
            carried=self._carried(pod),
            volumes=volumes,
        )
        self.placed[metadata["uid"]] = placed
        self._book(placed, 1)

    def _carried(self, pod: Object) -> list[Carried]:
        """The affinity terms that the pod brings along for others."""
        affinity = pod["spec"].get("affinity") or {}
        if not affinity.get("podAffinity") and not affinity.get("podAntiAffinity"):
            return []
        constraints = self.constraints(pod)
        sides: list[tuple[str, tuple[AffinityTerm, ...]]] = [
            ("anti", constraints.anti_affinity),
            ("affinity", constraints.affinity),
            ("preferred", constraints.preferred),
        ]
        return [self.counting.carried(kind, item) for kind, items in sides for item in items]

    def take_off(self, uid: str) -> None:
        """Strike a pod off the books, and note the room it leaves."""
        placed = self.placed.pop(uid, None)
        if placed is None:
            return
        self._book(placed, -1)
        self.counting.leave(placed.label_class)
        self.dirty[placed.row] = None

    def _book(self, placed: Placed, sign: int) -> None:
        self.table.charge(placed.row, placed.shape, sign)
        self.counting.place(placed.label_class, placed.row, live=placed.live, sign=sign)
        self.ports.place(placed.row, placed.shape, sign)
        self.volumes.place(placed.row, placed.volumes, sign)
        for carried in placed.carried:
            carried.rows[placed.row] += sign
        self.changed = True
