"""`nodepool`: keeps each NodePool's hash, conditions and totals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from autoctl.api.hashing import NODEPOOL_VERSION, nodepool_hash
from autoctl.api.labels import NODEPOOL_HASH, NODEPOOL_HASH_VERSION
from autoctl.api.meta import Condition, Conditions, find_condition, set_condition
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import (
    DISRUPTION_BUDGETS_VALID,
    NODE_CLASS_READY,
    NODE_REGISTRATION_HEALTHY,
    READY,
    VALIDATION_SUCCEEDED,
    NodeClaimTemplate,
    NodePool,
    NodePoolStatus,
)
from autoctl.catalog.units import format_amount
from autoctl.controllers.hash_versions import migrate_hashes
from autoctl.controllers.nodepool.registration_health import RegistrationHealth
from autoctl.controllers.objects import write_metadata, write_status
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_POOLS, KubernetesApi
from autoctl.state.cluster import ClusterState
from autoctl.state.own_writes import LAG_SECONDS
from autoctl.state.pool_readiness import spec_fault
from autoctl.state.totals import NODES


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition's state."""

    status: str
    reason: str
    message: str = ""


def judge_class(pool: NodePool, node_class: NodeClass | None) -> Verdict:
    """`NodeClassReady`."""
    reference = pool.spec.template.spec.node_class_ref
    if node_class is None:
        return Verdict("False", "NodeClassNotFound", f"NodeClass {reference.name!r} not found")
    if node_class.deleting:
        return Verdict("False", "NodeClassTerminating", "NodeClass is Terminating")
    ready = find_condition(node_class.status.conditions, READY)
    if ready is None or ready.status == "Unknown":
        return Verdict("Unknown", "NodeClassReadinessUnknown", "NodeClass readiness is unknown")
    if ready.status == "False":
        return Verdict("False", "NodeClassNotReady", ready.message or "NodeClass is not ready")
    return Verdict("True", NODE_CLASS_READY)


def judge_spec(pool: NodePool) -> Verdict:
    """`ValidationSucceeded`: what admission cannot tell."""
    if fault := spec_fault(pool):
        return Verdict("False", "NodePoolValidationFailed", fault)
    return Verdict("True", VALIDATION_SUCCEEDED)


def judge_budgets(pool: NodePool) -> Verdict:
    """`DisruptionBudgetsValid`: a schedule that cannot be read stops disruption, not launches.

    Karpenter's manifests with such a schedule go on launching nodes there, so `Ready` must not
    follow: a wrong window for taking nodes away is no reason to leave pods without any.
    """
    if faults := pool.spec.disruption.faults():
        text = "; ".join(faults)
        return Verdict("False", "InvalidSchedule", f"no node is disrupted: {text}")
    return Verdict("True", DISRUPTION_BUDGETS_VALID)


@dataclass
class NodePoolController:
    """One NodePool a reconcile."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    metrics: Metrics
    health: RegistrationHealth
    name: str = "nodepool"
    _generations: dict[str, tuple[int, int]] = field(default_factory=dict)
    _hashed: dict[str, tuple[NodeClaimTemplate, str]] = field(default_factory=dict)
    """NodePool -> the template that was hashed last, and its hash."""

    async def reconcile(self, key: str) -> Result:
        pool = self.state.pool(key)
        if pool is None:
            self._generations.pop(key, None)
            self._hashed.pop(key, None)
            return DONE
        if self.state.lags(NODE_POOLS, key):
            return Result(LAG_SECONDS)
        reference = pool.spec.template.spec.node_class_ref
        hashed = {NODEPOOL_HASH: self._hash(pool), NODEPOOL_HASH_VERSION: NODEPOOL_VERSION}
        claims = self.state.claims_by_pool[pool.name].values()
        await migrate_hashes(self.api, claims, pool.metadata.annotations, hashed)
        pool = await write_metadata(self.api, NODE_POOLS, pool, annotations=hashed)
        node_class = self.state.node_class(reference.name)
        status = self._status(pool, node_class)
        await write_status(self.api, NODE_POOLS, pool, status)
        return DONE

    def _hash(self, pool: NodePool) -> str:
        known = self._hashed.get(pool.name)
        if known is None or known[0] != pool.spec.template:
            known = self._hashed[pool.name] = pool.spec.template, nodepool_hash(pool)
        return known[1]

    def _status(self, pool: NodePool, node_class: NodeClass | None) -> NodePoolStatus:
        now = self.clock.now()
        total = self.state.totals.of(pool.name)
        conditions = pool.status.conditions
        judged = {
            NODE_CLASS_READY: judge_class(pool, node_class),
            VALIDATION_SUCCEEDED: judge_spec(pool),
            DISRUPTION_BUDGETS_VALID: judge_budgets(pool),
        }
        if self._changed(pool, node_class):
            self.health.reset(pool.name)
            judged[NODE_REGISTRATION_HEALTHY] = Verdict("Unknown", "AwaitingReconciliation")
        for kind, verdict in judged.items():
            conditions = _set(conditions, kind, verdict, pool.metadata.generation, now)
        conditions = _set(conditions, READY, _ready(conditions), pool.metadata.generation, now)
        return pool.status.model_copy(
            update={
                "resources": {k: format_amount(k, v) for k, v in sorted(total.items())},
                "nodes": total[NODES],
                "node_class_observed_generation": node_class.metadata.generation
                if node_class is not None
                else None,
                "conditions": conditions,
            }
        )

    def _changed(self, pool: NodePool, node_class: NodeClass | None) -> bool:
        """Whether the pool or its class were changed since the registrations on record."""
        generations = (
            pool.metadata.generation,
            node_class.metadata.generation if node_class is not None else 0,
        )
        health = find_condition(pool.status.conditions, NODE_REGISTRATION_HEALTHY)
        before = self._generations.get(pool.name)
        self._generations[pool.name] = generations
        if health is None:
            return True
        return before is not None and before != generations


def _ready(conditions: Conditions) -> Verdict:
    states = {k: find_condition(conditions, k) for k in (NODE_CLASS_READY, VALIDATION_SUCCEEDED)}
    broken = [k for k, c in states.items() if c is not None and c.status == "False"]
    if broken:
        text = ", ".join(f"{k}=False" for k in broken)
        return Verdict("False", "UnhealthyDependents", text)
    unknown = [k for k, c in states.items() if c is None or c.status == "Unknown"]
    if unknown:
        text = ", ".join(f"{k}=Unknown" for k in unknown)
        return Verdict("Unknown", "ReconcilingDependents", text)
    return Verdict("True", READY)


def _set(
    conditions: Conditions, kind: str, verdict: Verdict, generation: int, now: datetime
) -> Conditions:
    condition = Condition.model_validate(
        {
            "type": kind,
            "status": verdict.status,
            "reason": verdict.reason,
            "message": verdict.message,
            "observedGeneration": generation,
        }
    )
    return set_condition(conditions, condition, now)
