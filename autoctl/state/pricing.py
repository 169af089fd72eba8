"""What the nodes that are there cost: their offerings, looked up in what their NodePool may buy.

Prices are those that decisions weigh, with NodeOverlays applied.
"""

from __future__ import annotations

from autoctl.catalog.model import InstanceType, Offering
from autoctl.state.nodes import StateNode
from autoctl.state.snapshot import Snapshot


def instance_type_of(node: StateNode, snapshot: Snapshot) -> InstanceType | None:
    """The node's instance type among those its NodeClaim's NodePool and NodeClass can launch."""
    claim = node.claim
    if claim is None:
        return None
    name, node_class = node.instance_type or "", claim.spec.node_class_ref.name
    pool = snapshot.node_pools.get(claim.node_pool or "")
    if pool is not None and pool.spec.template.spec.node_class_ref.name == node_class:
        return snapshot.types_by_pool[pool.name].get(name)
    return snapshot.types_by_name.get(node_class, {}).get(name)


def offering_of(node: StateNode, instance_type: InstanceType) -> Offering | None:
    """The offering the node was bought by, available or not."""
    return next(
        (
            o
            for o in instance_type.offerings
            if o.zone == node.zone and o.capacity_type == node.capacity_type
        ),
        None,
    )


def node_price(node: StateNode, snapshot: Snapshot) -> float:
    """USD/hour of a node; 0 when its offering is unknown, so that it never promises savings."""
    instance_type = instance_type_of(node, snapshot)
    offering = None if instance_type is None else offering_of(node, instance_type)
    return 0.0 if offering is None else offering.price


def is_priced(node: StateNode, snapshot: Snapshot) -> bool:
    """Whether the offering of a node is known, and with it what the node costs."""
    instance_type = instance_type_of(node, snapshot)
    return instance_type is not None and offering_of(node, instance_type) is not None


def node_prices(snapshot: Snapshot) -> dict[str, float]:
    """USD/hour of every managed node, by its name."""
    return {
        node.name: node_price(node, snapshot)
        for node in snapshot.state_nodes.values()
        if node.claim is not None
    }
