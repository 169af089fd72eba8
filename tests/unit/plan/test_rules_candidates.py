"""Which nodes may be disrupted, what protects them, and how many may go at once."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    DEFAULT_TYPE,
    TYPE,
    Object,
    budget,
    condition,
    daemon_set,
    node,
    node_pool,
    pod,
    without,
)
from plan_cases import Case, Check, Objects, all_of, run

ONE_TYPE = [DEFAULT_TYPE]
PDB = {"pdb": "yes"}
PROTECTED = {"karpenter.sh/do-not-disrupt": "true"}
LEAVING = "2026-01-01T23:59:50Z"


def gone(*names: str, reason: str = "Empty") -> Check:
    """Exactly these nodes go, for this reason; nothing is bought."""
    return lambda p: (
        sorted(n for d in p.disruptions for n in d["nodes"]) == sorted(names)
        and all(d["reason"] == reason and not d["replacements"] for d in p.disruptions)
    )


def moved(*names: str) -> Check:
    return gone(*names, reason="Underutilized")


def stays(name: str, *why: str) -> Check:
    """Nothing goes; the node is blocked for a reason with these words."""
    return lambda p: not p.disruptions and all(w in p.blocked.get(name, "") for w in why)


def many(number: int, reason: str = "Empty") -> Check:
    return lambda p: (
        sum(len(d["nodes"]) for d in p.disruptions if d["reason"] == reason) == number
        and all(d["reason"] == reason for d in p.disruptions)
    )


def used_up(*words: str) -> Check:
    """Of every reason, its budget is told to be used up, and none to block by itself."""
    return lambda p: (
        [b["disruption"] for b in p.json["blocked"] if "nodePool" in b]
        == ["Underutilized", "Empty", "Drifted"]
        and all(w in b["reason"] for b in p.json["blocked"] if "nodePool" in b for w in words)
    )


def owned(version: str, kind: str) -> list[Object]:
    reference = {"kind": kind, "name": "o", "uid": "o", "controller": True}
    return [{**reference, **({"apiVersion": version} if version else {})}]


def case(
    name: str,
    objects: Objects,
    check: Check,
    pool: Object | None = None,
    pools: Objects | None = None,
) -> Case:
    return Case(
        name, objects, check, catalog=ONE_TYPE, only="disrupt", pools=pools or [pool or node_pool()]
    )


def of_daemon(**arguments: Any) -> Object:
    return pod(owner="DaemonSet", **arguments)


def running(name: str = "n1", **arguments: Any) -> Object:
    """A pod on n1 that n2, always there and held, has room for."""
    return pod(node=name, cpu="1", **arguments)


def started(body: Object, at: str = "2026-01-01T12:00:00Z") -> Object:
    return {**body, "status": {**body["status"], "startTime": at}}


def held(name: str = "n2") -> list[Object]:
    """A node that may not go, with room for three more cores."""
    return [*node(name, annotations=PROTECTED), pod(node=name, cpu="100m")]


def changed(objects: list[Object], **claim_status: Any) -> list[Object]:
    found = deepcopy(objects)
    found[0]["status"] |= claim_status
    return found


def nominated(body: Object, name: str) -> Object:
    return {**body, "status": {**body["status"], "nominatedNodeName": name}}


def unready(objects: list[Object]) -> list[Object]:
    found = deepcopy(objects)
    found[1]["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    return found


def annotated(objects: list[Object]) -> list[Object]:
    """The node, protected on its NodeClaim alone."""
    found = deepcopy(objects)
    found[0]["metadata"]["annotations"] = PROTECTED
    return found


def undecided(pool: Object) -> Object:
    """The pool without anything about disruption."""
    return {**pool, "spec": {"template": pool["spec"]["template"]}}


def deleting(objects: list[Object], *kinds: str) -> list[Object]:
    found = deepcopy(objects)
    for each in found:
        if each["kind"] in kinds:
            each["metadata"]["deletionTimestamp"] = LEAVING
    return found


EMPTY = [
    case("an empty node", [node("n1")], gone("n1")),
    case(
        "several empty nodes go in one command",
        [node("n1"), node("n2"), node("n3")],
        lambda p: [sorted(d["nodes"]) for d in p.disruptions] == [["n1", "n2", "n3"]],
    ),
    case(
        "only daemons",
        [daemon_set("100m"), node("n1"), of_daemon(node="n1", cpu="100m")],
        gone("n1"),
    ),
    case("only a mirror pod", [node("n1"), pod(node="n1", owner="Node")], gone("n1")),
    case(
        "only pods that ended",
        [node("n1"), pod(node="n1", phase="Succeeded"), pod(node="n1", phase="Failed")],
        gone("n1"),
    ),
    case(
        "only a terminating pod of a ReplicaSet",
        [node("n1"), pod(node="n1", metadata={"deletionTimestamp": LEAVING})],
        gone("n1"),
    ),
    case(
        "a terminating pod of a StatefulSet is not nothing",
        [
            node("n1"),
            pod(
                node="n1", owner="StatefulSet", cpu="3900m", metadata={"deletionTimestamp": LEAVING}
            ),
        ],
        lambda p: all(d["reason"] != "Empty" for d in p.disruptions),
    ),
    case(
        "a terminating pod of a StatefulSet is not nothing after it has ended either",
        [
            node("n1"),
            pod(
                node="n1",
                owner="StatefulSet",
                cpu="3900m",
                phase="Failed",
                metadata={"deletionTimestamp": LEAVING},
            ),
        ],
        stays("n1", "cheaper"),
    ),
    case(
        "a pod of another API group's StatefulSet is replaced already",
        [
            node("n1"),
            pod(
                node="n1",
                metadata={
                    "deletionTimestamp": LEAVING,
                    "ownerReferences": owned("apps.kruise.io/v1beta1", "StatefulSet"),
                },
            ),
        ],
        gone("n1"),
    ),
    case(
        "another API group's DaemonSet is none",
        [
            node("n1"),
            running(
                metadata={"ownerReferences": owned("apps.kruise.io/v1alpha1", "DaemonSet")},
                requests={"memory": "3Gi"},
            ),
        ],
        stays("n1", "cheaper"),
    ),
    case(
        "an owner without a version is Kubernetes' own",
        [node("n1"), running(metadata={"ownerReferences": owned("", "DaemonSet")})],
        gone("n1"),
    ),
    case(
        "under the policy WhenEmpty",
        [node("n1")],
        gone("n1"),
        node_pool(disruption={"consolidationPolicy": "WhenEmpty"}),
    ),
    case(
        "under the policy Balanced",
        [node("n1")],
        gone("n1"),
        node_pool(disruption={"consolidationPolicy": "Balanced"}),
    ),
    case(
        "never under consolidateAfter Never",
        [node("n1")],
        stays("n1", 'NodePool "default" has consolidation disabled'),
        node_pool(disruption={"consolidateAfter": "Never"}),
    ),
    case(
        "pods worth less than nothing count as none",
        [
            node("n1"),
            pod(
                node="n1",
                cpu="1",
                annotations={"controller.kubernetes.io/pod-deletion-cost": "-2147483648"},
            ),
        ],
        gone("n1"),
    ),
    case(
        "the savings are the node's price",
        [node("n1")],
        lambda p: abs(p.disruptions[0]["savings"] - 0.829497) < 1e-6,
    ),
    case(
        "costs after are those of what stays",
        [node("n1"), *held()],
        lambda p: (
            abs(p.json["cost"]["after"] - 0.829497) < 1e-6
            and abs(p.json["cost"]["before"] - 1.658994) < 2e-6
        ),
    ),
    case("a pending pod comes first", [node("n1"), node("n2"), pod("p", cpu="1")], many(1)),
]

QUIET = {"disruption": {"consolidateAfter": "1h"}}
QUIETNESS = [
    case("quiet since it was initialized", [node("n1")], gone("n1"), node_pool(**QUIET)),
    case(
        "initialized in the future, by a clock that is ahead",
        [node("n1", created="2026-01-02T00:00:05Z")],
        gone("n1"),
    ),
    case(
        "initialized in the future, and to stay quiet for a while",
        [node("n1", created="2026-01-02T00:00:05Z")],
        stays("n1", "within consolidateAfter 1h until 2026-01-02T01:00:00Z"),
        node_pool(**QUIET),
    ),
    case(
        "initialized a moment ago",
        [node("n1", created="2026-01-01T23:30:00Z")],
        stays("n1", "within consolidateAfter 1h until 2026-01-02T00:30:00Z"),
        node_pool(**QUIET),
    ),
    case(
        "initialized exactly that long ago",
        [node("n1", created="2026-01-01T23:00:00Z")],
        gone("n1"),
        node_pool(**QUIET),
    ),
    case(
        "a pod came a moment ago",
        [changed(node("n1"), lastPodEventTime="2026-01-01T23:30:00Z")],
        stays("n1", "within consolidateAfter 1h until 2026-01-02T00:30:00Z"),
        node_pool(**QUIET),
    ),
    case(
        "a pod came longer ago",
        [changed(node("n1"), lastPodEventTime="2026-01-01T22:30:00Z")],
        gone("n1"),
        node_pool(**QUIET),
    ),
    case(
        "with nothing to wait for a moment is enough",
        [changed(node("n1"), lastPodEventTime="2026-01-01T23:59:59Z")],
        gone("n1"),
    ),
    case(
        "a node with pods that came a moment ago",
        [changed(node("n1"), lastPodEventTime="2026-01-01T23:30:00Z"), running()],
        stays("n1", "within consolidateAfter 1h until 2026-01-02T00:30:00Z"),
        node_pool(**QUIET),
    ),
    case(
        "what else keeps it is told in its place",
        [changed(node("n1"), lastPodEventTime="2026-01-01T23:30:00Z"), running()],
        stays("n1", "consolidation policy WhenEmpty"),
        node_pool(disruption={"consolidateAfter": "1h", "consolidationPolicy": "WhenEmpty"}),
    ),
    case(
        "a destination that is not quiet takes no pods",
        [
            changed(node("n2", annotations=PROTECTED), lastPodEventTime="2026-01-01T23:30:00Z"),
            pod(node="n2", cpu="100m"),
            node("n1"),
            running(),
        ],
        gone(),
        node_pool(**QUIET),
    ),
]

NODES = [
    case(
        "protected by its annotation",
        [node("n1", annotations=PROTECTED)],
        stays("n1", 'blocked through the "karpenter.sh/do-not-disrupt" annotation'),
    ),
    case(
        "an annotation of false protects nothing",
        [node("n1", annotations={"karpenter.sh/do-not-disrupt": "false"})],
        gone("n1"),
    ),
    case(
        "a duration protects no node",
        [node("n1", annotations={"karpenter.sh/do-not-disrupt": "48h"})],
        gone("n1"),
    ),
    case(
        "protected by its NodeClaim's annotation",
        [annotated(node("n1"))],
        stays("n1", "karpenter.sh/do-not-disrupt"),
    ),
    case("not initialized", [node("n1", initialized=False)], stays("n1", "isn't initialized")),
    case("a NodeClaim without Node", [node("n1")[0]], gone()),
    case("a Node without NodeClaim", [node("n1")[1]], gone()),
    case("going already", [deleting(node("n1"), "NodeClaim", "Node")], gone()),
    case("its NodeClaim going", [deleting(node("n1"), "NodeClaim")], gone()),
    case(
        "tainted by a disruption",
        [node("n1", taints=[{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}])],
        gone(),
    ),
    case("of a pool that is gone", [node("n1", pool="gone")], stays("n1", '"gone" not found')),
    case(
        "without a pool's label",
        [without(node("n1"), "karpenter.sh/nodepool")],
        stays("n1", "karpenter.sh/nodepool"),
    ),
    case(
        "of a static pool",
        [node("n1")],
        stays("n1", 'NodePool "default" is static'),
        node_pool(replicas=1),
    ),
    case(
        "others go first, as far as the budget comes",
        [node(f"n{i}") for i in range(1, 4)],
        lambda p: (
            many(1)(p)
            and list(p.blocked.values())
            == ['budgets of NodePool "default" let no more nodes go now, others come first'] * 2
        ),
        node_pool(disruption={"budgets": [{"nodes": "1"}], "consolidateAfter": "0s"}),
    ),
    case("cordoned by hand", [node("n1", spec={"unschedulable": True})], gone("n1")),
    case(
        "promised to a pending pod",
        [node("n1"), pod("p", cpu="3")],
        stays("n1", "nominated for a pending pod"),
    ),
    case(
        "a pod of kube-scheduler's choice waits for those that it preempts",
        [
            node("n1"),
            pod(node="n1", cpu="3", metadata={"deletionTimestamp": LEAVING}),
            nominated(pod("p", cpu="3"), "n1"),
        ],
        stays("n1", "nominated for a pending pod"),
    ),
    case(
        "not ready: it is what the budget is spent on",
        [unready(node("n1"))],
        all_of(gone(), used_up("The budget of 1 for", "is used up by nodes: 1 not ready")),
    ),
    case(
        "expired: it uses the budget up, and holds nobody up",
        [node("n1", claim={"expireAfter": "1h"})],
        lambda p: not p.json["blocked"] and p.disruptions[0]["reason"] == "Expired",
    ),
    case(
        "without an instance type's label, with pods",
        [*held(), *without(node("n1", created="2026-01-01T23:30:00Z"), TYPE), running()],
        stays("n1", 'Instance Type "" not found'),
    ),
    case(
        "an instance type that is no longer sold, empty",
        [node("n1", of={**DEFAULT_TYPE, "name": "gone"}, created="2026-01-01T23:30:00Z")],
        gone("n1"),
    ),
    case(
        "an instance type that is no longer sold, with pods",
        [
            *held(),
            *node("n1", of={**DEFAULT_TYPE, "name": "gone"}, created="2026-01-01T23:30:00Z"),
            running(),
        ],
        stays("n1", 'Instance Type "gone" not found'),
    ),
]

PODS = [
    case("a plain pod moves", [*held(), node("n1"), running()], moved("n1")),
    case("a pod without owner moves too", [*held(), node("n1"), running(owner=None)], moved("n1")),
    *(
        case(f"{name} protects", [*held(), node("n1"), *bodies], stays("n1", "do-not-disrupt"))
        for name, bodies in (
            ("a pod", [running(annotations=PROTECTED)]),
            ("a daemon", [running(), of_daemon(node="n1", annotations=PROTECTED)]),
            ("a mirror pod", [running(), pod(node="n1", owner="Node", annotations=PROTECTED)]),
            ("a pod of a Job", [running(owner="Job", annotations=PROTECTED)]),
            ("a daemon on an otherwise empty node", [of_daemon(node="n1", annotations=PROTECTED)]),
            (
                "a duration that has not passed",
                [started(running(annotations={"karpenter.sh/do-not-disrupt": "24h"}))],
            ),
            (
                "a duration of a pod that has not started",
                [running(annotations={"karpenter.sh/do-not-disrupt": "1h"})],
            ),
        )
    ),
    *(
        case(f"{name} protects nothing", [*held(), node("n1"), running(), body], moved("n1"))
        for name, body in (
            ("a pod that succeeded", pod(node="n1", annotations=PROTECTED, phase="Succeeded")),
            ("a pod that failed", pod(node="n1", annotations=PROTECTED, phase="Failed")),
            (
                "a pod that is going",
                pod(node="n1", annotations=PROTECTED, metadata={"deletionTimestamp": LEAVING}),
            ),
            (
                "a duration that has passed",
                started(pod(node="n1", annotations={"karpenter.sh/do-not-disrupt": "11h59m"})),
            ),
            (
                "a duration that passes now",
                started(pod(node="n1", annotations={"karpenter.sh/do-not-disrupt": "12h"})),
            ),
            ("a word", pod(node="n1", annotations={"karpenter.sh/do-not-disrupt": "please"})),
            (
                "a duration below zero",
                started(pod(node="n1", annotations={"karpenter.sh/do-not-disrupt": "-48h"})),
            ),
            ("false", pod(node="n1", annotations={"karpenter.sh/do-not-disrupt": "false"})),
        )
    ),
]


def stated(name: str = "pdb", **status: int) -> Object:
    found = budget(PDB, name=name)
    found["status"] = status
    return found


def unhealthy(body: Object) -> Object:
    return {
        **body,
        "status": {**body["status"], "conditions": [{"type": "Ready", "status": "False"}]},
    }


def selecting(selector: Object | None, **spec: Any) -> Object:
    found = budget({}, **spec)
    found["spec"].pop("selector")
    if selector is not None:
        found["spec"]["selector"] = selector
    return found


BLOCKED = stays("n1", "Pdb prevents pod evictions")
BUDGETED = [
    *(
        case(f"PDB: {name}", [*held(), node("n1"), running(labels=PDB), *others], BLOCKED)
        for name, others in (
            ("nothing may be disrupted", [budget(PDB, allowed=0)]),
            ("maxUnavailable 0", [budget(PDB, maxUnavailable=0)]),
            ("maxUnavailable 0%", [budget(PDB, maxUnavailable="0%")]),
            ("minAvailable 1 of 1", [budget(PDB, minAvailable=1)]),
            ("minAvailable 100%", [budget(PDB, minAvailable="100%")]),
            ("minAvailable 1 % of 1 rounds up", [budget(PDB, minAvailable="1%")]),
            ("minAvailable more than there are", [budget(PDB, minAvailable=5)]),
            ("a selector of nothing selects all", [selecting({}, maxUnavailable=0)]),
            (
                "a selector by expression",
                [
                    selecting(
                        {"matchExpressions": [{"key": "pdb", "operator": "Exists"}]},
                        maxUnavailable=0,
                    )
                ],
            ),
            (
                "AlwaysAllow is about pods that are not healthy",
                [budget(PDB, maxUnavailable=0, unhealthyPodEvictionPolicy="AlwaysAllow")],
            ),
            (
                "a status that nobody has filled in",
                [{**budget(PDB, maxUnavailable=0), "status": {}}],
            ),
        )
    ),
    *(
        case(f"PDB: {name}", [*held(), node("n1"), running(labels=PDB), *others], moved("n1"))
        for name, others in (
            ("one may be disrupted", [budget(PDB, allowed=1)]),
            ("maxUnavailable 1", [budget(PDB, maxUnavailable=1)]),
            ("maxUnavailable 1 % of 1 rounds up", [budget(PDB, maxUnavailable="1%")]),
            ("minAvailable 0", [budget(PDB, minAvailable=0)]),
            ("minAvailable 1 of 2", [budget(PDB, minAvailable=1), pod(node="n2", labels=PDB)]),
            (
                "minAvailable 50 % of 2",
                [budget(PDB, minAvailable="50%"), pod(node="n2", labels=PDB)],
            ),
            ("of other labels", [budget({"pdb": "no"}, maxUnavailable=0)]),
            (
                "of another namespace",
                [
                    {
                        **budget(PDB, maxUnavailable=0),
                        "metadata": {"name": "pdb", "namespace": "other"},
                    }
                ],
            ),
            ("no selector selects none", [selecting(None, maxUnavailable=0)]),
            (
                "a status that nobody has filled in, of one that allows one",
                [{**budget(PDB, maxUnavailable=1), "status": {}}],
            ),
        )
    ),
    case(
        "PDB: minAvailable 50 % of 3 rounds up",
        [
            *held(),
            node("n1"),
            running(labels=PDB),
            pod(node="n2", labels=PDB),
            unhealthy(pod(node="n2", labels=PDB)),
            budget(PDB, minAvailable="50%"),
        ],
        BLOCKED,
    ),
    case(
        "PDB: pods that are not healthy use it up",
        [
            *held(),
            node("n1"),
            running(labels=PDB),
            unhealthy(pod(node="n2", labels=PDB)),
            budget(PDB, maxUnavailable=1),
        ],
        BLOCKED,
    ),
    case(
        "PDB: AlwaysAllow lets pods go that are not healthy",
        [
            *held(),
            node("n1"),
            unhealthy(running(labels=PDB)),
            budget(PDB, maxUnavailable=0, unhealthyPodEvictionPolicy="AlwaysAllow"),
        ],
        moved("n1"),
    ),
    case(
        "PDB: IfHealthyBudget does not",
        [
            *held(),
            node("n1"),
            unhealthy(running(labels=PDB)),
            budget(PDB, maxUnavailable=0, unhealthyPodEvictionPolicy="IfHealthyBudget"),
        ],
        BLOCKED,
    ),
    case(
        "PDB: two select a pod",
        [
            *held(),
            node("n1"),
            running(labels=PDB),
            budget(PDB, allowed=1),
            budget(PDB, allowed=1, name="other"),
        ],
        stays("n1", "Eviction does not support multiple PDBs"),
    ),
    case(
        "PDB: of a daemon",
        [*held(), node("n1"), running(), of_daemon(node="n1", labels=PDB), budget(PDB, allowed=0)],
        BLOCKED,
    ),
    *(
        case(
            f"PDB: not of {name}",
            [*held(), node("n1"), running(), body, budget(PDB, allowed=0)],
            moved("n1"),
        )
        for name, body in (
            ("a mirror pod", pod(node="n1", owner="Node", labels=PDB)),
            ("a pod that ended", pod(node="n1", labels=PDB, phase="Succeeded")),
            (
                "a pod that is going",
                pod(node="n1", labels=PDB, metadata={"deletionTimestamp": LEAVING}),
            ),
        )
    ),
    case(
        "PDB: not of a pod that stays through disruptions",
        [
            *held(),
            node("n1"),
            running(),
            of_daemon(
                node="n1",
                labels=PDB,
                tolerations=[{"key": "karpenter.sh/disrupted", "operator": "Exists"}],
            ),
            budget(PDB, allowed=0),
        ],
        moved("n1"),
    ),
    case(
        "PDB: one at a time over two nodes",
        [
            *held(),
            pod(node="n2", cpu="10m", labels=PDB),
            node("n1"),
            running(labels=PDB, memory="1Gi"),
            budget(PDB, maxUnavailable=1),
        ],
        moved("n1"),
    ),
]


def empties(number: int, pool: str = "default", prefix: str = "n") -> list[Object]:
    return [o for i in range(number) for o in node(f"{prefix}{i:02d}", pool=pool)]


def limited(*budgets: Object, **more: Any) -> Object:
    return node_pool(disruption={"budgets": list(budgets), **more})


def told(reason: str) -> Check:
    words = f"No allowed disruptions for disruption reason {reason} due to blocking budget"
    return lambda p: any(words in b["reason"] for b in p.json["blocked"] if "nodePool" in b)


BUDGETS = [
    *(
        case(f"{nodes} of {number}", empties(number), many(allowed), limited({"nodes": nodes}))
        for nodes, number, allowed in (
            ("100%", 10, 10),
            ("30%", 10, 3),
            ("3", 10, 3),
            ("20", 10, 10),
            ("10%", 1, 1),
            ("10%", 11, 2),
            ("1%", 10, 1),
            ("99%", 10, 10),
            ("0%", 10, 0),
            ("0", 10, 0),
        )
    ),
    case("the default is a tenth", empties(15), many(2), undecided(node_pool())),
    case("no budgets bound nothing", empties(10), many(10), limited()),
    case("the strictest counts", empties(10), many(2), limited({"nodes": "5"}, {"nodes": "20%"})),
    case(
        "none is told",
        empties(3),
        all_of(many(0), told("Empty"), told("Underutilized"), told("Drifted")),
        limited({"nodes": "0"}),
    ),
    case(
        "a reason of its own",
        empties(5),
        many(1),
        limited({"nodes": "1", "reasons": ["Empty"]}, {"nodes": "100%"}),
    ),
    case(
        "another reason's does not count",
        empties(5),
        many(5),
        limited({"nodes": "0", "reasons": ["Drifted", "Underutilized"]}, {"nodes": "100%"}),
    ),
    case(
        "of several reasons",
        empties(5),
        many(2),
        limited({"nodes": "2", "reasons": ["Drifted", "Empty"]}),
    ),
    case(
        "one blocked reason is told",
        empties(3),
        all_of(many(3), told("Drifted")),
        limited({"nodes": "0", "reasons": ["Drifted"]}),
    ),
    case(
        "a window that is open",
        empties(5),
        many(0),
        limited({"nodes": "0", "schedule": "0 23 * * *", "duration": "2h"}, {"nodes": "100%"}),
    ),
    case(
        "a window that is closed",
        empties(5),
        many(5),
        limited({"nodes": "0", "schedule": "0 12 * * *", "duration": "2h"}, {"nodes": "100%"}),
    ),
    case(
        "a window that opens now",
        empties(5),
        many(0),
        limited({"nodes": "0", "schedule": "0 0 * * *", "duration": "10m"}, {"nodes": "100%"}),
    ),
    case(
        "a window that closed a moment ago",
        empties(5),
        many(5),
        limited({"nodes": "0", "schedule": "50 23 * * *", "duration": "9m"}, {"nodes": "100%"}),
    ),
    case(
        "a window longer than its period",
        empties(5),
        many(0),
        limited({"nodes": "0", "schedule": "@daily", "duration": "48h"}, {"nodes": "100%"}),
    ),
    case(
        "a window of a weekday (the plan is on a Friday)",
        empties(5),
        many(0),
        limited({"nodes": "0", "schedule": "0 0 * * FRI", "duration": "1h"}, {"nodes": "100%"}),
    ),
    case(
        "a window of another weekday",
        empties(5),
        many(5),
        limited({"nodes": "0", "schedule": "0 0 * * SAT", "duration": "1h"}, {"nodes": "100%"}),
    ),
    case(
        "a window of an hour and a half",
        empties(5),
        many(0),
        limited({"nodes": "0", "schedule": "31 22 * * *", "duration": "1h30m"}, {"nodes": "100%"}),
    ),
    case(
        "a window that never opens counts as open",
        empties(5),
        all_of(many(0), told("Empty")),
        limited({"nodes": "0", "schedule": "0 0 30 2 *", "duration": "1h"}, {"nodes": "100%"}),
    ),
    case(
        "a zone in front of the schedule",
        empties(5),
        many(0),
        limited({"nodes": "0", "schedule": "TZ=Asia/Tokyo 0 9 * * *", "duration": "1h"}),
    ),
    case(
        "a zone in front of the schedule, where that hour is over",
        empties(5),
        many(5),
        limited({"nodes": "0", "schedule": "TZ=Asia/Tokyo 0 8 * * *", "duration": "1h"}),
    ),
    case(
        "a schedule that cannot be read lets nothing go",
        empties(5),
        all_of(many(0), told("Empty")),
        limited({"nodes": "5", "schedule": "x x x x x", "duration": "1h"}),
    ),
    case(
        "a schedule that cannot be read, of another reason, as upstream",
        empties(5),
        all_of(many(0), told("Empty")),
        limited({"nodes": "5", "schedule": "x x x x x", "duration": "1h", "reasons": ["Drifted"]}),
    ),
    case(
        "nodes that are leaving use it up",
        [
            *empties(8),
            *deleting(node("x1"), "NodeClaim", "Node"),
            *deleting(node("x2"), "NodeClaim", "Node"),
        ],
        many(1),
        limited({"nodes": "3"}),
    ),
    case(
        "nodes that are not ready use it up",
        [
            *empties(8),
            *unready(node("x1", annotations=PROTECTED)),
            *unready(node("x2", annotations=PROTECTED)),
        ],
        many(1),
        limited({"nodes": "3"}),
    ),
    case(
        "what leaves and what is not ready uses all of it up",
        [*empties(3), *deleting(node("x1"), "NodeClaim", "Node"), *unready(node("x2"))],
        all_of(
            many(0),
            used_up("The budget of 2 for", "is used up by nodes: 1 leaving, 1 not ready"),
        ),
        limited({"nodes": "2"}),
    ),
    case(
        "nodes that are not initialized do not count",
        [*empties(10), *(o for i in range(10) for o in node(f"y{i}", initialized=False))],
        many(1),
        limited({"nodes": "10%"}),
    ),
    case(
        "each pool by itself",
        [*empties(5, "a", "a"), *empties(5, "b", "b")],
        many(3),
        pools=[
            {**limited({"nodes": "1"}), "metadata": {"name": "a"}},
            {**limited({"nodes": "2"}), "metadata": {"name": "b"}},
        ],
    ),
    case(
        "ten pools with a third each",
        [o for i in range(10) for o in empties(3, f"p{i}", f"p{i}-")],
        many(10),
        pools=[{**limited({"nodes": "30%"}), "metadata": {"name": f"p{i}"}} for i in range(10)],
    ),
    case(
        "blocked nodes do not use it up",
        [*empties(3), *node("a1", annotations=PROTECTED)],
        many(2),
        limited({"nodes": "2"}),
    ),
    case(
        "drifted and empty nodes share it",
        [*empties(3), *node("d1", conditions=[condition("Drifted")]), pod(node="d1", cpu="3")],
        lambda p: sum(len(d["nodes"]) for d in p.disruptions) == 2,
        limited({"nodes": "2"}),
    ),
]

CASES = [*EMPTY, *QUIETNESS, *NODES, *PODS, *BUDGETED, *BUDGETS]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
