"""Which changes of pods count as something happening on their node, and when they happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from autoctl.api import core
from autoctl.controllers.lifecycle.pod_events import transition
from autoctl.ports.kubernetes import EventType
from autoctl.state.reflector import Change

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=2)


def pod(
    node: str | None = "n",
    phase: str = "Running",
    deleted: datetime | None = None,
    owner: str = "ReplicaSet",
    scheduled: datetime | None = EARLIER,
) -> core.Pod:
    conditions = [core.Condition("PodScheduled", "True", last_transition_time=scheduled)]
    return core.Pod(
        metadata=core.ObjectMeta(
            name="p",
            namespace="default",
            deletion_timestamp=deleted,
            deletion_grace_period_seconds=30 if deleted else None,
            owner_references=[core.OwnerReference(kind=owner, name="o", uid="u", controller=True)],
        ),
        spec=core.PodSpec(node_name=node),
        status=core.PodStatus(phase=phase, conditions=conditions if node else None),
    )


def change(before: core.Pod | None, after: core.Pod, kind: EventType) -> Change[core.Pod]:
    return Change(kind, "default/p", after, before)


GOING = NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("before", "after", "kind", "expected"),
    [
        pytest.param(pod(None), pod(), EventType.MODIFIED, NOW, id="bound"),
        pytest.param(pod(), pod(phase="Succeeded"), EventType.MODIFIED, NOW, id="succeeded"),
        pytest.param(pod(), pod(phase="Failed"), EventType.MODIFIED, NOW, id="failed"),
        pytest.param(pod(), pod(deleted=GOING), EventType.MODIFIED, NOW, id="leaving"),
        pytest.param(pod(), pod(), EventType.DELETED, NOW, id="gone at once"),
        pytest.param(pod(), pod(), EventType.MODIFIED, None, id="nothing of interest"),
        pytest.param(
            pod(deleted=GOING), pod(deleted=GOING), EventType.DELETED, None, id="gone as announced"
        ),
        pytest.param(
            pod(phase="Failed"), pod(phase="Failed"), EventType.DELETED, None, id="ended, then gone"
        ),
        pytest.param(
            pod(None), pod(owner="DaemonSet"), EventType.MODIFIED, None, id="daemon bound"
        ),
        pytest.param(None, pod(None), EventType.ADDED, None, id="new, not bound"),
        pytest.param(None, pod(), EventType.ADDED, EARLIER, id="found bound"),
        pytest.param(
            None,
            pod(deleted=GOING),
            EventType.ADDED,
            NOW,
            id="found leaving: deleted its grace period before the time it must be gone by",
        ),
        pytest.param(None, pod(scheduled=GOING), EventType.ADDED, NOW, id="never in the future"),
    ],
)
def test_transitions(
    before: core.Pod | None, after: core.Pod, kind: EventType, expected: datetime | None
) -> None:
    found = transition(change(before, after, kind), NOW)
    assert found == (None if expected is None else ("n", expected))


def test_pods_of_other_owners_count() -> None:
    bare = msgspec.structs.replace(pod(), metadata=core.ObjectMeta(name="p", namespace="default"))
    assert transition(change(None, bare, EventType.ADDED), NOW) == ("n", EARLIER)
