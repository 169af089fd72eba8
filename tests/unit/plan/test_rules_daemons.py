"""What DaemonSets take of nodes: what their real pods ask for, or their templates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    CAPACITY,
    NOW,
    TYPE,
    YESTERDAY,
    Z1,
    ZONE,
    Object,
    daemon_set,
    instance_type,
    is_in,
    node,
    node_pool,
    pod,
)
from plan_cases import Case, all_of, both, on, pending, prefer, require, run, types

LADDER = [
    instance_type(f"c{n}", cpu=str(n), memory=f"{2 * n}Gi", pods="50", overhead={"cpu": "0"})
    for n in (1, 2, 3, 4, 5, 6, 8, 16)
]
"""A type for every size: which one is taken tells what was counted."""


def pinned(name: str = "n1") -> Object:
    """The required node affinity that the DaemonSet controller gives its pods."""
    field = {"key": "metadata.name", "operator": "In", "values": [name]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def real(
    name: str = "agent-x",
    *,
    created: str = YESTERDAY,
    uid: str = "ds",
    controller: bool = True,
    metadata: Object | None = None,
    **arguments: Any,
) -> Object:
    """A pod of `daemon_set()`, on the node n1 (which need not be there)."""
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": uid}
    given = {"node": "n1", "affinity": pinned(), **arguments}
    return pod(
        name,
        metadata={
            "creationTimestamp": created,
            "ownerReferences": [{**owner, "controller": controller}],
            **(metadata or {}),
        },
        **given,
    )


SIDECAR = {"name": "mesh", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}


def runtime_class(**fields: Any) -> Object:
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "kata"},
        "handler": "kata",
        **fields,
    }


def generations(now: str, then: str) -> list[Object]:
    """A DaemonSet of 1 CPU and its pod of 2, which counts template changes differently."""
    whole = daemon_set("1")
    whole["metadata"]["annotations"] = {"deprecated.daemonset.template.generation": now}
    return [whole, real(cpu="2", metadata={"labels": {"pod-template-generation": then}})]


REAL_PODS = [
    Case("smaller than the template", [daemon_set("4"), real(cpu="1"), pod(cpu="1")], types("c2")),
    Case("larger than the template", [daemon_set("1"), real(cpu="4"), pod(cpu="1")], types("c5")),
    Case(
        "a sidecar that a webhook added",
        [daemon_set("1"), real(cpu="1", initContainers=[SIDECAR]), pod(cpu="1")],
        types("c4"),
    ),
    Case(
        "an overhead that the template has not",
        [daemon_set("1"), real(cpu="1", overhead={"cpu": "2"}), pod(cpu="1")],
        types("c4"),
    ),
    Case(
        "the newest pod counts",
        [
            daemon_set("8"),
            real("agent-a", cpu="1"),
            real("agent-b", cpu="3", created=NOW),
            real("agent-c", cpu="2"),
            pod(cpu="1"),
        ],
        types("c4"),
    ),
    Case(
        "a pod that has ended does not count",
        [
            daemon_set("8"),
            real("agent-a", cpu="1"),
            real("agent-b", cpu="3", created=NOW, phase="Failed"),
            pod(cpu="1"),
        ],
        types("c2"),
    ),
    Case(
        "a pod of a DaemonSet of another UID does not count",
        [daemon_set("2"), real(cpu="4", uid="before"), pod(cpu="1")],
        types("c3"),
    ),
    Case(
        "a pod that it owns and does not control does not count",
        [daemon_set("2"), real(cpu="4", controller=False), pod(cpu="1")],
        types("c3"),
    ),
    Case(
        "a pod in another namespace does not count",
        [daemon_set("2"), real(cpu="4", namespace="other"), pod(cpu="1")],
        types("c3"),
    ),
    Case("a pod of an older template", [*generations("2", "1"), pod(cpu="1")], types("c2")),
    Case("a pod of the template of today", [*generations("2", "2"), pod(cpu="1")], types("c3")),
]

WHERE = [
    Case(
        "pinned pods' daemon goes to other nodes all the same",
        [daemon_set("2"), real(cpu="2"), pod(cpu="1")],
        types("c3"),
    ),
    Case(
        "the template's required affinity keeps it off",
        [
            daemon_set("2", affinity=require(is_in(ZONE, Z1))),
            real(cpu="2"),
            pod(cpu="1", nodeSelector={ZONE: "test-zone-2"}),
        ],
        types("c1"),
    ),
    Case(
        "the template's required affinity lets it run",
        [
            daemon_set("2", affinity=require(is_in(ZONE, Z1))),
            real(cpu="2", affinity=both(pinned(), prefer((1, is_in("x", "y"))))),
            pod(cpu="1", nodeSelector={ZONE: Z1}),
        ],
        types("c3"),
    ),
    Case(
        "a node selector that admission added keeps it off",
        [daemon_set("2"), real(cpu="2", nodeSelector={TYPE: "c5"}), pod(cpu="1")],
        types("c1"),
    ),
    Case(
        "a toleration that admission added lets it run",
        [
            daemon_set("2"),
            real(cpu="2", tolerations=[{"key": "x", "operator": "Exists"}]),
            pod(cpu="1", tolerations=[{"operator": "Exists"}]),
        ],
        types("c3"),
        pools=[node_pool(taints=[{"key": "x", "effect": "NoSchedule"}])],
    ),
    Case(
        "what the DaemonSet controller tolerates lets it run nowhere else",
        [
            daemon_set("2"),
            real(cpu="2", tolerations=[{"key": "node.kubernetes.io/not-ready"}]),
            pod(cpu="1", tolerations=[{"operator": "Exists"}]),
        ],
        types("c1"),
        pools=[node_pool(taints=[{"key": "x", "effect": "NoSchedule"}])],
    ),
]

FOUR = node("n1", of=LADDER[3])
"""A node of 4 CPUs."""

THERE = [
    Case(
        "a pod that runs is not counted again",
        [daemon_set("1"), FOUR, real(cpu="2"), pod("p", cpu="2")],
        on(p="n1"),
    ),
    Case(
        "on another node it is still to come, as the real one is",
        [
            daemon_set("100m"),
            FOUR,
            node("n2", of=LADDER[3]),
            real(cpu="3"),
            pod("p", cpu="2", nodeSelector={"kubernetes.io/hostname": "n2"}),
        ],
        pending("p"),
    ),
    Case(
        "on another node it is still to come, smaller than its template",
        [
            daemon_set("3"),
            FOUR,
            node("n2", of=LADDER[3]),
            real(cpu="100m"),
            pod("p", cpu="3", nodeSelector={"kubernetes.io/hostname": "n2"}),
        ],
        on(p="n2"),
    ),
    Case(
        "a pod of an earlier DaemonSet of the name runs there still",
        [daemon_set("3"), FOUR, real(cpu="1", uid="before"), pod("p", cpu="3")],
        on(p="n1"),
    ),
]

ADMISSION = [
    Case(
        "the overhead of a template's RuntimeClass",
        [
            runtime_class(overhead={"podFixed": {"cpu": "1"}}),
            daemon_set("1", runtimeClassName="kata"),
            pod(cpu="1"),
        ],
        all_of(types("c3"), lambda p: p.claims[0]["requests"]["cpu"] == "3"),
    ),
    Case(
        "the node selector of a template's RuntimeClass",
        [
            runtime_class(scheduling={"nodeSelector": {TYPE: "c5"}}),
            daemon_set("2", runtimeClassName="kata"),
            pod(cpu="1"),
        ],
        types("c1"),
    ),
    Case(
        "the tolerations of a template's RuntimeClass",
        [
            runtime_class(scheduling={"tolerations": [{"key": "x", "operator": "Exists"}]}),
            daemon_set("2", runtimeClassName="kata"),
            pod(cpu="1", tolerations=[{"operator": "Exists"}]),
        ],
        types("c3"),
        pools=[node_pool(taints=[{"key": "x", "effect": "NoSchedule"}])],
    ),
    Case(
        "a RuntimeClass that is not there",
        [daemon_set("1", runtimeClassName="kata"), pod(cpu="1")],
        types("c2"),
    ),
    Case(
        "a real pod's own overhead counts once",
        [
            runtime_class(overhead={"podFixed": {"cpu": "3"}}),
            daemon_set("1", runtimeClassName="kata"),
            real(cpu="1", runtimeClassName="kata", overhead={"cpu": "1"}),
            pod(cpu="1"),
        ],
        types("c3"),
    ),
]

ON_LARGE = [node("n1", of=LADDER[-2]), pod(node="n1", cpu="1")]
"""A node of 8 CPUs and the pod that it runs beside its daemon."""

CONSOLIDATION = [
    Case(
        "a replacement has room for the daemon as it really is",
        [daemon_set("100m"), real(cpu="6"), *ON_LARGE],
        lambda p: not p.disruptions,
    ),
    Case(
        "a replacement need not have room for the template",
        [daemon_set("6"), real(cpu="1"), *ON_LARGE],
        lambda p: [r["offer"]["instanceType"] for r in p.disruptions[0]["replacements"]] == ["c2"],
    ),
]


@pytest.mark.parametrize(
    "case", [*REAL_PODS, *WHERE, *THERE, *ADMISSION, *CONSOLIDATION], ids=lambda c: c.name
)
def test_rule(case: Case, tmp_path: Path) -> None:
    only = "disrupt" if case in CONSOLIDATION else "provision"
    pools = case.pools or [node_pool(requirements=[is_in(CAPACITY, "on-demand")])]
    run(replace(case, only=only, pools=pools, catalog=LADDER), tmp_path)
