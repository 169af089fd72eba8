"""Volumes in scheduling: where claims are, may be, or may be made, and attach limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster import volumes
from autoctl.sim.cluster.scheduler.filters import Attempt
from autoctl.sim.cluster.scheduler.nodetable import NodeTable
from autoctl.sim.cluster.scheduler.static import StaticFilters
from autoctl.sim.cluster.server import Server
from autoctl.sim.cluster.store import Key

CONFLICT_REASON: Final = "node(s) had volume node affinity conflict"
NO_VOLUME_REASON: Final = "node(s) didn't find available persistent volumes to bind"
LIMIT_REASON: Final = "node(s) exceed max volume count"
IN_USE_REASON: Final = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)


@dataclass(slots=True)
class PodVolumes:
    """A pod's claims: attached handles by driver, claims to decide about, claims it uses alone."""

    handles: list[tuple[str, str]] = field(default_factory=list)
    bound: list[Object] = field(default_factory=list)
    undecided: list[Object] = field(default_factory=list)
    exclusive: list[Key] = field(default_factory=list)
    problem: str = ""


class VolumeFilter:
    """Filters by volumes, and remembers which handles each row holds."""

    def __init__(self, server: Server, table: NodeTable, static: StaticFilters) -> None:
        self._server = server
        self._store = server.store
        self._table = table
        self._static = static
        self._held: dict[int, Counter[tuple[str, str]]] = {}
        self._claims: Counter[Key] = Counter()

    def of(self, pod: Object) -> PodVolumes:
        """What the pod's claims are like now."""
        found = PodVolumes()
        namespace = pod["metadata"]["namespace"]
        for name in volumes.claim_names(pod):
            claim = self._store.get(k8s.PERSISTENT_VOLUME_CLAIMS, name, namespace)
            if claim is None:
                found.problem = f'persistentvolumeclaim "{name}" not found'
                return found
            if claim["metadata"].get("deletionTimestamp"):
                found.problem = f'persistentvolumeclaim "{name}" is being deleted'
                return found
            if "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ()):
                found.exclusive.append((namespace, name))
            volume = volumes.bound_volume(self._store, claim)
            if volume is not None:
                found.bound.append(volume)
                driver = volumes.attachable_driver(volume)
                if driver is not None:
                    found.handles.append((driver, f"{namespace}/{name}"))
                continue
            storage_class = volumes.storage_class_of(self._store, claim)
            if storage_class is None or not volumes.waits_for_consumer(storage_class):
                found.problem = "pod has unbound immediate PersistentVolumeClaims"
                return found
            found.undecided.append(claim)
            found.handles.append((storage_class["provisioner"], f"{namespace}/{name}"))
        return found

    def filter(self, attempt: Attempt, wanted: PodVolumes) -> None:
        """Refuse rows that the pod's volumes cannot be on."""
        if any(self._claims[key] for key in wanted.exclusive):
            attempt.refuse(np.ones(len(attempt.rows), dtype=np.bool_), IN_USE_REASON)
        self._filter_limits(attempt, wanted)
        for volume in wanted.bound:
            key = {"volume": (volume["spec"].get("nodeAffinity") or {}).get("required")}
            attempt.keep(self._static.predicate(key, attempt.rows, _fits(volume)), CONFLICT_REASON)
        for claim in wanted.undecided:
            self._filter_undecided(attempt, claim)

    def place(self, row: int, wanted: PodVolumes, sign: int) -> None:
        """Hold (+1) or give back (-1) a pod's volumes on a row."""
        held = self._held.setdefault(row, Counter())
        for handle in wanted.handles:
            held[handle] += sign
            if held[handle] == 0:
                del held[handle]
        if not held:
            del self._held[row]
        for key in wanted.exclusive:
            self._claims[key] += sign

    def select_node(self, wanted: PodVolumes, node: str) -> list[Key]:
        """Tell the provisioner where the undecided claims go; their keys."""
        keys = []
        for claim in wanted.undecided:
            annotations = claim["metadata"].get("annotations") or {}
            self._server.mutate(
                k8s.PERSISTENT_VOLUME_CLAIMS,
                claim,
                metadata={"annotations": {**annotations, volumes.SELECTED_NODE: node}},
            )
            keys.append((claim["metadata"]["namespace"], claim["metadata"]["name"]))
        return keys

    def _filter_limits(self, attempt: Attempt, wanted: PodVolumes) -> None:
        if not wanted.handles:
            return
        bad = np.zeros(len(attempt.rows), dtype=np.bool_)
        for index in np.flatnonzero(attempt.left).tolist():
            row = int(attempt.rows[index])
            node = self._table.nodes[row]
            assert node is not None
            csi_node = self._store.get(k8s.CSI_NODES, node["metadata"]["name"])
            if csi_node is None:
                continue
            held: Counter[tuple[str, str]] = self._held.get(row, Counter())
            for driver in csi_node["spec"].get("drivers") or ():
                limit = (driver.get("allocatable") or {}).get("count")
                if limit is None:
                    continue
                name = driver["name"]
                new = {h for h in wanted.handles if h[0] == name and h not in held}
                if new and sum(1 for h in held if h[0] == name) + len(new) > limit:
                    bad[index] = True
        attempt.refuse(bad, LIMIT_REASON)

    def _filter_undecided(self, attempt: Attempt, claim: Object) -> None:
        selected = (claim["metadata"].get("annotations") or {}).get(volumes.SELECTED_NODE)
        storage_class = volumes.storage_class_of(self._store, claim)
        assert storage_class is not None
        if selected:
            row = self._table.rows.get(selected, -1)
            attempt.keep(attempt.rows == row, NO_VOLUME_REASON)
            return
        good = np.zeros(len(attempt.rows), dtype=np.bool_)
        for volume in self._free_volumes(storage_class):
            key = {"volume": (volume["spec"].get("nodeAffinity") or {}).get("required")}
            good |= self._static.predicate(key, attempt.rows, _fits(volume))
        if storage_class["provisioner"] != volumes.NO_PROVISIONER:
            key = {"topologies": storage_class.get("allowedTopologies")}
            good |= self._static.predicate(
                key,
                attempt.rows,
                lambda node: volumes.topology_allows(
                    storage_class, node["metadata"].get("labels") or {}
                ),
            )
        attempt.keep(good, NO_VOLUME_REASON)

    def _free_volumes(self, storage_class: Object) -> list[Object]:
        name = storage_class["metadata"]["name"]
        return [
            volume
            for volume in self._store.objects(k8s.PERSISTENT_VOLUMES)
            if volume["spec"].get("storageClassName") == name and not volume["spec"].get("claimRef")
        ]


def _fits(volume: Object) -> Callable[[Object], bool]:
    return lambda node: volumes.volume_fits_node(
        volume, node["metadata"].get("labels") or {}, node["metadata"]["name"]
    )
