"""The events of disruption: what they are about, and their wording."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import condition, node, node_pool, pod

from autoctl.controllers.disruption.decide import decide
from autoctl.controllers.disruption.model import Command, Decision, Reason
from autoctl.controllers.disruption.reporting import Reporter
from autoctl.controllers.runtime.events import Event
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.scheduling.problem import NewNode, Offer

NEW = NewNode("default", (), {}, (), ("small",), Offer("small", "z1", "on-demand", 0.1))
MOVE = Command(Reason.UNDERUTILIZED, ("n1",), (NEW,), savings=1.234, evictions=2, score=0.75)


@dataclass
class Told:
    """Stands in for the recorder of events."""

    events: list[Event] = field(default_factory=list)

    def publish(self, *events: Event) -> None:
        self.events += events

    def about(self, kind: str) -> list[tuple[str, str]]:
        return [(e.reason, e.message) for e in self.events if e.about.kind == kind]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def reporter(told: Told) -> Reporter:
    return Reporter(cast("Any", told), Metrics())


def test_a_consolidation_is_told_when_it_is_considered_approved_and_rejected(
    reporter: Reporter, told: Told
) -> None:
    snapshot = snapshot_of_objects(node_pool(), node("n1"))
    reporter.considered(snapshot, MOVE)
    reporter.started(snapshot, MOVE)
    reporter.rejected(snapshot, MOVE, "budget")
    what = "replace 1 nodes (2 pods) with small"
    expected = [
        ("ConsolidationCandidate", f"Consolidation candidate: {what} (savings: $1.23)"),
        ("ConsolidationApproved", "score 0.75 >= threshold 0.50 (k: 2)"),
        ("ConsolidationRejected", f"Consolidation rejected: {what}, reason: budget"),
    ]
    assert told.about("Node") == expected
    assert told.about("NodeClaim") == expected


def test_other_reasons_are_no_consolidation(reporter: Reporter, told: Told) -> None:
    snapshot = snapshot_of_objects(node_pool(), node("n1"))
    empty = Command(Reason.EMPTY, ("n1",))
    reporter.considered(snapshot, empty)
    reporter.rejected(snapshot, empty, "churn")
    assert not told.events


def test_what_keeps_a_node_for_a_while_is_no_event(reporter: Reporter, told: Told) -> None:
    """Upstream says nothing of nodes that are not quiet, nor of budgets that others use up."""
    unready = node("n2")
    unready[1]["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    pool = node_pool(disruption={"consolidateAfter": "48h", "budgets": [{"nodes": "1"}]})
    snapshot = snapshot_of_objects(pool, node("n1"), unready)
    decision = decide(snapshot)
    assert decision.unasked.keys() == {"n1", "n2"}
    assert len(decision.spent) == 3
    reporter.decided(snapshot, decision)
    assert not told.events


def test_consolidation_that_is_off_is_told_of_empty_nodes_too(
    reporter: Reporter, told: Told
) -> None:
    pool = node_pool(disruption={"consolidateAfter": "Never"})
    snapshot = snapshot_of_objects(pool, node("n1"))
    reporter.decided(snapshot, decide(snapshot))
    expected = [("Unconsolidatable", 'NodePool "default" has consolidation disabled')]
    assert told.about("Node") == told.about("NodeClaim") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", []),
        (
            "48h",
            [
                (
                    "DoNotDisruptUntil",
                    (
                        '"karpenter.sh/do-not-disrupt" grace period will elapse at '
                        "2026-01-03T12:00:00Z"
                    ),
                )
            ],
        ),
        (
            "1h",
            [
                (
                    "DoNotDisruptGracePeriodElapsed",
                    '"karpenter.sh/do-not-disrupt" grace period has elapsed',
                )
            ],
        ),
        (
            "soon",
            [
                (
                    "InvalidDoNotDisruptAnnotation",
                    (
                        '"karpenter.sh/do-not-disrupt" is "soon", neither "true" nor a positive '
                        "duration: it is ignored"
                    ),
                )
            ],
        ),
    ],
)
def test_what_a_pods_annotation_means_is_told(
    value: str, expected: list[tuple[str, str]], reporter: Reporter, told: Told
) -> None:
    subject = pod("a", node="n1", annotations={"karpenter.sh/do-not-disrupt": value})
    subject["status"]["startTime"] = "2026-01-01T12:00:00Z"
    snapshot = snapshot_of_objects(node_pool(), node("n1"), subject)
    reporter.decided(snapshot, Decision())
    assert told.about("Pod") == expected


def test_each_pass_tells_how_many_nodes_are_eligible_and_how_long_it_took() -> None:
    metrics = Metrics()
    reporter = Reporter(cast("Any", Told()), metrics)
    empty = [node("e1"), node("e2")]
    drifted = node("d", conditions=[condition("Drifted")])
    pool = node_pool(disruption={"budgets": [{"nodes": "0"}], "consolidateAfter": "0s"})
    objects = (*empty, drifted, node("full"), node("half"))
    pods = [pod(node=name, cpu="1") for name in ("d", "full", "half")]
    snapshot = snapshot_of_objects(pool, *objects, *pods)
    reporter.decided(snapshot, decide(snapshot), 0.25)
    prefix = "karpenter_voluntary_disruption"
    found = {
        reason: metrics.registry.get_sample_value(f"{prefix}_eligible_nodes", {"reason": reason})
        for reason in ("Empty", "Drifted", "Underutilized")
    }
    assert found == {"Empty": 2, "Drifted": 1, "Underutilized": 2}, "budgets don't count here"
    labels = {"reason": "all", "consolidation_type": ""}
    name = f"{prefix}_decision_evaluation_duration_seconds_sum"
    assert metrics.registry.get_sample_value(name, labels) == 0.25
    reporter.decided(snapshot, Decision())
    empty_now = metrics.registry.get_sample_value(f"{prefix}_eligible_nodes", {"reason": "Empty"})
    assert empty_now == 0
