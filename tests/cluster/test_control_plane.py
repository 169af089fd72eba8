"""The control plane of these tests behaves as the tests that build on it expect."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.plane import (
    PARTS,
    SYSTEM_NODES,
    UNMANAGED_LABEL,
    CommandError,
    ControlPlane,
    Request,
    system_node,
)
from controlplane.process import wait_for

TOLERATION = {"key": "CriticalAddonsOnly", "operator": "Exists"}


def pod_spec(**more: Any) -> dict[str, Any]:
    return {
        "tolerations": [TOLERATION],
        "containers": [{"name": "main", "image": "example.com/app:1"}],
    } | more


def deployment(name: str, namespace: str, replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec()},
        },
    }


def test_server_reports_the_pinned_version(plane: ControlPlane) -> None:
    assert '"gitVersion": "v1.34.4"' in plane.kubectl("get", "--raw", "/version")


def test_system_nodes_take_only_pods_that_tolerate_them(
    plane: ControlPlane, namespace: str
) -> None:
    plane.apply(
        deployment("tolerates", namespace, 4),
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "plain", "namespace": namespace},
            "spec": pod_spec(tolerations=[]),
        },
    )
    plane.kubectl(
        "wait",
        "--for=condition=Available",
        "deployment/tolerates",
        "-n",
        namespace,
        "--timeout=30s",
    )
    pods = plane.get("pods", "-n", namespace, "-l", "app=tolerates")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} <= set(SYSTEM_NODES)
    assert all(pod["status"]["podIP"].startswith("100.") for pod in pods)
    plane.kubectl(
        "wait",
        "--for=jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable",
        "pod/plain",
        "-n",
        namespace,
        "--timeout=30s",
    )


def test_jobs_complete_and_their_pods_delete(plane: ControlPlane, namespace: str) -> None:
    template = {
        "metadata": {"annotations": {"simulate.autoctl.io/run-duration": "1s"}},
        "spec": pod_spec(restartPolicy="Never"),
    }
    plane.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "done", "namespace": namespace},
            "spec": {"completions": 2, "parallelism": 2, "template": template},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "endless", "namespace": namespace},
            "spec": {"template": template | {"metadata": {}}},
        },
    )
    plane.kubectl("wait", "--for=condition=Complete", "job/done", "-n", namespace, "--timeout=30s")
    plane.kubectl(
        "wait", "--for=jsonpath={.status.ready}=1", "job/endless", "-n", namespace, "--timeout=30s"
    )
    # Its pods carry the Job controller's finalizer until their end is reported.
    plane.kubectl("delete", "job", "endless", "-n", namespace)
    plane.kubectl(
        "wait", "--for=delete", "pod", "-l", "job-name=endless", "-n", namespace, "--timeout=30s"
    )


def test_readiness_gates_hold_a_pod_back(plane: ControlPlane, namespace: str) -> None:
    gate = "target-health.example.com/x"
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "gated", "namespace": namespace},
            "spec": pod_spec(readinessGates=[{"conditionType": gate}]),
        }
    )
    in_namespace = ("pod/gated", "-n", namespace, "--timeout=30s")
    plane.kubectl("wait", "--for=condition=ContainersReady", *in_namespace)
    plane.kubectl("wait", "--for=condition=Ready=False", *in_namespace)
    patch = f'{{"status": {{"conditions": [{{"type": "{gate}", "status": "True"}}]}}}}'
    plane.kubectl(
        "patch", "pod", "gated", "-n", namespace, "--subresource=status", "--type=strategic",
        "-p", patch,
    )  # fmt: skip
    plane.kubectl("wait", "--for=condition=Ready", *in_namespace)


def test_a_node_without_kubelet_keeps_its_terminating_pods(
    plane: ControlPlane, namespace: str
) -> None:
    node = system_node("silent", "us-west-2a", "192.168.9.9")
    node["metadata"]["labels"]["pool"] = "silent"
    plane.create(node)
    try:
        plane.kubectl("wait", "--for=condition=Ready", "node/silent", "--timeout=30s")
        plane.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "stuck", "namespace": namespace},
                "spec": pod_spec(nodeName="silent"),
            }
        )
        plane.kubectl("wait", "--for=condition=Ready", "pod/stuck", "-n", namespace)
        plane.kubectl("label", "node", "silent", f"{UNMANAGED_LABEL}=true")
        plane.kubectl("delete", "pod", "stuck", "-n", namespace, "--wait=false")
        with pytest.raises(CommandError, match="timed out"):
            plane.kubectl("wait", "--for=delete", "pod/stuck", "-n", namespace, "--timeout=3s")
        plane.kubectl("label", "node", "silent", f"{UNMANAGED_LABEL}-")
        plane.kubectl("wait", "--for=delete", "pod/stuck", "-n", namespace, "--timeout=30s")
    finally:
        plane.kubectl("delete", "node", "silent")


def test_a_service_accounts_token_has_only_its_rights(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    plane.kubectl(
        "create", "role", "reader", "--verb=list", "--resource=configmaps", "-n", namespace
    )
    plane.kubectl(
        "create", "rolebinding", "reader", "--role=reader",
        f"--serviceaccount={namespace}:reader", "-n", namespace,
    )  # fmt: skip
    token = plane.mint_token(namespace, "reader")
    config = plane.kubeconfig_for_token(token, "reader", namespace=namespace)
    assert "kube-root-ca.crt" in plane.kubectl("get", "configmaps", "--kubeconfig", config)
    with pytest.raises(CommandError, match=f"{namespace}:reader.*cannot list resource .pods"):
        plane.kubectl("get", "pods", "--kubeconfig", config)
    requests = plane.requests_of(f"system:serviceaccount:{namespace}:reader")
    assert {Request("list", "", "configmaps", 200), Request("list", "", "pods", 403)} <= requests


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_comes_back_with_the_data(
    plane: ControlPlane, namespace: str, part: str
) -> None:
    plane.kubectl("create", "configmap", "kept", "-n", namespace)
    before = plane.processes[part].pid
    plane.restart_part(part)
    assert plane.processes[part].pid != before
    assert plane.get("configmap", "kept", "-n", namespace)["metadata"]["name"] == "kept"
    # The cluster still does its work: a Deployment's pods start.
    plane.apply(deployment("after", namespace, 1))
    wait_for(
        "a pod after the restart",
        lambda: (
            plane.get("deployment", "after", "-n", namespace)["status"].get("readyReplicas") == 1
        ),
        timeout=60,
    )


def test_stop_ends_every_process_and_removes_the_folder() -> None:
    with ControlPlane() as second:
        processes = list(second.processes.values())
        assert all(process.running for process in processes)
        assert second.folder.is_dir()
    assert [process.name for process in processes if process.running] == []
    assert not second.folder.exists()
