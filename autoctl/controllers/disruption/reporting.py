"""Telling people what disruption decided: events, metrics, and whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.model import Command, Decision, Reason
from autoctl.controllers.objects import reference
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_POOLS, NODES
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

UNCONSOLIDATABLE_DEDUPE: Final = 15 * 60.0
_REASONS: Final = (Reason.UNDERUTILIZED, Reason.EMPTY, Reason.DRIFTED)

Listener = Callable[[Snapshot, Command], None]


@dataclass
class Reporter:
    """Reports passes. `listeners` hear of every command that starts: the simulator listens."""

    events: EventRecorder
    metrics: Metrics
    listeners: list[Listener] = field(default_factory=list)

    def decided(self, snapshot: Snapshot, decision: Decision) -> None:
        """A pass is over."""
        for blocked in decision.blocked:
            why = f"{blocked.reason} ({blocked.pod})" if blocked.pod else blocked.reason
            self._about_node(snapshot, blocked.node, "DisruptionBlocked", why)
        for name, why in decision.unconsolidatable.items():
            self._about_node(
                snapshot, name, "Unconsolidatable", why, seconds=UNCONSOLIDATABLE_DEDUPE
            )
        for pool in decision.pools:
            found = snapshot.node_pools.get(pool.pool)
            if found is not None:
                self.events.publish(
                    Event(reference(NODE_POOLS, found), "DisruptionBlocked", pool.message)
                )
        ledger = BudgetLedger(snapshot)
        for name, node_pool in snapshot.node_pools.items():
            for reason in _REASONS:
                self.metrics.nodepools_allowed_disruptions.labels(name, reason.value).set(
                    ledger.allowed(node_pool, reason)
                )

    def started(self, snapshot: Snapshot, command: Command) -> None:
        """A command starts."""
        _log.info(
            "disrupting nodes",
            reason=command.reason.value,
            decision=command.decision,
            nodes=list(command.nodes),
            replacements=[n.offer.instance_type for n in command.replacements],
            savings=round(command.savings, 4),
            evictions=command.evictions,
        )
        for name in command.nodes:
            if command.score is not None:
                self._about_node(
                    snapshot, name, "ConsolidationApproved", f"score {command.score:.2f}"
                )
        for listener in self.listeners:
            listener(snapshot, command)

    def rejected(self, command: Command, why: str) -> None:
        """A command no longer held when it was about to start; `why`: churn or budget."""
        _log.info("command dropped", nodes=list(command.nodes), why=why)
        self.metrics.disruption_failed_validations.labels(command.consolidation_type.value).inc()

    def _about_node(
        self, snapshot: Snapshot, name: str, reason: str, message: str, *, seconds: float = 120.0
    ) -> None:
        node = snapshot.state_nodes.get(name)
        if node is None:
            return
        if node.node is not None:
            about = ObjectReference.of(NODES, node.name, uid=node.node.metadata.uid)
            self.events.publish(Event(about, reason, message, dedupe_seconds=seconds))
        if node.claim is not None:
            about = reference(NODE_CLAIMS, node.claim)
            self.events.publish(Event(about, reason, message, dedupe_seconds=seconds))
