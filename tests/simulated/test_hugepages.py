"""Static huge pages from the NodeClass to the pod that asks for them."""

from __future__ import annotations

from harness import deployment, node_class, node_pool, playing


async def test_a_pod_gets_the_huge_pages_of_its_class() -> None:
    pages = {"hugepages": {"pages": [{"size": "2Mi", "count": 512}, {"size": "1Gi", "count": 1}]}}
    web = deployment(replicas=1)
    resources = web["spec"]["template"]["spec"]["containers"][0]["resources"]
    wanted = {"hugepages-2Mi": "512Mi", "hugepages-1Gi": "1Gi"}
    resources["requests"] |= wanted
    resources["limits"] = wanted
    async with playing(node_class(advancedCompute=pages), node_pool(), web) as play:
        await play.until(lambda: play.running() == 1, 180)
        (node,) = play.nodes()
        assert node["status"]["allocatable"]["hugepages-2Mi"] == "1Gi"
        assert node["status"]["allocatable"]["hugepages-1Gi"] == "1Gi"
