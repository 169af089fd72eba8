"""Status conditions of NodePools, NodeClaims, NodeClasses and Nodes, and how long deletion takes.

Names are those of the library that Karpenter's controllers are made with
(`operator_<kind>_status_condition_…`, `operator_<kind>_termination_…`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from autoctl.controllers.metrics.series import Series
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import EventType
from autoctl.state.cluster import ClusterState
from autoctl.state.reflector import Change, Reflector


class _Condition(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def last_transition_time(self) -> datetime | None: ...


@dataclass
class KindMetrics:
    """The metrics of one kind."""

    kind: str
    reflector: Reflector[Any]
    clock: Clock
    metrics: Metrics

    def __post_init__(self) -> None:
        gauges = self.metrics.conditions[self.kind]
        self._count = Series(gauges.count)
        self._current = Series(gauges.current_seconds)
        self._terminating = Series(gauges.terminating_seconds)
        self.reflector.subscribe(self._changed)

    def update(self, now: datetime, *, each_object: bool) -> None:
        """Measure all objects."""
        count: dict[tuple[str, ...], float] = {}
        current: dict[tuple[str, ...], float] = {}
        terminating: dict[tuple[str, ...], float] = {}
        for obj in self.reflector if each_object else ():
            named = ("", obj.metadata.name)
            for condition in _conditions(obj):
                labels = (*named, condition.type, condition.status, condition.reason or "")
                count[labels] = 1.0
                if condition.last_transition_time is not None:
                    current[labels] = (now - condition.last_transition_time).total_seconds()
            deleted = obj.metadata.deletion_timestamp
            if deleted is not None:
                terminating[named] = (now - deleted).total_seconds()
        self._count.replace(count)
        self._current.replace(current)
        self._terminating.replace(terminating)

    def _changed(self, changes: Sequence[Change[Any]]) -> None:
        now = self.clock.now()
        gauges = self.metrics.conditions[self.kind]
        for change in changes:
            before = change.previous
            if before is None:
                continue
            if change.type is EventType.DELETED:
                deleted = before.metadata.deletion_timestamp
                if deleted is not None:
                    gauges.termination.observe(max(0.0, (now - deleted).total_seconds()))
                continue
            known = {c.type: c for c in _conditions(before)}
            for condition in _conditions(change.object):
                old = known.get(condition.type)
                if old is None or old.status == condition.status:
                    continue
                reason = condition.reason or ""
                gauges.transitions.labels(condition.type, condition.status, reason).inc()
                if old.last_transition_time is not None:
                    lasted = max(0.0, (now - old.last_transition_time).total_seconds())
                    gauges.transition_seconds.labels(old.type, old.status).observe(lasted)


class ConditionMetrics:
    """`KindMetrics` of every kind that has conditions."""

    def __init__(self, state: ClusterState, clock: Clock, metrics: Metrics) -> None:
        reflectors: dict[str, Reflector[Any]] = {
            "nodeclaim": state.node_claims.reflector,
            "nodepool": state.node_pools.reflector,
            "nodeclass": state.node_classes.reflector,
            "node": state.nodes.reflector,
        }
        self._kinds = [KindMetrics(k, r, clock, metrics) for k, r in reflectors.items()]

    def update(self, now: datetime, *, each_object: bool) -> None:
        for kind in self._kinds:
            kind.update(now, each_object=each_object)


def _conditions(obj: Any) -> Iterable[_Condition]:
    conditions: Iterable[_Condition] | None = obj.status.conditions
    return conditions or ()
