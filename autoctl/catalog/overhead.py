"""What a node of a type reports as capacity, and what of it pods cannot have.

The rules are those that EKS's node images and Karpenter's AWS provider follow; amounts are in the
base units of `catalog.model` (millicores, bytes, pieces).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoctl.catalog.labels import architecture, local_nvme_gib

MIB = 1024**2
GIB = 1024**3

MAX_PODS = 110
"""EKS Auto Mode never runs more pods on a node, whatever its network interfaces could serve."""

HOST_NETWORK_PODS = 2
"""What the density formula adds for pods that use the node's own address."""

EFA = "vpc.amazonaws.com/efa"
"""The resource that pods ask for Elastic Fabric Adapters by."""

KUBE_RESERVED_STORAGE = GIB
"""Bytes of ephemeral storage that the node keeps for itself."""

HUGEPAGE_SIZES = {"2Mi": 2 * MIB, "1Gi": GIB}
HUGEPAGES_MEMORY_SHARE = 0.8
"""A type is incompatible with static huge pages that take more of its memory than this."""


@dataclass(frozen=True, slots=True)
class Percent:
    """A share of a resource, 0 to 100, as eviction thresholds may state it."""

    value: float

    def of(self, amount: int) -> int:
        return math.ceil(amount * self.value / 100)


@dataclass(frozen=True, slots=True)
class StaticInterface:
    """A network interface that instances are launched with.

    `device` is its place on the network card. `addresses` and `prefixes` are those beside its own;
    `efa` ones carry no IP traffic.
    """

    card: int
    device: int = 0
    addresses: int = 0
    prefixes: int = 0
    efa: bool = False


@dataclass(frozen=True)
class NodeSettings:
    """The part of a NodeClass that changes what a node offers.

    `eviction_hard` and `eviction_soft` map kubelet signals to bytes or a `Percent`; the signal's
    greater one counts. What `kube_reserved` does not name is computed from the type. `static_ips`
    is the number of pod addresses that static network interfaces bring, which then is the density;
    of EFA interfaces there then are `efa_interfaces`, else as many as the type has. `placement` is
    the strategy of the placement group that instances go into. `eviction_stated` are the signals
    for which the NodeClass itself gives both thresholds. `ipv6` is for clusters whose pods have
    IPv6 addresses.
    `prefix_size` does not change density: EKS assumes single addresses even in prefix mode, for a
    fragmented subnet must not strand a pod.
    """

    max_pods: int | None = None
    pod_subnets: bool = False
    static_ips: int | None = None
    ephemeral_storage: int = 80 * GIB
    hugepages: Mapping[str, int] = field(default_factory=dict)
    kube_reserved: Mapping[str, int] = field(default_factory=dict)
    system_reserved: Mapping[str, int] = field(default_factory=dict)
    eviction_hard: Mapping[str, int | Percent] = field(
        default_factory=lambda: {"memory.available": 100 * MIB, "nodefs.available": Percent(10)}
    )
    eviction_soft: Mapping[str, int | Percent] = field(default_factory=dict)
    vm_memory_overhead: float = 0.075
    efa_interfaces: int = 0
    interfaces: tuple[StaticInterface, ...] = ()
    placement: str | None = None
    eviction_stated: frozenset[str] = frozenset()
    ipv6: bool = False
    observed_memory: Mapping[str, int] = field(default_factory=dict)


DEFAULT_SETTINGS = NodeSettings()


def takes_efa(card: Mapping[str, Any]) -> bool:
    """Whether a network card, as DescribeInstanceTypes tells it, may have an EFA-only interface.

    An answer that does not say which interfaces a card takes rules none out.
    """
    return "efa-only" in card.get("InterfaceTypes", ("efa-only",))


def efa_cards(api: Mapping[str, Any]) -> tuple[int, ...]:
    """The network cards that EFA interfaces go to: those that take one, up to the type's limit.

    The primary card of some types (P6-B300) carries IP traffic alone (Amazon EC2 User Guide,
    "Maximize network bandwidth on Amazon EC2 instances with multiple network cards").
    """
    network = api["NetworkInfo"]
    most = int(network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0))
    able = [int(c["NetworkCardIndex"]) for c in network.get("NetworkCards", ()) if takes_efa(c)]
    return tuple(sorted(able)[:most])


def eni_limited_pods(network: Mapping[str, Any], *, pod_subnets: bool = False) -> int:
    """The pods that a type's interfaces can address, one secondary address a pod.

    ENIs of the default network card times (addresses per interface less the interface's own), plus
    the host-network pods. With pod subnets the primary interface serves no pod.
    """
    card = network.get("DefaultNetworkCardIndex", 0)
    interfaces = next(
        (
            int(entry["MaximumNetworkInterfaces"])
            for entry in network.get("NetworkCards", ())
            if entry["NetworkCardIndex"] == card
        ),
        int(network["MaximumNetworkInterfaces"]),
    )
    if pod_subnets:
        interfaces -= 1
    return max(0, interfaces * (int(network["Ipv4AddressesPerInterface"]) - 1) + HOST_NETWORK_PODS)


def max_pods(api: Mapping[str, Any], settings: NodeSettings = DEFAULT_SETTINGS) -> int:
    """The least of the user's limit, what addresses allow, and 110."""
    if settings.static_ips is not None:
        addresses = settings.static_ips
    else:
        addresses = eni_limited_pods(api["NetworkInfo"], pod_subnets=settings.pod_subnets)
    return min(addresses, MAX_PODS, settings.max_pods or MAX_PODS)


def memory_capacity(api: Mapping[str, Any], settings: NodeSettings = DEFAULT_SETTINGS) -> int:
    """Bytes the kernel is expected to report.

    A hypervisor takes a share of the nominal memory; 64 MiB more are gone on arm64. What nodes of
    the type have really reported (`observed_memory`) replaces the estimate.
    """
    seen = settings.observed_memory.get(api["InstanceType"])
    if seen is not None:
        return seen
    nominal = int(api["MemoryInfo"]["SizeInMiB"]) * MIB
    if architecture(api) == "arm64":
        nominal -= 64 * MIB
    return nominal - math.ceil(nominal * settings.vm_memory_overhead / MIB) * MIB


def ephemeral_storage(api: Mapping[str, Any], settings: NodeSettings = DEFAULT_SETTINGS) -> int:
    """Bytes of node ephemeral storage: the NVMe instance store when it is larger than what the
    NodeClass asks for, else the EBS data volume."""
    nvme = (local_nvme_gib(api) or 0) * 1000**3
    return max(nvme, settings.ephemeral_storage)


def capacity(api: Mapping[str, Any], settings: NodeSettings = DEFAULT_SETTINGS) -> dict[str, int]:
    """Resource -> amount that a node of the type reports as its capacity."""
    resources = {
        "cpu": int(api["VCpuInfo"]["DefaultVCpus"]) * 1000,
        "memory": memory_capacity(api, settings),
        "ephemeral-storage": ephemeral_storage(api, settings),
        "pods": max_pods(api, settings),
    }
    for gpu in api.get("GpuInfo", {}).get("Gpus", ()):
        resource = {"NVIDIA": "nvidia.com/gpu", "AMD": "amd.com/gpu"}.get(gpu["Manufacturer"])
        if resource:
            resources[resource] = resources.get(resource, 0) + int(gpu["Count"])
    for device in api.get("NeuronInfo", {}).get("NeuronDevices", ()):
        count = int(device["Count"])
        cores = count * int(device["CoreInfo"]["Count"])
        resources["aws.amazon.com/neuron"] = resources.get("aws.amazon.com/neuron", 0) + count
        resources["aws.amazon.com/neuroncore"] = (
            resources.get("aws.amazon.com/neuroncore", 0) + cores
        )
    efa = int(api["NetworkInfo"].get("EfaInfo", {}).get("MaximumEfaInterfaces", 0))
    if settings.static_ips is not None:
        efa = min(efa, settings.efa_interfaces)
    if efa and not settings.hugepages:
        resources[EFA] = efa
    for size, count in settings.hugepages.items():
        resources[f"hugepages-{size}"] = HUGEPAGE_SIZES[size] * count
    return resources


def kube_reserved_cpu(vcpus: int) -> int:
    """Millicores: 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the
    rest."""
    reserved = 0.0
    for share, cores in ((60, 1), (10, 1), (5, 2), (2.5, math.inf)):
        taken = min(vcpus, cores)
        reserved += share * taken
        vcpus -= int(taken)
    return math.ceil(reserved)


def kube_reserved_memory(pods: int) -> int:
    """Bytes: 11 MiB for each pod that the node may run, and 255 MiB."""
    return (11 * pods + 255) * MIB


def overhead(api: Mapping[str, Any], settings: NodeSettings = DEFAULT_SETTINGS) -> dict[str, int]:
    """Resource -> amount taken by the kubelet, the system, eviction thresholds and huge pages."""
    total = capacity(api, settings)
    kube = {
        "cpu": kube_reserved_cpu(total["cpu"] // 1000),
        "memory": kube_reserved_memory(total["pods"]),
        "ephemeral-storage": KUBE_RESERVED_STORAGE,
        **settings.kube_reserved,
    }
    taken = {
        key: kube.get(key, 0) + settings.system_reserved.get(key, 0)
        for key in ("cpu", "memory", "ephemeral-storage")
    }
    taken["memory"] += _threshold("memory.available", total["memory"], settings)
    taken["ephemeral-storage"] += _threshold(
        "nodefs.available", total["ephemeral-storage"], settings
    )
    taken["memory"] += sum(HUGEPAGE_SIZES[size] * n for size, n in settings.hugepages.items())
    return taken


def _threshold(signal: str, amount: int, settings: NodeSettings) -> int:
    found = 0
    for thresholds in (settings.eviction_hard, settings.eviction_soft):
        value = thresholds.get(signal, 0)
        found = max(found, value.of(amount) if isinstance(value, Percent) else value)
    return found
