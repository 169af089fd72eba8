"""Built-in NodePools and their NodeClass: made, kept, put back, switched off; names respected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml
from harness import Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import (
    NODE_CLASSES,
    NODE_POOLS,
    Object,
    Resource,
)
from autoctl.simulate.world import World

BOTH = {"builtin_node_pools": ["general-purpose", "system"], "node_role": "nodes"}
TOLERATES = [{"key": "CriticalAddonsOnly", "operator": "Exists"}]

GENERAL_PURPOSE = """
disruption:
  budgets: [{nodes: 10%}]
  consolidateAfter: 30s
  consolidationPolicy: WhenEmptyOrUnderutilized
template:
  spec:
    expireAfter: 336h
    nodeClassRef: {group: eks.amazonaws.com, kind: NodeClass, name: default}
    requirements:
    - {key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}
    - {key: eks.amazonaws.com/instance-category, operator: In, values: [c, m, r]}
    - {key: eks.amazonaws.com/instance-generation, operator: Gt, values: ["4"]}
    - {key: kubernetes.io/arch, operator: In, values: [amd64]}
    - {key: kubernetes.io/os, operator: In, values: [linux]}
    terminationGracePeriod: 24h0m0s
"""


def objects(play: Play, resource: Resource) -> dict[str, Object]:
    return {o["metadata"]["name"]: o for o in play.world.cluster.objects(resource)}


def operator(**settings: object) -> dict[str, Any]:
    return {"operator": {**BOTH, **settings}}


async def _furnished(play: Play) -> None:
    play.world.cloud.iam.add_role("nodes")
    await play.until(lambda: len(objects(play, NODE_POOLS)) == 2, 30)


async def _restart(play: Play, **settings: object) -> None:
    play.world.scenario.settings.operator.update(settings)
    await play.world.lose_leader()


async def test_the_built_in_objects_are_those_of_auto_mode() -> None:
    async with playing(**operator()) as play:
        await _furnished(play)
        pools = objects(play, NODE_POOLS)
        expected = yaml.safe_load(GENERAL_PURPOSE)
        assert pools["general-purpose"]["spec"] == expected
        expected["template"]["spec"]["requirements"][3]["values"] = ["amd64", "arm64"]
        expected["template"]["spec"]["taints"] = [
            {"key": "CriticalAddonsOnly", "effect": "NoSchedule"}
        ]
        assert pools["system"]["spec"] == expected
        made = objects(play, NODE_CLASSES)["default"]
        network = play.world.cloud.ec2.network
        (group,) = [g for g in network.groups.values() if g.name == "autoctl-node"]
        assert made["spec"] == {
            "role": "nodes",
            "subnetSelectorTerms": [{"id": s} for s in sorted(network.subnets)],
            "securityGroupSelectorTerms": [{"id": group.group_id}],
            "snatPolicy": "Random",
            "networkPolicy": "DefaultAllow",
            "networkPolicyEventLogs": "Disabled",
            "ephemeralStorage": {"size": "80Gi", "iops": 3000, "throughput": 125},
        }
        for kept in (*pools.values(), made):
            assert kept["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "eks"
        await play.until(
            lambda: all(
                play.condition(p, "Ready")["status"] == "True"
                for p in objects(play, NODE_POOLS).values()
            ),
            120,
        )


async def test_pods_run_on_them_without_any_manifest() -> None:
    addon = deployment(
        "addon",
        replicas=1,
        tolerations=TOLERATES,
        nodeSelector={"karpenter.sh/nodepool": "system"},
    )
    async with playing(deployment(replicas=2), addon, **operator()) as play:
        await _furnished(play)
        await play.until(lambda: play.running() == 3, 300)
        used = {n["metadata"]["labels"]["karpenter.sh/nodepool"] for n in play.nodes()}
        assert used == {"general-purpose", "system"}


async def test_edits_are_put_back() -> None:
    async with playing(**operator()) as play:
        await _furnished(play)
        before = objects(play, NODE_POOLS)["system"]["spec"]
        await play.api.patch(
            NODE_POOLS,
            "system",
            {
                "metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}},
                "spec": {
                    "limits": {"cpu": "1"},
                    "weight": 9,
                    "disruption": {"consolidateAfter": "Never"},
                    "template": {"spec": {"taints": None}},
                },
            },
        )
        await play.api.patch(NODE_CLASSES, "default", {"spec": {"snatPolicy": "Disabled"}})
        await asyncio.sleep(5)
        after = objects(play, NODE_POOLS)["system"]
        assert after["spec"] == before
        assert after["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "eks"
        assert objects(play, NODE_CLASSES)["default"]["spec"]["snatPolicy"] == "Random"
        await play.api.delete(NODE_POOLS, "system")
        await play.until(lambda: "system" in objects(play, NODE_POOLS), 10)


async def test_a_pool_that_is_switched_off_goes_with_its_nodes_and_the_class_with_the_last() -> (
    None
):
    async with playing(deployment(replicas=2), **operator()) as play:
        await _furnished(play)
        await play.until(lambda: play.running() == 2, 300)
        await _restart(play, builtin_node_pools=["system"])
        await play.until(lambda: list(objects(play, NODE_POOLS)) == ["system"], 30)
        await play.until(lambda: not play.claims() and not play.instances(), 600)
        assert "default" in objects(play, NODE_CLASSES)
        await _restart(play, builtin_node_pools=[])
        await play.until(
            lambda: not objects(play, NODE_POOLS) and not objects(play, NODE_CLASSES), 200
        )
        assert not play.world.cloud.eks.entries, "the access entry of the role goes too"


async def test_somebody_elses_default_class_is_left_alone() -> None:
    theirs = node_class()
    async with playing(theirs, **operator()) as play:
        await asyncio.sleep(120)
        assert objects(play, NODE_CLASSES)["default"]["spec"]["role"] == "autoctl-node"
        assert not objects(play, NODE_POOLS), "they would launch with somebody else's settings"
        (event,) = play.events("ReservedName")
        assert event["involvedObject"]["name"] == "default"
        await _restart(play, builtin_node_pools=[])
        await asyncio.sleep(60)
        assert "default" in objects(play, NODE_CLASSES), "only what was made here is removed"


async def test_instances_of_a_role_may_join_the_cluster() -> None:
    async with playing(node_class()) as play:
        await asyncio.sleep(30)
        (entry,) = play.world.cloud.eks.entries.values()
        assert entry.principal.endswith("role/autoctl-node")
        assert entry.kind == "EC2"
        assert [p.rpartition("/")[2] for p in entry.policies] == ["AmazonEKSAutoNodePolicy"]
        await play.api.delete(NODE_CLASSES, "default")
        await play.until(lambda: not play.world.cloud.eks.entries, 70)


@pytest.mark.parametrize("spec", [{"role": "other"}, {"role": None, "instanceProfile": "own"}])
async def test_a_former_role_joins_until_its_last_node_is_replaced(spec: Object) -> None:
    """Its nodes drift; until they are gone they need their access entry, and then nobody does."""

    def prepare(world: World) -> None:
        world.cloud.iam.add_role("other")
        iam = world.cloud.client("iam")
        iam.create_instance_profile(InstanceProfileName="own")
        iam.add_role_to_instance_profile(InstanceProfileName="own", RoleName="other")

    def roles(play: Play) -> set[str]:
        return {name.rpartition("/")[2] for name in play.world.cloud.eks.entries}

    objects_ = (node_class(), node_pool(), deployment(replicas=1))
    async with playing(*objects_, prepare=prepare) as play:
        await play.until(lambda: play.running() == 1, 180)
        (before,) = play.instances()
        assert roles(play) == {"autoctl-node"}
        await play.world.cluster.users.patch(NODE_CLASSES, "default", {"spec": spec})
        joined = "other" if spec["role"] else None
        await play.until(lambda: joined is None or joined in roles(play), 60)
        assert "autoctl-node" in roles(play), "its node is still there"
        await play.until(lambda: before not in play.instances(), 1800)
        await play.until(lambda: roles(play) == ({joined} if joined else set()), 200)
        made = [p for p in play.world.cloud.iam.profiles if p != "own"]
        assert len(made) == (1 if joined else 0), "a profile that nobody uses goes as well"
        (declared,) = play.world.cluster.objects(NODE_CLASSES)
        assert "autoctl.io/former-roles" not in declared["metadata"]["annotations"]


async def test_an_access_entry_of_somebody_else_stays() -> None:
    async with playing() as play:
        cloud = play.world.cloud
        cloud.iam.add_role("autoctl-node")
        arn = cloud.client("iam").get_role(RoleName="autoctl-node")["Role"]["Arn"]
        cloud.client("eks").create_access_entry(clusterName="autoctl", principalArn=arn, type="EC2")
        await play.api.create(NODE_CLASSES, node_class())
        await asyncio.sleep(30)
        await play.api.delete(NODE_CLASSES, "default")
        await play.until(lambda: not objects(play, NODE_CLASSES), 70)
        assert list(cloud.eks.entries) == [arn]
