"""Which nodes may be disrupted, and exactly what stands in the way of the others.

Rules: Karpenter's candidate selection (`pkg/controllers/disruption/types.go`). The blocking
reasons are the texts of its `DisruptionBlocked` events.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from autoctl.api import core
from autoctl.api.labels import DO_NOT_DISRUPT, NODEPOOL
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.catalog.model import InstanceType
from autoctl.controllers.disruption.cost import EMPTY_COST, moving_cost
from autoctl.controllers.disruption.model import Blocked
from autoctl.controllers.disruption.pdbs import EvictionLimits
from autoctl.state.nodes import StateNode
from autoctl.state.pods import (
    Protection,
    do_not_disrupt,
    is_active,
    is_evictable,
    is_reschedulable,
    stands_for_room,
)
from autoctl.state.pricing import instance_type_of, node_price
from autoctl.state.quiet import is_quiet, quiet_in
from autoctl.state.snapshot import Snapshot

NOT_INITIALIZED: Final = "Node isn't initialized"
NOMINATED: Final = "Node is nominated for a pending pod"
POD_DO_NOT_DISRUPT: Final = f'Pod has "{DO_NOT_DISRUPT}" annotation'
NODE_DO_NOT_DISRUPT: Final = f'Disruption is blocked through the "{DO_NOT_DISRUPT}" annotation'
NO_POOL_LABEL: Final = f'Node does not have label "{NODEPOOL}"'


class DisruptionClass(Enum):
    """How much a disruption may ask of pods.

    GRACEFUL respects every block. EVENTUAL (drift of a node with a terminationGracePeriod) passes
    over blocks by pods: the drain waits for them, and ends at the grace period.
    """

    GRACEFUL = "graceful"
    EVENTUAL = "eventual"


@dataclass(frozen=True)
class Candidate:
    """A node that may go, with what decisions weigh.

    `price` is USD/hour of its offering (0 when the catalog does not know it); `cost` its
    rescheduling cost; `movable` the pods that need room elsewhere.
    """

    node: StateNode
    claim: NodeClaim
    pool: NodePool
    instance_type: InstanceType | None
    price: float
    cost: float
    movable: tuple[core.Pod, ...]

    @property
    def name(self) -> str:
        return self.node.name

    def is_quiet(self, now: datetime) -> bool:
        """Whether consolidation may take the node, by its pool's `consolidateAfter`."""
        return is_quiet(self.node.quiet_since, self.pool, now)

    @property
    def empty(self) -> bool:
        """Nothing to move, and no room kept for a CapacityBuffer."""
        return self.cost <= EMPTY_COST and not any(map(stands_for_room, self.movable))

    @property
    def holds_room_only(self) -> bool:
        """No pod to move, but room that a CapacityBuffer keeps."""
        return bool(self.movable) and all(map(stands_for_room, self.movable))

    @property
    def evictions(self) -> int:
        """How many pods have to move."""
        return sum(not stands_for_room(p) for p in self.movable)

    @property
    def savings_ratio(self) -> float:
        """USD/hour saved for each unit of disruption; candidates go in descending order of it."""
        return self.price / self.cost


@dataclass(frozen=True)
class Selection:
    """Every node of a NodePool by what may be asked of its pods, and why others stay."""

    graceful: tuple[Candidate, ...]
    eventual: tuple[Candidate, ...]
    blocked: tuple[Blocked, ...]
    """What stands in the way of a graceful disruption."""

    def of(self, disruption_class: DisruptionClass) -> tuple[Candidate, ...]:
        """The candidates for a class of disruption."""
        return self.eventual if disruption_class is DisruptionClass.EVENTUAL else self.graceful


def find_candidates(snapshot: Snapshot) -> Selection:
    """Judge every node.

    Nodes that are leaving already, or that no NodePool of this snapshot made, are neither
    candidates nor blocked.
    """
    limits = EvictionLimits(snapshot.disruption_budgets)
    nominated = set(snapshot.nominations.values())
    graceful: list[Candidate] = []
    eventual: list[Candidate] = []
    blocked: list[Blocked] = []
    for node in snapshot.state_nodes.values():
        claim = node.claim
        if claim is None or node.deleting or node.disrupted or _in_command(node, snapshot):
            continue
        if node.pool is None:
            blocked.append(Blocked(node.name, NO_POOL_LABEL))
            continue
        pool = snapshot.node_pools.get(node.pool)
        if pool is None or pool.deleting:
            blocked.append(Blocked(node.name, f'NodePool "{node.pool}" not found'))
            continue
        why = node_block(node, nominated)
        if why is not None:
            blocked.append(why)
            continue
        candidate = make_candidate(node, claim, pool, snapshot)
        held = pod_block(node, limits, snapshot.now)
        if held is None:
            graceful.append(candidate)
        else:
            blocked.append(held)
        if held is None or claim.spec.grace_period is not None:
            eventual.append(candidate)
    return Selection(tuple(graceful), tuple(eventual), tuple(blocked))


_WEIGHED: dict[str, Candidate] = {}
"""By name, the nodes as they were last weighed."""


def make_candidate(
    node: StateNode, claim: NodeClaim, pool: NodePool, snapshot: Snapshot
) -> Candidate:
    """Weigh a node, whether or not something blocks it; once for as long as nothing changes."""
    instance_type = instance_type_of(node, snapshot)
    known = _WEIGHED.get(node.name)
    if (
        known is not None
        and known.node is node
        and known.claim is claim
        and known.pool is pool
        and known.instance_type is instance_type
    ):
        return known
    movable = tuple(p for p in node.pods if is_reschedulable(p))
    if len(_WEIGHED) > 2 * len(snapshot.state_nodes) + 1024:
        _WEIGHED.clear()
    made = _WEIGHED[node.name] = Candidate(
        node=node,
        claim=claim,
        pool=pool,
        instance_type=instance_type,
        price=node_price(node, snapshot),
        cost=moving_cost(movable),
        movable=movable,
    )
    return made


def node_block(node: StateNode, nominated: set[str]) -> Blocked | None:
    """What at the node itself forbids its disruption for any reason."""
    if not node.initialized:
        return Blocked(node.name, NOT_INITIALIZED)
    annotations = (node.node.metadata.annotations or {}) if node.node is not None else {}
    claimed = node.claim.metadata.annotations if node.claim is not None else {}
    if annotations.get(DO_NOT_DISRUPT) == "true" or claimed.get(DO_NOT_DISRUPT) == "true":
        return Blocked(node.name, NODE_DO_NOT_DISRUPT)
    names = {node.name} | ({node.claim.metadata.name} if node.claim is not None else set())
    if names & nominated or node.nominated:
        return Blocked(node.name, NOMINATED)
    return None


def pod_block(node: StateNode, limits: EvictionLimits, now: datetime) -> Blocked | None:
    """Which of the node's pods forbids its graceful disruption."""
    for pod in node.pods:
        if is_active(pod) and do_not_disrupt(pod, now).protection is Protection.ACTIVE:
            return Blocked(node.name, POD_DO_NOT_DISRUPT, pod.key)
    if not limits:
        return None
    found = limits.first_blocked(p for p in node.pods if is_evictable(p, now))
    if found is not None:
        pod, verdict = found
        return Blocked(node.name, verdict.message, pod.key)
    return None


def quiet_until(candidate: Candidate, now: datetime) -> datetime | None:
    """Until when (UTC) consolidation leaves the node alone; None if it need not, or for ever."""
    left = quiet_in(candidate.node.quiet_since, candidate.pool, now)
    return (now + left).astimezone(UTC) if left else None


def unquiet(candidate: Candidate, now: datetime) -> str | None:
    """Until when consolidation leaves the node alone, in words; None when it need not."""
    until = quiet_until(candidate, now)
    if until is None:
        return None
    after = candidate.pool.spec.disruption.consolidate_after
    return f"within consolidateAfter {after} until {until:%Y-%m-%dT%H:%M:%SZ}"


def _in_command(node: StateNode, snapshot: Snapshot) -> bool:
    return node.claim is not None and node.claim.metadata.name in snapshot.disrupting
