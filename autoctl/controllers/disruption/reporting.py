"""Telling people what disruption decided: events, metrics, and whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final

import structlog

from autoctl.api.labels import DO_NOT_DISRUPT
from autoctl.controllers.disruption.balanced import BALANCED_K, THRESHOLD
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.model import Command, Decision, Reason
from autoctl.controllers.objects import reference
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_POOLS, NODES, PODS
from autoctl.state.pods import DoNotDisrupt, Protection, do_not_disrupt, is_active
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

UNCONSOLIDATABLE_DEDUPE: Final = 15 * 60.0
PROTECTION_DEDUPE: Final = 3600.0
_REASONS: Final = (Reason.UNDERUTILIZED, Reason.EMPTY, Reason.DRIFTED)

Listener = Callable[[Snapshot, Command], None]


@dataclass
class Reporter:
    """Reports passes. `listeners` hear of every command that starts: the simulator listens."""

    events: EventRecorder
    metrics: Metrics
    listeners: list[Listener] = field(default_factory=list)

    def decided(self, snapshot: Snapshot, decision: Decision, seconds: float = 0.0) -> None:
        """A pass is over, which took so long."""
        self.metrics.disruption_evaluation_duration.labels("all", "").observe(seconds)
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
        self.events.publish(*_protections(snapshot))
        for reason in _REASONS:
            count = decision.eligible.get(reason, 0)
            self.metrics.disruption_eligible_nodes.labels(reason.value).set(count)
        ledger = BudgetLedger(snapshot)
        for name, node_pool in snapshot.node_pools.items():
            for reason in _REASONS:
                self.metrics.nodepools_allowed_disruptions.labels(name, reason.value).set(
                    ledger.allowed(node_pool, reason)
                )

    def considered(self, snapshot: Snapshot, command: Command) -> None:
        """A command was decided, and is about to be validated once more."""
        if command.reason is not Reason.UNDERUTILIZED:
            return
        message = f"Consolidation candidate: {_tell(command)} (savings: ${command.savings:.2f})"
        for name in command.nodes:
            self._about_node(snapshot, name, "ConsolidationCandidate", message)

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
                    snapshot,
                    name,
                    "ConsolidationApproved",
                    f"score {command.score:.2f} >= threshold {THRESHOLD:.2f} (k: {BALANCED_K:g})",
                )
        for listener in self.listeners:
            listener(snapshot, command)

    def rejected(self, snapshot: Snapshot, command: Command, why: str) -> None:
        """A command no longer held when it was about to start; `why`: churn or budget."""
        _log.info("command dropped", nodes=list(command.nodes), why=why)
        if command.reason is Reason.UNDERUTILIZED:
            message = f"Consolidation rejected: {_tell(command)}, reason: {why}"
            for name in command.nodes:
                self._about_node(snapshot, name, "ConsolidationRejected", message)
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


def _tell(command: Command) -> str:
    """The command in a few words."""
    what = f"{command.decision} {len(command.nodes)} nodes ({command.evictions} pods)"
    if not command.replacements:
        return what
    return f"{what} with {', '.join(sorted(n.offer.instance_type for n in command.replacements))}"


def _protections(snapshot: Snapshot) -> Iterator[Event]:
    """What the annotation `do-not-disrupt` of pods on managed nodes says, where it is no "true"."""
    for node in snapshot.state_nodes.values():
        if node.claim is None:
            continue
        for pod in node.pods:
            value = (pod.metadata.annotations or {}).get(DO_NOT_DISRUPT)
            if value is None or value == "true" or not is_active(pod):
                continue
            found = _protection(value, do_not_disrupt(pod, snapshot.now))
            if found is not None:
                about = ObjectReference.of(
                    PODS, pod.metadata.name, pod.metadata.namespace, pod.metadata.uid
                )
                reason, message = found
                yield Event(
                    about,
                    reason,
                    message,
                    "Warning" if reason == "InvalidDoNotDisruptAnnotation" else "Normal",
                    dedupe_seconds=PROTECTION_DEDUPE,
                )


def _protection(value: str, verdict: DoNotDisrupt) -> tuple[str, str] | None:
    """The event's reason and message; None where there is nothing to tell."""
    annotation = f'"{DO_NOT_DISRUPT}"'
    if verdict.protection is Protection.INVALID:
        return (
            "InvalidDoNotDisruptAnnotation",
            f'{annotation} is "{value}", neither "true" nor a positive duration: it is ignored',
        )
    if verdict.until is not None:
        until = verdict.until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return ("DoNotDisruptUntil", f"{annotation} grace period will elapse at {until}")
    if verdict.protection is Protection.ELAPSED:
        return ("DoNotDisruptGracePeriodElapsed", f"{annotation} grace period has elapsed")
    return None
