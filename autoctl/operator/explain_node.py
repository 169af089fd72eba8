"""`explain node`: what the operator thinks of a node, and what stands in the way of its removal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autoctl.api.nodepool import NodePool
from autoctl.controllers.disruption.candidates import (
    Candidate,
    find_candidates,
    make_candidate,
    quiet_until,
)
from autoctl.controllers.disruption.consolidation import disabled
from autoctl.controllers.disruption.decide import is_drifted
from autoctl.controllers.disruption.drift import drift_reason, recorded_drift
from autoctl.controllers.disruption.expiration import lifetime_of
from autoctl.controllers.disruption.model import Reason
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.pdbs import EvictionLimits
from autoctl.operator.planning import Placed, place_pending
from autoctl.state.nodes import StateNode
from autoctl.state.pods import Protection, do_not_disrupt, is_active, is_daemon, is_evictable
from autoctl.state.snapshot import Snapshot


class UnknownNodeError(LookupError):
    """No Node or NodeClaim of that name is in the snapshot."""


@dataclass(frozen=True)
class PodVerdict:
    """A pod that holds the node, and why."""

    pod: str
    why: str


@dataclass(frozen=True)
class NodeExplanation:
    """Everything known about one node's way out; `verdict` sums it up in a sentence."""

    name: str
    node_claim: str | None
    pool: str | None
    instance_type: str | None
    zone: str | None
    capacity_type: str | None
    usd_per_hour: float | None
    pods: int
    daemons: int
    empty: bool
    quiet_since: datetime | None
    drift: str | None
    expires: datetime | None
    cap: datetime | None
    blocked: str | None
    holding: tuple[PodVerdict, ...]
    verdict: str

    def to_json(self) -> dict[str, Any]:
        def instant(value: datetime | None) -> str | None:
            return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")

        return {
            "schema": "autoctl.explain-node/v1",
            "node": self.name,
            "nodeClaim": self.node_claim,
            "nodePool": self.pool,
            "instanceType": self.instance_type,
            "zone": self.zone,
            "capacityType": self.capacity_type,
            "usdPerHour": self.usd_per_hour,
            "pods": self.pods,
            "daemonPods": self.daemons,
            "empty": self.empty,
            "quietSince": instant(self.quiet_since),
            "drifted": self.drift,
            "expires": instant(self.expires),
            "lifetimeCap": instant(self.cap),
            "blocked": self.blocked,
            "holding": [{"pod": h.pod, "reason": h.why} for h in self.holding],
            "verdict": self.verdict,
        }


def explain_node(
    snapshot: Snapshot, name: str, options: DisruptionOptions | None = None
) -> NodeExplanation:
    """Explain the node (or NodeClaim) `name`. Raises `UnknownNodeError`."""
    node = _find(snapshot, name)
    claim = node.claim
    pool = snapshot.node_pools.get(node.pool or "")
    holding = tuple(_holding(node, snapshot))
    daemons = sum(1 for p in node.pods if is_daemon(p))
    if claim is None or pool is None:
        verdict = (
            "no NodeClaim: somebody else's node, never touched"
            if claim is None
            else f'its NodePool "{node.pool}" is not there: nothing decides about it'
        )
        return _explanation(node, None, daemons, holding, verdict, snapshot, None)
    options = options or DisruptionOptions()
    candidate = make_candidate(node, claim, pool, snapshot)
    placed = place_pending(snapshot, options)
    block = next(
        (b for b in find_candidates(placed.snapshot).blocked if b.node == node.name),
        None,
    )
    blocked = None if block is None else block.reason + (f" ({block.pod})" if block.pod else "")
    drift = recorded_drift(claim) or (
        str(_drift_of(snapshot, node, pool)) if is_drifted(candidate, snapshot) else None
    )
    verdict = _verdict(placed, candidate, blocked, drift is not None, options)
    return _explanation(node, drift, daemons, holding, verdict, snapshot, blocked)


def _find(snapshot: Snapshot, name: str) -> StateNode:
    for node in snapshot.state_nodes.values():
        if node.name == name or (node.claim is not None and node.claim.name == name):
            return node
    raise UnknownNodeError(f"there is no Node and no NodeClaim {name!r}")


def _verdict(
    placed: Placed,
    candidate: Candidate,
    blocked: str | None,
    drifted: bool,
    options: DisruptionOptions,
) -> str:
    if candidate.node.deleting:
        return "it is being terminated"
    name, pool = candidate.name, candidate.pool
    decision = placed.disrupt(options)
    for command in decision.commands:
        if name in command.nodes:
            into = ", ".join(n.offer.instance_type for n in command.replacements)
            how = f"replaced by {into}" if into else "deleted"
            return f"{command.reason.value}: it would be {how} now"
    if blocked is not None:
        return f"stays: {blocked}"
    if name in decision.unconsolidatable:
        return f"stays: {decision.unconsolidatable[name]}"
    if pool.is_static:
        return f'stays: NodePool "{pool.metadata.name}" is static'
    if not drifted and (why := _unquiet(candidate, placed.snapshot.now)) is not None:
        return f"stays: {why}"
    usual = Reason.EMPTY if candidate.empty else Reason.UNDERUTILIZED
    reason = Reason.DRIFTED if drifted else usual
    bounds = (*decision.pools, *decision.spent)
    messages = {p.reason: p.message for p in bounds if p.pool == pool.metadata.name}
    if messages:
        return f"stays: {messages.get(reason) or next(iter(messages.values()))}"
    return "stays: nothing asks for its removal now"


def _unquiet(candidate: Candidate, now: datetime) -> str | None:
    """Why consolidation does not look at the node yet, or ever."""
    if candidate.pool.spec.disruption.quiet_period is None:
        return disabled(candidate)
    until = quiet_until(candidate, now)
    if until is None:
        return None
    after = candidate.pool.spec.disruption.consolidate_after
    return f"consolidateAfter {after} is not over until {until:%Y-%m-%d %H:%M:%S} UTC"


def _holding(node: StateNode, snapshot: Snapshot) -> list[PodVerdict]:
    limits = EvictionLimits(snapshot.disruption_budgets)
    found = []
    for pod in node.pods:
        protection = do_not_disrupt(pod, snapshot.now)
        if is_active(pod) and protection.protection is Protection.ACTIVE:
            until = "" if protection.until is None else f" until {protection.until:%Y-%m-%dT%H:%MZ}"
            found.append(PodVerdict(pod.key, f"karpenter.sh/do-not-disrupt{until}"))
        verdict = limits.blocks(pod) if is_evictable(pod, snapshot.now) else None
        if verdict is not None:
            found.append(PodVerdict(pod.key, f"{verdict.message} ({', '.join(verdict.budgets)})"))
    return found


def _drift_of(snapshot: Snapshot, node: StateNode, pool: NodePool) -> str | None:
    assert node.claim is not None, "only a managed node can drift"
    name = pool.spec.template.spec.node_class_ref.name
    return drift_reason(
        node.claim,
        pool,
        snapshot.given_class(name),
        snapshot.types_by_name.get(name, {}),
        snapshot.now,
    )


def _explanation(
    node: StateNode,
    drift: str | None,
    daemons: int,
    holding: tuple[PodVerdict, ...],
    verdict: str,
    snapshot: Snapshot,
    blocked: str | None,
) -> NodeExplanation:
    claim = node.claim
    lifetime = None if claim is None else lifetime_of(claim)
    pool = snapshot.node_pools.get(node.pool or "")
    candidate = (
        None if claim is None or pool is None else make_candidate(node, claim, pool, snapshot)
    )
    return NodeExplanation(
        name=node.name,
        node_claim=None if claim is None else claim.name,
        pool=node.pool,
        instance_type=node.instance_type,
        zone=node.zone,
        capacity_type=node.capacity_type,
        usd_per_hour=None if candidate is None else candidate.price,
        pods=len(node.pods) - daemons,
        daemons=daemons,
        empty=candidate is not None and candidate.empty,
        quiet_since=node.quiet_since,
        drift=drift,
        expires=None if lifetime is None else lifetime.expires,
        cap=None if lifetime is None else lifetime.cap,
        blocked=blocked,
        holding=holding,
        verdict=verdict,
    )
