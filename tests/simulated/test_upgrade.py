"""The control plane gets another minor version: nodes follow it, forward and back."""

from __future__ import annotations

from collections import Counter

from harness import Play, node_class, node_pool, playing

from autoctl.simulate.invariants import Invariants

ONE_AT_A_TIME = {"consolidateAfter": "30s", "budgets": [{"nodes": "1"}]}


def _minors(play: Play) -> Counter[str]:
    """The Kubernetes minor of the image that each instance runs."""
    images = play.world.cloud.ec2.images
    names = (images.get(i.image_id).name for i in play.instances())
    return Counter(name.removeprefix("bottlerocket-aws-k8s-").split("-")[0] for name in names)


async def test_nodes_drift_to_the_minor_of_the_control_plane_as_their_budget_allows() -> None:
    """Also back by one, as a rollback has it: nodes are the first to go."""
    pool = node_pool("static", replicas=3, disruption=ONE_AT_A_TIME, limits={"nodes": "4"})
    invariants = Invariants()
    async with playing(node_class(), pool, prepare=invariants.attach) as play:
        ready = "Initialized"
        await play.until(
            lambda: (
                len(play.nodes()) == 3
                and all(play.condition(c, ready)["status"] == "True" for c in play.claims())
            )
        )
        before = play.world.cloud.eks.version
        major, minor = before.split(".")
        after = f"{major}.{int(minor) + 1}"
        most = 0

        def replaced(version: str) -> bool:
            nonlocal most
            most = max(most, len(play.instances()))
            drifted = [play.condition(c, "Drifted") for c in play.claims()]
            assert {d["reason"] for d in drifted if d["status"] == "True"} <= {"AMIDrift"}
            return _minors(play) == {version: 3}

        for version in (after, before):
            play.world.cloud.eks.version = version
            await play.until(lambda v=version: replaced(v), 3600)  # type: ignore[misc]
        assert most == 4, "one was made before one was taken, and no more"
        assert play.launched == 9
        assert invariants.violations == [], "the limit, the budget, what was bought"
