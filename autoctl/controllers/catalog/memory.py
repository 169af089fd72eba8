"""`providers.instancetype.capacity`: learns how much memory nodes of a type really have.

The catalog has to guess what a hypervisor keeps for itself. A node that is there knows better: from
then on the least that any node of the type and image reported is what new ones are expected to
have.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoctl.api import labels
from autoctl.aws.instance_types import InstanceTypes
from autoctl.catalog.units import amount
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.state.cluster import ClusterState


@dataclass
class MemoryController:
    """One Node a reconcile."""

    state: ClusterState
    types: InstanceTypes
    name: str = "providers.instancetype.capacity"

    async def reconcile(self, key: str) -> Result:
        node = self.state.node(key)
        claim = None if node is None else self.state.claim_of_node(node)
        if node is None or claim is None or not claim.registered:
            return DONE
        instance_type = (node.metadata.labels or {}).get(labels.INSTANCE_TYPE)
        memory = (node.status.capacity or {}).get("memory")
        image = claim.status.image_id
        if instance_type and image and memory:
            self.types.observe_memory(instance_type, image, amount("memory", memory))
        return DONE
