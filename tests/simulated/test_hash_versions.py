"""A release with another algorithm for hashes: nodes neither drift by it, nor stop to drift."""

from __future__ import annotations

import asyncio

from harness import Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_CLASSES, NODE_POOLS, Object, Resource

POOL = ("karpenter.sh/nodepool-hash", "karpenter.sh/nodepool-hash-version")
SETTINGS = ("autoctl.io/node-settings-hash", "autoctl.io/node-settings-hash-version")
CLASS = ("eks.amazonaws.com/nodeclass-hash", "eks.amazonaws.com/nodeclass-hash-version")


async def _age(play: Play, resource: Resource, name: str, *keys: tuple[str, str]) -> None:
    """The object as the release before this one left it."""
    annotations = {
        key: value for pair in keys for key, value in zip(pair, ("0", "v0"), strict=True)
    }
    await play.world.cluster.users.patch(resource, name, {"metadata": {"annotations": annotations}})


def _annotations(obj: Object, pair: tuple[str, str]) -> tuple[str, ...]:
    return tuple(obj["metadata"]["annotations"][key] for key in pair)


async def test_nodes_of_an_older_release_are_compared_again_and_the_drifted_stay_so() -> None:
    async with playing(
        node_class(),
        node_pool(
            "static",
            replicas=3,
            disruption={"consolidateAfter": "30s", "budgets": [{"nodes": "0"}]},
        ),
    ) as play:
        await play.until(lambda: len(play.nodes()) == 3)
        assert play.world.operator is not None
        await play.world.operator.kill()
        play.world.operator = None
        names = sorted(c["metadata"]["name"] for c in play.claims())
        for name in names:
            await _age(play, NODE_CLAIMS, name, POOL, CLASS)
        drifted = names[0]
        claim = await play.api.get(NODE_CLAIMS, drifted)
        since = play.world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {
            "type": "Drifted",
            "status": "True",
            "reason": "NodePoolDrifted",
            "message": "",
            "lastTransitionTime": since,
        }
        status = {"status": {"conditions": [*claim["status"]["conditions"], condition]}}
        await play.world.cluster.users.patch(NODE_CLAIMS, drifted, status, subresource="status")
        # The drifted one's hash is that of an older spec.
        await play.world.cluster.users.patch(
            NODE_CLAIMS, drifted, {"metadata": {"annotations": {POOL[0]: "older"}}}
        )
        await _age(play, NODE_POOLS, "static", POOL)
        await _age(play, NODE_CLASSES, "default", CLASS)
        play.world.start_operator()
        await asyncio.sleep(900)
        pool = play.pool("static")
        (node_class_,) = play.world.cluster.objects(NODE_CLASSES)
        assert _annotations(pool, POOL)[1] != "v0"
        for claim in play.claims():
            name = claim["metadata"]["name"]
            if name == drifted:
                assert _annotations(claim, POOL) == ("older", _annotations(pool, POOL)[1])
                assert play.condition(claim, "Drifted")["status"] == "True"
                continue
            assert _annotations(claim, POOL) == _annotations(pool, POOL)
            assert _annotations(claim, CLASS) == _annotations(node_class_, CLASS)
            assert play.condition(claim, "Drifted")["status"] == "absent"
        relabelled = {"spec": {"template": {"metadata": {"labels": {"team": "b"}}}}}
        await play.world.cluster.users.patch(NODE_POOLS, "static", relabelled)
        await play.until(
            lambda: all(play.condition(c, "Drifted")["status"] == "True" for c in play.claims()),
            60,
        )


async def test_nodes_follow_the_operators_own_settings_of_nodes() -> None:
    """Other registry mirrors are drift; an operator of a release without that word is none."""
    async with playing(node_class(), node_pool(), deployment(replicas=1)) as play:
        await play.until(lambda: play.running() == 1)
        (first,) = play.instances()
        (claim,) = play.claims()
        # As a release left it that did not tell.
        nothing = {"metadata": {"annotations": dict.fromkeys(SETTINGS)}}
        users = play.world.cluster.users
        await users.patch(NODE_CLAIMS, claim["metadata"]["name"], nothing)
        await users.patch(NODE_CLASSES, "default", nothing)
        await play.world.lose_leader()
        await asyncio.sleep(600)
        assert [i.instance_id for i in play.instances()] == [first.instance_id]
        mirrors = ["docker.io=https://mirror.invalid"]
        play.world.scenario.settings.operator["registry_mirrors"] = mirrors
        await play.world.lose_leader()
        await play.until(lambda: [i for i in play.instances() if i is not first] != [], 300)
        await play.until(lambda: first not in play.instances() and play.running() == 1, 600)
        (second,) = play.instances()
        assert "mirror.invalid" in second.user_data
        await play.world.lose_leader()
        await asyncio.sleep(600)
        assert play.instances() == [second], "the same settings are no drift"
