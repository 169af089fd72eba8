"""CapacityBuffers as `autoctl plan` and `explain` tell them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from plan_builders import (
    NOW,
    ON_DEMAND,
    Object,
    budget,
    instance_type,
    node,
    node_pool,
    plan,
    pod,
)

from autoctl.cli.main import cli

FOUR = instance_type("four", cpu="4100m", memory="8Gi", pods="20", price=1.0)
TWO = instance_type("two", cpu="2100m", memory="4Gi", pods="20", price=0.6)
CATALOG = [FOUR, TWO]
POOL = node_pool(requirements=[ON_DEMAND])
WEB = {"app": "web"}


def template(cpu: str = "1", **spec: Any) -> Object:
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "shape", "namespace": "default"},
        "template": {"metadata": {"labels": WEB}, "spec": {"containers": [container], **spec}},
    }


def buffer(replicas: int | None = 2, **spec: Any) -> Object:
    return {
        "apiVersion": "autoscaling.x-k8s.io/v1beta1",
        "kind": "CapacityBuffer",
        "metadata": {"name": "room", "namespace": "default"},
        "spec": {
            **({} if "scalableRef" in spec else {"podTemplateRef": {"name": "shape"}}),
            **({} if replicas is None else {"replicas": replicas}),
            **spec,
        },
    }


def deployment(replicas: int) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": WEB},
            "template": template()["template"],
        },
    }


def test_room_is_bought(tmp_path: Path) -> None:
    found = plan(tmp_path, [POOL, buffer(4), template()], catalog=CATALOG)
    (claim,) = found.claims
    assert claim["offer"]["instanceType"] == "four"
    assert claim["pods"] == [f"default/capacity-buffer-room-{i}" for i in range(4)]
    assert found.json["capacityBuffers"] == [
        {"name": "default/room", "replicas": 4, "there": 0, "bought": 4}
    ]
    assert found.json["cost"]["lowerBound"] > 0.9, "the bound holds for the room as well"


def test_room_that_is_there_is_not_bought_again(tmp_path: Path) -> None:
    objects = [POOL, *node("n", of=FOUR), pod(cpu="2", node="n"), buffer(3), template()]
    found = plan(tmp_path, objects, "--only", "provision", catalog=CATALOG)
    (claim,) = found.claims
    assert (claim["offer"]["instanceType"], len(claim["pods"])) == ("two", 1)
    (told,) = found.json["capacityBuffers"]
    assert (told["there"], told["bought"]) == (2, 1)


def test_pods_come_first_and_the_buffer_is_refilled(tmp_path: Path) -> None:
    """The free room of a node is the pod's; what the buffer loses is bought."""
    held = [POOL, *node("n", of=FOUR), buffer(4), template()]
    found = plan(tmp_path, held, catalog=CATALOG)
    assert (found.claims, found.disruptions) == ([], [])
    found = plan(tmp_path, [*held, pod("p", cpu="2")], "--only", "provision", catalog=CATALOG)
    assert found.placements["default/p"] == "n"
    (claim,) = found.claims
    assert (claim["offer"]["instanceType"], len(claim["pods"])) == ("two", 2)


def test_pods_and_room_share_new_nodes(tmp_path: Path) -> None:
    objects = [POOL, pod("p", cpu="2"), buffer(2), template()]
    (claim,) = plan(tmp_path, objects, catalog=CATALOG).claims
    assert claim["offer"]["instanceType"] == "four"
    assert "default/p" in claim["pods"]


def test_limits_go_to_pods_before_room(tmp_path: Path) -> None:
    limited = node_pool(requirements=[ON_DEMAND], limits={"cpu": "5"})
    objects = [limited, *(pod(f"p{i}", cpu="2") for i in range(2)), buffer(2), template()]
    found = plan(tmp_path, objects, catalog=CATALOG)
    assert sorted(found.unschedulable) == [f"default/capacity-buffer-room-{i}" for i in range(2)]
    (told,) = found.json["capacityBuffers"]
    assert (told["there"], told["bought"]) == (0, 0)
    assert told["why"]


def test_a_percentage_follows_the_workload(tmp_path: Path) -> None:
    follows = {"apiGroup": "apps", "kind": "Deployment", "name": "web"}
    objects = [POOL, deployment(8), buffer(None, scalableRef=follows, percentage=25)]
    found = plan(tmp_path, objects, catalog=CATALOG)
    (told,) = found.json["capacityBuffers"]
    assert (told["replicas"], told["bought"]) == (2, 2)
    assert sum(len(c["pods"]) for c in found.claims) == 10


def test_a_node_that_only_holds_room_is_not_empty(tmp_path: Path) -> None:
    objects = [POOL, *node("n", of=FOUR)]
    (command,) = plan(tmp_path, objects, catalog=CATALOG).disruptions
    assert command["reason"] == "Empty"
    found = plan(tmp_path, [*objects, buffer(4), template()], catalog=CATALOG)
    assert found.disruptions == []
    assert found.blocked["n"] == 'Node "n" has buffer pods'


def test_of_empty_nodes_those_that_hold_no_room_go(tmp_path: Path) -> None:
    objects = [POOL, *node("a", of=FOUR), *node("b", of=FOUR), buffer(3), template()]
    (command,) = plan(tmp_path, objects, catalog=CATALOG).disruptions
    assert (command["reason"], len(command["nodes"])) == ("Empty", 1)


def test_room_is_held_on_nodes_in_use_first(tmp_path: Path) -> None:
    objects = [
        *(POOL, *node("busy", of=FOUR), pod(cpu="2", node="busy")),
        *(*node("empty", of=FOUR), buffer(2), template()),
    ]
    (command,) = plan(tmp_path, objects, catalog=CATALOG).disruptions
    assert (command["reason"], command["nodes"]) == ("Empty", ["empty"])


def test_consolidation_leaves_the_room(tmp_path: Path) -> None:
    """Both nodes' pods fit on one; the room they leave does not."""
    objects = [
        *(POOL, *node("a", of=FOUR), pod(cpu="1", node="a")),
        *(*node("b", of=FOUR), pod(cpu="1", node="b")),
    ]
    (command,) = plan(tmp_path, objects, catalog=CATALOG).disruptions
    assert command["nodes"]
    found = plan(tmp_path, [*objects, buffer(6), template()], catalog=CATALOG)
    assert (found.disruptions, found.claims) == ([], [])


def test_a_replacement_holds_the_room(tmp_path: Path) -> None:
    """A node of one pod and room for one more becomes one of half the size, not of a quarter."""
    one = instance_type("one", cpu="1100m", memory="2Gi", pods="20", price=0.3)
    objects = [POOL, *node("a", of=FOUR), pod(cpu="1", node="a"), buffer(1), template()]
    (command,) = plan(tmp_path, objects, catalog=[*CATALOG, one]).disruptions
    (new,) = command["replacements"]
    assert new["offer"]["instanceType"] == "two"
    assert command["evictions"] == 1, "nobody is evicted from room"
    without = objects[:-2]
    (command,) = plan(tmp_path, without, catalog=[*CATALOG, one]).disruptions
    assert command["replacements"][0]["offer"]["instanceType"] == "one"


def test_a_budget_of_the_workload_does_not_hold_room(tmp_path: Path) -> None:
    never = budget(WEB, allowed=0, maxUnavailable=0)
    objects = [POOL, *node("a", of=FOUR), never, buffer(2), template()]
    (command,) = plan(tmp_path, objects, catalog=CATALOG).disruptions
    assert [n["offer"]["instanceType"] for n in command["replacements"]] == ["two"]


def test_a_buffer_that_names_nothing_is_told(tmp_path: Path) -> None:
    found = plan(tmp_path, [POOL, buffer(2)], catalog=CATALOG)
    assert found.claims == []
    assert found.json["capacityBuffers"] == [
        {
            "name": "default/room",
            "replicas": 0,
            "there": 0,
            "bought": 0,
            "why": "PodTemplate 'shape' not found",
        }
    ]


def test_text_tells_where_room_is(tmp_path: Path) -> None:
    objects = [POOL, *node("n", of=FOUR), pod(cpu="3", node="n"), buffer(2), template()]
    plan(tmp_path, objects, catalog=CATALOG)
    files = ["-f", str(tmp_path / "objects.json"), "--catalog", str(tmp_path / "catalog.json")]
    told = CliRunner().invoke(cli, ["plan", *files, "--now", NOW])
    assert (
        "CapacityBuffer default/room keeps room for 2 pods: 1 on nodes that are there, "
        "1 on nodes to launch." in told.output
    )


def test_explain_places_pods_before_room(tmp_path: Path) -> None:
    objects = [POOL, *node("n", of=FOUR), pod("p", cpu="4"), buffer(4), template()]
    items = {"apiVersion": "v1", "kind": "List", "items": objects}
    (tmp_path / "objects.json").write_text(json.dumps(items))
    (tmp_path / "catalog.json").write_text(json.dumps({"instanceTypes": CATALOG}))
    files = ["-f", str(tmp_path / "objects.json"), "--catalog", str(tmp_path / "catalog.json")]
    told = CliRunner().invoke(cli, ["explain", "pod", "p", *files, "--now", NOW])
    assert "fits on n, which is there" in told.output
    told = CliRunner().invoke(cli, ["explain", "node", "n", *files, "--now", NOW])
    assert "Node is nominated for a pending pod" in told.output
    items["items"] = [POOL, *node("n", of=FOUR), buffer(4), template()]
    (tmp_path / "objects.json").write_text(json.dumps(items))
    told = CliRunner().invoke(cli, ["explain", "node", "n", *files, "--now", NOW])
    assert 'Node "n" has buffer pods' in told.output
