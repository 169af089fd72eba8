"""Nodes leave, and what runs on them does not notice, on the real control plane."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest

import pytest
from e2e import World
from watching import Watch, over_budget, ready_pods

BUDGET = 0.2
"""Of the pool `even`."""


@pytest.fixture
def running_world(world: World) -> World:
    """With an operator and the pool `even`."""
    world.installation.start_operator().wait_ready()
    world.apply_node_class()
    world.apply_pool("even-pool")
    return world


@contextmanager
def undisturbed(world: World, namespace: str, replicas: int) -> Iterator[None]:
    """No moment at which fewer pods were ready than the PodDisruptionBudget demands, or more nodes
    were on their way out than the NodePool's budget allows.
    """
    world.wait("pods", lambda: world.ready_pods(namespace) == replicas, timeout=180)
    available = replicas * 9 // 10
    world.plane.kubectl(
        "create", "pdb", "inflate", "-n", namespace,
        "--selector=app=inflate", f"--min-available={available}",
    )  # fmt: skip
    pods = f"/api/v1/namespaces/{namespace}/pods"
    claims = "/apis/karpenter.sh/v1/nodeclaims"
    with (
        Watch(world.plane, pods, ready_pods) as ready,
        Watch(world.plane, claims, over_budget(BUDGET)) as excess,
    ):
        world.wait("the watches", lambda: replicas in ready.values, timeout=10)
        begun = ready.values.index(replicas)
        yield
        seen = ready.values[begun:]
        assert min(seen) >= available
        assert min(seen) < replicas, "nothing was moved"
        assert max(excess.values) == 0, "the budget was not used up, or not respected"


@pytest.mark.slow
def test_a_shrunk_deployment_consolidates(running_world: World, namespace: str) -> None:
    """200 pods scaled down to 60 end on as few nodes as hold them, while a PodDisruptionBudget and
    the NodePool's budget hold at every moment.
    """
    world = running_world
    world.deploy(namespace, 200)
    world.wait("pods", lambda: world.ready_pods(namespace) == 200, timeout=180)
    world.wait("rest", world.at_rest, timeout=60)
    before = len(world.nodes())
    keep_evenly(world, namespace, 60)
    world.scale(namespace, 60)
    with undisturbed(world, namespace, 60):
        world.wait("fewer nodes", lambda: len(world.nodes()) <= needed(world, 60), timeout=300)
        world.wait("rest", world.at_rest, timeout=60)
    assert len(world.nodes()) < before
    world.check_consistent()
    world.check_launched_once()


def keep_evenly(world: World, namespace: str, count: int) -> None:
    """Let the ReplicaSet keep pods on every node: it would rather empty whole nodes."""
    by_node: dict[str, list[str]] = {}
    for pod in world.pods(namespace):
        by_node.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
    rounds = zip_longest(*by_node.values())
    kept = [name for names in rounds for name in names if name is not None][:count]
    world.plane.kubectl(
        "annotate", "pods", *kept, "-n", namespace, "controller.kubernetes.io/pod-deletion-cost=1"
    )


def needed(world: World, pods: int) -> int:
    """How many nodes hold so many pods of one CPU."""
    sizes = {int(node["status"]["allocatable"]["cpu"].removesuffix("m")) for node in world.nodes()}
    (millicores,) = sizes
    return math.ceil(pods / (millicores // 1000))


@pytest.mark.slow
def test_a_release_of_images_replaces_nodes_within_the_budget(
    running_world: World, namespace: str
) -> None:
    """After an AMI release every node is replaced by one with the new image; each goes only when
    its replacement is ready, and no more at once than the budget allows.
    """
    world = running_world
    world.deploy(namespace, 30)
    with undisturbed(world, namespace, 30):
        world.wait("rest", world.at_rest, timeout=60)
        old = {instance["imageId"] for instance in world.account.instances().values()}
        before = set(world.account.instances())
        world.account.strike(type="ami-release")
        # Images are remembered for five minutes; a new process looks at once.
        assert world.installation.operators["operator"].process.stop(patience=30) == 0
        world.installation.start_operator()

        def replaced() -> bool:
            images = {value["imageId"] for value in world.account.instances().values()}
            return not images & old

        world.wait("new images", replaced, timeout=300)
        world.wait("rest", world.at_rest, timeout=60)
    assert not before & set(world.account.instances())
    world.check_consistent()
    world.check_launched_once()
