"""What a pod is to draining and disruption."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.state import pods
from autoctl.state.budgets import never_allows, with_status

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def pod(
    *,
    owner: str | None = None,
    version: str = "apps/v1",
    annotations: dict[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **metadata: Any,
) -> core.Pod:
    reference = {"apiVersion": version, "kind": owner, "name": "o", "controller": True}
    owners = [reference] if owner else []
    return msgspec.convert(
        {
            "metadata": {
                "name": "p",
                "namespace": "default",
                "labels": {"app": "a"},
                "annotations": annotations,
                "ownerReferences": owners,
                **metadata,
            },
            "spec": spec or {},
            "status": status or {"phase": "Running"},
        },
        core.Pod,
        strict=False,
    )


DELETED = (NOW - timedelta(seconds=30)).isoformat()
LONG_DELETED = (NOW - timedelta(seconds=61)).isoformat()


@pytest.mark.parametrize(
    ("subject", "reschedulable", "evictable", "waited_for"),
    [
        (pod(owner="ReplicaSet"), True, True, True),
        (pod(), True, True, True),
        (pod(owner="DaemonSet"), False, True, True),
        (pod(owner="DaemonSet", version=""), False, True, True),
        (pod(owner="DaemonSet", version="apps.kruise.io/v1alpha1"), True, True, True),
        (pod(owner="Node", version="v1"), False, False, False),
        (pod(status={"phase": "Succeeded"}), False, False, False),
        (pod(owner="ReplicaSet", deletionTimestamp=DELETED), False, False, True),
        (pod(owner="StatefulSet", deletionTimestamp=DELETED), True, False, True),
        (
            pod(owner="StatefulSet", deletionTimestamp=DELETED, status={"phase": "Failed"}),
            True,
            False,
            False,
        ),
        (pod(owner="StatefulSet", status={"phase": "Failed"}), False, False, False),
        (
            pod(owner="StatefulSet", version="apps.kruise.io/v1beta1", deletionTimestamp=DELETED),
            False,
            False,
            True,
        ),
        (pod(owner="ReplicaSet", deletionTimestamp=LONG_DELETED), False, False, False),
        (pod(spec={"tolerations": [{"operator": "Exists"}]}), True, False, False),
        (
            pod(spec={"tolerations": [{"key": "karpenter.sh/disrupted", "operator": "Exists"}]}),
            True,
            False,
            False,
        ),
        (
            pod(spec={"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}),
            True,
            True,
            True,
        ),
    ],
)
def test_drain(subject: core.Pod, reschedulable: bool, evictable: bool, waited_for: bool) -> None:
    assert pods.is_reschedulable(subject) is reschedulable
    assert pods.is_evictable(subject, NOW) is evictable
    assert pods.is_waiting_eviction(subject, NOW) is waited_for


@pytest.mark.parametrize(
    ("value", "started", "expected"),
    [
        (None, 0, pods.Protection.NONE),
        ("false", 0, pods.Protection.NONE),
        ("true", 0, pods.Protection.ACTIVE),
        ("10m", 5, pods.Protection.ACTIVE),
        ("10m", 10, pods.Protection.ELAPSED),
        ("10m", None, pods.Protection.ACTIVE),
        ("soon", 0, pods.Protection.INVALID),
        ("-5m", 0, pods.Protection.INVALID),
    ],
)
def test_do_not_disrupt(value: str | None, started: int | None, expected: pods.Protection) -> None:
    status: dict[str, Any] = {"phase": "Running"}
    if started is not None:
        status["startTime"] = (NOW - timedelta(minutes=started)).isoformat()
    annotations = None if value is None else {"karpenter.sh/do-not-disrupt": value}
    assert pods.do_not_disrupt(pod(annotations=annotations, status=status), NOW).protection is (
        expected
    )


@pytest.mark.parametrize(
    ("spec", "conditions", "pending", "provisionable"),
    [
        ({}, [], True, False),
        ({}, [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}], True, True),
        (
            {"schedulingGates": [{"name": "g"}]},
            [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
            False,
            False,
        ),
        ({"schedulerName": "other"}, [], False, False),
        ({"nodeName": "n"}, [], False, False),
    ],
)
def test_pending(
    spec: dict[str, Any], conditions: list[Any], pending: bool, provisionable: bool
) -> None:
    subject = pod(spec=spec, status={"phase": "Pending", "conditions": conditions})
    assert pods.is_pending(subject) is pending
    assert pods.is_provisionable(subject) is provisionable


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"minAvailable": 2}, 1),
        ({"minAvailable": "50%"}, 1),
        ({"minAvailable": "100%"}, 0),
        ({"maxUnavailable": 1}, 0),
        ({"maxUnavailable": 2}, 1),
        ({"maxUnavailable": "30%"}, 1),
        ({}, 3),
    ],
)
def test_a_budget_without_status_is_computed(spec: dict[str, Any], allowed: int) -> None:
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    everyone = [pod(status=ready)] * 3 + [pod(status={"phase": "Pending"})]
    budget = msgspec.convert(
        {
            "metadata": {"name": "b", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, **spec},
        },
        core.PodDisruptionBudget,
    )
    status = with_status({"default/b": budget}, everyone)["default/b"].status
    assert status is not None
    assert status.disruptions_allowed == allowed


@pytest.mark.parametrize(
    ("spec", "never"),
    [
        ({"maxUnavailable": 0}, True),
        ({"maxUnavailable": "0%"}, True),
        ({"minAvailable": "100%"}, True),
        ({"maxUnavailable": 1}, False),
        ({"maxUnavailable": "1%"}, False),
        ({"minAvailable": 1}, False),
        ({"minAvailable": 100}, False),
        ({"minAvailable": "99%"}, False),
        ({}, False),
    ],
)
def test_budgets_that_never_allow_a_disruption(spec: dict[str, Any], never: bool) -> None:
    budget = msgspec.convert(
        {"metadata": {"name": "b"}, "spec": spec, "status": {"disruptionsAllowed": int(never)}},
        core.PodDisruptionBudget,
    )
    assert never_allows(budget) is never
