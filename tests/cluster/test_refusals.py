"""`autoctl run` where it cannot or must not work: a clear message, a non-zero exit, no change."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from account import Account
from revisions import revisions

from controlplane.installation import Installation, autoctl
from controlplane.plane import ControlPlane, system_node

CRDS = Path(__file__).resolve().parents[2] / "crds"
NAMESPACE = "refusals"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:autoctl"
READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True)
class Grounds:
    """autoctl installed beside a simulated account; each case starts a process of its own."""

    plane: ControlPlane
    installation: Installation
    account: Account
    kubeconfig: Path

    def run(
        self, *flags: str, kubeconfig: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`autoctl run` until it ends; it must do so by itself."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME")}
        return subprocess.run(
            autoctl("run", *flags),
            env=kept
            | self.installation.aws_environment
            | {
                "AUTOCTL_CLUSTER_NAME": self.installation.cluster_name,
                "AUTOCTL_METRICS_PORT": "0",
                "AUTOCTL_HEALTH_PORT": "0",
                "AUTOCTL_BIND_ADDRESS": "127.0.0.1",
                "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            }
            | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def grounds(plane: ControlPlane) -> Iterator[Grounds]:
    plane.kubectl("create", "namespace", NAMESPACE)
    installation = Installation(plane, namespace=NAMESPACE)
    try:
        installation.start_cloud()
        installation.install()
        token = plane.mint_token(NAMESPACE, "autoctl")
        kubeconfig = plane.kubeconfig_for_token(token, "refused", namespace=NAMESPACE)
        yield Grounds(plane, installation, Account(installation), kubeconfig)
    finally:
        installation.stop()
        installation.uninstall()
        plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@contextmanager
def unchanged(grounds: Grounds) -> Iterator[None]:
    """Fails when an object of the cluster or something in the account changed meanwhile."""
    objects = revisions(grounds.plane)
    account = grounds.account.state()
    yield
    assert revisions(grounds.plane) == objects
    assert grounds.account.state() == account
    writes = {r for r in grounds.plane.requests_of(ACCOUNT) if r.verb not in READS}
    assert writes == set()


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one message with which it ended. Nothing else may look like trouble."""
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line for line in lines if "exception" in line] == []
    trouble = [line for line in lines if line["level"] not in ("debug", "info")]
    assert [line["level"] for line in trouble] == ["critical"], trouble
    assert trouble[0]["msg"] == "cannot run here"
    return str(trouble[0]["error"])


# --- Settings -------------------------------------------------------------------------------------

WRONG_SETTINGS: dict[str, tuple[tuple[str, ...], Mapping[str, str], str]] = {
    "no cluster name": (
        (),
        {"AUTOCTL_CLUSTER_NAME": ""},
        "--cluster-name (AUTOCTL_CLUSTER_NAME) is required",
    ),
    "a flag that is not there": (("--clustername", "x"), {}, "No such option '--clustername'"),
    "a duration without a unit": (
        ("--batch-idle-duration", "10"),
        {},
        "--batch-idle-duration: expected a duration such as 10s or 1m30s",
    ),
    "a port that is none": (("--metrics-port", "web"), {}, "--metrics-port: "),
    "a port out of range": (("--health-port", "70000"), {}, "--health-port: "),
    "a word that is no choice": (("--log-format", "xml"), {}, "--log-format: "),
    "durations out of order": (
        ("--lease-duration", "5s", "--renew-deadline", "9s"),
        {},
        "need lease-duration > renew-deadline > 1.2 * retry-period",
    ),
    "a wrong variable": (
        (),
        {"AUTOCTL_SOLVER_BUDGET": "-1"},
        "AUTOCTL_SOLVER_BUDGET: ",
    ),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS, ids=str)
def test_wrong_settings(grounds: Grounds, case: str) -> None:
    """A wrong flag or variable is named, with what was expected, before anything is begun."""
    flags, environment, message = WRONG_SETTINGS[case]
    before = grounds.plane.requests_of(ACCOUNT)
    done = grounds.run(*flags, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert grounds.plane.requests_of(ACCOUNT) == before


# --- The cluster ----------------------------------------------------------------------------------


def test_no_kubeconfig(grounds: Grounds) -> None:
    """The path of a kubeconfig that is not there is named."""
    with unchanged(grounds):
        done = grounds.run("--kubeconfig", "missing.yaml")
    assert refusal(done) == "there is no kubeconfig at missing.yaml"


def test_unreachable_api_server(grounds: Grounds, tmp_path: Path) -> None:
    """The address of an API server that does not answer is named, after some seconds of trying."""
    config = changed_kubeconfig(grounds, tmp_path, "clusters", "server", "https://127.0.0.1:1")
    with unchanged(grounds):
        done = grounds.run(kubeconfig=config)
    assert "the API server https://127.0.0.1:1 does not answer: " in refusal(done)


def test_credentials_that_the_api_server_does_not_know(grounds: Grounds, tmp_path: Path) -> None:
    """A wrong token is told apart from missing rights."""
    config = changed_kubeconfig(grounds, tmp_path, "users", "token", "not-a-token")
    with unchanged(grounds):
        done = grounds.run(kubeconfig=config)
    message = f"the API server {grounds.plane.server} does not accept the credentials: "
    assert refusal(done).startswith(message)


def test_an_account_without_rights(grounds: Grounds, namespace: str) -> None:
    """Where the chart's role is not bound, the message names the right and the chart."""
    token = grounds.plane.mint_token(namespace, "default")
    config = grounds.plane.kubeconfig_for_token(token, "powerless", namespace=namespace)
    with unchanged(grounds):
        done = grounds.run(kubeconfig=config)
    message = refusal(done)
    assert f"system:serviceaccount:{namespace}:default" in message
    assert "customresourcedefinitions" in message
    assert "install the chart's ClusterRole and its binding" in message


@pytest.mark.parametrize("name", ["nodeclasses.eks.amazonaws.com", "nodeoverlays.karpenter.sh"])
def test_missing_definitions(grounds: Grounds, name: str) -> None:
    """A CRD that is not there is named, with the way to install it."""
    with without_definition(grounds.plane, name), unchanged(grounds):
        done = grounds.run()
    message = refusal(done)
    assert f"{name} (missing)" in message
    assert "nodepools" not in message
    assert "autoctl-crds" in message


def test_an_auto_mode_cluster(grounds: Grounds) -> None:
    """Nodes of EKS Auto Mode belong to its own controllers."""
    with object_in_place(grounds.plane, auto_mode_node()), unchanged(grounds):
        done = grounds.run()
    message = refusal(done)
    assert "this is an EKS Auto Mode cluster: the nodes i-0123456789abcdef0 " in message
    assert "eks.amazonaws.com/compute-type=auto" in message


def test_a_cluster_with_karpenter(grounds: Grounds) -> None:
    """A Karpenter that lives owns the NodePools; its Lease and its holder are named."""
    with object_in_place(grounds.plane, karpenter_lease()), unchanged(grounds):
        done = grounds.run()
    message = refusal(done)
    assert f"{NAMESPACE}/karpenter-leader-election is held by karpenter-5f" in message


# --- AWS ------------------------------------------------------------------------------------------

AWS_OBSTACLES: dict[str, tuple[Mapping[str, str], tuple[str, ...], str]] = {
    "no region": (
        {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""},
        (),
        "no AWS region: set --region (AUTOCTL_REGION) or AWS_REGION",
    ),
    "no cluster of this name": (
        {"AUTOCTL_CLUSTER_NAME": "elsewhere"},
        (),
        "there is no EKS cluster 'elsewhere' in us-west-2: check --cluster-name and --region",
    ),
    "wrong credentials": (
        {},
        ("sts:GetCallerIdentity",),
        "AWS does not accept the credentials: ",
    ),
    "a missing permission": (
        {},
        ("eks:DescribeCluster",),
        "the AWS identity lacks a permission: ",
    ),
}


@pytest.mark.parametrize("case", AWS_OBSTACLES, ids=str)
def test_aws(grounds: Grounds, case: str) -> None:
    """What is wrong with region, cluster name or credentials of AWS is told apart."""
    environment, denied, message = AWS_OBSTACLES[case]
    grounds.account.deny(*denied)
    try:
        with unchanged(grounds):
            done = grounds.run(**environment)
    finally:
        grounds.account.deny()
    assert message in refusal(done)


# --- What the cases put in place ------------------------------------------------------------------


def changed_kubeconfig(
    grounds: Grounds, folder: Path, section: str, field: str, value: str
) -> Path:
    """The working kubeconfig with one thing wrong."""
    config = json.loads(grounds.kubeconfig.read_text())
    config[section][0][section.removesuffix("s")][field] = value
    path = folder / "kubeconfig.json"
    path.write_text(json.dumps(config))
    return path


@contextmanager
def without_definition(plane: ControlPlane, name: str) -> Iterator[None]:
    """Without the CRD of a kind of which there are no objects at the time."""
    plane.kubectl("delete", "crd", name)
    try:
        yield
    finally:
        plane.apply_crds(CRDS)


@contextmanager
def object_in_place(plane: ControlPlane, item: Mapping[str, Any]) -> Iterator[None]:
    plane.create(item)
    name, namespace = item["metadata"]["name"], item["metadata"].get("namespace", "default")
    try:
        yield
    finally:
        plane.kubectl("delete", item["kind"].lower(), name, "-n", namespace)


def auto_mode_node() -> Mapping[str, Any]:
    """A node that Auto Mode's own controllers made."""
    node = system_node("i-0123456789abcdef0", "us-west-2a", "192.168.9.10")
    node["metadata"]["labels"]["eks.amazonaws.com/compute-type"] = "auto"
    return node


def karpenter_lease() -> Mapping[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "karpenter-leader-election", "namespace": NAMESPACE},
        "spec": {
            "holderIdentity": "karpenter-5f",
            "leaseDurationSeconds": 15,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
