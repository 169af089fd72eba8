"""Hypothesis strategies for whole scheduling problems with every kind of constraint mixed.

Objects are made as manifests (plain dicts) and decoded as the operator decodes them. A workload
is a plain pod template with up to seven *aspects*, each of which adds one kind of constraint;
everything shrinks towards one plain pod, one pool, one instance type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from verifier_rules import add, pod_requests, ports_conflict

from autoctl.api import core
from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.problem import (
    ExistingNode,
    MinValuesPolicy,
    Pool,
    PreferencePolicy,
    RequirementSpec,
    SchedulingProblem,
    SolverOptions,
    Volumes,
)

Draw = Callable[..., Any]
Manifest = dict[str, Any]

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ARCH = "kubernetes.io/arch"
NODEPOOL = "karpenter.sh/nodepool"
INSTANCE_CPU = "eks.amazonaws.com/instance-cpu"
FAMILY = "eks.amazonaws.com/instance-family"
CATEGORY = "eks.amazonaws.com/instance-category"
GENERATION = "eks.amazonaws.com/instance-generation"
GPU_NAME = "eks.amazonaws.com/instance-gpu-name"
TEAM = "example.com/team"
RACK = "example.com/rack"
HASH = "pod-template-hash"
EBS = "ebs.csi.eks.amazonaws.com"
GPU = "nvidia.com/gpu"

ZONES = ("zone-a", "zone-b", "zone-c")
APPS = ("web", "api", "cache")
NAMESPACES: dict[str, dict[str, str]] = {
    "default": {"tier": "front"},
    "backend": {"tier": "back"},
    "batch": {},
}
GIB = 2**30
MIB = 2**20
MOST_PODS = 30


def one_of(draw: Draw, *values: Any) -> Any:
    return draw(st.sampled_from(values))


def chance(draw: Draw, percent: int) -> bool:
    """True that often; shrinks to False."""
    return bool(draw(st.integers(0, 99)) >= 100 - percent)


@dataclass
class Making:
    """A world in the making: what aspects of workloads refer to."""

    draw: Draw
    claims: dict[str, Manifest] = field(default_factory=dict)
    volumes: dict[str, Manifest] = field(default_factory=dict)
    classes: dict[str, Manifest] = field(default_factory=dict)
    node_names: list[str] = field(default_factory=list)


# Catalogs


def instance_type(draw: Draw, index: int, zones: tuple[str, ...]) -> InstanceType:
    cpu = one_of(draw, 2, 4, 8, 16)
    memory = cpu * one_of(draw, 4, 2, 8)
    gpus = one_of(draw, 1, 4) if chance(draw, 20) else 0
    family = one_of(draw, "m5", "c6", "r7", "m8")
    arch = "arm64" if chance(draw, 25) else "amd64"
    capacity = {
        "cpu": cpu * 1000,
        "memory": memory * GIB,
        "ephemeral-storage": 20 * GIB,
        "pods": one_of(draw, 29, 4, 8),
    }
    if gpus:
        capacity[GPU] = gpus
    if chance(draw, 15):
        capacity["hugepages-2Mi"] = 512 * MIB
    labels = {
        ARCH: arch,
        "kubernetes.io/os": "linux",
        INSTANCE_CPU: str(cpu),
        FAMILY: family,
        CATEGORY: family[0],
        GENERATION: family[1],
    }
    if gpus:
        labels[GPU_NAME] = "t4"
    price = round(cpu * 0.04 + memory * 0.004 + gpus * 0.5 + draw(st.integers(0, 3)) * 0.01, 6)
    name = f"{family}.{cpu}x{memory}-{index}"
    return InstanceType(
        name=name,
        architecture=arch,
        capacity=capacity,
        overhead={"cpu": 100, "memory": 256 * MIB} if chance(draw, 50) else {},
        labels=labels,
        offerings=offerings(draw, name, price, zones),
        exotic=bool(gpus),
    )


def offerings(draw: Draw, name: str, price: float, zones: tuple[str, ...]) -> tuple[Offering, ...]:
    found = []
    for zone in zones:
        found.append(Offering(zone, "on-demand", price, available=not chance(draw, 12)))
        if chance(draw, 40):
            share = one_of(draw, 0.4, 0.7)
            found.append(
                Offering(zone, "spot", round(price * share, 6), available=not chance(draw, 12))
            )
    if chance(draw, 12):
        reservation = f"cr-{name}"
        found.append(
            Offering(
                one_of(draw, *zones),
                "reserved",
                price * 1e-6,
                reservation_id=reservation,
                reservation_capacity=draw(st.integers(1, 3)),
                labels={"eks.amazonaws.com/capacity-reservation-id": reservation},
            )
        )
    return tuple(found)


# Pools

SPECIAL = core.Taint(key="example.com/special", value="yes", effect="NoSchedule")
DEDICATED = core.Taint(key="dedicated", value="batch", effect="NoExecute")
RELUCTANT = core.Taint(key="example.com/rather-not", effect="PreferNoSchedule")
STARTUP = core.Taint(key="example.com/agent-not-ready", effect="NoSchedule")


def pool_requirements(draw: Draw) -> tuple[RequirementSpec, ...]:
    found = []
    if chance(draw, 20):
        found.append(RequirementSpec(ARCH, "In", ("amd64",)))
    if chance(draw, 20):
        allowed = one_of(draw, ("on-demand",), ("spot", "on-demand"), ("reserved", "on-demand"))
        found.append(RequirementSpec(CAPACITY_TYPE, "In", allowed))
    if chance(draw, 15):
        found.append(RequirementSpec(ZONE, "In", one_of(draw, ZONES[:2], ZONES[1:])))
    if chance(draw, 15):
        found.append(
            one_of(
                draw,
                RequirementSpec(GENERATION, "Gt", ("5",)),
                RequirementSpec(INSTANCE_CPU, "Lt", ("16",)),
                RequirementSpec(INSTANCE_CPU, "Gte", ("4",)),
                RequirementSpec(GENERATION, "Lte", ("7",)),
            )
        )
    if chance(draw, 15):
        found.append(
            one_of(
                draw,
                RequirementSpec(GPU_NAME, "DoesNotExist"),
                RequirementSpec(CATEGORY, "NotIn", ("r",)),
                RequirementSpec(FAMILY, "Exists"),
            )
        )
    if chance(draw, 35):
        found.append(
            one_of(
                draw,
                RequirementSpec(RACK, "In", ("r1", "r2")),
                RequirementSpec(RACK, "In", ("r1", "r2", "r3")),
                RequirementSpec(RACK, "Exists"),
            )
        )
    if chance(draw, 25):
        key = one_of(draw, INSTANCE_TYPE, FAMILY)
        found.append(RequirementSpec(key, "Exists", min_values=draw(st.integers(1, 3))))
    return tuple(found)


def pool(draw: Draw, index: int, types: tuple[InstanceType, ...]) -> Pool:
    name = f"pool-{index}"
    taints = []
    if chance(draw, 20):
        taints.append(one_of(draw, SPECIAL, DEDICATED))
    if chance(draw, 20):
        taints.append(RELUCTANT)
    limits: dict[str, int] = {}
    if chance(draw, 25):
        limits["cpu"] = one_of(draw, 8, 16, 32, 64) * 1000
    if chance(draw, 15):
        limits["nodes"] = draw(st.integers(0, 4))
    if chance(draw, 10):
        limits["memory"] = one_of(draw, 32, 64) * GIB
    if len(types) > 1 and chance(draw, 20):
        types = types[: draw(st.integers(1, len(types)))]
    labels = {NODEPOOL: name}
    if chance(draw, 40):
        labels[TEAM] = one_of(draw, "red", "blue")
    return Pool(
        name=name,
        instance_types=types,
        requirements=pool_requirements(draw),
        labels=labels,
        taints=tuple(taints),
        startup_taints=(STARTUP,) if chance(draw, 25) else (),
        weight=one_of(draw, 0, 0, 10, 50),
        limits=limits,
    )


# Aspects of workloads: each adds a kind of constraint to a pod manifest.

Aspect = Callable[[Making, Manifest], None]
ASPECTS: list[Aspect] = []


def aspect(function: Aspect) -> Aspect:
    ASPECTS.append(function)
    return function


def app_selector(making: Making, pod: Manifest) -> Manifest:
    """Mostly the pod's own app, sometimes another one, sometimes an expression."""
    own = pod["metadata"]["labels"]["app"]
    match draw_kind := making.draw(st.integers(0, 5)):
        case 0 | 1 | 2:
            return {"matchLabels": {"app": own}}
        case 3:
            return {"matchExpressions": [{"key": "app", "operator": "In", "values": [own, "api"]}]}
        case 4:
            return {"matchLabels": {"app": one_of(making.draw, *APPS)}}
    assert draw_kind == 5
    return {
        "matchExpressions": [
            {"key": "app", "operator": "NotIn", "values": [one_of(making.draw, *APPS)]},
            {"key": "app", "operator": "Exists"},
        ]
    }


def affinity(pod: Manifest, kind: str) -> Manifest:
    found: Manifest = pod["spec"].setdefault("affinity", {}).setdefault(kind, {})
    return found


def require_nodes(pod: Manifest, *terms: list[Manifest]) -> None:
    """Terms of which one must hold; what an earlier aspect required is replaced."""
    affinity(pod, "nodeAffinity")["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [{"matchExpressions": term} for term in terms]
    }


def expression(key: str, operator: str, *values: str) -> Manifest:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def add_term(pod: Manifest, kind: str, term: Manifest) -> None:
    affinity(pod, kind).setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(
        term
    )


def prefer_term(making: Making, pod: Manifest, kind: str, term: Manifest) -> None:
    affinity(pod, kind).setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(
        {"weight": one_of(making.draw, 1, 100), "podAffinityTerm": term}
    )


def add_spread(making: Making, pod: Manifest, key: str, **more: Any) -> None:
    constraint = {
        "maxSkew": one_of(making.draw, 1, 1, 2),
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": app_selector(making, pod),
        **more,
    }
    found = pod["spec"].setdefault("topologySpreadConstraints", [])
    if not any(
        (c["topologyKey"], c["whenUnsatisfiable"]) == (key, constraint["whenUnsatisfiable"])
        for c in found
    ):
        found.append(constraint)


def container(pod: Manifest) -> Manifest:
    found: Manifest = pod["spec"]["containers"][0]
    return found


def requests(pod: Manifest) -> Manifest:
    found: Manifest = container(pod)["resources"]["requests"]
    return found


@aspect
def selects_nodes(making: Making, pod: Manifest) -> None:
    key, value = one_of(
        making.draw,
        (ZONE, "zone-a"),
        (ARCH, "amd64"),
        (CAPACITY_TYPE, "on-demand"),
        (TEAM, "red"),
        (RACK, "r1"),
        (NODEPOOL, "pool-0"),
        (FAMILY, "m5"),
    )
    pod["spec"].setdefault("nodeSelector", {})[key] = value


@aspect
def uses_deprecated_keys(making: Making, pod: Manifest) -> None:
    key, value = one_of(
        making.draw,
        ("beta.kubernetes.io/arch", "amd64"),
        ("failure-domain.beta.kubernetes.io/zone", "zone-b"),
        ("beta.kubernetes.io/os", "linux"),
    )
    pod["spec"].setdefault("nodeSelector", {})[key] = value


@aspect
def requires_labels(making: Making, pod: Manifest) -> None:
    require_nodes(
        pod,
        one_of(
            making.draw,
            [expression(ZONE, "In", "zone-a", "zone-b")],
            [expression(CAPACITY_TYPE, "In", "spot", "on-demand")],
            [expression(RACK, "In", "r1", "r2")],
            [expression(FAMILY, "In", "m5", "c6", "m8")],
        ),
    )


@aspect
def requires_one_of_several(making: Making, pod: Manifest) -> None:
    require_nodes(
        pod,
        one_of(
            making.draw,
            [expression(ZONE, "In", "zone-c")],
            [expression(TEAM, "In", "blue"), expression(ARCH, "Exists")],
        ),
        one_of(
            making.draw,
            [expression(ZONE, "In", "zone-a")],
            [expression(CAPACITY_TYPE, "In", "on-demand")],
        ),
    )


@aspect
def requires_numbers(making: Making, pod: Manifest) -> None:
    require_nodes(
        pod,
        one_of(
            making.draw,
            [expression(INSTANCE_CPU, "Gt", "3")],
            [expression(INSTANCE_CPU, "Lt", "9")],
            [expression(GENERATION, "Gt", "5"), expression(GENERATION, "Lt", "8")],
        ),
    )


@aspect
def excludes_values(making: Making, pod: Manifest) -> None:
    require_nodes(
        pod,
        one_of(
            making.draw,
            [expression(ZONE, "NotIn", "zone-a")],
            [expression(TEAM, "NotIn", "red")],
            [expression(CAPACITY_TYPE, "NotIn", "spot")],
        ),
    )


@aspect
def asks_for_presence(making: Making, pod: Manifest) -> None:
    require_nodes(
        pod,
        one_of(
            making.draw,
            [expression(TEAM, "DoesNotExist")],
            [expression(GPU_NAME, "DoesNotExist")],
            [expression(RACK, "Exists")],
        ),
    )


@aspect
def names_a_node(making: Making, pod: Manifest) -> None:
    name = one_of(making.draw, *(making.node_names or ["node-0"]))
    affinity(pod, "nodeAffinity")["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [{"matchFields": [expression("metadata.name", "In", name)]}]
    }


@aspect
def prefers_nodes(making: Making, pod: Manifest) -> None:
    preference = one_of(
        making.draw,
        expression(ZONE, "In", "zone-b"),
        expression(TEAM, "In", "green"),
        expression(CAPACITY_TYPE, "In", "spot"),
    )
    affinity(pod, "nodeAffinity").setdefault(
        "preferredDuringSchedulingIgnoredDuringExecution", []
    ).append(
        {
            "weight": one_of(making.draw, 1, 50),
            "preference": {"matchExpressions": [preference]},
        }
    )


@aspect
def tolerates_taints(making: Making, pod: Manifest) -> None:
    pod["spec"]["tolerations"] = one_of(
        making.draw,
        [{"key": SPECIAL.key, "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
        [{"key": DEDICATED.key, "operator": "Exists"}],
        [{"operator": "Exists"}],
        [{"key": SPECIAL.key, "value": "yes"}, {"key": DEDICATED.key, "value": "other"}],
    )


@aspect
def starts_with_init_containers(making: Making, pod: Manifest) -> None:
    pod["spec"].setdefault("initContainers", []).append(
        {"name": "init", "resources": {"requests": {"cpu": one_of(making.draw, "100m", "1500m")}}}
    )


@aspect
def has_a_sidecar(making: Making, pod: Manifest) -> None:
    pod["spec"].setdefault("initContainers", []).append(
        {
            "name": "sidecar",
            "restartPolicy": "Always",
            "resources": {
                "requests": {"cpu": "250m", "memory": one_of(making.draw, "64Mi", "1Gi")}
            },
        }
    )


@aspect
def has_overhead(making: Making, pod: Manifest) -> None:
    pod["spec"]["overhead"] = {"cpu": one_of(making.draw, "250m", "1"), "memory": "120Mi"}


@aspect
def requests_as_a_pod(making: Making, pod: Manifest) -> None:
    pod["spec"]["resources"] = {"requests": {"cpu": one_of(making.draw, "1", "3")}}


@aspect
def wants_accelerators(making: Making, pod: Manifest) -> None:
    requests(pod)[GPU] = one_of(making.draw, 1, 1, 2)


@aspect
def wants_local_storage(making: Making, pod: Manifest) -> None:
    requests(pod)["ephemeral-storage"] = one_of(making.draw, "8Gi", "15Gi", "30Gi")


@aspect
def wants_huge_pages(making: Making, pod: Manifest) -> None:
    requests(pod)["hugepages-2Mi"] = one_of(making.draw, "64Mi", "300Mi")


@aspect
def is_large(making: Making, pod: Manifest) -> None:
    requests(pod).update(
        one_of(making.draw, {"cpu": "7"}, {"memory": "30Gi"}, {"cpu": "500"}, {"cpu": "15900m"})
    )


@aspect
def spreads_over_zones(making: Making, pod: Manifest) -> None:
    add_spread(making, pod, ZONE)


@aspect
def spreads_over_hosts(making: Making, pod: Manifest) -> None:
    add_spread(making, pod, HOSTNAME)


@aspect
def spreads_over_capacity_types(making: Making, pod: Manifest) -> None:
    add_spread(making, pod, CAPACITY_TYPE)


@aspect
def spreads_over_racks(making: Making, pod: Manifest) -> None:
    add_spread(making, pod, RACK)


@aspect
def spreads_over_a_number_of_domains(making: Making, pod: Manifest) -> None:
    add_spread(making, pod, ZONE, minDomains=one_of(making.draw, 2, 3))


@aspect
def spreads_by_policy(making: Making, pod: Manifest) -> None:
    add_spread(
        making,
        pod,
        one_of(making.draw, ZONE, HOSTNAME),
        **one_of(
            making.draw,
            {"nodeAffinityPolicy": "Ignore"},
            {"nodeTaintsPolicy": "Honor"},
            {"nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Honor"},
        ),
    )


@aspect
def spreads_each_revision(making: Making, pod: Manifest) -> None:
    pod["metadata"]["labels"][HASH] = one_of(making.draw, "1", "2")
    add_spread(making, pod, one_of(making.draw, ZONE, HOSTNAME), matchLabelKeys=[HASH])


@aspect
def would_like_to_spread(making: Making, pod: Manifest) -> None:
    key = one_of(making.draw, ZONE, HOSTNAME)
    add_spread(making, pod, key, whenUnsatisfiable="ScheduleAnyway")


@aspect
def shuns_hosts(making: Making, pod: Manifest) -> None:
    add_term(
        pod,
        "podAntiAffinity",
        {"topologyKey": HOSTNAME, "labelSelector": app_selector(making, pod)},
    )


@aspect
def shuns_zones(making: Making, pod: Manifest) -> None:
    add_term(
        pod, "podAntiAffinity", {"topologyKey": ZONE, "labelSelector": app_selector(making, pod)}
    )


@aspect
def joins_in_zone(making: Making, pod: Manifest) -> None:
    add_term(pod, "podAffinity", {"topologyKey": ZONE, "labelSelector": app_selector(making, pod)})


@aspect
def joins_on_host(making: Making, pod: Manifest) -> None:
    add_term(
        pod, "podAffinity", {"topologyKey": HOSTNAME, "labelSelector": app_selector(making, pod)}
    )


@aspect
def looks_into_namespaces(making: Making, pod: Manifest) -> None:
    term = {
        "topologyKey": one_of(making.draw, HOSTNAME, ZONE),
        "labelSelector": app_selector(making, pod),
        **one_of(
            making.draw,
            {"namespaceSelector": {}},
            {"namespaceSelector": {"matchLabels": {"tier": "back"}}},
            {"namespaces": ["batch"]},
            {"namespaces": ["default"], "namespaceSelector": {"matchLabels": {"tier": "back"}}},
        ),
    }
    add_term(pod, one_of(making.draw, "podAntiAffinity", "podAffinity"), term)


@aspect
def relates_to_its_revision(making: Making, pod: Manifest) -> None:
    pod["metadata"]["labels"][HASH] = one_of(making.draw, "1", "2")
    add_term(
        pod,
        one_of(making.draw, "podAntiAffinity", "podAffinity"),
        {
            "topologyKey": HOSTNAME,
            "labelSelector": app_selector(making, pod),
            one_of(making.draw, "matchLabelKeys", "mismatchLabelKeys"): [HASH],
        },
    )


@aspect
def prefers_company(making: Making, pod: Manifest) -> None:
    term = {
        "topologyKey": one_of(making.draw, HOSTNAME, ZONE),
        "labelSelector": app_selector(making, pod),
    }
    prefer_term(making, pod, one_of(making.draw, "podAffinity", "podAntiAffinity"), term)


@aspect
def opens_a_host_port(making: Making, pod: Manifest) -> None:
    port: Manifest = {"containerPort": 80, "hostPort": one_of(making.draw, 8080, 9090)}
    if chance(making.draw, 40):
        port["hostIP"] = one_of(making.draw, "10.0.0.1", "10.0.0.2", "0.0.0.0")  # noqa: S104
    if chance(making.draw, 30):
        port["protocol"] = "UDP"
    container(pod).setdefault("ports", []).append(port)


@aspect
def shares_a_bound_volume(making: Making, pod: Manifest) -> None:
    zone = one_of(making.draw, *ZONES)
    name = f"data-{zone}-{pod['metadata']['namespace']}"
    making.volumes[name] = {
        "metadata": {"name": name},
        "spec": {
            "csi": {"driver": EBS, "volumeHandle": name},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [{"matchExpressions": [expression(ZONE, "In", zone)]}]
                }
            },
        },
    }
    bound_claim(making, pod, name)


def bound_claim(making: Making, pod: Manifest, name: str) -> None:
    namespace = pod["metadata"]["namespace"]
    making.claims[f"{namespace}/{name}"] = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
        },
        "spec": {"volumeName": name, "storageClassName": "fast"},
        "status": {"phase": "Bound"},
    }
    mount(pod, {"name": name, "persistentVolumeClaim": {"claimName": name}})


def mount(pod: Manifest, volume: Manifest) -> None:
    pod["spec"].setdefault("volumes", []).append(volume)


@aspect
def waits_for_a_volume(making: Making, pod: Manifest) -> None:
    kind = one_of(making.draw, "fast", "zonal", "immediate")
    name = f"{kind}-{pod['metadata']['labels']['app']}"
    namespace = pod["metadata"]["namespace"]
    making.claims[f"{namespace}/{name}"] = {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"storageClassName": kind},
        "status": {"phase": "Pending"},
    }
    mount(pod, {"name": name, "persistentVolumeClaim": {"claimName": name}})


@aspect
def has_scratch_volumes(making: Making, pod: Manifest) -> None:
    template = {"spec": {"storageClassName": one_of(making.draw, "fast", "zonal")}}
    mount(pod, {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}})


@aspect
def matters_more_or_less(making: Making, pod: Manifest) -> None:
    pod["spec"]["priority"] = one_of(making.draw, 1000, -10)


@aspect
def claims_devices(making: Making, pod: Manifest) -> None:
    pod["spec"]["resourceClaims"] = [{"name": "device"}]


@aspect
def asks_for_nothing(making: Making, pod: Manifest) -> None:
    requests(pod).clear()


# Some are asked for twice as often: another aspect may undo them.
ASPECTS += [asks_for_nothing, excludes_values, spreads_by_policy, has_a_sidecar]


# Pods


def plain_pod(draw: Draw, name: str) -> Manifest:
    return {
        "metadata": {
            "name": name,
            "namespace": one_of(draw, *NAMESPACES),
            "labels": {"app": one_of(draw, *APPS)},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "resources": {
                        "requests": {
                            "cpu": one_of(draw, "100m", "500m", "1", "1900m"),
                            "memory": one_of(draw, "128Mi", "1Gi", "3Gi"),
                        }
                    },
                }
            ]
        },
    }


def decode_pods(template: Manifest, count: int) -> list[core.Pod]:
    first = msgspec.convert(template, core.Pod, strict=False)
    names = [f"{first.metadata.name}-{i}" for i in range(count)]
    return [
        core.Pod(
            metadata=msgspec.structs.replace(first.metadata, name=name, uid=f"uid-{name}"),
            spec=first.spec,
        )
        for name in names
    ]


def workload(making: Making, index: int, most: int) -> list[core.Pod]:
    draw = making.draw
    pod = plain_pod(draw, f"w{index}")
    for chosen in draw(st.lists(st.integers(0, len(ASPECTS) - 1), max_size=7, unique=True)):
        ASPECTS[chosen](making, pod)
    return decode_pods(pod, min(most, draw(st.integers(1, 6))))


def daemon(draw: Draw, index: int) -> core.Pod:
    name = f"daemon-{index}"
    pod: Manifest = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"daemonset/{name}",
            "labels": {"daemon": name},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "DaemonSet",
                    "name": name,
                    "uid": f"uid-{name}",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "containers": [
                {"name": "main", "resources": {"requests": {"cpu": one_of(draw, "50m", "400m")}}}
            ]
        },
    }
    if chance(draw, 40):
        pod["spec"]["tolerations"] = [{"operator": "Exists"}]
    if chance(draw, 30):
        pod["spec"]["nodeSelector"] = one_of(draw, {ARCH: "amd64"}, {TEAM: "red"})
    if chance(draw, 30):
        container(pod)["ports"] = [{"hostPort": 9090, "containerPort": 9090}]
    if chance(draw, 15):
        require_nodes(pod, [expression(GPU_NAME, "DoesNotExist")])
    return msgspec.convert(pod, core.Pod, strict=False)


# Nodes that are there

RESIDENT_ASPECTS: tuple[Aspect, ...] = (
    shuns_hosts,
    shuns_zones,
    looks_into_namespaces,
    spreads_over_zones,
    opens_a_host_port,
    shares_a_bound_volume,
    has_scratch_volumes,
    joins_in_zone,
)


def existing_node(
    making: Making,
    name: str,
    pools: tuple[Pool, ...],
    types: tuple[InstanceType, ...],
    daemons: tuple[core.Pod, ...],
) -> ExistingNode:
    draw = making.draw
    shape = one_of(draw, *types)
    offering = one_of(draw, *shape.offerings)
    owner = one_of(draw, *pools)
    foreign = chance(draw, 25)
    labels = {
        HOSTNAME: name,
        INSTANCE_TYPE: shape.name,
        **shape.labels,
        ZONE: offering.zone,
    }
    taints: tuple[core.Taint, ...] = ()
    if foreign:
        if chance(draw, 30):
            labels[TEAM] = "red"
        if chance(draw, 15):
            del labels[ZONE]
    else:
        labels |= {CAPACITY_TYPE: offering.capacity_type, **offering.labels, **owner.labels}
        taints = owner.taints
        if chance(draw, 40):
            labels[RACK] = one_of(draw, "r1", "r2")
    schedulable = not chance(draw, 20)
    if not schedulable:
        taints = (*taints, core.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule"))
    residents: list[core.Pod] = []
    free = dict(shape.allocatable)
    wanted = [
        core.Pod(
            metadata=msgspec.structs.replace(d.metadata, name=f"{d.metadata.name}-{name}"),
            spec=d.spec,
        )
        for d in daemons
        if chance(draw, 40)
    ]
    for index in range(draw(st.integers(0, 3))):
        pod = plain_pod(draw, f"{name}-p{index}")
        if chance(draw, 40):
            one_of(draw, *RESIDENT_ASPECTS)(making, pod)
        wanted += decode_pods(pod, 1)
    for pod in wanted:
        asked = pod_requests(pod)
        # Room stays for DaemonSet pods that may still come: a node that has none is no concern.
        if all(v + 1000 * (k == "cpu") <= free.get(k, 0) for k, v in asked.items()) and not any(
            ports_conflict(pod, other) for other in residents
        ):
            add(free, {k: -v for k, v in asked.items()})
            residents.append(pod)
    promised = [p for p in residents if not p.metadata.owner_references and chance(draw, 20)]
    return ExistingNode(
        name=name,
        labels=labels,
        allocatable=shape.allocatable,
        taints=taints,
        pods=tuple(p for p in residents if p not in promised),
        nominated=tuple(promised),
        initialized=foreign or not chance(draw, 25),
        managed=not foreign,
        pool=None if foreign else owner.name,
        schedulable=schedulable,
        csi_limits={EBS: draw(st.integers(1, 3))} if chance(draw, 50) else {},
    )


def with_usage(
    pool: Pool, nodes: tuple[ExistingNode, ...], types: tuple[InstanceType, ...]
) -> Pool:
    by_name = {t.name: t for t in types}
    usage: dict[str, int] = {}
    for node in nodes:
        if node.pool == pool.name:
            add(usage, {**by_name[node.labels[INSTANCE_TYPE]].capacity, "nodes": 1})
    return Pool(**{**vars(pool), "usage": usage})


# Worlds


@st.composite
def worlds(draw: Draw) -> SchedulingProblem:
    """Problems of up to 30 pods, 6 nodes, 3 pools and 6 instance types."""
    making = Making(draw)
    zones = one_of(draw, *(ZONES[:n] for n in (1, 2, 3, 3)))
    types = tuple(instance_type(draw, i, zones) for i in range(draw(st.integers(1, 6))))
    bare = tuple(pool(draw, i, types) for i in range(draw(st.integers(1, 3))))
    daemons = tuple(daemon(draw, i) for i in range(draw(st.integers(0, 2))))
    for kind, mode in (("fast", "WaitForFirstConsumer"), ("immediate", "Immediate")):
        making.classes[kind] = {
            "metadata": {"name": kind},
            "provisioner": EBS,
            "volumeBindingMode": mode,
        }
    making.classes["zonal"] = {
        "metadata": {"name": "zonal"},
        "provisioner": EBS,
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [
            {
                "matchLabelExpressions": [
                    {"key": f"topology.{EBS}/zone", "values": ["zone-a", "zone-b"]}
                ]
            }
        ],
    }
    making.node_names = [f"node-{i}" for i in range(draw(st.integers(0, 6)))]
    nodes = tuple(existing_node(making, name, bare, types, daemons) for name in making.node_names)
    pods: list[core.Pod] = []
    for index in range(draw(st.integers(1, 10))):
        pods += workload(making, index, MOST_PODS - len(pods))
    return SchedulingProblem(
        pods=tuple(pods),
        pools=tuple(with_usage(p, nodes, types) for p in bare),
        nodes=nodes,
        daemons=daemons,
        volumes=Volumes(
            claims=msgspec.convert(making.claims, dict[str, core.PersistentVolumeClaim]),
            volumes=msgspec.convert(making.volumes, dict[str, core.PersistentVolume]),
            classes=msgspec.convert(making.classes, dict[str, core.StorageClass]),
        ),
        namespaces=NAMESPACES,
        options=options(draw),
    )


def options(draw: Draw) -> SolverOptions:
    return SolverOptions(
        budget=one_of(draw, 200_000, 0),
        preference_policy=PreferencePolicy.IGNORE if chance(draw, 25) else PreferencePolicy.RESPECT,
        min_values_policy=(
            MinValuesPolicy.BEST_EFFORT if chance(draw, 30) else MinValuesPolicy.STRICT
        ),
        allow_new_nodes=not chance(draw, 25),
    )


def examples(count: int) -> settings:
    """That many, the same ones every time; a failing one is shrunk."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
