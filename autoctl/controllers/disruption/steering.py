"""Sending moved pods where the plan has room for them.

A replacement is bought with the taint `autoctl.io/awaiting-pods`, so that no other pod takes its
room. When its pods' successors are pending, each is given the replacement as its nominated node,
which kube-scheduler looks at before any other, and the taint goes. What is not there in time finds
its own way.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from autoctl.api import core
from autoctl.api.labels import AWAITING_PODS_TAINT
from autoctl.api.nodeclaim import Taint
from autoctl.controllers.disruption.marks import REPLACES
from autoctl.controllers.disruption.model import Command
from autoctl.state.pods import controller_of, is_active
from autoctl.state.snapshot import Snapshot

HOLD: Final = Taint(key=AWAITING_PODS_TAINT, effect="NoSchedule")
HOLD_SECONDS: Final = 8.0
"""How long after the evictions replacements wait for pods that have not come."""

LANDING_SECONDS: Final = 20.0
"""How long a pod may take from its nomination to be bound; then it is taken back."""

Owner = tuple[str, str]
"""A pod's namespace and the uid of its controller: its successor has the same."""


@dataclass
class Steering:
    """One command's plan: for each controller the replacements its pods go to, by index."""

    claims: tuple[str, ...]
    """The replacements' NodeClaims, in the order of the plan."""
    slots: dict[Owner, list[int]]
    sent: set[str] = field(default_factory=set)
    """UIDs of pods that have their nominated node."""
    deadline: float | None = None
    """Loop time at which waiting ends; None before the evictions."""
    opened: bool = False
    """Whether the replacements take pods; those sent have until the deadline to land."""

    @property
    def done(self) -> bool:
        """Whether every pod that was planned for a replacement has been sent."""
        return not any(self.slots.values())


def plan_of(command: Command, claims: Iterable[str], snapshot: Snapshot) -> Steering:
    """The steering of a command whose replacements are `claims`, in order."""
    slots: dict[Owner, list[int]] = {}
    for key, home in sorted(command.moves.items()):
        prefix, _, index = home.partition(":")
        pod = snapshot.pods.get(key)
        owner = None if pod is None else owner_of(pod)
        if prefix == "replacement" and owner is not None:
            slots.setdefault(owner, []).append(int(index))
    return Steering(tuple(claims), slots)


def owner_of(pod: core.Pod) -> Owner | None:
    """Who makes the pod's successor; None for a pod that has none."""
    controller = controller_of(pod)
    return None if controller is None else (pod.metadata.namespace or "default", controller.uid)


def assign(steering: Steering, snapshot: Snapshot) -> list[tuple[core.Pod, str]]:
    """Pending successors and the Nodes to send them to; each slot is used once."""
    nodes = _nodes(steering.claims, snapshot)
    found = []
    for pod in snapshot.pods.values():
        if pod.spec.node_name or not is_active(pod) or pod.metadata.uid in steering.sent:
            continue
        owner = owner_of(pod)
        slots = steering.slots.get(owner) if owner is not None else None
        if not slots:
            continue
        node = nodes.get(slots[0])
        if node is not None:
            slots.pop(0)
            steering.sent.add(pod.metadata.uid)
            found.append((pod, node))
    return found


def stranded(snapshot: Snapshot, steered: Container[str]) -> list[core.Pod]:
    """Pods nominated to a replacement that nobody steers to any more, and that never landed.

    Provisioning leaves a pod with a nominated node alone: kube-scheduler may be about to bind it.
    `steered` are the NodeClaims of the steerings under way.
    """
    nodes = {
        node.name
        for node in snapshot.state_nodes.values()
        if node.claim is not None
        and REPLACES in node.claim.metadata.annotations
        and node.claim.name not in steered
    }
    return [
        pod
        for pod in snapshot.pods.values()
        if not pod.spec.node_name and pod.status.nominated_node_name in nodes and is_active(pod)
    ]


def _nodes(claims: Iterable[str], snapshot: Snapshot) -> Mapping[int, str]:
    names = {}
    for index, name in enumerate(claims):
        claim = snapshot.node_claims.get(name)
        if claim is not None and claim.status.node_name:
            names[index] = claim.status.node_name
    return names
