"""Nodes that are there, on their way, or leaving: which pods they take, which room they have."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    ARCH,
    HOSTNAME,
    Z1,
    Z2,
    ZONE,
    Object,
    budget,
    instance_type,
    is_in,
    node,
    node_pool,
    pod,
    pods,
    requirement,
    spread,
)
from plan_cases import (
    Case,
    all_of,
    away,
    near,
    nodes,
    on,
    pending,
    require,
    run,
    spread_as,
    term,
    together,
)

WEB = {"app": "web"}
FULL = "3500m"
LEAVING = "2026-01-01T23:59:00Z"


def foreign(
    name: str,
    *,
    cpu: str = "10",
    labels: dict[str, str] | None = None,
    taints: list[Object] | None = None,
    **spec: Any,
) -> Object:
    """A node that nobody's NodePool made."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {HOSTNAME: name, **(labels or {})}},
        "spec": {**({"taints": taints} if taints else {}), **spec},
        "status": {
            "allocatable": {"cpu": cpu, "memory": "10Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def deleting(objects: list[Object], *kinds: str) -> list[Object]:
    """The node with its Node, its NodeClaim or both being deleted."""
    found = deepcopy(objects)
    for each in found:
        if each["kind"] in (kinds or ("Node", "NodeClaim")):
            each["metadata"]["deletionTimestamp"] = LEAVING
    return found


def claim_only(name: str, **arguments: Any) -> list[Object]:
    """A NodeClaim whose instance has been launched, but has not joined yet."""
    claim = deepcopy(node(name, initialized=False, **arguments)[0])
    claim["status"].pop("nodeName")
    claim["status"]["conditions"] = claim["status"]["conditions"][:1]
    claim["metadata"]["labels"].pop("karpenter.sh/registered")
    return [claim]


def unlaunched(name: str, *types: str, **labels: str) -> list[Object]:
    """A NodeClaim that nothing has been bought for yet."""
    claim = deepcopy(claim_only(name)[0])
    claim["status"] = {}
    claim["metadata"]["labels"] = {"karpenter.sh/nodepool": "default", **labels}
    claim["spec"]["requirements"] = [
        is_in("node.kubernetes.io/instance-type", *types),
        is_in(ZONE, Z1),
        is_in(ARCH, "amd64"),
    ]
    return [claim]


def unready(objects: list[Object], *taints: Object) -> list[Object]:
    found = deepcopy(objects)
    found[1]["spec"]["taints"] = list(taints)
    found[1]["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    return found


def unreported(resource: str, objects: list[Object]) -> list[Object]:
    found = deepcopy(objects)
    status = found[1]["status"]
    status["allocatable"] = {**status["allocatable"], resource: "0"}
    return found


def stated(body: Object, **status: Any) -> Object:
    return {**body, "status": status}


NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
CLOUD = {
    "key": "node.cloudprovider.kubernetes.io/uninitialized",
    "value": "true",
    "effect": "NoSchedule",
}
STARTUP = {"key": "cni", "value": "no", "effect": "NoSchedule"}

FOREIGN = [
    Case("a node of nobody takes a pod", [foreign("f"), pod("p", cpu="1")], on(p="f")),
    Case(
        "and a hundred of them",
        [foreign("f"), *pods(100, cpu="10m")],
        lambda p: set(p.placements.values()) == {"f"} and not p.claims and not p.unschedulable,
    ),
    Case("as far as it has room", [foreign("f", cpu="1"), pod("p", cpu="2")], nodes(1)),
    Case(
        "its labels count",
        [foreign("f", labels={"team": "a"}), pod("p", nodeSelector={"team": "a"})],
        on(p="f"),
    ),
    Case(
        "its missing labels too", [foreign("f"), pod("p", nodeSelector={ARCH: "amd64"})], nodes(1)
    ),
    Case(
        "its taints count",
        [foreign("f", taints=[{"key": "x", "effect": "NoSchedule"}]), pod("p")],
        nodes(1),
    ),
    Case("a cordoned one takes none", [foreign("f", unschedulable=True), pod("p")], nodes(1)),
    Case("without pools a pod still goes to it", [foreign("f"), pod("p")], on(p="f"), pools=[]),
    Case(
        "nothing fits and nobody launches",
        [foreign("f", cpu="1"), pod("p", cpu="2")],
        pending("p"),
        pools=[],
    ),
    Case(
        "a node is nobody's when its NodeClaim is gone",
        [node("n1")[1], pod("p", cpu="1")],
        on(p="n1"),
    ),
]

ROOM = [
    Case(
        "a running pod takes room",
        [node("n1"), pod(node="n1", cpu="3"), pod("p", cpu="1")],
        nodes(1),
    ),
    Case(
        "a pod that succeeded takes none",
        [node("n1"), pod(node="n1", cpu="3", phase="Succeeded"), pod("p", cpu="1")],
        on(p="n1"),
    ),
    Case(
        "a pod that failed takes none",
        [node("n1"), pod(node="n1", cpu="3", phase="Failed"), pod("p", cpu="1")],
        on(p="n1"),
    ),
    Case(
        "a pod that is going still takes room",
        [
            node("n1"),
            pod(node="n1", cpu="3", metadata={"deletionTimestamp": LEAVING}),
            pod("p", cpu="1"),
        ],
        nodes(1),
    ),
    Case(
        "a mirror pod takes room",
        [node("n1"), pod(node="n1", cpu="3", owner="Node"), pod("p", cpu="1")],
        nodes(1),
    ),
    Case(
        "a pod of another scheduler takes room",
        [node("n1"), pod(node="n1", cpu="3", schedulerName="other"), pod("p", cpu="1")],
        nodes(1),
    ),
    Case(
        "the pod limit counts running pods",
        [node("n1", of=instance_type("default", pods="2")), *pods(2, node="n1"), pod("p")],
        nodes(1),
    ),
    Case(
        "the node's allocatable counts, not the type's",
        [node("n1", allocatable={"cpu": "500m", "memory": "1Gi", "pods": "5"}), pod("p", cpu="1")],
        nodes(1),
    ),
    Case(
        "an overcommitted node takes what does not ask for what is missing",
        [node("n1"), *pods(2, node="n1", cpu="3"), pod("p"), pod("q", cpu="1m")],
        lambda p: p.placements == {"default/p": "n1"} and len(p.claims) == 1,
    ),
    Case(
        "room is used before nodes are bought",
        [node("n1"), *pods(3, cpu="1900m", nodeSelector={ARCH: "amd64"})],
        lambda p: len(p.placements) == 2 and len(p.claims) == 1,
    ),
    Case("a node of a pool that is gone", [node("n1", pool="gone"), pod("p", cpu="1")], on(p="n1")),
    Case(
        "a zone's node",
        [node("n1", zone=Z1), node("n2", zone=Z2), pod("p", cpu="1", nodeSelector={ZONE: Z2})],
        on(p="n2"),
    ),
    Case(
        "a pod that does not fit the node's zone",
        [node("n1", zone=Z1), pod("p", cpu="1", affinity=require(is_in(ZONE, Z2)))],
        nodes(1),
    ),
    Case(
        "a custom label the node has beside its pool's",
        [node("n1", labels={"disk": "ssd"}), pod("p", nodeSelector={"disk": "ssd"})],
        on(p="n1"),
    ),
    Case(
        "a custom number on a node",
        [
            node("n1", labels={"rack": "7"}),
            pod(
                "p",
                affinity=require(requirement("rack", "Gt", "5"), requirement("rack", "Lt", "9")),
            ),
        ],
        on(p="n1"),
    ),
    Case(
        "a custom number out of bounds",
        [
            node("n1", labels={"rack": "5"}),
            pod("p", affinity=require(requirement("rack", "Gt", "5"))),
        ],
        pending("p"),
    ),
    Case(
        "a resized container counts with what it has",
        [
            node("n1"),
            stated(
                pod(node="n1", cpu="1"),
                phase="Running",
                containerStatuses=[{"name": "c", "resources": {"requests": {"cpu": "3"}}}],
            ),
            pod("p", cpu="1500m"),
        ],
        nodes(1),
    ),
]

TAINTS = [
    Case("a taint put on later", [node("n1", taints=[STARTUP]), pod("p", cpu="1")], nodes(1)),
    Case(
        "PreferNoSchedule is avoided where another node is",
        [
            node("n1", taints=[{"key": "x", "effect": "PreferNoSchedule"}]),
            node("n2"),
            pod("p", cpu="1"),
        ],
        on(p="n2"),
    ),
    Case(
        "PreferNoSchedule is taken before a node is bought",
        [node("n1", taints=[{"key": "x", "effect": "PreferNoSchedule"}]), pod("p", cpu="5")],
        pending("p"),
        pools=[node_pool(requirements=[is_in(ARCH, "amd64")])],
    ),
    Case(
        "PreferNoSchedule is taken where nothing else is",
        [node("n1", taints=[{"key": "x", "effect": "PreferNoSchedule"}]), pod("p", cpu="1")],
        on(p="n1"),
        pools=[],
    ),
    Case(
        "a startup taint of a node that is starting",
        [
            node("n1", initialized=False, taints=[STARTUP], claim={"startupTaints": [STARTUP]}),
            pod("p", cpu="1"),
        ],
        on(p="n1"),
    ),
    Case(
        "a startup taint that came back",
        [node("n1", taints=[STARTUP], claim={"startupTaints": [STARTUP]}), pod("p", cpu="1")],
        nodes(1),
    ),
    Case(
        "a taint that is no startup taint, on a node that is starting",
        [node("n1", initialized=False, taints=[STARTUP]), pod("p", cpu="1")],
        nodes(1),
    ),
    *(
        Case(
            f"{taint['key']} on a node that is starting",
            [node("n1", initialized=False, taints=[taint]), pod("p", cpu="1")],
            on(p="n1"),
        )
        for taint in (
            NOT_READY,
            UNREACHABLE,
            CLOUD,
            {"key": "karpenter.sh/unregistered", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
        )
    ),
    Case(
        "the same taint on a node that was up already",
        [unready(node("n1"), NOT_READY), pod("p", cpu="1")],
        nodes(1),
    ),
    Case(
        "a pool's taint on a node that is starting",
        [
            node("n1", initialized=False, claim={"taints": [{"key": "t", "effect": "NoSchedule"}]}),
            pod("p", cpu="1"),
        ],
        nodes(1),
    ),
    Case(
        "a pool's taint on a node that is up counts by the node",
        [node("n1", claim={"taints": [{"key": "t", "effect": "NoSchedule"}]}), pod("p", cpu="1")],
        on(p="n1"),
    ),
    Case(
        "a disrupted node takes none",
        [
            node("n1", taints=[{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]),
            pod("p", cpu="1", tolerations=[{"operator": "Exists"}]),
        ],
        nodes(1),
    ),
    Case(
        "a cordoned node takes none",
        [node("n1", spec={"unschedulable": True}), pod("p", cpu="1")],
        nodes(1),
    ),
]

FLYING = [
    Case(
        "a node that has not joined takes a pod", [claim_only("c1"), pod("p", cpu="1")], on(p="c1")
    ),
    Case(
        "as far as it will have room",
        [claim_only("c1"), *pods(3, cpu="1900m")],
        lambda p: len(p.placements) == 2 and len(p.claims) == 1,
    ),
    Case(
        "its zone is known",
        [claim_only("c1", zone=Z1), pod("p", nodeSelector={ZONE: Z2})],
        nodes(1),
    ),
    Case(
        "a claim that nothing was bought for yet takes a pod",
        [unlaunched("c1", "default", "small"), pod("p", cpu="1")],
        on(p="c1"),
    ),
    Case(
        "but only what the least of its types holds",
        [unlaunched("c1", "default", "small"), pod("p", cpu="3")],
        nodes(1),
    ),
    Case(
        "its custom labels are known",
        [unlaunched("c1", "default", team="a"), pod("p", nodeSelector={"team": "a"})],
        on(p="c1"),
        pools=[node_pool(labels={"team": "a"})],
    ),
    Case(
        "nodes that are up come before those that start",
        [node("n1", initialized=False), node("n2"), pod("p", cpu="1")],
        on(p="n2"),
    ),
    Case(
        "and before those that have not joined",
        [*(claim_only(f"c{i}") for i in range(5)), node("z9"), pod("p", cpu="1")],
        on(p="z9"),
    ),
    Case(
        "an extended resource the kubelet has not reported yet",
        [
            unreported(
                "vendor-a.com/gpu",
                node(
                    "n1",
                    initialized=False,
                    of=instance_type("gpu-vendor", **{"vendor-a.com/gpu": "2"}),
                ),
            ),
            pod("p", requests={"vendor-a.com/gpu": "1"}),
        ],
        on(p="n1"),
    ),
    Case(
        "pods spread over zones fill nodes on their way",
        [
            *(claim_only(f"c{i}", zone=z) for i, z in enumerate((Z1, Z2, "test-zone-3"))),
            *(
                pod(
                    labels=WEB,
                    cpu="100m",
                    topologySpreadConstraints=[
                        {
                            "maxSkew": 1,
                            "topologyKey": ZONE,
                            "whenUnsatisfiable": "DoNotSchedule",
                            "labelSelector": {"matchLabels": WEB},
                        }
                    ],
                )
                for _ in range(9)
            ),
        ],
        lambda p: not p.claims and len(p.placements) == 9,
    ),
    Case(
        "pods spread over hosts get hosts of their own",
        [
            claim_only("c1"),
            *(
                pod(
                    labels=WEB,
                    cpu="100m",
                    topologySpreadConstraints=[
                        {
                            "maxSkew": 1,
                            "topologyKey": HOSTNAME,
                            "whenUnsatisfiable": "DoNotSchedule",
                            "labelSelector": {"matchLabels": WEB},
                        }
                    ],
                )
                for _ in range(4)
            ),
        ],
        lambda p: len(p.placements) == 1 and len(p.claims) == 3,
    ),
    Case(
        "the first of a group goes where room is",
        [node("n1", zone=Z2), pod("p", labels=WEB, cpu="1", affinity=near(term(ZONE, WEB)))],
        on(p="n1"),
    ),
    Case(
        "the first to be spread goes where room is",
        [
            node("n1", zone=Z2),
            pod("p", labels=WEB, cpu="1", topologySpreadConstraints=[spread(ZONE, labels=WEB)]),
        ],
        on(p="n1"),
    ),
    Case(
        "the first to be apart goes where room is",
        [node("n1", zone=Z2), pod("p", labels=WEB, cpu="1", affinity=away(term(ZONE, WEB)))],
        on(p="n1"),
    ),
    Case(
        "the second to be spread goes where room is",
        [
            node("n0", zone=Z1),
            pod(node="n0", cpu="3500m", labels=WEB),
            node("n1", zone="test-zone-3"),
            pod("p", labels=WEB, cpu="1", topologySpreadConstraints=[spread(ZONE, labels=WEB)]),
        ],
        on(p="n1"),
    ),
    Case(
        "a follower joins its leader's node on its way",
        [
            claim_only("c1", zone=Z2),
            pod("p", labels=WEB, cpu="100m", affinity=near(term(ZONE, WEB))),
        ],
        on(p="c1"),
    ),
]

GOING = [
    Case("a node that goes takes none", [deleting(node("n1")), pod("p", cpu="1")], nodes(1)),
    Case(
        "nor one whose NodeClaim goes",
        [deleting(node("n1"), "NodeClaim"), pod("p", cpu="1")],
        nodes(1),
    ),
    Case("nor one whose Node goes", [deleting(node("n1"), "Node"), pod("p", cpu="1")], nodes(1)),
    Case(
        "its pods get room elsewhere",
        [deleting(node("n1")), pod("p", node="n1", cpu="1")],
        lambda p: [c["pods"] for c in p.claims] == [["default/p"]],
    ),
    Case(
        "on nodes that are there first",
        [deleting(node("n1")), node("n2"), pod("p", node="n1", cpu="1")],
        on(p="n2"),
    ),
    Case(
        "pods that are going already do not",
        [
            deleting(node("n1")),
            pod("p", node="n1", cpu="1", metadata={"deletionTimestamp": LEAVING}),
        ],
        lambda p: not p.claims and not p.placements,
    ),
    Case(
        "but those of a StatefulSet do",
        [
            deleting(node("n1")),
            pod(
                "p",
                node="n1",
                cpu="1",
                owner="StatefulSet",
                metadata={"deletionTimestamp": "2026-01-01T23:59:50Z"},
            ),
        ],
        nodes(1),
    ),
    *(
        Case(
            f"a pod of a {owner} does not",
            [deleting(node("n1")), pod("p", node="n1", cpu="1", owner=owner)],
            lambda p: not p.claims and not p.placements,
        )
        for owner in ("DaemonSet", "Node")
    ),
    Case(
        "a pod that nobody owns does",
        [deleting(node("n1")), pod("p", node="n1", cpu="1", owner=None)],
        nodes(1),
    ),
    Case(
        "a pod that ended does not",
        [deleting(node("n1")), pod("p", node="n1", cpu="1", phase="Succeeded")],
        lambda p: not p.claims,
    ),
    Case(
        "a pod that must not be disrupted does not yet",
        [
            deleting(node("n1")),
            pod("p", node="n1", cpu="1", annotations={"karpenter.sh/do-not-disrupt": "true"}),
        ],
        lambda p: not p.claims,
    ),
    Case(
        "a pod whose budget never lets it go does not yet",
        [
            deleting(node("n1")),
            pod("p", node="n1", cpu="1", labels=WEB),
            budget(WEB, maxUnavailable=0),
        ],
        lambda p: not p.claims,
    ),
    Case(
        "a pod that stays through disruptions does not",
        [
            deleting(node("n1")),
            pod(
                "p",
                node="n1",
                cpu="1",
                tolerations=[{"key": "karpenter.sh/disrupted", "operator": "Exists"}],
            ),
        ],
        lambda p: not p.claims,
    ),
    Case(
        "pending pods and displaced ones share a node",
        [deleting(node("n1")), pod("p", node="n1", cpu="1"), pod("q", cpu="1")],
        all_of(nodes(1), together("p", "q")),
    ),
]

PENDING = [
    Case(
        "a gated pod is left alone",
        [pod("p", schedulingGates=[{"name": "x"}])],
        lambda p: not p.claims and not p.unschedulable,
    ),
    Case(
        "a foreign scheduler's pod is left alone",
        [pod("p", schedulerName="other")],
        lambda p: not p.claims and not p.unschedulable,
    ),
    Case(
        "the default scheduler by name is ours",
        [pod("p", schedulerName="default-scheduler")],
        nodes(1),
    ),
    Case(
        "a DaemonSet's pending pod launches nothing",
        [pod("p", owner="DaemonSet")],
        lambda p: not p.claims and not p.unschedulable,
    ),
    Case(
        "a mirror pod launches nothing",
        [pod("p", owner="Node")],
        lambda p: not p.claims and not p.unschedulable,
    ),
    Case(
        "a pod that is going launches nothing",
        [pod("p", metadata={"deletionTimestamp": LEAVING})],
        lambda p: not p.claims and not p.unschedulable,
    ),
    *(
        Case(
            f"a pod that {phase.lower()} launches nothing",
            [pod("p", phase=phase)],
            lambda p: not p.claims and not p.unschedulable,
        )
        for phase in ("Succeeded", "Failed")
    ),
    Case(
        "a pod kube-scheduler has not looked at counts in a manifest", [stated(pod("p"))], nodes(1)
    ),
    Case(
        "a pod that says it is scheduled is left alone",
        [
            stated(
                pod("p"), phase="Pending", conditions=[{"type": "PodScheduled", "status": "True"}]
            )
        ],
        lambda p: not p.claims and not p.unschedulable,
    ),
    Case(
        "a pod that kube-scheduler makes room for launches nothing",
        [node("n1"), stated(pod("p", cpu="1"), phase="Pending", nominatedNodeName="n1")],
        lambda p: not p.claims and not p.unschedulable,
    ),
    Case(
        "nobody else gets the room that kube-scheduler keeps for one",
        [
            node("n1"),
            stated(pod("p", cpu="3"), phase="Pending", nominatedNodeName="n1"),
            pod("q", cpu="2"),
            pod("r", cpu="100m"),
        ],
        lambda p: len(p.claims) == 1 and p.placements == {"default/r": "n1"},
    ),
    Case(
        "a pod nominated to a node that is gone launches one",
        [stated(pod("p", cpu="1"), phase="Pending", nominatedNodeName="gone")],
        nodes(1),
    ),
    Case("a pod without owner counts", [pod("p", owner=None)], nodes(1)),
    Case(
        "a Deployment stands for its pods",
        [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "d"},
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": WEB},
                    "template": {
                        "metadata": {"labels": WEB},
                        "spec": {
                            "affinity": away(term(HOSTNAME, WEB)),
                            "containers": [{"name": "c"}],
                        },
                    },
                },
            }
        ],
        all_of(nodes(3), spread_as(HOSTNAME, 1, 1, 1)),
    ),
]

CASES = [*FOREIGN, *ROOM, *TAINTS, *FLYING, *GOING, *PENDING]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
