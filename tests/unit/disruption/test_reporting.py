"""The events of disruption: what they are about, and their wording."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import node, node_pool, pod

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
