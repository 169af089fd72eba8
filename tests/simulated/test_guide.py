"""What the user guide shows applies, and ends Ready."""

from __future__ import annotations

from typing import Any

import pytest
from guide_objects import GUIDE, filled
from harness import Play, node_class, playing

from autoctl.api.validation import validate_manifest
from autoctl.ports.kubernetes import NODE_CLASSES, NODE_POOLS
from autoctl.sim.cloud.ec2.records import Reservation
from autoctl.simulate.world import World

ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")


def account(world: World) -> None:
    """The account that the pages are written for."""
    ec2 = world.cloud.ec2
    for role in ("MyNodeRole", "AmazonEKSNodeRole"):
        world.cloud.iam.add_role(role)
    network = ec2.network
    for number, zone in enumerate(ZONES):
        for kind, name, tag in (
            (10, "private-subnet", "kubernetes.io/role/internal-elb"),
            (20, "node-subnet", "kubernetes.io/role/internal-elb"),
            (30, "pod-subnet", "kubernetes.io/role/pod"),
        ):
            tags = {"Name": name, tag: "1"}
            network.add_subnet(zone, f"10.{kind + number}.0.0/20", tags=tags)
    fixed = network.add_subnet("us-west-2a", "10.50.0.0/20")
    network.subnets["subnet-0123456789abcdef0"] = network.subnets.pop(fixed.subnet_id)
    fixed.subnet_id = "subnet-0123456789abcdef0"
    for name in ("eks-cluster-sg", "eks-pod-sg", "efa-security-group"):
        network.add_security_group(name, tags={"Name": name})
    group = network.add_security_group("fixed")
    network.groups["sg-0123456789abcdef0"] = network.groups.pop(group.group_id)
    group.group_id = "sg-0123456789abcdef0"
    for name in ("targeted-pg", "ml-training-pg"):
        ec2.placement.add(name, "cluster")
    reserve(world, "cr-56fac701cc1951b03", "p5en.48xlarge", kind="capacity-block")
    reserve(world, "cr-0123456789abcdef0", "m5.large")
    reserve(world, None, "m5.xlarge", owner="012345678901", tags={"Name": "targeted-odcr"})


def reserve(world: World, name: str | None, instance_type: str, **facts: Any) -> None:
    capacity = world.cloud.ec2.capacity
    made: Reservation = capacity.add_reservation(
        instance_type, "us-west-2a", 5, match="targeted", **facts
    )
    if name is not None:
        capacity.reservations[name] = capacity.reservations.pop(made.reservation_id)
        made.reservation_id = name


def not_ready(play: Play) -> list[str]:
    """The NodeClasses and NodePools that are not, with what they lack."""
    return [
        f"{obj['kind']} {obj['metadata']['name']}: {obj.get('status', {}).get('conditions')}"
        for resource in (NODE_CLASSES, NODE_POOLS)
        for obj in play.world.cluster.objects(resource)
        if play.condition(obj, "Ready")["status"] != "True"
    ]


LACKING = [entry for entry in GUIDE if entry.get("lacks")]
RULES = {
    "role": ("spec", "must specify exactly one of ['role', 'instanceProfile']"),
    "advancedCompute.kernel.sysctl.user.max_user_namespaces": (
        "spec.advancedCompute",
        "'kubelet.idsPerPod' requires 'kernel.sysctl.user.max_user_namespaces' greater than 0",
    ),
}
"""What admission says where a page breaks a rule of its own, by what would have kept it."""


@pytest.mark.parametrize("entry", LACKING, ids=[e["page"].replace(" ", "-") for e in LACKING])
def test_what_a_page_leaves_out_is_refused_by_name(entry: dict[str, Any]) -> None:
    """As printed, its class breaks the page's own words in nothing but what `lacks` names."""
    (printed,) = (obj for obj in entry["objects"] if obj["kind"] == "NodeClass")
    told = {
        (error.field, error.message.rpartition('": ')[2])
        for error in validate_manifest(printed)
        if error.field != "<nil>"
    }
    fields = {
        (f"spec.{name}", "Required value") for name in entry["lacks"] if name.endswith("Terms")
    }
    # While a field is missing the API server checks no rules.
    assert told == (fields or {RULES[name] for name in entry["lacks"]})


def test_most_pages_need_nothing() -> None:
    """Of 17 pages and parts of pages; with `lacks` the class is filled in before it is applied."""
    assert (len(GUIDE), len(LACKING)) == (17, 7)


@pytest.mark.parametrize("entry", GUIDE, ids=[e["page"].replace(" ", "-") for e in GUIDE])
async def test_it_applies_and_ends_ready(entry: dict[str, Any]) -> None:
    objects = [node_class(), *filled(entry)]
    pods = sum(o["spec"].get("replicas", 1) for o in objects if o["kind"] in ("Pod", "Deployment"))
    static = sum(o["spec"].get("replicas", 0) for o in objects if o["kind"] == "NodePool")
    async with playing(*objects, prepare=account) as play:
        await play.until(lambda: not not_ready(play), 120)
        await play.until(lambda: play.running() == pods, 180)
        await play.until(lambda: len(play.nodes()) >= static, 180)
