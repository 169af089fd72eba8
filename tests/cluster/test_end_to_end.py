"""The whole path: helm, a NodePool of Auto Mode, pending pods, instances, and back to nothing."""

from __future__ import annotations

import random
import time

import pytest
from e2e import MANIFESTS, World
from scrape import check_metrics, missing_metrics

PODS = 100
KILLS = 10
RARELY_USED = {
    # Built-in NodePools are switched off here.
    ("create", "karpenter.sh", "nodepools"),
    ("delete", "karpenter.sh", "nodepools"),
    ("create", "eks.amazonaws.com", "nodeclasses"),
    ("delete", "eks.amazonaws.com", "nodeclasses"),
    ("create", "", "pods/eviction"),  # nodes were empty when they went
    ("delete", "", "pods"),  # a grace period ran out
    ("patch", "", "pods/status"),  # pods that consolidation moved are nominated
    ("patch", "", "events"),  # an event came again
    ("get", "", "nodes"),  # before a taint is written, or a Node is taken for gone
    ("get", "karpenter.sh", "nodeclaims"),  # before a mark of consolidation is written
    ("get", "apps", "deployments"),  # what CapacityBuffers may refer to
    ("get", "apps", "replicasets"),
    ("get", "apps", "statefulsets"),
    ("get", "batch", "jobs"),
}
"""Rights that the path of these tests may not need."""


@pytest.mark.slow
def test_pending_pods_become_nodes_and_idle_nodes_go(world: World, namespace: str) -> None:
    """With the charts' default values, Auto Mode's own NodePool and NodeClass, and the rights of
    the chart's ServiceAccount alone: 100 pods run on nodes that autoctl made through boto3 over
    HTTP; without pods nothing is left, neither in the cluster nor in the account.
    """
    operator = world.installation.start_operator()
    operator.wait_ready()
    world.apply_auto_mode()

    world.deploy(namespace, PODS)
    world.wait("pods", lambda: world.ready_pods(namespace) == PODS, timeout=180)
    world.wait("rest", world.at_rest, timeout=60)
    own = {node["metadata"]["name"] for node in world.nodes()}
    assert {pod["spec"]["nodeName"] for pod in world.pods(namespace)} <= own
    world.check_consistent()
    world.check_launched_once()
    world.wait("metrics", lambda: not missing_metrics(operator.metrics()), timeout=60)
    check_metrics(operator.metrics())

    world.scale(namespace, 0)
    world.wait("an empty cluster", world.empty, timeout=300)
    world.wait("no launch template", world.without_launch_templates, timeout=120)
    world.check_nothing_left()
    check_extensions(world)
    check_rights(world)
    assert world.troubles() == []


@pytest.mark.slow
def test_killed_again_and_again_it_leaks_nothing(
    world: World, namespace: str, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at ten random moments, half of them while nodes come and half while they go: the same
    end as without, and no NodeClaim ever had two instances. The report of a failure has the seed.
    """
    seed = random.randrange(2**32)
    request.node.add_report_section("call", "seed", str(seed))
    moments = random.Random(seed)
    operator = world.installation.start_operator()
    operator.wait_ready()
    world.apply_auto_mode()

    def kill_until(kills: int) -> None:
        for _ in range(kills):
            time.sleep(moments.uniform(0.2, 8))
            world.installation.operators["operator"].process.kill()
            world.installation.start_operator()

    world.deploy(namespace, PODS)
    kill_until(KILLS // 2)
    world.wait("pods", lambda: world.ready_pods(namespace) == PODS, timeout=240)
    world.wait("rest", world.at_rest, timeout=120)
    world.check_consistent()
    world.check_launched_once()

    world.scale(namespace, 0)
    # The nodes stay for consolidateAfter.
    time.sleep(25)
    kill_until(KILLS - KILLS // 2)
    world.wait("an empty cluster", world.empty, timeout=300)
    world.wait("no launch template", world.without_launch_templates, timeout=120)
    world.check_nothing_left()
    world.check_launched_once()


@pytest.mark.slow
def test_the_other_replica_goes_on_within_15_seconds(world: World, namespace: str) -> None:
    """Of two replicas one acts; when it is killed, the other does what is to be done meanwhile."""
    for name in ("first", "second"):
        world.installation.start_operator(name)
    operators = world.installation.operators
    for operator in operators.values():
        operator.wait_ready()
    world.wait("a leader", lambda: world.leader() in operators, timeout=30)
    world.apply_auto_mode()
    leader = world.leader()
    (standby,) = operators.keys() - {leader}

    operators[leader].process.kill()
    killed = time.monotonic()
    world.deploy(namespace, 5)
    world.wait("another leader", lambda: world.leader() == standby, timeout=20)
    assert time.monotonic() - killed < 15
    world.wait("pods", lambda: world.ready_pods(namespace) == 5, timeout=90)
    world.check_launched_once()


def check_extensions(world: World) -> None:
    """What is no NodePool is judged as well, with the rights of the chart's ServiceAccount."""
    manifest = MANIFESTS / "extensions.yaml"
    world.plane.kubectl("apply", "-f", manifest)

    def told(kind: str, name: str, *namespace: str) -> set[tuple[str, str]]:
        status = world.plane.get(kind, name, *namespace).get("status", {})
        return {(c["type"], c["status"]) for c in status.get("conditions", ())}

    world.wait("an overlay", lambda: ("Ready", "True") in told("nodeoverlay", "savings-plan"), 60)
    buffer = ("capacitybuffer", "room", "-n", "default")
    world.wait("a buffer", lambda: ("ReadyForProvisioning", "False") in told(*buffer), 60)
    world.plane.kubectl("delete", "-f", manifest)


def check_rights(world: World) -> None:
    """The chart's ClusterRole grants all that was asked for, and hardly more."""
    requests = world.plane.requests_of("system:serviceaccount:kube-system:autoctl")
    assert sorted(request for request in requests if request.code == 403) == []
    used = {(request.verb, request.group, request.resource) for request in requests}
    granted = {
        (verb, group, resource)
        for rule in world.plane.get("clusterrole", "autoctl")["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted - used - RARELY_USED == set()
