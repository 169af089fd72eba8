"""A release with another algorithm for hashes: nodes neither drift by it, nor stop to drift."""

from __future__ import annotations

import asyncio

from harness import Play, node_class, node_pool, playing

from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_CLASSES, NODE_POOLS, Object, Resource

POOL = ("karpenter.sh/nodepool-hash", "karpenter.sh/nodepool-hash-version")
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
