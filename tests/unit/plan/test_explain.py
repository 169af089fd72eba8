"""`autoctl explain`: one sentence for a pod or a node, and what stands behind it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from plan_builders import ARCH, FAKE6, NOW, Object, budget, condition, is_in, node, node_pool, pod

from autoctl.cli.main import cli


def explain(tmp_path: Path, kind: str, name: str, *objects: Any, code: int = 0) -> dict[str, Any]:
    flat = [o for entry in objects for o in (entry if isinstance(entry, list) else [entry])]
    manifests, catalog = tmp_path / "objects.json", tmp_path / "catalog.json"
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": flat}))
    catalog.write_text(json.dumps({"instanceTypes": FAKE6}))
    arguments = ["-f", str(manifests), "--catalog", str(catalog), "--now", NOW, "-o", "json"]
    outcome = CliRunner().invoke(cli, ["explain", kind, name, *arguments], catch_exceptions=False)
    assert outcome.exit_code == code, outcome.output
    return json.loads(outcome.stdout) if not code else {"error": outcome.stderr}


def test_a_pod_that_gets_a_node(tmp_path: Path) -> None:
    found = explain(tmp_path, "pod", "p", node_pool(), pod("p", cpu="1"), pod("q", cpu="500m"))
    assert found["verdict"].startswith("NodePool default would launch small in test-zone-1 (spot)")
    assert found["verdict"].endswith("with 1 other pod")
    assert found["nodeClaim"]["offer"]["instanceType"] == "small"


def test_a_pod_that_fits_on_a_node(tmp_path: Path) -> None:
    found = explain(tmp_path, "pod", "default/p", node_pool(), node("n1"), pod("p", cpu="1"))
    assert found["verdict"] == "fits on n1, which is there"
    assert found["placedOn"] == "n1"


def test_a_pod_that_cannot_be_placed_says_what_each_rule_took(tmp_path: Path) -> None:
    wanted = {"kubernetes.io/arch": "arm64"}
    found = explain(tmp_path, "pod", "p", node_pool(), pod("p", cpu="900", nodeSelector=wanted))
    assert found["verdict"] == "cannot be placed"
    assert "25 of 30 offers lack arm64" in found["detail"]["default"]
    assert "5 are too small" in found["detail"]["default"]


def test_pods_nothing_is_decided_about(tmp_path: Path) -> None:
    gated = pod("gated", schedulingGates=[{"name": "wait"}])
    foreign = pod("foreign", schedulerName="other")
    bound = pod("bound", node="n1")
    objects = (node_pool(), node("n1"), gated, foreign, bound)
    assert explain(tmp_path, "pod", "gated", *objects)["verdict"] == (
        "waits for its scheduling gates: wait"
    )
    assert explain(tmp_path, "pod", "foreign", *objects)["verdict"] == (
        "is left to its scheduler, other"
    )
    assert explain(tmp_path, "pod", "bound", *objects)["verdict"] == "runs on n1"


def test_a_pod_that_is_not_there(tmp_path: Path) -> None:
    found = explain(tmp_path, "pod", "shop/p", node_pool(), code=2)
    assert "there is no pod 'shop/p'" in found["error"]


def test_a_node_that_is_held(tmp_path: Path) -> None:
    labels = {"app": "web"}
    found = explain(
        tmp_path,
        "node",
        "n1",
        node_pool(),
        node("n1"),
        pod("web", node="n1", cpu="1", labels=labels),
        pod("job", node="n1", cpu="1", annotations={"karpenter.sh/do-not-disrupt": "true"}),
        budget(labels, allowed=0),
    )
    assert found["verdict"] == (
        'stays: Pod has "karpenter.sh/do-not-disrupt" annotation (default/job)'
    )
    assert [h["pod"] for h in found["holding"]] == ["default/web", "default/job"]
    assert found["holding"][0]["reason"] == "Pdb prevents pod evictions (default/pdb)"
    assert found["expires"] == "2026-01-15T00:00:00Z"
    assert found["lifetimeCap"] == "2026-01-22T00:00:00Z"


def test_a_node_that_would_go(tmp_path: Path) -> None:
    found = explain(tmp_path, "node", "n1", node_pool(), node("n1"))
    assert found["verdict"] == "Empty: it would be deleted now"
    assert found["empty"] is True


def test_a_node_that_drifted(tmp_path: Path) -> None:
    drifted = condition("Drifted", reason="AMIDrift")
    never = node_pool(disruption={"consolidateAfter": "Never"})
    found = explain(
        tmp_path, "node", "n1", never, node("n1", conditions=[drifted]), pod(node="n1", cpu="1")
    )
    assert found["drifted"] == "AMIDrift"
    assert found["verdict"].startswith("Drifted: it would be replaced by")


@pytest.mark.parametrize(
    ("case", "verdict", "pool", "objects"),
    [
        (
            "a pending pod takes it",
            "stays: Node is nominated for a pending pod",
            {},
            [node("n1"), pod("p", cpu="1")],
        ),
        (
            "its time is up",
            "Expired: it would be deleted now",
            {},
            [node("n1", claim={"expireAfter": "24h"}), pod(node="n1", cpu="3")],
        ),
        (
            "quiet for too short a time",
            "stays: consolidateAfter 48h is not over until 2026-01-03 00:00:00 UTC",
            {"disruption": {"consolidateAfter": "48h"}},
            [node("n1")],
        ),
        (
            "never consolidated",
            'stays: NodePool "default" has consolidation disabled',
            {"disruption": {"consolidateAfter": "Never"}},
            [node("n1")],
        ),
        (
            "the budget that keeps an empty node",
            "stays: No allowed disruptions for disruption reason Empty due to blocking budget",
            {"disruption": {"budgets": [{"nodes": "0"}]}},
            [node("n1")],
        ),
        ("static", 'stays: NodePool "default" is static', {"replicas": 1}, [node("n1")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_node_waits_for(
    case: str, verdict: str, pool: Object, objects: list[Any], tmp_path: Path
) -> None:
    found = explain(tmp_path, "node", "n1", node_pool(**pool), *objects)
    assert found["verdict"] == verdict, case


def test_the_most_that_fits_is_the_most_of_what_is_too_small(tmp_path: Path) -> None:
    pool = node_pool(limits={"cpu": "3"})
    found = explain(tmp_path, "pod", "p", pool, pod("p", cpu="2500m"))
    assert found["reason"] == (
        "5 of 30 offers are too small (cpu 2500m requested, at most 1900m on an empty node); "
        "NodePool limit cpu 3 reached"
    )


def test_a_node_of_nobody(tmp_path: Path) -> None:
    foreign = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x"}, "status": {}}
    assert explain(tmp_path, "node", "x", node_pool(), foreign)["verdict"] == (
        "no NodeClaim: somebody else's node, never touched"
    )


NOT_READY = {**condition("Ready", status="False"), "message": "no subnet found"}
TWICE = [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "x"}]


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (node_pool("p", taints=TWICE), "duplicate taint Key/Effect pair a=NoSchedule"),
        (
            node_pool("p", requirements=[is_in(ARCH, "amd64"), is_in(ARCH, "arm64")]),
            "requirements on kubernetes.io/arch contradict each other",
        ),
        (node_pool("p", replicas=2), "it is static: its nodes follow spec.replicas, not pods"),
        (
            {**node_pool("p"), "status": {"conditions": [NOT_READY]}},
            "it is not ready: no subnet found",
        ),
    ],
)
def test_a_pool_that_launches_nothing_says_why(
    tmp_path: Path, pool: dict[str, Any], why: str
) -> None:
    tolerant = pod("x", tolerations=[{"operator": "Exists"}])
    found = explain(tmp_path, "pod", "x", pool, tolerant)
    assert found["verdict"] == "cannot be placed"
    assert found["reason"] == why
    assert found["detail"] == {"p": why}


def test_people_read_each_reason_once(tmp_path: Path) -> None:
    manifests = tmp_path / "objects.json"
    wanted = {"kubernetes.io/arch": "arm64"}
    items = [
        node_pool("shut", taints=TWICE),
        node_pool("open", requirements=[is_in(ARCH, "amd64")]),
        pod("x", nodeSelector=wanted),
    ]
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"instanceTypes": FAKE6}))
    given = ["-f", str(manifests), "--catalog", str(catalog), "--now", NOW]
    for command in (["explain", "pod", "x"], ["plan"]):
        outcome = CliRunner().invoke(cli, [*command, *given], catch_exceptions=False)
        assert outcome.stdout.count("duplicate taint") == 1, outcome.stdout
        assert outcome.stdout.count("lack arm64") == 1, outcome.stdout
