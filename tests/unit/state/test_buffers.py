"""CapacityBuffers: how much room they come to, of which shape, or why none."""

from __future__ import annotations

from typing import Any

import pytest

from autoctl.api.capacitybuffer import CapacityBuffer
from autoctl.ports.kubernetes import DEPLOYMENTS, JOBS, POD_TEMPLATES, Object
from autoctl.state.buffers import MOST_PODS, Reference, reference_of, resolve, resolve_all
from autoctl.state.pods import is_evictable, is_reschedulable, stands_for_room


def buffer(name: str = "room", **spec: Any) -> CapacityBuffer:
    return CapacityBuffer.from_dict(
        {
            "apiVersion": "autoscaling.x-k8s.io/v1beta1",
            "kind": "CapacityBuffer",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": spec,
        }
    )


SHAPE = {"podTemplateRef": {"name": "shape"}}
WEB = {"scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "web"}}


def template(**requests: str) -> Object:
    asked = requests or {"cpu": "500m", "memory": "1Gi"}
    return {
        "metadata": {
            "labels": {"app": "web"},
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        },
        "spec": {"containers": [{"name": "c", "image": "x", "resources": {"requests": asked}}]},
    }


def pod_template(**requests: str) -> Object:
    return {"metadata": {"name": "shape", "generation": 4}, "template": template(**requests)}


def deployment(replicas: int | None) -> Object:
    spec: Object = {"template": template()}
    return {"spec": spec if replicas is None else {**spec, "replicas": replicas}}


@pytest.mark.parametrize(
    ("spec", "referent", "replicas"),
    [
        ({**SHAPE, "replicas": 3}, pod_template(), 3),
        ({**SHAPE, "replicas": 0}, pod_template(), 0),
        # Limits
        ({**SHAPE, "limits": {"cpu": "2"}}, pod_template(), 4),
        ({**SHAPE, "limits": {"cpu": "1900m"}}, pod_template(), 3),
        ({**SHAPE, "limits": {"cpu": "100", "memory": "2Gi"}}, pod_template(), 2),
        ({**SHAPE, "limits": {"cpu": "400m"}}, pod_template(), 0),
        ({**SHAPE, "limits": {"example.com/device": "1"}}, pod_template(), 0),
        ({**SHAPE, "replicas": 5, "limits": {"example.com/device": "1"}}, pod_template(), 5),
        ({**SHAPE, "replicas": 3, "limits": {"cpu": "1"}}, pod_template(), 2),
        ({**SHAPE, "replicas": 1, "limits": {"cpu": "1"}}, pod_template(), 1),
        ({**SHAPE, "limits": {"cpu": "1000"}}, pod_template(cpu="1m"), MOST_PODS),
        # Percentage of a workload
        ({**WEB, "percentage": 10}, deployment(50), 5),
        ({**WEB, "percentage": 10}, deployment(51), 6),
        ({**WEB, "percentage": 1}, deployment(3), 1),
        ({**WEB, "percentage": 0}, deployment(50), 0),
        ({**WEB, "percentage": 200}, deployment(2), 4),
        ({**WEB, "percentage": 50}, deployment(0), 0),
        ({**WEB, "percentage": 50, "limits": {"cpu": "2"}}, deployment(0), 0),
        ({**WEB, "percentage": 100}, deployment(None), 1),
        ({**WEB, "percentage": 10, "replicas": 8}, deployment(50), 8),
        ({**WEB, "percentage": 10, "replicas": 2}, deployment(50), 5),
        ({**WEB, "percentage": 50, "limits": {"cpu": "2"}}, deployment(50), 4),
        ({**WEB, "replicas": 2}, deployment(0), 2),
        (WEB, deployment(50), 0),
    ],
)
def test_size(spec: dict[str, Any], referent: Object, replicas: int) -> None:
    found = resolve(buffer(**spec), referent)
    assert (found.reason, found.replicas, len(found.pods)) == ("Resolved", replicas, replicas)


@pytest.mark.parametrize(
    ("spec", "referent", "wanted"),
    [
        ({**SHAPE, "replicas": 1_000_000_000}, pod_template(), 1_000_000_000),
        ({**SHAPE, "limits": {"cpu": "1000000"}}, pod_template(cpu="1m"), 1_000_000_000),
        ({**WEB, "percentage": 1_000_000_000}, deployment(100), 1_000_000_000),
    ],
)
def test_a_slip_of_the_pen_is_capped_and_told(
    spec: dict[str, Any], referent: Object, wanted: int
) -> None:
    found = resolve(buffer(**spec), referent)
    assert (found.reason, found.replicas, len(found.pods)) == ("Resolved", MOST_PODS, MOST_PODS)
    assert found.message.endswith(f"room is kept for {MOST_PODS} pods, not for {wanted}")


def test_a_job_counts_its_parallelism() -> None:
    follows = {"scalableRef": {"apiGroup": "batch", "kind": "Job", "name": "sum"}}
    job = {"spec": {"template": template(), "parallelism": 8, "completions": 100}}
    assert resolve(buffer(**follows, percentage=25), job).replicas == 2


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({**SHAPE, "replicas": 1}, Reference(POD_TEMPLATES, "shop", "shape")),
        (WEB, Reference(DEPLOYMENTS, "shop", "web")),
        (
            {"scalableRef": {"apiGroup": "batch", "kind": "Job", "name": "a"}},
            Reference(JOBS, "shop", "a"),
        ),
        ({"scalableRef": {"apiGroup": "", "kind": "Deployment", "name": "a"}}, None),
        ({"scalableRef": {"apiGroup": "apps", "kind": "DaemonSet", "name": "a"}}, None),
        ({}, None),
    ],
)
def test_reference(spec: dict[str, Any], expected: Reference | None) -> None:
    assert reference_of(buffer(**spec)) == expected


@pytest.mark.parametrize(
    ("spec", "referent", "reason", "message"),
    [
        ({}, None, "ResolutionFailed", "Neither podTemplateRef nor scalableRef is set"),
        ({**SHAPE, "replicas": 1}, None, "PodTemplateNotFound", "PodTemplate 'shape' not found"),
        (WEB, None, "ScalableRefNotFound", "Deployment 'web' not found"),
        (
            {"scalableRef": {"apiGroup": "x.io", "kind": "Thing", "name": "a"}},
            None,
            "ResolutionFailed",
            "scalableRef: Thing of x.io: expected Deployment of apps",
        ),
        (
            {**SHAPE, "replicas": 1},
            pod_template(cpu="1x"),
            "ResolutionFailed",
            "spec.containers[0].resources.requests",
        ),
        (
            {**SHAPE, "replicas": 1},
            {"template": {"spec": {"containers": "none"}}},
            "ResolutionFailed",
            "PodTemplate 'shape': Expected",
        ),
    ],
)
def test_what_cannot_be_resolved_keeps_nothing(
    spec: dict[str, Any], referent: Object | None, reason: str, message: str
) -> None:
    found = resolve(buffer(**spec), referent)
    assert (found.reason, found.replicas, found.pods) == (reason, 0, ())
    assert message in found.message


def test_the_pods_are_of_the_shape_and_come_last() -> None:
    shape = pod_template()
    shape["template"]["spec"] |= {
        "priorityClassName": "high",
        "priority": 1000,
        "nodeSelector": {"a": "b"},
        "schedulerName": "mine",
        "schedulingGates": [{"name": "wait"}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"name": "config", "configMap": {"name": "config"}},
        ],
    }
    first, second = resolve(buffer(**SHAPE, replicas=2), shape).pods
    assert (first.key, second.key) == ("shop/capacity-buffer-room-0", "shop/capacity-buffer-room-1")
    assert first.spec.priority == -(2**31)
    assert first.spec.node_selector == {"a": "b"}
    assert [v.name for v in first.spec.volumes or ()] == ["config"]
    assert (first.spec.scheduler_name, first.spec.scheduling_gates) == (None, None)
    assert first.metadata.labels == {"app": "web"}
    assert first.metadata.annotations == {
        "karpenter.sh/capacity-buffer-fake-pod": "true",
        "karpenter.sh/capacity-buffer-name": "room",
        "karpenter.sh/capacity-buffer-namespace": "shop",
    }, "an annotation of the template would keep nodes that nobody uses"


def test_room_is_moved_but_never_evicted() -> None:
    from datetime import UTC, datetime

    (pod,) = resolve(buffer(**SHAPE, replicas=1), pod_template()).pods
    assert stands_for_room(pod)
    assert is_reschedulable(pod)
    assert not is_evictable(pod, datetime(2026, 1, 5, tzinfo=UTC))


def test_other_strategies_are_left_to_others() -> None:
    theirs = buffer("theirs", **SHAPE, replicas=1, provisioningStrategy="buffer.gke.io/standby")
    ours = buffer("ours", **SHAPE, replicas=1)
    found = resolve_all([theirs, ours], lambda _: pod_template())
    assert list(found) == ["shop/ours"]
    assert (found["shop/ours"].pod_template, found["shop/ours"].generation) == ("shape", 4)
