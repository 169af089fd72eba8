"""Small clusters for solver tests: six fake instance types in three zones, pods by keyword."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from autoctl.api import core
from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.problem import (
    ExistingNode,
    Pool,
    RequirementSpec,
    SchedulingProblem,
    Solution,
)
from autoctl.scheduling.solve import solve

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
ARCH = "kubernetes.io/arch"
MIB, GIB = 2**20, 2**30


def fake_type(
    name: str,
    cpu: int,
    gib: int,
    pods: int = 5,
    arch: str = "amd64",
    price: float | None = None,
    offerings: Sequence[Offering] | None = None,
    labels: Mapping[str, str] | None = None,
    **extended: int,
) -> InstanceType:
    """A type with spot in two zones and on-demand in three, priced by its size."""
    cost = 0.1 * cpu + 0.1 * gib * GIB / 1e9 if price is None else price
    if offerings is None:
        offerings = [Offering(f"test-zone-{z}", "spot", cost) for z in (1, 2)]
        offerings += [Offering(f"test-zone-{z}", "on-demand", cost) for z in (1, 2, 3)]
    capacity = {"cpu": cpu * 1000, "memory": gib * GIB, "pods": pods}
    capacity |= {name.replace("__", ".com/"): n for name, n in extended.items()}
    return InstanceType(
        name=name,
        architecture=arch,
        capacity=capacity,
        overhead={"cpu": 100, "memory": 10 * MIB},
        labels={"node.kubernetes.io/instance-type": name, ARCH: arch, **(labels or {})},
        offerings=tuple(offerings),
    )


FAKE6 = (
    fake_type("default", 4, 4),
    fake_type("small", 2, 2),
    fake_type("gpu-a", 4, 4, fake__a=2),
    fake_type("gpu-b", 4, 4, fake__b=2),
    fake_type("arm", 16, 128, arch="arm64"),
    fake_type("single-pod", 4, 4, pods=1),
)
AMD64 = {"nodeSelector": {ARCH: "amd64"}}


def pool(name: str = "default", *requirements: RequirementSpec, **kwargs: Any) -> Pool:
    return Pool(name, kwargs.pop("types", FAKE6), requirements=requirements, **kwargs)


def make_pod(
    name: str,
    cpu: str = "100m",
    memory: str = "10Mi",
    labels: Mapping[str, str] | None = None,
    namespace: str = "default",
    metadata: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> core.Pod:
    requests = {"cpu": cpu, "memory": memory, **spec.pop("requests", {})}
    container = {"name": "c", "resources": {"requests": requests}, "ports": spec.pop("ports", [])}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": dict(labels or {}),
                **(metadata or {}),
            },
            "spec": {"containers": [container], **spec},
            "status": status or {},
        },
        core.Pod,
        strict=False,
    )


def many(number: int, prefix: str = "p", **kwargs: Any) -> list[core.Pod]:
    return [make_pod(f"{prefix}{i:03d}", **kwargs) for i in range(number)]


def spread(key: str, skew: int = 1, app: str = "web", **more: Any) -> dict[str, Any]:
    constraint = {
        "maxSkew": skew,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": app}},
        **more,
    }
    return {"topologySpreadConstraints": [constraint]}


def affinity(kind: str, key: str, app: str = "web", **more: Any) -> dict[str, Any]:
    """`kind` is podAffinity or podAntiAffinity; required."""
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def node(name: str, zone: str = "test-zone-1", **kwargs: Any) -> ExistingNode:
    labels = {
        ZONE: zone,
        HOSTNAME: name,
        ARCH: "amd64",
        CAPACITY_TYPE: "on-demand",
        **kwargs.pop("labels", {}),
    }
    room = kwargs.pop("allocatable", {"cpu": 3900, "memory": 4 * GIB, "pods": 5})
    return ExistingNode(name, labels, room, **kwargs)


def answer(
    pods: Sequence[core.Pod], *pools: Pool, nodes: Sequence[ExistingNode] = (), **kwargs: Any
) -> Solution:
    return solve(SchedulingProblem(tuple(pods), pools or (pool(),), nodes=tuple(nodes), **kwargs))


def domains(solution: Solution, key: str = ZONE) -> Counter[str]:
    """New pods by domain of a key; every claim must be pinned to one."""
    found: Counter[str] = Counter()
    for new in solution.new_nodes:
        (values,) = (r.values for r in new.requirements if r.key == key)
        assert len(values) == 1, f"claim is not pinned: {key} in {values}"
        found[values[0]] += len(new.pods)
    return found


def shapes_of(solution: Solution) -> Counter[tuple[str, int]]:
    """New nodes by (instance type, number of pods)."""
    return Counter((n.offer.instance_type, len(n.pods)) for n in solution.new_nodes)
