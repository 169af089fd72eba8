"""Both charts on a real API server, with default values and a cluster name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.plane import SYSTEM_NODES, CommandError, ControlPlane

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "autoctl-chart"
SUBJECT = f"system:serviceaccount:{NAMESPACE}:autoctl"


@pytest.fixture(scope="module")
def release(plane: ControlPlane) -> Iterator[ControlPlane]:
    """The charts installed in a namespace that enforces the restricted Pod Security Standard."""
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    plane.helm(
        "install", "autoctl-crds", ROOT / "charts/autoctl-crds", "-n", NAMESPACE,
        # They were applied with kubectl before.
        "--take-ownership", "--force-conflicts",
    )  # fmt: skip
    plane.helm(
        "install", "autoctl", ROOT / "charts/autoctl", "-n", NAMESPACE,
        "--set", "settings.clusterName=test", "--wait", "--timeout", "90s",
    )  # fmt: skip
    yield plane
    for chart in ("autoctl", "autoctl-crds"):
        plane.helm("uninstall", chart, "-n", NAMESPACE, "--wait")
    plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_two_replicas_run_on_different_nodes_and_zones(release: ControlPlane) -> None:
    pods = release.get("pods", "-n", NAMESPACE)["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running", "Running"]
    assert {pod["spec"]["nodeName"] for pod in pods} == set(SYSTEM_NODES)
    assert {pod["spec"]["priorityClassName"] for pod in pods} == {"system-cluster-critical"}


def test_one_replica_at_a_time_may_go(release: ControlPlane) -> None:
    budget = release.get("pdb", "autoctl", "-n", NAMESPACE)
    assert budget["status"]["disruptionsAllowed"] == 1


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("watch", "pods", True),
        ("delete", "pods", True),
        ("create", "pods", False),
        ("patch", "pods", False),
        ("create", "pods/eviction", True),
        ("patch", "nodes", True),
        ("delete", "nodes", True),
        ("create", "nodes", False),
        ("create", "nodeclaims.karpenter.sh", True),
        ("patch", "nodeclaims.karpenter.sh/status", True),
        ("delete", "nodepools.karpenter.sh", False),
        ("patch", "nodeclasses.eks.amazonaws.com/status", True),
        ("delete", "nodeclasses.eks.amazonaws.com", False),
        ("create", "events", True),
        ("list", "secrets", False),
        ("get", "configmaps", False),
        ("update", "leases.coordination.k8s.io", False),
        ("delete", "customresourcedefinitions.apiextensions.k8s.io", False),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", False),
    ],
)
def test_rights_everywhere(release: ControlPlane, verb: str, resource: str, allowed: bool) -> None:
    assert can(release, verb, resource, "-A") == allowed


def test_its_lease_is_the_only_one_it_may_take(release: ControlPlane) -> None:
    leases = "leases.coordination.k8s.io"
    assert can(release, "update", f"{leases}/autoctl", "-n", NAMESPACE)
    assert can(release, "create", leases, "-n", NAMESPACE)
    assert not can(release, "update", f"{leases}/other", "-n", NAMESPACE)
    assert not can(release, "create", leases, "-n", "kube-system")


def test_of_user_objects_it_may_only_delete_the_built_in_ones(release: ControlPlane) -> None:
    for own in ("nodepools.karpenter.sh/system", "nodeclasses.eks.amazonaws.com/default"):
        assert can(release, "delete", own, "-A")
    assert not can(release, "delete", "nodepools.karpenter.sh/mine", "-A")
    assert not can(release, "delete", "nodeclasses.eks.amazonaws.com/mine", "-A")


def test_people_with_the_role_view_see_node_claims(release: ControlPlane) -> None:
    release.kubectl("create", "clusterrolebinding", "viewer", "--clusterrole=view", "--user=viewer")
    try:
        for verb, expected in (("list", "yes"), ("delete", "no")):
            assert asked(release, verb, "nodeclaims.karpenter.sh", "-A", "--as=viewer") == expected
    finally:
        release.kubectl("delete", "clusterrolebinding", "viewer")


def test_uninstalling_keeps_the_definitions(release: ControlPlane) -> None:
    release.helm("uninstall", "autoctl-crds", "-n", NAMESPACE, "--wait")
    try:
        assert release.get("crd", "nodepools.karpenter.sh")
    finally:
        release.helm(
            "install", "autoctl-crds", ROOT / "charts/autoctl-crds", "-n", NAMESPACE,
            "--take-ownership", "--force-conflicts",
        )  # fmt: skip


def can(plane: ControlPlane, verb: str, resource: str, *where: str) -> bool:
    return asked(plane, verb, resource, f"--as={SUBJECT}", *where) == "yes"


def asked(plane: ControlPlane, verb: str, resource: str, *arguments: str) -> str:
    """`kubectl auth can-i`, which ends with 1 where the answer is no."""
    resource, slash, subresource = resource.partition("/")
    # `leases/autoctl` names an object, `pods/eviction` a subresource.
    if slash and subresource in ("status", "eviction"):
        arguments = (*arguments, f"--subresource={subresource}")
    elif slash:
        resource = f"{resource}/{subresource}"
    try:
        return plane.kubectl("auth", "can-i", verb, resource, *arguments).strip()
    except CommandError as error:
        if not str(error).endswith(": no"):
            raise
        return "no"
