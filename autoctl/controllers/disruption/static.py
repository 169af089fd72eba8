"""Static pools: which nodes are too many, and how drifted ones are replaced.

Rules: Auto Mode's static capacity and Karpenter's `static.deprovisioning`. Scaling passes over
budgets, but drains respect PodDisruptionBudgets. Drift creates before it deletes, within the budget
for `Drifted` and the room that `limits.nodes` leaves, and waits while the pool is scaled down.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from autoctl.api.labels import CAPACITY_TYPE, NODECLASS, NODEPOOL, ZONE
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.api.quantity import whole
from autoctl.catalog.model import InstanceType
from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.cost import EMPTY_COST, rescheduling_cost
from autoctl.controllers.disruption.marks import COMMAND
from autoctl.scheduling.pool_offers import pool_requirements
from autoctl.scheduling.problem import NewNode, Offer
from autoctl.scheduling.requirements import Requirements
from autoctl.state.pods import Protection, do_not_disrupt
from autoctl.state.problem import resolve_pool
from autoctl.state.snapshot import Snapshot

STATIC_AT_LIMIT: Final = "static NodePool is at its node limit and cannot stage a replacement"
_MOST_TYPES = 60


def members(snapshot: Snapshot, pool: NodePool) -> list[NodeClaim]:
    """The pool's NodeClaims, those that are leaving included."""
    return [c for c in snapshot.node_claims.values() if c.node_pool == pool.name]


def is_staying(claim: NodeClaim) -> bool:
    """Neither being deleted nor about to be replaced."""
    return not claim.deleting and COMMAND not in claim.metadata.annotations


def surplus(snapshot: Snapshot, pool: NodePool) -> list[NodeClaim]:
    """The NodeClaims to delete for the pool to have its `replicas`.

    First those that are not launched, then empty nodes, then those whose pods cost least to move,
    weighed with the part of the node's life that is left (one that expires soon moves them anyway);
    nodes with protected pods come last.
    """
    if pool.spec.replicas is None:
        return []
    staying = [c for c in members(snapshot, pool) if is_staying(c)]
    excess = len(staying) - pool.spec.replicas
    if excess <= 0:
        return []
    return sorted(staying, key=lambda c: (*_reluctance(snapshot, c), c.name))[:excess]


def _reluctance(snapshot: Snapshot, claim: NodeClaim) -> tuple[bool, bool, bool, float]:
    if not claim.status.provider_id:
        return (False, False, False, 0.0)
    node = next(
        (n for n in snapshot.state_nodes.values() if n.claim and n.claim.name == claim.name), None
    )
    pods = node.pods if node is not None else ()
    protected = any(do_not_disrupt(p, snapshot.now).protection is Protection.ACTIVE for p in pods)
    cost = rescheduling_cost(pods)
    return (True, protected, cost > EMPTY_COST, cost * _life_left(claim, snapshot.now))


def _life_left(claim: NodeClaim, now: datetime) -> float:
    """The part of `expireAfter` that is left, 0 to 1; 1 for a node that never expires."""
    length, created = claim.spec.lifetime, claim.metadata.creation_timestamp
    if length is None or created is None:
        return 1.0
    if length <= timedelta(0):
        return 0.0
    return min(1.0, max(0.0, 1.0 - (now - created) / length))


def may_replace(snapshot: Snapshot, pool: NodePool) -> int:
    """How many drifted nodes of a static pool may be replaced now, budgets aside."""
    claims = members(snapshot, pool)
    if surplus(snapshot, pool) or any(c.deleting and not _replaced(c) for c in claims):
        return 0
    limit = pool.spec.limits.get("nodes")
    return len(claims) if limit is None else max(0, whole(limit) - len(claims))


def _replaced(claim: NodeClaim) -> bool:
    """Whether another NodeClaim came in this one's place: it is not scaled down."""
    return COMMAND in claim.metadata.annotations


def is_at_limit(snapshot: Snapshot, pool: NodePool) -> bool:
    """Whether `limits.nodes` leaves no room for one more node, those that are leaving counted."""
    limit = pool.spec.limits.get("nodes")
    return limit is not None and len(members(snapshot, pool)) >= whole(limit)


def replacement(candidate: Candidate, types: Sequence[InstanceType]) -> NewNode | None:
    """What is bought in the candidate's place: any node of its pool."""
    return cheapest(candidate.pool, types)


def requirements_of(pool: NodePool) -> Requirements:
    """What every node of the pool satisfies: requirements and labels of its template."""
    return pool_requirements(resolve_pool(pool, (), {}))


def cheapest(pool: NodePool, types: Sequence[InstanceType]) -> NewNode | None:
    """A node of the pool for no particular pods; None when the pool allows nothing on sale."""
    template = pool.spec.template
    wanted = requirements_of(pool)
    own = {
        **template.metadata.labels,
        NODEPOOL: pool.name,
        NODECLASS: template.spec.node_class_ref.name,
    }
    found: list[tuple[float, str, str, str, float]] = []
    for instance_type in types:
        for offering in instance_type.offerings:
            labels = {
                **own,
                **instance_type.labels,
                **offering.labels,
                ZONE: offering.zone,
                CAPACITY_TYPE: offering.capacity_type,
            }
            if offering.available and wanted.accepts(labels):
                where = (instance_type.name, offering.zone, offering.capacity_type)
                found.append((offering.weighed, *where, offering.price))
    if not found:
        return None
    found.sort()
    names = tuple(dict.fromkeys(name for _, name, *_ in found))[:_MOST_TYPES]
    _, name, zone, capacity_type, price = found[0]
    return NewNode(
        pool=pool.name,
        pods=(),
        requests={},
        requirements=wanted.specs(),
        instance_types=names,
        offer=Offer(name, zone, capacity_type, price),
    )
