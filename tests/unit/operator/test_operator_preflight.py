"""Start checks: each obstacle is a message of its own, and a free cluster passes."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from autoctl.operator.preflight import REQUIRED_RESOURCES, PreflightError, preflight
from autoctl.ports.clock import FixedClock
from autoctl.ports.kubernetes import (
    LEASES,
    NODE_CLAIMS,
    NODES,
    ApiError,
    Forbidden,
    NotFound,
    Object,
    ObjectList,
    Resource,
    Unauthorized,
    Unavailable,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SERVER = "https://127.0.0.1:6443"


def definition(resource: Resource) -> Object:
    return {
        "metadata": {"name": str(resource)},
        "spec": {"versions": [{"name": resource.version, "served": True}]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


class Cluster:
    """Reads only: a write would be an AttributeError."""

    def __init__(self) -> None:
        self.definitions = {str(r): definition(r) for r in REQUIRED_RESOURCES}
        self.lists: dict[Resource, list[Object]] = {LEASES: [], NODES: [], NODE_CLAIMS: []}
        self.error: ApiError | None = None

    async def get(self, _: Resource, name: str, __: str | None = None) -> Object:
        if self.error is not None:
            raise self.error
        if name not in self.definitions:
            raise NotFound(name)
        return copy.deepcopy(self.definitions[name])

    async def list(self, resource: Resource, **_: Any) -> ObjectList[Object]:
        return ObjectList(self.lists[resource], "1")


async def check(cluster: Cluster) -> None:
    await preflight(cluster, FixedClock(NOW), server=SERVER)  # type: ignore[arg-type]


def lease(holder: str, renewed: str) -> Object:
    return {
        "metadata": {"name": "karpenter-leader-election", "namespace": "karpenter"},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
    }


def node(name: str, *, manager: str = "kubelet", provider: str = "", taint: str = "") -> Object:
    return {
        "metadata": {
            "name": name,
            "labels": {"eks.amazonaws.com/compute-type": "auto"},
            "managedFields": [{"manager": manager}],
        },
        "spec": {"providerID": provider, "taints": [{"key": taint}] if taint else []},
    }


async def test_a_free_cluster_passes() -> None:
    cluster = Cluster()
    cluster.lists[LEASES] = [
        lease("", "2026-01-05T11:59:59.000000Z"),
        lease("karpenter-gone", "2026-01-05T11:00:00.000000Z"),
    ]
    await check(cluster)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Unavailable("connection refused"), "6443 does not answer: connection refused"),
        (Unauthorized("Unauthorized"), "6443 does not accept the credentials: Unauthorized"),
        (Forbidden("cannot get crds"), "lack a right .*cannot get crds.*ClusterRole"),
        (ApiError("strange", code=418), "6443 answered: strange"),
    ],
)
async def test_an_api_server_that_refuses(error: ApiError, message: str) -> None:
    cluster = Cluster()
    cluster.error = error
    with pytest.raises(PreflightError, match=message):
        await check(cluster)


async def test_definitions_that_are_missing_old_or_not_established() -> None:
    cluster = Cluster()
    names = [str(r) for r in REQUIRED_RESOURCES]
    del cluster.definitions[names[0]]
    cluster.definitions[names[1]]["spec"]["versions"][0]["name"] = "v1beta1"
    cluster.definitions[names[2]]["status"]["conditions"][0]["status"] = "False"
    with pytest.raises(PreflightError) as caught:
        await check(cluster)
    for text in (
        "nodepools.karpenter.sh (missing)",
        "nodeclaims.karpenter.sh (serves v1beta1, not v1)",
        "nodeclasses.eks.amazonaws.com (not established)",
        "autoctl crds",
    ):
        assert text in str(caught.value)


async def test_a_living_karpenter() -> None:
    cluster = Cluster()
    cluster.lists[LEASES] = [lease("karpenter-7d", "2026-01-05T11:59:50.000000Z")]
    with pytest.raises(PreflightError, match=r"karpenter/karpenter-leader-election .*karpenter-7d"):
        await check(cluster)


async def test_nodes_of_auto_mode() -> None:
    cluster = Cluster()
    cluster.lists[NODES] = [node(f"i-{n}", provider=f"aws:///a/i-{n}") for n in range(5)]
    with pytest.raises(PreflightError, match="Auto Mode cluster: the nodes i-0, i-1, i-2 and 2 mo"):
        await check(cluster)


async def test_nodes_that_autoctl_made_pass() -> None:
    cluster = Cluster()
    cluster.lists[NODES] = [
        node("registered", manager="autoctl", provider="aws:///a/i-1"),
        node("of-our-claim", provider="aws:///a/i-2"),
        node("just-joined", provider="aws:///a/i-3", taint="karpenter.sh/unregistered"),
    ]
    cluster.lists[NODE_CLAIMS] = [
        {
            "metadata": {"name": "c", "managedFields": [{"manager": "autoctl"}]},
            "status": {"providerID": "aws:///a/i-2"},
        }
    ]
    await check(cluster)
    cluster.lists[NODE_CLAIMS][0]["metadata"]["managedFields"] = [{"manager": "eks"}]
    with pytest.raises(PreflightError, match="of-our-claim"):
        await check(cluster)
