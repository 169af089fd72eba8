"""The immutable picture of a cluster that every decision starts from.

One `Snapshot` serves the operator (taken from the mirror), `plan` and `explain` (read once from a
cluster or from files) and the simulator. Mappings are shared with the mirror's current values and
must not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool
from autoctl.catalog.model import InstanceType
from autoctl.state.nodes import StateNode, join


@dataclass(frozen=True)
class Snapshot:
    """A cluster at the instant `now`.

    Namespaced objects are keyed `namespace/name`, others by name. `instance_types` has, for each
    NodeClass name, what that class can launch with the offerings' availability as known at `now`.
    `nominations` maps a pending pod's key to the Node or NodeClaim name an earlier decision
    promised it. `disrupting` names NodeClaims that a command in flight is taking away.
    """

    now: datetime
    pods: Mapping[str, core.Pod] = field(default_factory=dict)
    nodes: Mapping[str, core.Node] = field(default_factory=dict)
    node_claims: Mapping[str, NodeClaim] = field(default_factory=dict)
    node_pools: Mapping[str, NodePool] = field(default_factory=dict)
    node_classes: Mapping[str, NodeClass] = field(default_factory=dict)
    daemon_sets: Mapping[str, core.DaemonSet] = field(default_factory=dict)
    disruption_budgets: Mapping[str, core.PodDisruptionBudget] = field(default_factory=dict)
    volume_claims: Mapping[str, core.PersistentVolumeClaim] = field(default_factory=dict)
    volumes: Mapping[str, core.PersistentVolume] = field(default_factory=dict)
    storage_classes: Mapping[str, core.StorageClass] = field(default_factory=dict)
    csi_nodes: Mapping[str, core.CSINode] = field(default_factory=dict)
    volume_attachments: Mapping[str, core.VolumeAttachment] = field(default_factory=dict)
    namespaces: Mapping[str, core.Namespace] = field(default_factory=dict)
    instance_types: Mapping[str, tuple[InstanceType, ...]] = field(default_factory=dict)
    nominations: Mapping[str, str] = field(default_factory=dict)
    disrupting: frozenset[str] = frozenset()

    @cached_property
    def types_by_name(self) -> Mapping[str, Mapping[str, InstanceType]]:
        """NodeClass name -> instance type name -> instance type."""
        return {
            node_class: {t.name: t for t in types}
            for node_class, types in self.instance_types.items()
        }

    @cached_property
    def state_nodes(self) -> Mapping[str, StateNode]:
        """Every machine by name: Nodes and NodeClaims joined, with the pods on them."""
        return join(self.nodes.values(), self.node_claims.values(), self.pods.values())
