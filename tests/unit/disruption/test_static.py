"""Static pools: what is too many, and how drift replaces nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import condition, node, node_pool, plan, pod

from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.controllers.disruption.marks import COMMAND
from autoctl.controllers.disruption.static import is_staying, may_replace, surplus
from autoctl.controllers.provisioning.static import missing
from autoctl.state.snapshot import Snapshot


def claims(found: list[NodeClaim]) -> list[str]:
    return [c.name for c in found]


def world(replicas: int, *objects: Any, limits: dict[str, str] | None = None) -> Snapshot:
    extra = {"limits": limits} if limits else {}
    return snapshot_of_objects(node_pool("static", replicas=replicas, **extra), *objects)


def pool_of(snapshot: Snapshot) -> NodePool:
    return snapshot.node_pools["static"]


def test_unlaunched_then_empty_then_the_cheapest_to_move() -> None:
    unlaunched, _ = node("new", pool="static")
    unlaunched["status"] = {}
    snapshot = world(
        0,
        node("two", pool="static"),
        node("one", pool="static"),
        node("protected", pool="static"),
        node("empty", pool="static"),
        unlaunched,
        *(pod(node="two", cpu="1") for _ in range(2)),
        pod(node="one", cpu="1"),
        pod(node="protected", cpu="1", annotations={"karpenter.sh/do-not-disrupt": "true"}),
    )
    assert claims(surplus(snapshot, pool_of(snapshot))) == [
        "new",
        "empty",
        "one",
        "two",
        "protected",
    ]


@pytest.mark.parametrize(("replicas", "expected"), [(0, 2), (1, 1), (2, 0), (5, 0)])
def test_only_what_is_too_many(replicas: int, expected: int) -> None:
    snapshot = world(replicas, node("a", pool="static"), node("b", pool="static"))
    assert len(surplus(snapshot, pool_of(snapshot))) == expected


def test_a_node_being_replaced_counts_as_its_replacement() -> None:
    marked = node("a", pool="static", annotations={COMMAND: "{}"})
    snapshot = world(1, marked, node("b", pool="static"))
    assert surplus(snapshot, pool_of(snapshot)) == []
    assert not is_staying(snapshot.node_claims["a"])


@pytest.mark.parametrize(
    ("replicas", "staying", "marked", "leaving", "limit", "expected"),
    [
        (3, 0, 0, 0, None, 3),
        (3, 3, 0, 1, None, 0),
        (3, 1, 0, 3, "5", 1),
        (3, 0, 0, 5, "5", 0),
        (0, 2, 0, 0, None, 0),
        (3, 2, 1, 0, None, 0),  # a drifted node waits for the replacement that disruption makes
        (3, 2, 0, 1, None, 1),  # and for nothing any more once it is being deleted
        (3, 2, 0, 1, "3", 0),
        (1, 0, 0, 2, "1", 0),
    ],
)
def test_how_many_are_missing(
    replicas: int, staying: int, marked: int, leaving: int, limit: str | None, expected: int
) -> None:
    going = [node(f"l{i}", pool="static") for i in range(leaving)]
    for claim, _ in going:
        claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    there = [node(f"s{i}", pool="static") for i in range(staying)]
    there += [node(f"m{i}", pool="static", annotations={COMMAND: "{}"}) for i in range(marked)]
    limits = {"nodes": limit} if limit else None
    snapshot = world(replicas, *there, *going, limits=limits)
    assert missing(snapshot, pool_of(snapshot)) == expected


@pytest.mark.parametrize(
    ("limits", "replicas", "room"),
    [(None, 2, 2), ({"nodes": "2"}, 2, 0), ({"nodes": "3"}, 2, 1), (None, 1, 0)],
)
def test_room_for_replacements(limits: dict[str, str] | None, replicas: int, room: int) -> None:
    snapshot = world(replicas, node("a", pool="static"), node("b", pool="static"), limits=limits)
    assert may_replace(snapshot, pool_of(snapshot)) == room


def test_a_node_that_expires_soon_goes_before_one_that_was_just_made() -> None:
    """Its pods move soon anyway. The snapshot's clock says 2026-01-02."""
    old = node("old", pool="static", claim={"expireAfter": "48h"}, created="2025-12-31T12:00:00Z")
    young = node(
        "young", pool="static", claim={"expireAfter": "48h"}, created="2026-01-01T23:00:00Z"
    )
    pods = [pod(node="young", cpu="1"), *(pod(node="old", cpu="1") for _ in range(3))]
    snapshot = world(1, old, young, *pods)
    assert claims(surplus(snapshot, pool_of(snapshot))) == ["old"]


@pytest.mark.parametrize(("annotations", "room"), [({}, 0), ({COMMAND: "{}"}, 3)])
def test_drift_waits_for_nodes_that_leave_without_a_replacement(
    annotations: dict[str, str], room: int
) -> None:
    leaving, _ = node("leaving", pool="static", annotations=annotations)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    snapshot = world(2, leaving, node("a", pool="static"), node("b", pool="static"))
    assert may_replace(snapshot, pool_of(snapshot)) == room


def test_a_pool_at_its_limit_says_that_nothing_can_be_staged(tmp_path: Path) -> None:
    drifted = [condition("Drifted")]
    nodes = [node(f"n{i}", pool="static", conditions=drifted) for i in range(2)]
    pool = node_pool("static", replicas=2, limits={"nodes": "2"})
    answer = plan(tmp_path, [pool, *nodes], "--only", "disrupt")
    assert answer.disruptions == []
    why = "static NodePool is at its node limit and cannot stage a replacement"
    assert answer.blocked == {"n0": why, "n1": why}


def test_drift_creates_before_it_deletes_within_limits_and_budgets(tmp_path: Path) -> None:
    drifted = [condition("Drifted")]
    nodes = [node(f"n{i}", pool="static", conditions=drifted) for i in range(3)]
    pool = node_pool("static", replicas=3, limits={"nodes": "4"})
    answer = plan(tmp_path, [pool, *nodes, pod(node="n0", cpu="1")], "--only", "disrupt")
    (command,) = answer.disruptions
    assert (command["reason"], command["nodes"]) == ("Drifted", ["n0"])
    assert command["replacements"][0]["offer"]["instanceType"] == "small"


def test_a_static_pool_is_not_consolidated(tmp_path: Path) -> None:
    answer = plan(tmp_path, [node_pool("static", replicas=1), node("n", pool="static")])
    assert answer.disruptions == []
