"""Workloads without pods stand for the pods their controllers would make."""

from typing import Any

import pytest

from autoctl.state.expansion import TooManyPodsError, admitted, check_size, expand_workloads

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},
}


def workload(kind: str, **spec: Any) -> dict[str, Any]:
    version = {"Job": "batch/v1", "ReplicationController": "v1"}.get(kind, "apps/v1")
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": TEMPLATE, **spec},
    }


SELECTOR = {"matchLabels": {"app": "web"}}


def names(*workloads: dict[str, Any], pods: list[dict[str, Any]] | None = None) -> list[str]:
    return [f"{o['kind']}/{o['metadata']['name']}" for o in expand_workloads(workloads, pods or [])]


def test_a_deployment_becomes_its_replicas() -> None:
    assert names(workload("Deployment", replicas=2, selector=SELECTOR)) == [
        "Pod/web-0",
        "Pod/web-1",
    ]
    assert names(workload("Deployment", selector=SELECTOR)) == ["Pod/web-0"]
    assert names(workload("Deployment", replicas=0, selector=SELECTOR)) == []


def test_its_pods_in_the_files_count_instead() -> None:
    mine = {"metadata": {"namespace": "shop", "labels": {"app": "web"}}}
    other = {"metadata": {"namespace": "elsewhere", "labels": {"app": "web"}}}
    deployment = workload("Deployment", replicas=3, selector=SELECTOR)
    assert names(deployment, pods=[mine]) == []
    assert len(names(deployment, pods=[other])) == 3


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        ("Deployment", {"replicas": 2_000_000_000}, "spec.replicas"),
        ("ReplicaSet", {"replicas": 200_001}, "spec.replicas"),
        ("StatefulSet", {"replicas": 200_001}, "spec.replicas"),
        ("ReplicationController", {"replicas": 200_001}, "spec.replicas"),
        ("Job", {"parallelism": 200_001}, "spec.parallelism"),
        ("Job", {"parallelism": 300_000, "completions": 250_000}, "spec.completions"),
        ("Job", {"parallelism": 250_000, "completions": 300_000}, "spec.parallelism"),
    ],
)
def test_more_pods_than_there_may_be_are_refused(
    kind: str, spec: dict[str, int], path: str
) -> None:
    given = workload(kind, **spec)
    for check in (lambda: check_size(given), lambda: names(given)):
        with pytest.raises(TooManyPodsError, match="expected at most 200000 pods of all") as caught:
            check()
        assert caught.value.path == path


def test_all_workloads_share_the_room() -> None:
    web = workload("Deployment", replicas=3, selector=SELECTOR)
    api = workload("Job", parallelism=2)
    assert len(list(expand_workloads([web, api], [], room=5))) == 5
    with pytest.raises(TooManyPodsError, match=r"of them others'\), got 2$"):
        list(expand_workloads([web, api], [], room=4))
    check_size(workload("Deployment", replicas=200_000))
    check_size({"apiVersion": "v1", "kind": "ConfigMap", "spec": {"replicas": 2_000_000_000}})


def test_a_replica_set_of_a_deployment_is_not_counted_twice() -> None:
    replica_set = workload("ReplicaSet", replicas=2, selector=SELECTOR)
    replica_set["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web"}]
    assert names(workload("Deployment", replicas=2, selector=SELECTOR), replica_set) == [
        "Pod/web-0",
        "Pod/web-1",
    ]


def test_a_stateful_set_brings_its_claims() -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"storageClassName": "gp3"}}]
    made = list(
        expand_workloads(
            [workload("StatefulSet", replicas=1, selector=SELECTOR, volumeClaimTemplates=claims)],
            [],
        )
    )
    assert [o["kind"] for o in made] == ["PersistentVolumeClaim", "Pod"]
    assert made[0]["metadata"]["name"] == "data-web-0"
    assert made[1]["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}
    ]


def test_a_job_runs_no_more_than_it_needs() -> None:
    assert len(names(workload("Job", parallelism=5, completions=3))) == 3
    assert len(names(workload("Job"))) == 1
    assert names(workload("Job", suspend=True)) == []


def test_a_job_makes_up_for_what_has_not_succeeded_yet() -> None:
    job = workload("Job", parallelism=5, completions=6)
    assert len(names({**job, "status": {"succeeded": 4}})) == 2
    for end in ("Complete", "Failed"):
        ended = {"conditions": [{"type": end, "status": "True"}]}
        assert names({**job, "status": ended}) == []


def test_a_workload_that_is_being_deleted_has_no_pods() -> None:
    going = workload("Deployment", replicas=2, selector=SELECTOR)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert names(going) == []


def test_admission_fills_in_priority_overhead_and_requests() -> None:
    pod = {
        "kind": "Pod",
        "spec": {
            "priorityClassName": "high",
            "runtimeClassName": "kata",
            "containers": [
                {"resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}}
            ],
        },
    }
    spec = admitted(pod, {"high": 7}, {"kata": {"overhead": {"podFixed": {"cpu": "250m"}}}})["spec"]
    assert spec["priority"] == 7
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    critical = {"spec": {"priorityClassName": "system-node-critical"}}
    assert admitted(critical, {}, {})["spec"]["priority"] == 2_000_001_000


def test_admission_adds_what_a_runtime_class_schedules_by() -> None:
    toleration = {"key": "sandbox", "operator": "Exists"}
    given = {"nodeSelector": {"pool": "kata"}, "tolerations": [toleration]}
    pod = {
        "spec": {
            "runtimeClassName": "kata",
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [toleration, {"key": "own"}],
        }
    }
    spec = admitted(pod, {}, {"kata": {"scheduling": given}})["spec"]
    assert spec["nodeSelector"] == {"pool": "kata", "disk": "ssd"}
    assert spec["tolerations"] == [toleration, {"key": "own"}]
    assert admitted({"spec": {}}, {}, {"kata": {"scheduling": given}})["spec"] == {}


def test_a_pod_level_limit_is_no_request_where_containers_ask() -> None:
    spec = {"resources": {"limits": {"cpu": "4"}}}
    assert admitted({"spec": spec}, {}, {})["spec"] == spec
