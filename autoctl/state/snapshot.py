"""The immutable picture of a cluster that every decision starts from.

One `Snapshot` serves the operator (taken from the mirror), `plan` and `explain` (read once from a
cluster or from files) and the simulator. Mappings are shared with the mirror's current values and
must not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Self

from autoctl.api import core
from autoctl.api.labels import NODECLASS, NODEPOOL
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeoverlay import NodeOverlay
from autoctl.api.nodepool import NodePool
from autoctl.catalog.model import InstanceType
from autoctl.catalog.names import by_name
from autoctl.scheduling.overlays import Overlaid, PoolTypes, apply_overlays
from autoctl.state.buffers import Buffer
from autoctl.state.daemons import NewestPods, representatives
from autoctl.state.nodes import StateNode, join


@dataclass(frozen=True)
class Snapshot:
    """A cluster at the instant `now`.

    Namespaced objects are keyed `namespace/name`, others by name. `instance_types` has, for each
    NodeClass name, what that class can launch with the offerings' availability as known at `now`,
    at the market's prices; decisions ask `types_of_pool` and `types_of_claim`, where NodeOverlays
    have their say. `buffers` are CapacityBuffers, resolved.
    `nominations` maps a pending pod's key to the Node or NodeClaim name an earlier decision
    promised it. `refused` maps a pod's key to the Nodes and NodeClaims that kube-scheduler did not
    take for it, `resting` has the keys of pods for which nothing is bought for now, `inadmissible`
    those of pods in manifests that an API server would refuse, with the reason.
    `disrupting` names NodeClaims that a command in flight is taking away. `assumed_classes` names
    NodeClasses that stand for ones that nobody gave.
    """

    now: datetime
    pods: Mapping[str, core.Pod] = field(default_factory=dict)
    nodes: Mapping[str, core.Node] = field(default_factory=dict)
    node_claims: Mapping[str, NodeClaim] = field(default_factory=dict)
    node_pools: Mapping[str, NodePool] = field(default_factory=dict)
    node_classes: Mapping[str, NodeClass] = field(default_factory=dict)
    node_overlays: Mapping[str, NodeOverlay] = field(default_factory=dict)
    daemon_sets: Mapping[str, core.DaemonSet] = field(default_factory=dict)
    disruption_budgets: Mapping[str, core.PodDisruptionBudget] = field(default_factory=dict)
    volume_claims: Mapping[str, core.PersistentVolumeClaim] = field(default_factory=dict)
    volumes: Mapping[str, core.PersistentVolume] = field(default_factory=dict)
    storage_classes: Mapping[str, core.StorageClass] = field(default_factory=dict)
    csi_nodes: Mapping[str, core.CSINode] = field(default_factory=dict)
    volume_attachments: Mapping[str, core.VolumeAttachment] = field(default_factory=dict)
    namespaces: Mapping[str, core.Namespace] = field(default_factory=dict)
    buffers: Mapping[str, Buffer] = field(default_factory=dict)
    instance_types: Mapping[str, tuple[InstanceType, ...]] = field(default_factory=dict)
    nominations: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, frozenset[str]] = field(default_factory=dict)
    resting: frozenset[str] = frozenset()
    inadmissible: Mapping[str, str] = field(default_factory=dict)
    disrupting: frozenset[str] = frozenset()
    assumed_classes: frozenset[str] = frozenset()

    def given_class(self, name: str) -> NodeClass | None:
        """The NodeClass, to compare nodes with; none that is only assumed."""
        return None if name in self.assumed_classes else self.node_classes.get(name)

    @cached_property
    def overlaid(self) -> Overlaid:
        """Every NodePool's instance types with NodeOverlays applied, and refused overlays."""
        return apply_overlays(
            self.node_overlays.values(),
            (
                PoolTypes(
                    name,
                    own_labels(pool),
                    self.instance_types.get(pool.spec.template.spec.node_class_ref.name, ()),
                )
                for name, pool in self.node_pools.items()
            ),
        )

    def types_of_pool(self, pool: str) -> tuple[InstanceType, ...]:
        """What the NodePool's NodeClass can launch, with NodeOverlays applied."""
        return self.overlaid.types.get(pool, ())

    def types_of_claim(self, claim: NodeClaim) -> tuple[InstanceType, ...]:
        """What the claim's NodeClass can launch, as its NodePool, while there is one, sees it."""
        pool = self.node_pools.get(claim.node_pool or "")
        reference = claim.spec.node_class_ref
        if pool is None or pool.spec.template.spec.node_class_ref.name != reference.name:
            return self.instance_types.get(reference.name, ())
        return self.types_of_pool(pool.name)

    @cached_property
    def types_by_name(self) -> Mapping[str, Mapping[str, InstanceType]]:
        """NodeClass name -> instance type name -> instance type, as the market sells it."""
        return {node_class: by_name(types) for node_class, types in self.instance_types.items()}

    @cached_property
    def types_by_pool(self) -> Mapping[str, Mapping[str, InstanceType]]:
        """NodePool name -> instance type name -> instance type, with NodeOverlays applied."""
        return {pool: by_name(types) for pool, types in self.overlaid.types.items()}

    @cached_property
    def reserve(self) -> tuple[core.Pod, ...]:
        """The pods that stand for the room of `buffers`, unless a real one has the name."""
        return tuple(
            pod
            for _, buffer in sorted(self.buffers.items())
            for pod in buffer.pods
            if pod.key not in self.pods
        )

    @cached_property
    def daemons(self) -> tuple[core.Pod, ...]:
        """One pod for each DaemonSet, as its next one will be."""
        if not self.daemon_sets:
            return ()
        return representatives(self.daemon_sets.values(), NewestPods(self.pods.values()).of)

    @cached_property
    def state_nodes(self) -> Mapping[str, StateNode]:
        """Every machine by name: Nodes and NodeClaims joined, with the pods on them."""
        return join(self.nodes.values(), self.node_claims.values(), self.pods.values())

    def but(self, **changes: Any) -> Self:
        """The snapshot with other values of some fields.

        What was computed from the fields that stay is not computed again.
        """
        found = replace(self, **changes)
        for name, inputs in _COMPUTED_FROM.items():
            if name in self.__dict__ and inputs.isdisjoint(changes):
                found.__dict__[name] = self.__dict__[name]
        return found


_TYPED: Final = frozenset({"node_overlays", "node_pools", "instance_types"})
_COMPUTED_FROM: Final = {
    "overlaid": _TYPED,
    "types_by_name": frozenset({"instance_types"}),
    "types_by_pool": _TYPED,
    "reserve": frozenset({"buffers", "pods"}),
    "daemons": frozenset({"daemon_sets", "pods"}),
    "state_nodes": frozenset({"nodes", "node_claims", "pods"}),
}
"""Cached property -> the fields it is computed from."""


def own_labels(pool: NodePool) -> dict[str, str]:
    """The labels of all nodes of the pool: its template's, its name and its NodeClass's."""
    template = pool.spec.template
    return {
        **template.metadata.labels,
        NODEPOOL: pool.name,
        NODECLASS: template.spec.node_class_ref.name,
    }
