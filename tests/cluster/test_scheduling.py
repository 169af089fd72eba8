"""The scheduler's decisions against the real kube-scheduler."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from e2e import MANIFESTS, NODE_POOL, World
from provisioner import provisioning

from controlplane.installation import autoctl
from controlplane.volumes import ZONE

PODS = 12 + 3 + 5 + 1


@pytest.mark.slow
def test_kube_scheduler_agrees_with_every_placement(world: World, namespace: str) -> None:
    """A Deployment spread over zones, a StatefulSet with volumes that wait for their consumers,
    pods that keep apart and a GPU pod, applied together: the operator makes the nodes that
    `autoctl plan` told of the same cluster and no other, kube-scheduler finds a place for every pod
    on them. Nothing of the steering stays on nodes or pods.
    """
    operator = world.installation.start_operator()
    operator.wait_ready()
    world.apply_auto_mode()
    world.apply_pool("gpu-pool")
    # All pods are to be there before the first decision, as they are for `plan`.
    assert operator.process.stop(patience=30) == 0

    with provisioning(world.plane):
        world.plane.kubectl("apply", "-n", namespace, "-f", MANIFESTS / "mixed.yaml")
        world.wait("pods", lambda: len(world.pods(namespace)) == PODS, timeout=30)
        planned = plan(world)
        assert planned["unschedulable"] == []
        assert sum(len(claim["pods"]) for claim in planned["nodeClaims"]) == PODS

        world.installation.start_operator()
        world.wait("running pods", lambda: running(world, namespace) == PODS, timeout=180)
        world.wait("rest", world.at_rest, timeout=60)
        world.check_consistent()
        wanted = Counter(claim["nodePool"] for claim in planned["nodeClaims"])
        made = pools(world.node_claims())
        assert made == wanted, told(world, namespace, planned)
        assert len(world.account.instances(ended=True)) == wanted.total()
        world.wait("the end of steering", lambda: not steered(world), timeout=60)
        check_places(world, namespace)


def plan(world: World) -> dict[str, Any]:
    """What `autoctl plan` says about the cluster."""
    done = subprocess.run(
        autoctl("plan", "--only", "provision", "-o", "json"),
        env={"PATH": os.environ["PATH"], "KUBECONFIG": str(world.plane.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def pools(claims: Sequence[dict[str, Any]]) -> Counter[str]:
    """How many NodeClaims each NodePool has."""
    return Counter(claim["metadata"]["labels"][NODE_POOL] for claim in claims)


def running(world: World, namespace: str) -> int:
    return sum(pod["status"]["phase"] == "Running" for pod in world.pods(namespace))


def told(world: World, namespace: str, planned: dict[str, Any]) -> str:
    """Which pods were planned to be together, and which are."""
    places: dict[str, list[str]] = {}
    for pod in world.pods(namespace):
        places.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
    nodes = [
        (claim["offer"]["instanceType"], claim["offer"]["zone"], sorted(claim["pods"]))
        for claim in planned["nodeClaims"]
    ]
    return f"planned {nodes}, came {places}"


def steered(world: World) -> list[str]:
    """Nodes that still carry the mark or the taint of the steering."""
    return [
        node["metadata"]["name"]
        for node in world.nodes()
        if "autoctl.io/steered" in node["metadata"].get("annotations", {})
        or any(t["key"] == "autoctl.io/awaiting-pods" for t in node["spec"].get("taints", ()))
    ]


def check_places(world: World, namespace: str) -> None:
    """Every pod is where its constraints allow, on nodes that autoctl made."""
    nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in world.nodes()}
    places: dict[str, list[str]] = {}
    for pod in world.pods(namespace):
        places.setdefault(pod["metadata"]["labels"]["app"], []).append(pod["spec"]["nodeName"])
    zones = Counter(nodes[name][ZONE] for name in places["spread"])
    assert max(zones.values()) - min(zones.values()) <= 1
    assert len(zones) > 1
    assert len(set(places["apart"])) == len(places["apart"])
    (gpu,) = places["gpu"]
    assert nodes[gpu]["eks.amazonaws.com/instance-gpu-count"] == "1"
    for claim in world.plane.get("pvc", "-n", namespace)["items"]:
        assert claim["status"]["phase"] == "Bound"
