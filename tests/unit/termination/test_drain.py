"""Which pods a drain takes next (Karpenter's order, and the node's deadline)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.controllers.termination.drain import plan_drain

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def pod(name: str, *, grace: int = 30, deleted: datetime | None = None, **extra: Any) -> core.Pod:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": name}
    metadata |= extra.pop("metadata", {})
    if deleted is not None:
        metadata["deletionTimestamp"] = deleted.isoformat()
    spec = {"nodeName": "n", "terminationGracePeriodSeconds": grace, **extra}
    body = {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}
    return msgspec.convert(body, core.Pod, strict=False)


DAEMON = {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d"}]}
MIRROR = {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n"}]}
CRITICAL = "system-cluster-critical"
KEPT = {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}
TOLERATION = [{"key": "karpenter.sh/disrupted", "operator": "Exists"}]


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ("web daemon critical both", {"web"}),
        ("daemon critical both", {"daemon"}),
        ("critical both", {"critical"}),
        ("both", {"both"}),
    ],
)
def test_tiers(names: str, first: set[str]) -> None:
    everyone = {
        "web": pod("web"),
        "daemon": pod("daemon", metadata=DAEMON),
        "critical": pod("critical", priorityClassName=CRITICAL),
        "both": pod("both", metadata=DAEMON, priorityClassName=CRITICAL),
    }
    drain = plan_drain([everyone[n] for n in names.split()], NOW, None)
    assert {p.metadata.name for p in drain.evict} == first
    assert len(drain.waiting) == len(names.split())


def test_who_is_not_waited_for() -> None:
    stuck = pod("stuck", deleted=NOW - timedelta(seconds=61))
    tolerant = pod("tolerant", tolerations=TOLERATION)
    assert plan_drain([stuck, tolerant, pod("mirror", metadata=MIRROR)], NOW, None).done
    leaving = plan_drain([pod("leaving", deleted=NOW)], NOW, None)
    assert not leaving.done
    assert not leaving.evict


def test_protected_pods_hold_the_drain_up_to_the_deadline() -> None:
    kept = pod("kept", metadata=KEPT)
    assert plan_drain([kept], NOW, None).evict == ()
    assert plan_drain([kept], NOW, NOW + timedelta(minutes=1)).delete == ()
    (forced,) = plan_drain([kept], NOW, NOW + timedelta(seconds=30)).delete
    assert forced.grace_seconds == 30


def test_a_long_grace_period_is_cut_to_what_is_left() -> None:
    drain = plan_drain([pod("slow", grace=1800)], NOW, NOW + timedelta(minutes=10))
    assert [(f.pod.metadata.name, f.grace_seconds) for f in drain.delete] == [("slow", 600)]
    late = plan_drain([pod("late")], NOW, NOW - timedelta(seconds=5))
    assert late.delete[0].grace_seconds == 1


def test_a_pod_that_ends_after_the_deadline_is_told_again() -> None:
    deadline = NOW + timedelta(minutes=1)
    ending = pod("ending", deleted=NOW + timedelta(minutes=5))
    assert plan_drain([ending], NOW, deadline).delete[0].grace_seconds == 60
    soon = pod("soon", deleted=NOW + timedelta(seconds=20))
    assert plan_drain([soon], NOW, deadline).delete == ()
