"""What happens beside provisioning and consolidation: nodes that expire, and static pools.

Their controllers act on one object at a time; here the decisions they would make at one instant
are collected for `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoctl.api.meta import find_condition
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import READY, NodePool
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.candidates import make_candidate
from autoctl.controllers.disruption.expiration import lifetime_of
from autoctl.controllers.disruption.model import Command, Reason
from autoctl.controllers.disruption.static import cheapest, surplus
from autoctl.controllers.provisioning.static import held_back, missing
from autoctl.scheduling.problem import NewNode
from autoctl.state.nodes import StateNode
from autoctl.state.pods import is_reschedulable
from autoctl.state.pool_readiness import class_fault
from autoctl.state.pricing import node_price
from autoctl.state.snapshot import Snapshot


def endings(snapshot: Snapshot) -> list[Command]:
    """Nodes that go now whatever consolidation thinks: expired, or too many for a static pool."""
    by_claim = {n.claim.name: n for n in snapshot.state_nodes.values() if n.claim is not None}
    commands = [
        _ending(snapshot, by_claim[claim.name], Reason.EXPIRED)
        for claim in _expired(snapshot, by_claim)
    ]
    going = {name for command in commands for name in command.nodes}
    for pool in snapshot.node_pools.values():
        if not pool.deleting:
            commands += [
                _ending(snapshot, by_claim[claim.name], Reason.SCALED_DOWN)
                for claim in surplus(snapshot, pool)
                if by_claim[claim.name].name not in going
            ]
    return commands


def without(snapshot: Snapshot, commands: list[Command]) -> Snapshot:
    """The snapshot once the commands' NodeClaims have been deleted: their nodes are leaving."""
    going = {name for command in commands for name in command.nodes}
    if not going:
        return snapshot
    claims = dict(snapshot.node_claims)
    for node in snapshot.state_nodes.values():
        if node.name in going and node.claim is not None:
            metadata = node.claim.metadata.model_copy(update={"deletion_timestamp": snapshot.now})
            claims[node.claim.name] = node.claim.model_copy(update={"metadata": metadata})
    return snapshot.but(node_claims=claims)


def static_launches(snapshot: Snapshot) -> tuple[NewNode, ...]:
    """The nodes that static pools lack, each the cheapest its pool allows."""
    found: list[NewNode] = []
    for pool in snapshot.node_pools.values():
        types = snapshot.types_of_pool(pool.name)
        node = cheapest(pool, types) if _is_filled(snapshot, pool) else None
        if node is not None:
            found += [node] * missing(snapshot, pool)
    return tuple(found)


def static_shortfalls(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Static pools that do not come to their replicas, and why."""
    pools = (p for p in snapshot.node_pools.values() if _is_filled(snapshot, p))
    return tuple((p.name, why) for p in pools if (why := held_back(snapshot, p)) is not None)


def _is_filled(snapshot: Snapshot, pool: NodePool) -> bool:
    """A pool or class nobody has judged yet counts, as for pending pods."""
    ready = find_condition(pool.status.conditions, READY)
    node_class = snapshot.node_classes.get(pool.spec.template.spec.node_class_ref.name)
    return (
        pool.is_static
        and not pool.deleting
        and (ready is None or ready.status == "True")
        and (node_class is None or class_fault(node_class) is None)
    )


def _expired(snapshot: Snapshot, by_claim: Mapping[str, StateNode]) -> list[NodeClaim]:
    """NodeClaims whose time is up, as far as budgets that name `Expired` allow."""
    ledger = BudgetLedger(snapshot)
    found = []
    for claim in snapshot.node_claims.values():
        lifetime = lifetime_of(claim)
        if claim.deleting or lifetime is None or not lifetime.expired(snapshot.now):
            continue
        pool = snapshot.node_pools.get(claim.node_pool or "")
        if pool is not None:
            candidate = make_candidate(by_claim[claim.name], claim, pool, snapshot)
            bounded = snapshot.now < lifetime.must_drain
            if bounded and not ledger.allows([candidate], Reason.EXPIRED):
                continue
            ledger.take([candidate])
        found.append(claim)
    return found


def _ending(snapshot: Snapshot, node: StateNode, reason: Reason) -> Command:
    return Command(
        reason=reason,
        nodes=(node.name,),
        savings=node_price(node, snapshot),
        evictions=sum(1 for p in node.pods if is_reschedulable(p)),
    )
