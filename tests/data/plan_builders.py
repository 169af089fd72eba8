"""Objects and catalogs for tests of `autoctl plan`, and running it as its users do."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from autoctl.cli.main import cli

Object = dict[str, Any]

NOW = "2026-01-02T00:00:00Z"
YESTERDAY = "2026-01-01T00:00:00Z"
Z1, Z2, Z3 = "test-zone-1", "test-zone-2", "test-zone-3"
ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
TYPE = "node.kubernetes.io/instance-type"
CAPACITY = "karpenter.sh/capacity-type"
ARCH = "kubernetes.io/arch"

_uids = count(1)


# ------------------------------------------------------------------------------ catalogs


def price_of(cpu: float, memory_bytes: float) -> float:
    """The fake provider's price: 0.1 for each core and for each 10^9 bytes."""
    return 0.1 * cpu + 0.1 * memory_bytes / 1e9


def instance_type(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "4Gi",
    pods: str = "5",
    arch: str = "amd64",
    price: float | None = None,
    offerings: list[Object] | None = None,
    labels: Mapping[str, str] | None = None,
    overhead: Mapping[str, str] | None = None,
    **extended: str,
) -> Object:
    gib = float(memory.removesuffix("Gi")) * 2**30
    cost = price_of(float(cpu), gib) if price is None else price
    return {
        "name": name,
        "architecture": arch,
        "operatingSystems": ["linux"],
        "capacity": {"cpu": cpu, "memory": memory, "pods": pods, **extended},
        "overhead": dict(overhead or {"cpu": "100m", "memory": "10Mi"}),
        "labels": dict(labels or {}),
        "offerings": offerings
        or [
            *(offering(z, "spot", cost) for z in (Z1, Z2)),
            *(offering(z, "on-demand", cost) for z in (Z1, Z2, Z3)),
        ],
    }


def offering(zone: str, capacity_type: str, price: float, *, available: bool = True) -> Object:
    return {"zone": zone, "capacityType": capacity_type, "price": price, "available": available}


DEFAULT_TYPE = instance_type("default")
FAKE6 = [
    DEFAULT_TYPE,
    instance_type("small", cpu="2", memory="2Gi"),
    instance_type("gpu-vendor", **{"vendor-a.com/gpu": "2"}),
    instance_type("gpu-vendor-b", **{"vendor-b.com/gpu": "2"}),
    instance_type("arm", cpu="16", memory="128Gi", arch="arm64"),
    instance_type("single-pod", pods="1"),
]


def assorted(*, linux_amd64_only: bool = True) -> list[Object]:
    """Every cpu 1-64 with every memory 1-128 GiB, one offering each."""
    types = []
    for cpu in (1, 2, 4, 8, 16, 32, 64):
        for memory in (1, 2, 4, 8, 16, 32, 64, 128):
            for zone in (Z1, Z2, Z3):
                for capacity_type in ("spot", "on-demand"):
                    for arch in ("amd64",) if linux_amd64_only else ("amd64", "arm64"):
                        cost = price_of(cpu, memory * 2**30)
                        types.append(
                            instance_type(
                                f"{cpu}-cpu-{memory}-mem-{arch}-{zone}-{capacity_type}",
                                cpu=str(cpu),
                                memory=f"{memory}Gi",
                                pods="110",
                                arch=arch,
                                offerings=[offering(zone, capacity_type, cost)],
                            )
                        )
    return types


# ------------------------------------------------------------------------------- objects


def node_pool(
    name: str = "default",
    *,
    requirements: list[Object] | None = None,
    labels: Mapping[str, str] | None = None,
    taints: list[Object] | None = None,
    disruption: Object | None = None,
    **spec: Any,
) -> Object:
    template_spec: Object = {
        "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"},
        "requirements": [exists(CAPACITY)] if requirements is None else requirements,
        "expireAfter": "336h",
        "terminationGracePeriod": "24h",
    }
    if taints:
        template_spec["taints"] = taints
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "template": {"metadata": {"labels": dict(labels or {})}, "spec": template_spec},
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
                "consolidateAfter": "0s",
                "budgets": [{"nodes": "100%"}],
                **(disruption or {}),
            },
            **spec,
        },
    }


def requirement(key: str, operator: str, *values: str, **extra: Any) -> Object:
    return {
        "key": key,
        "operator": operator,
        **({"values": list(values)} if values else {}),
        **extra,
    }


def is_in(key: str, *values: str) -> Object:
    return requirement(key, "In", *values)


def exists(key: str) -> Object:
    return requirement(key, "Exists")


ON_DEMAND = is_in(CAPACITY, "on-demand")


def pod(
    name: str | None = None,
    *,
    cpu: str | None = None,
    memory: str | None = None,
    node: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: str | None = "ReplicaSet",
    namespace: str = "default",
    phase: str | None = None,
    requests: Mapping[str, str | int] | None = None,
    container: Object | None = None,
    metadata: Object | None = None,
    **spec: Any,
) -> Object:
    uid = f"uid-{next(_uids)}"
    asked = {**({"cpu": cpu} if cpu else {}), **({"memory": memory} if memory else {})}
    body: Object = {
        "name": "c",
        "image": "x",
        "resources": {"requests": {**asked, **(requests or {})}},
        **(container or {}),
    }
    if node is not None:
        spec["nodeName"] = node
    status: Object = {"phase": phase or ("Running" if node else "Pending")}
    if node:
        status["conditions"] = [{"type": "Ready", "status": "True"}]
    else:
        status["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        ]
    owners = [
        {
            "apiVersion": "apps/v1",
            "kind": owner,
            "name": "o",
            "uid": f"{owner}-uid",
            "controller": True,
        }
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or f"pod-{uid}",
            "namespace": namespace,
            "uid": uid,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            "creationTimestamp": YESTERDAY,
            **({"ownerReferences": owners} if owner else {}),
            **(metadata or {}),
        },
        "spec": {"containers": [body], **spec},
        "status": status,
    }


def pods(number: int, **arguments: Any) -> list[Object]:
    return [pod(**arguments) for _ in range(number)]


def spread(key: str, *, skew: int = 1, labels: Mapping[str, str], **extra: Any) -> Object:
    return {
        "maxSkew": skew,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": dict(labels)},
        **extra,
    }


def node(
    name: str,
    *,
    of: Object = DEFAULT_TYPE,
    zone: str = Z1,
    capacity_type: str = "on-demand",
    pool: str = "default",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: list[Object] | None = None,
    initialized: bool = True,
    conditions: list[Object] | None = None,
    created: str = YESTERDAY,
    claim: Object | None = None,
    spec: Object | None = None,
    allocatable: Mapping[str, str] | None = None,
) -> list[Object]:
    """A managed Node with its NodeClaim."""
    all_labels = {
        "karpenter.sh/nodepool": pool,
        CAPACITY: capacity_type,
        ZONE: zone,
        TYPE: of["name"],
        ARCH: of["architecture"],
        "kubernetes.io/os": "linux",
        "karpenter.sh/registered": "true",
        **({"karpenter.sh/initialized": "true"} if initialized else {}),
        **(labels or {}),
    }
    provider = f"aws:///{zone}/i-{zlib.crc32(name.encode()):017d}"
    capacity = of["capacity"]
    room = dict(allocatable or _allocatable(of))
    state = "True" if initialized else "Unknown"
    wanted: Object = {
        "requirements": [is_in("karpenter.sh/nodepool", pool), is_in(TYPE, of["name"])],
        "expireAfter": "336h",
        "terminationGracePeriod": "24h",
        "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"},
        **(claim or {}),
    }
    return [
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {
                "name": name,
                "uid": f"claim-{name}",
                "labels": all_labels,
                "annotations": dict(annotations or {}),
                "creationTimestamp": created,
                "finalizers": ["karpenter.sh/termination"],
            },
            "spec": {k: v for k, v in wanted.items() if v is not None},
            "status": {
                "providerID": provider,
                "nodeName": name,
                "capacity": capacity,
                "allocatable": room,
                "conditions": [
                    condition("Launched"),
                    condition("Registered"),
                    condition("Initialized", status=state, at=created),
                    *(conditions or []),
                ],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "uid": f"node-{name}",
                "labels": {**all_labels, HOSTNAME: name},
                "annotations": dict(annotations or {}),
                "creationTimestamp": created,
                "finalizers": ["karpenter.sh/termination"],
            },
            "spec": {
                "providerID": provider,
                **({"taints": taints} if taints else {}),
                **(spec or {}),
            },
            "status": {
                "capacity": capacity,
                "allocatable": room,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
    ]


def condition(
    kind: str, *, status: str = "True", at: str = YESTERDAY, reason: str | None = None
) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": "",
        "lastTransitionTime": at,
    }


def _allocatable(of: Object) -> dict[str, str]:
    from autoctl.catalog.units import amounts, format_amount

    taken = amounts(of["overhead"])
    return {k: format_amount(k, v - taken.get(k, 0)) for k, v in amounts(of["capacity"]).items()}


def budget(
    labels: Mapping[str, str], *, allowed: int | None = None, name: str = "pdb", **spec: Any
) -> Object:
    result: Object = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": dict(labels)}, **spec},
    }
    if allowed is not None:
        result["status"] = {
            "disruptionsAllowed": allowed,
            "currentHealthy": 1,
            "desiredHealthy": 1,
            "expectedPods": 1,
        }
    return result


def daemon_set(cpu: str = "1", memory: str = "0", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default", "uid": "ds"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {
                    "containers": [
                        {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
                    ],
                    **spec,
                },
            },
        },
    }


# ------------------------------------------------------------------------------- running


def without(objects: list[Object], *keys: str) -> list[Object]:
    """The node without some of its labels, on both objects."""
    found = deepcopy(objects)
    for each in found:
        each["metadata"]["labels"] = {
            k: v for k, v in each["metadata"]["labels"].items() if k not in keys
        }
    return found


@dataclass(frozen=True)
class Planned:
    """The JSON answer of `autoctl plan`, with questions tests ask of it."""

    json: Object

    @property
    def claims(self) -> list[Object]:
        return list(self.json["nodeClaims"])

    @property
    def types(self) -> list[str]:
        return sorted(c["offer"]["instanceType"] for c in self.claims)

    @property
    def unschedulable(self) -> dict[str, str]:
        return {u["pod"]: u["reason"] for u in self.json["unschedulable"]}

    @property
    def placements(self) -> dict[str, str]:
        return dict(self.json["placements"])

    @property
    def disruptions(self) -> list[Object]:
        return list(self.json["disruptions"])

    @property
    def blocked(self) -> dict[str, str]:
        return {b["node"]: b["reason"] for b in self.json["blocked"] if "node" in b}

    def pods_by(self, domain: Callable[[Object], str]) -> Counter[str]:
        """How many of the new nodes' pods fall in each domain."""
        found: Counter[str] = Counter()
        for claim in self.claims:
            found[domain(claim)] += len(claim["pods"])
        return found

    def skew(self, key: str) -> list[int]:
        """Pods of new nodes by zone, capacity type, node or a label of the user's, ascending."""
        domains: dict[str, Callable[[Object], str]] = {
            ZONE: lambda c: c["offer"]["zone"],
            CAPACITY: lambda c: c["offer"]["capacityType"],
            HOSTNAME: lambda c: c["name"],
        }
        return sorted(self.pods_by(domains.get(key, lambda c: _only_value(c, key))).values())


def _only_value(claim: Object, key: str) -> str:
    (values,) = (r["values"] for r in claim["requirements"] if r["key"] == key)
    (value,) = values
    return str(value)


def plan(
    tmp_path: Path,
    objects: Iterable[Object | list[Object]],
    *arguments: str,
    catalog: list[Object] | None = None,
    exit_code: int = 0,
) -> Planned:
    """Run `autoctl plan -f ... --catalog ... -o json`."""
    flat: list[Object] = []
    for entry in objects:
        flat.extend(entry if isinstance(entry, list) else [entry])
    manifests, types = tmp_path / "objects.json", tmp_path / "catalog.json"
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": flat}))
    types.write_text(json.dumps({"instanceTypes": FAKE6 if catalog is None else catalog}))
    outcome = CliRunner().invoke(
        cli,
        [
            *("plan", "-f", str(manifests), "--catalog", str(types)),
            *("--now", NOW, "-o", "json", *arguments),
        ],
        catch_exceptions=False,
    )
    assert outcome.exit_code == exit_code, outcome.output
    return Planned(json.loads(outcome.stdout))
