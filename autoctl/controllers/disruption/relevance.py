"""Whether anything has changed that a decision about disruption reads.

Most changes of a cluster are none to it: conditions that controllers write, pods that start to run,
counts in a NodePool's status, nodes on their way that hold nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from autoctl.api import core
from autoctl.api.labels import DO_NOT_DISRUPT
from autoctl.api.nodeclaim import DRIFTED, INITIALIZED, INSTANCE_TERMINATING, NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.scheduling.daemons import told_apart
from autoctl.state.budgets import is_healthy
from autoctl.state.nodes import StateNode
from autoctl.state.pods import is_terminal
from autoctl.state.quiet import is_quiet
from autoctl.state.snapshot import Snapshot

T = TypeVar("T")

_READ: Final = (INITIALIZED, INSTANCE_TERMINATING, DRIFTED)
"""The conditions of NodeClaims that decisions read."""


def alike(before: Snapshot, after: Snapshot) -> bool:
    """Whether `after` leads to the decision that `before` led to, deadlines aside."""
    return (
        before.disrupting == after.disrupting
        and before.refused == after.refused
        and before.instance_types == after.instance_types
        and before.node_classes == after.node_classes
        and before.node_overlays == after.node_overlays
        and told_apart(before.daemons) == told_apart(after.daemons)
        and before.disruption_budgets == after.disruption_budgets
        and before.volume_claims == after.volume_claims
        and before.volumes == after.volumes
        and before.storage_classes == after.storage_classes
        and before.namespaces == after.namespaces
        and before.buffers == after.buffers
        and _all_alike(before.node_pools, after.node_pools, _pools_alike)
        and _promised(before) == _promised(after)
        and _nodes_alike(before, after)
    )


def _all_alike(
    before: Mapping[str, T], after: Mapping[str, T], compare: Callable[[T, T], bool]
) -> bool:
    return before is after or (
        before.keys() == after.keys()
        and all(one is after[name] or compare(one, after[name]) for name, one in before.items())
    )


def _pools_alike(before: NodePool, after: NodePool) -> bool:
    return (
        before.deleting == after.deleting
        and before.spec == after.spec
        and before.metadata.labels == after.metadata.labels
        and before.metadata.annotations == after.metadata.annotations
        and before.status.conditions == after.status.conditions
    )


def _promised(snapshot: Snapshot) -> dict[str, str]:
    """Promises of room on nodes that could be taken away, or take others' pods."""
    coming = {
        name
        for node in snapshot.state_nodes.values()
        if not node.initialized and node.claim is not None
        for name in (node.name, node.claim.name)
    }
    return {pod: name for pod, name in snapshot.nominations.items() if name not in coming}


def _nodes_alike(before: Snapshot, after: Snapshot) -> bool:
    old, new = (
        {n.name: n for n in s.state_nodes.values() if not (_comes(n, s) or _goes(n, s))}
        for s in (before, after)
    )
    if old.keys() != new.keys():
        return False
    return all(
        (
            _is_quiet(one, before) == _is_quiet(new[name], after)
            and (one is new[name] or _node_alike(one, new[name], after))
        )
        and before.csi_nodes.get(name) == after.csi_nodes.get(name)
        for name, one in old.items()
    )


def _node_alike(one: StateNode, other: StateNode, after: Snapshot) -> bool:
    return (
        _pods_alike(one.pods, other.pods, budgets=bool(after.disruption_budgets))
        and _pods_alike(one.nominated, other.nominated, budgets=False)
        and (
            _both_leave(one, other)
            or (_claims_alike(one.claim, other.claim) and _machines_alike(one.node, other.node))
        )
    )


def _comes(node: StateNode, snapshot: Snapshot) -> bool:
    """Whether nothing can be done yet with the node: it holds nothing, and takes no pods."""
    return (
        node.claim is not None
        and not (node.initialized or node.pods or node.deleting or node.disrupted)
        and _counts_for_nothing(node, snapshot)
    )


def _goes(node: StateNode, snapshot: Snapshot) -> bool:
    """Whether the node's instance ends: budgets count it no more, and its pods are gone."""
    return (
        node.deleting
        and not node.pods
        and node.claim_condition(INSTANCE_TERMINATING)
        and _counts_for_nothing(node, snapshot)
    )


def _counts_for_nothing(node: StateNode, snapshot: Snapshot) -> bool:
    """Whether nobody counts the nodes of its NodePool, but budgets those that are initialized."""
    pool = snapshot.node_pools.get(node.pool or "")
    return pool is not None and not pool.spec.limits and not pool.is_static


def _both_leave(one: StateNode, other: StateNode) -> bool:
    """Whether it is a node that was being deleted, and budgets still count it or still do not."""
    return (
        one.deleting
        and other.deleting
        and one.initialized == other.initialized
        and one.claim_condition(INSTANCE_TERMINATING) == other.claim_condition(INSTANCE_TERMINATING)
    )


def _claims_alike(one: NodeClaim | None, other: NodeClaim | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or (
        one.metadata.uid == other.metadata.uid
        and one.deleting == other.deleting
        and one.metadata.labels == other.metadata.labels
        and one.metadata.annotations == other.metadata.annotations
        and one.status.provider_id == other.status.provider_id
        and one.status.image_id == other.status.image_id
        and one.status.capacity == other.status.capacity
        and one.status.allocatable == other.status.allocatable
        and _conditions(one) == _conditions(other)
    )


def _is_quiet(node: StateNode, snapshot: Snapshot) -> bool:
    if node.claim is None or node.deleting:
        return False
    pool = snapshot.node_pools.get(node.claim.node_pool or "")
    return pool is not None and is_quiet(node.quiet_since, pool, snapshot.now)


def _conditions(claim: NodeClaim) -> list[object]:
    return [
        (c.type, c.status, c.reason, c.last_transition_time)
        for c in claim.status.conditions
        if c.type in _READ
    ]


def _machines_alike(one: core.Node | None, other: core.Node | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or (
        one.metadata.uid == other.metadata.uid
        and one.metadata.deletion_timestamp == other.metadata.deletion_timestamp
        and one.metadata.labels == other.metadata.labels
        and one.metadata.annotations == other.metadata.annotations
        and one.spec == other.spec
        and one.status.allocatable == other.status.allocatable
        and one.status.capacity == other.status.capacity
        and _is_ready(one) == _is_ready(other)
    )


def _is_ready(node: core.Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions or ())


def _pods_alike(
    before: tuple[core.Pod, ...], after: tuple[core.Pod, ...], *, budgets: bool
) -> bool:
    return len(before) == len(after) and all(
        one is other or _pod_alike(one, other, budgets=budgets)
        for one, other in zip(before, after, strict=True)
    )


def _pod_alike(one: core.Pod, other: core.Pod, *, budgets: bool) -> bool:
    """Of two states of a pod on one node; `budgets`: whether its health matters to any."""
    annotations = one.metadata.annotations
    return (
        one.metadata.uid == other.metadata.uid
        and one.metadata.deletion_timestamp == other.metadata.deletion_timestamp
        and one.metadata.labels == other.metadata.labels
        and annotations == other.metadata.annotations
        and one.metadata.owner_references == other.metadata.owner_references
        and one.spec == other.spec
        and is_terminal(one) == is_terminal(other)
        and _resized(one) == _resized(other)
        and (
            one.status.start_time == other.status.start_time
            or DO_NOT_DISRUPT not in (annotations or {})
        )
        and (not budgets or is_healthy(one) == is_healthy(other))
    )


def _resized(pod: core.Pod) -> list[object]:
    """The resources that containers run with, where these differ from the spec's."""
    return [c.resources for c in pod.status.container_statuses or () if c.resources is not None]
