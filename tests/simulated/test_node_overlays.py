"""NodeOverlays on the whole operator: what is launched, what is written, what moves."""

from __future__ import annotations

import asyncio
from typing import Any

from harness import deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import NODE_OVERLAYS, NODES, Object

FAMILY = "eks.amazonaws.com/instance-family"


def overlay(name: str, family: str, **spec: Any) -> Object:
    return {
        "apiVersion": "karpenter.sh/v1alpha1",
        "kind": "NodeOverlay",
        "metadata": {"name": name},
        "spec": {
            "requirements": [{"key": FAMILY, "operator": "In", "values": [family]}],
            **spec,
        },
    }


def pool() -> Object:
    return node_pool(
        disruption={
            "consolidationPolicy": "WhenEmptyOrUnderutilized",
            "consolidateAfter": "30s",
            "budgets": [{"nodes": "100%"}],
        }
    )


async def test_an_overlay_makes_another_family_win_and_its_end_brings_the_first_back() -> None:
    async with playing(node_class(), pool(), deployment()) as play:
        await play.until(lambda: play.running() == 3)
        usual = {i.instance_type.partition(".")[0] for i in play.instances()}
        assert "r7i" not in usual
        # To EC2, r7i stays as dear as it was: the launch must say what is to come first.
        await play.api.create(NODE_OVERLAYS, overlay("deal", "r7i", priceAdjustment="-99%"))
        await play.until(
            lambda: (
                {i.instance_type.partition(".")[0] for i in play.instances()} == {"r7i"}
                and play.running() == 3
                and len(play.claims()) == len(play.nodes()) == len(play.instances())
            ),
            900,
        )
        (claim,) = play.claims()
        assert claim["metadata"]["annotations"]["karpenter.sh/price-overlay-applied"] == "true"
        (written,) = play.world.cluster.objects(NODE_OVERLAYS)
        assert play.condition(written, "ValidationSucceeded")["status"] == "True"
        assert play.condition(written, "Ready")["status"] == "True"
        await play.api.delete(NODE_OVERLAYS, "deal")
        await play.until(
            lambda: (
                {i.instance_type.partition(".")[0] for i in play.instances()} == usual
                and play.running() == 3
                and len(play.claims()) == len(play.nodes()) == len(play.instances())
            ),
            900,
        )
        marks = play.claims()[0]["metadata"]["annotations"]
        assert "karpenter.sh/price-overlay-applied" not in marks


async def test_capacity_on_demand_that_is_paid_for_goes_before_spot() -> None:
    """As a Savings Plan does: the cluster moves there, once, and comes to rest."""
    flexible = pool()
    flexible["spec"]["template"]["spec"]["requirements"][0]["values"] = ["spot", "on-demand"]
    plan = overlay("plan", "m7i", priceAdjustment="-95%")
    plan["spec"]["requirements"].append(
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}
    )
    async with playing(node_class(), flexible, deployment()) as play:

        def markets() -> set[str]:
            return {n["metadata"]["labels"]["karpenter.sh/capacity-type"] for n in play.nodes()}

        await play.until(lambda: play.running() == 3)
        assert markets() == {"spot"}
        await play.api.create(NODE_OVERLAYS, plan)
        await play.until(lambda: markets() == {"on-demand"} and play.running() == 3, 900)
        launched = play.launched
        await asyncio.sleep(1800)
        assert (play.launched, markets()) == (launched, {"on-demand"})


async def test_what_is_paid_for_is_bought_in_the_size_that_pods_need() -> None:
    paid = overlay("paid", "m7i", priceAdjustment="-100%")
    pods = deployment(replicas=10, cpu="1")
    async with playing(node_class(), node_pool(), pods, paid) as play:
        await play.until(lambda: play.running() == 10)
        bought = sorted(i.instance_type for i in play.instances())
        assert bought == ["m7i.2xlarge", "m7i.xlarge"]


async def test_an_overlay_that_contradicts_itself_is_told_so_and_changes_nothing() -> None:
    never = overlay("never", "r7i", price="0.0001")
    never["spec"]["requirements"] = [
        {"key": "a", "operator": "In", "values": [value]} for value in "bc"
    ]
    async with playing(node_class(), node_pool(), deployment(), never) as play:
        await play.until(lambda: play.running() == 3)
        (written,) = play.world.cluster.objects(NODE_OVERLAYS)
        verdict = play.condition(written, "ValidationSucceeded")
        assert (verdict["status"], verdict["reason"]) == ("False", "RuntimeValidation")
        assert verdict["message"] == "requirements on a contradict each other"
        assert play.condition(written, "Ready")["status"] == "False"
        marks = play.claims()[0]["metadata"]["annotations"]
        assert "karpenter.sh/price-overlay-applied" not in marks


async def test_pods_get_a_device_that_an_overlay_tells_of() -> None:
    device = "example.com/device"
    asking = deployment(replicas=4, containers=[_container({"cpu": "100m", device: "1"})])
    plugin = overlay("plugin", "m5", capacity={device: "2"})
    async with playing(node_class(), node_pool(), asking) as play:
        await play.until(lambda: bool(play.events("FailedScheduling")))
        assert not play.claims()
        await play.api.create(NODE_OVERLAYS, plugin)
        await play.until(lambda: play.running() == 4)
        assert {i.instance_type.partition(".")[0] for i in play.instances()} == {"m5"}
        assert len(play.nodes()) == 2, "two devices a node"
        for claim in play.claims():
            assert claim["status"]["capacity"][device] == "2"
            marks = claim["metadata"]["annotations"]
            assert marks["karpenter.sh/capacity-overlay-applied"] == "true"
            assert "karpenter.sh/price-overlay-applied" not in marks


async def test_of_two_overlays_in_conflict_one_is_told_so() -> None:
    both = [overlay("first", "m5", price="0.01"), overlay("second", "m5", price="0.02")]
    async with playing(node_class(), node_pool(), deployment(), *both) as play:
        await play.until(lambda: play.running() == 3)

        def conditions(name: str) -> list[tuple[str, str]]:
            (found,) = (
                o
                for o in play.world.cluster.objects(NODE_OVERLAYS)
                if o["metadata"]["name"] == name
            )
            kinds = ("ValidationSucceeded", "Ready")
            told = [play.condition(found, kind) for kind in kinds]
            return [(c["status"], c["reason"]) for c in told]

        assert conditions("first") == [("False", "Conflict"), ("False", "UnhealthyDependents")]
        assert conditions("second") == [("True", "ValidationSucceeded"), ("True", "Ready")]
        await play.api.delete(NODE_OVERLAYS, "second")
        await play.until(lambda: conditions("first")[1] == ("True", "Ready"))
        assert len(play.world.cluster.objects(NODES)) == 1


def _container(requests: dict[str, str]) -> Object:
    return {"name": "c", "image": "x", "resources": {"requests": requests, "limits": requests}}
