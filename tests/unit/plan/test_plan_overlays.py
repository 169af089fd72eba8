"""NodeOverlays as `autoctl plan` and `explain` tell them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from plan_builders import (
    FAKE6,
    NOW,
    ON_DEMAND,
    TYPE,
    Object,
    instance_type,
    is_in,
    node,
    node_pool,
    plan,
    pod,
)

from autoctl.cli.main import cli

CHEAP, DEAR = instance_type("cheap", price=1.0), instance_type("dear", price=2.0)
CATALOG = [CHEAP, DEAR]


def overlay(name: str, *requirements: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "karpenter.sh/v1alpha1",
        "kind": "NodeOverlay",
        "metadata": {"name": name},
        "spec": {"requirements": list(requirements), **spec},
    }


def test_a_price_makes_another_type_win(tmp_path: Path) -> None:
    objects = [node_pool(requirements=[ON_DEMAND]), pod(cpu="1")]
    assert plan(tmp_path, objects, catalog=CATALOG).types == ["cheap"]
    discount = overlay("deal", is_in(TYPE, "dear"), priceAdjustment="-75%")
    found = plan(tmp_path, [*objects, discount], catalog=CATALOG)
    (claim,) = found.claims
    assert (claim["offer"]["instanceType"], claim["offer"]["price"]) == ("dear", 0.5)
    assert claim["alternatives"] == ["cheap"], "cheapest first, as overlaid"
    assert found.json["cost"]["after"] == 0.5
    assert found.json["nodeOverlays"] == [
        {"name": "deal", "inForce": True, "offerings": 5, "instanceTypes": 0}
    ]


def test_an_overlay_for_one_pool_says_nothing_of_another(tmp_path: Path) -> None:
    pools = [node_pool(name, requirements=[ON_DEMAND], labels={"team": name}) for name in "ab"]
    waiting = [pod(name, cpu="1", nodeSelector={"team": name}) for name in "ab"]
    for scope in (is_in("karpenter.sh/nodepool", "b"), is_in("team", "b")):
        deal = overlay("deal", is_in(TYPE, "dear"), scope, price="0.5")
        found = plan(tmp_path, [*pools, *waiting, deal], catalog=CATALOG)
        launched = {c["nodePool"]: c["offer"]["instanceType"] for c in found.claims}
        assert launched == {"a": "cheap", "b": "dear"}


def test_capacity_makes_pods_fit(tmp_path: Path) -> None:
    device = "example.com/device"
    objects = [node_pool(requirements=[ON_DEMAND]), pod("p", requests={device: 2})]
    assert list(plan(tmp_path, objects, catalog=CATALOG).unschedulable) == ["default/p"]
    plugin = overlay("plugin", is_in(TYPE, "dear"), capacity={device: "2"})
    found = plan(tmp_path, [*objects, plugin], catalog=CATALOG)
    assert found.types == ["dear"]
    assert found.json["nodeOverlays"][0]["instanceTypes"] == 1


def test_limits_count_the_capacity_that_overlays_add(tmp_path: Path) -> None:
    device = "example.com/device"
    plugin = overlay("plugin", capacity={device: "2"})
    waiting = [pod(requests={device: 2}) for _ in range(2)]
    limited = node_pool(requirements=[ON_DEMAND], limits={device: "3"})
    found = plan(tmp_path, [limited, *waiting, plugin], catalog=CATALOG)
    assert (len(found.claims), len(found.unschedulable)) == (1, 1)


def test_consolidation_weighs_overlaid_prices(tmp_path: Path) -> None:
    running = [
        node_pool(requirements=[ON_DEMAND]),
        node("n", of=CHEAP),
        pod(cpu="1", node="n"),
    ]
    arguments = ("--only", "disrupt")
    assert plan(tmp_path, running, *arguments, catalog=CATALOG).disruptions == []
    rebate = overlay("deal", is_in(TYPE, "dear"), price="0.25")
    (command,) = plan(tmp_path, [*running, rebate], *arguments, catalog=CATALOG).disruptions
    assert command["reason"] == "Underutilized"
    assert command["replacements"][0]["offer"]["instanceType"] == "dear"
    assert command["savings"] == 0.75
    surcharge = overlay("dearer", is_in(TYPE, "cheap"), priceAdjustment="+2")
    (command,) = plan(tmp_path, [*running, surcharge], *arguments, catalog=CATALOG).disruptions
    assert command["replacements"][0]["offer"]["instanceType"] == "dear"
    assert command["savings"] == 1.0, "the node that is there is weighed at its new price, 3"


def test_a_refused_overlay_is_told_and_changes_nothing(tmp_path: Path) -> None:
    objects = [
        node_pool(requirements=[ON_DEMAND]),
        pod(cpu="1"),
        overlay("first", is_in(TYPE, "dear"), price="0.5"),
        overlay("second", is_in(TYPE, "dear"), price="0.7"),
    ]
    found = plan(tmp_path, objects, catalog=CATALOG)
    assert found.claims[0]["offer"]["price"] == 0.7
    first, second = found.json["nodeOverlays"]
    assert (first["inForce"], first["reason"]) == (False, "Conflict")
    assert "'second' of equal weight sets the price of dear" in first["message"]
    assert second["inForce"]
    manifests, types = tmp_path / "objects.json", tmp_path / "catalog.json"
    told = CliRunner().invoke(
        cli, ["plan", "-f", str(manifests), "--catalog", str(types), "--now", NOW]
    )
    assert "NodeOverlay first is not in force: conflict with another overlay" in told.output


@pytest.mark.parametrize(
    "spec",
    [
        {"price": "0.001"},
        {"capacity": {"example.com/device": "2"}},
    ],
)
def test_an_overlay_for_no_node_is_not_for_all(tmp_path: Path, spec: dict[str, Any]) -> None:
    objects = [
        node_pool(requirements=[ON_DEMAND]),
        pod(cpu="1"),
        overlay("never", is_in("a", "b"), is_in("a", "c"), **spec),
    ]
    found = plan(tmp_path, objects, catalog=CATALOG)
    assert found.json["cost"]["after"] == 1.0
    (told,) = found.json["nodeOverlays"]
    assert (told["inForce"], told["reason"]) == (False, "RuntimeValidation")
    assert told["message"] == "requirements on a contradict each other"


SIZES = [
    instance_type(
        f"{family}.{size}",
        cpu=f"{2**size}",
        memory=f"{4 * 2**size}Gi",
        pods="110",
        price=rate * 2**size,
    )
    for family, rate in (("paid", 0.05), ("other", 0.04))
    for size in range(1, 8)
]
PAID = [f"paid.{size}" for size in range(1, 8)]


@pytest.mark.parametrize(
    ("pods", "cpu", "most_nodes"),
    [(10, 1000, 2), (10, 700, 2), (400, 1000, 9)],
    ids=["a few", "a few small", "hundreds"],
)
@pytest.mark.parametrize("free", [PAID, []], ids=["a family", "all"])
def test_what_costs_nothing_is_not_wasted(
    tmp_path: Path, pods: int, cpu: int, most_nodes: int, free: list[str]
) -> None:
    """The market's prices decide, and of sizes that cost the same for their size, few nodes."""
    chosen = [is_in(TYPE, *free)] if free else []
    waiting = [pod(cpu=f"{cpu}m", memory="1Gi") for _ in range(pods)]
    found = plan(
        tmp_path,
        [node_pool(requirements=[ON_DEMAND]), waiting, overlay("o", *chosen, price="0")],
        catalog=SIZES,
    )
    assert {t.partition(".")[0] for t in found.types} == {"paid" if free else "other"}
    assert {c["offer"]["price"] for c in found.claims} == {0.0}
    assert (found.json["cost"]["after"], found.json["cost"]["lowerBound"]) == (0, 0)
    bought = sum(2 ** int(t.partition(".")[2]) for t in found.types)
    assert bought <= 1.25 * pods * cpu / 1000 + 4
    assert len(found.claims) <= most_nodes
    for claim in found.claims:
        listed = [claim["offer"]["instanceType"], *claim["alternatives"]]
        ours = [int(t.partition(".")[2]) for t in listed if t.startswith("paid")]
        assert ours == sorted(ours), "the smallest first"


def test_at_one_price_for_all_sizes_few_nodes_come_first(tmp_path: Path) -> None:
    waiting = [pod(cpu="1", memory="1Gi") for _ in range(10)]
    found = plan(
        tmp_path,
        [node_pool(requirements=[ON_DEMAND]), waiting, overlay("o", price="0.03")],
        catalog=SIZES,
    )
    assert found.types == ["other.4"], "16 cpu: one node, the cheapest that holds all"
    assert found.json["cost"]["after"] == 0.03


def test_what_is_free_for_some_leaves_a_bound_for_the_others(tmp_path: Path) -> None:
    waiting = [pod(cpu="1", memory="1Gi") for _ in range(10)]
    pinned = [pod(cpu="1", memory="1Gi", nodeSelector={TYPE: "other.3"}) for _ in range(7)]
    found = plan(
        tmp_path,
        [
            node_pool(requirements=[ON_DEMAND]),
            waiting,
            pinned,
            overlay("o", is_in(TYPE, *PAID), price="0"),
        ],
        catalog=SIZES,
    )
    cost = found.json["cost"]
    assert cost["after"] == pytest.approx(0.32)
    assert 0.2 < cost["lowerBound"] <= cost["after"]


def test_an_overlay_that_admission_would_reject_is_an_error(tmp_path: Path) -> None:
    manifests = tmp_path / "overlay.json"
    manifests.write_text(json.dumps(overlay("o", price="1", priceAdjustment="+1")))
    outcome = CliRunner().invoke(cli, ["plan", "-f", str(manifests)])
    assert outcome.exit_code == 2
    assert "cannot set both 'price' and 'priceAdjustment'" in outcome.output


def test_explain_tells_the_overlaid_price(tmp_path: Path) -> None:
    manifests, types = tmp_path / "objects.json", tmp_path / "catalog.json"
    items = [
        node_pool(requirements=[ON_DEMAND]),
        pod("p", cpu="1"),
        overlay("o", price="0.125"),
    ]
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    types.write_text(json.dumps({"instanceTypes": FAKE6}))
    told = CliRunner().invoke(
        cli, ["explain", "pod", "p", "-f", str(manifests), "--catalog", str(types)]
    )
    assert "price: $0.1250/h" in told.output
