"""Nodes and NodeClaims joined: one `StateNode` for each machine, however far it has come.

A NodeClaim belongs to the Node with its provider id. Where the Node is not there yet (or is not
initialized) the NodeClaim says what it will be. A Node without a NodeClaim is somebody else's: it
holds pods and offers room, and is never disrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import is_

from autoctl.api import core
from autoctl.api.labels import (
    AWAITING_PODS_TAINT,
    CAPACITY_TYPE,
    DISRUPTED_TAINT,
    INITIALIZED,
    INSTANCE_TYPE,
    NODEPOOL,
    REGISTERED,
    ZONE,
)
from autoctl.api.meta import find_condition, is_true
from autoctl.api.nodeclaim import NodeClaim
from autoctl.state.pods import is_active, is_reschedulable, is_terminal
from autoctl.state.quiet import quiet_start


@dataclass(frozen=True)
class StateNode:
    """A machine: its Node, its NodeClaim, or both, with the pods on it.

    Terminal pods are left out, but those whose successors still wait for them to be gone.
    `nominated` are pods that kube-scheduler keeps its room for, while others that they preempt go.
    """

    node: core.Node | None
    claim: NodeClaim | None
    pods: tuple[core.Pod, ...] = ()
    nominated: tuple[core.Pod, ...] = ()

    @cached_property
    def name(self) -> str:
        """The Node's name, or the NodeClaim's while there is no Node."""
        if self.node is not None:
            return self.node.metadata.name
        assert self.claim is not None, "a StateNode has a Node or a NodeClaim"
        return self.claim.metadata.name

    @property
    def managed(self) -> bool:
        return self.claim is not None

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The Node's labels over the NodeClaim's, which count until the Node is registered."""
        claimed = self.claim.metadata.labels if self.claim is not None else {}
        if self.node is None:
            return claimed
        actual = self.node.metadata.labels or {}
        return actual if self.registered or not claimed else {**actual, **claimed}

    @cached_property
    def pool(self) -> str | None:
        return self.labels.get(NODEPOOL)

    @cached_property
    def instance_type(self) -> str | None:
        return self.labels.get(INSTANCE_TYPE)

    @cached_property
    def zone(self) -> str | None:
        return self.labels.get(ZONE)

    @cached_property
    def capacity_type(self) -> str | None:
        return self.labels.get(CAPACITY_TYPE)

    @cached_property
    def registered(self) -> bool:
        if self.claim is None:
            return True
        if self.node is None:
            return False
        return (self.node.metadata.labels or {}).get(REGISTERED) == "true"

    @cached_property
    def initialized(self) -> bool:
        if self.claim is None:
            return True
        if self.node is None:
            return False
        return (self.node.metadata.labels or {}).get(INITIALIZED) == "true"

    @cached_property
    def deleting(self) -> bool:
        """The Node or the NodeClaim has been deleted and waits for its finalizers."""
        node_deleted = self.node is not None and self.node.metadata.deletion_timestamp is not None
        return node_deleted or (self.claim is not None and self.claim.deleting)

    @cached_property
    def disrupted(self) -> bool:
        """Tainted by a disruption: takes no new pods."""
        return self.node is not None and any(
            t.key == DISRUPTED_TAINT for t in self.node.spec.taints or ()
        )

    @cached_property
    def awaiting_pods(self) -> bool:
        """Tainted until the pods that it was bought for are sent to it."""
        return self.node is not None and any(
            t.key == AWAITING_PODS_TAINT for t in self.node.spec.taints or ()
        )

    @cached_property
    def ready(self) -> bool:
        """The kubelet reports Ready."""
        if self.node is None:
            return False
        return any(
            c.type == "Ready" and c.status == "True" for c in self.node.status.conditions or ()
        )

    @cached_property
    def created(self) -> datetime | None:
        """When the machine was asked for: the NodeClaim's creation, else the Node's."""
        if self.claim is not None and self.claim.metadata.creation_timestamp is not None:
            return self.claim.metadata.creation_timestamp
        return self.node.metadata.creation_timestamp if self.node is not None else None

    @cached_property
    def quiet_since(self) -> datetime | None:
        """Since when no pod has come or gone; None before the node is initialized."""
        return None if self.claim is None else quiet_start(self.claim)

    def claim_condition(self, kind: str) -> bool:
        """Whether the NodeClaim's condition `kind` is True."""
        return self.claim is not None and is_true(self.claim.status.conditions, kind)

    def claim_condition_since(self, kind: str) -> datetime | None:
        """When the NodeClaim's condition `kind` last changed."""
        if self.claim is None:
            return None
        condition = find_condition(self.claim.status.conditions, kind)
        return None if condition is None else condition.last_transition_time


def join(
    nodes: Iterable[core.Node],
    claims: Iterable[NodeClaim],
    pods: Iterable[core.Pod],
) -> dict[str, StateNode]:
    """Return every machine by its name, in the order of `nodes`, then claims without a Node."""
    by_node: dict[str, list[core.Pod]] = {}
    coming: dict[str, list[core.Pod]] = {}
    for pod in pods:
        if is_here(pod):
            by_node.setdefault(pod.spec.node_name or "", []).append(pod)
        elif is_coming(pod):
            coming.setdefault(pod.status.nominated_node_name or "", []).append(pod)
    by_provider: dict[str, NodeClaim] = {}
    unlaunched: list[NodeClaim] = []
    for claim in claims:
        if claim.status.provider_id:
            by_provider[claim.status.provider_id] = claim
        else:
            unlaunched.append(claim)
    result: dict[str, StateNode] = {}
    for node in nodes:
        matched = by_provider.pop(node.spec.provider_id or "", None)
        name = node.metadata.name
        result[name] = StateNode(
            node, matched, tuple(by_node.get(name, ())), tuple(coming.get(name, ()))
        )
    for claim in (*by_provider.values(), *unlaunched):
        result[claim.metadata.name] = StateNode(None, claim)
    return result


def is_here(pod: core.Pod) -> bool:
    """Whether the pod counts as one of its Node's."""
    return bool(pod.spec.node_name) and (not is_terminal(pod) or is_reschedulable(pod))


def is_coming(pod: core.Pod) -> bool:
    """Whether kube-scheduler keeps room on a Node for the pod."""
    nominated = not pod.spec.node_name and bool(pod.status.nominated_node_name)
    return nominated and is_active(pod)


def kept(before: StateNode | None, now: StateNode) -> StateNode:
    """`before` where `now` is the same: what was computed from it is kept."""
    same = (
        before is not None
        and before.node is now.node
        and before.claim is now.claim
        and _identical(before.pods, now.pods)
        and _identical(before.nominated, now.nominated)
    )
    return before if before is not None and same else now


def _identical(one: tuple[core.Pod, ...], other: tuple[core.Pod, ...]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))
