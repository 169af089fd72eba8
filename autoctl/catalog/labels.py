"""The labels a node carries because of its instance type.

The names are those of the EKS Auto Mode page on NodePools; every value comes from a field of
EC2's DescribeInstanceTypes. A label whose fact does not apply (the GPU's name of a type without
one) is absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ARCH = "kubernetes.io/arch"
OS = "kubernetes.io/os"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"
ZONE_ID = "topology.k8s.aws/zone-id"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
COMPUTE_TYPE = "eks.amazonaws.com/compute-type"
CAPACITY_RESERVATION_ID = "eks.amazonaws.com/capacity-reservation-id"
CAPACITY_RESERVATION_TYPE = "eks.amazonaws.com/capacity-reservation-type"
CAPACITY_RESERVATION_INTERRUPTIBLE = "eks.amazonaws.com/capacity-reservation-interruptible"
INSTANCE_PREFIX = "eks.amazonaws.com/instance-"

ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
"""EC2's architecture names, as Kubernetes spells them."""

_SCHEME = re.compile(r"^(?P<category>[a-z]+)(?:-[0-9]+tb)?(?P<generation>[0-9]+)")


def architecture(api: Mapping[str, Any]) -> str:
    """`amd64` or `arm64`; ValueError for a type of another architecture (i386, x86_64_mac)."""
    for name in api["ProcessorInfo"]["SupportedArchitectures"]:
        if name in ARCHITECTURES:
            return ARCHITECTURES[name]
    raise ValueError(
        f"instance type {api['InstanceType']}: no supported architecture among "
        f"{api['ProcessorInfo']['SupportedArchitectures']}"
    )


def instance_labels(api: Mapping[str, Any]) -> dict[str, str]:
    """Label key -> value of one type of DescribeInstanceTypes."""
    name = str(api["InstanceType"])
    family, _, size = name.partition(".")
    processor = api["ProcessorInfo"]
    network = api["NetworkInfo"]
    labels = {
        ARCH: architecture(api),
        OS: "linux",
        INSTANCE_TYPE: name,
        COMPUTE_TYPE: "auto",
    }
    facts: dict[str, object | None] = {
        "family": family,
        "size": size,
        "hypervisor": api.get("Hypervisor"),
        "cpu": api["VCpuInfo"]["DefaultVCpus"],
        "memory": api["MemoryInfo"]["SizeInMiB"],
        "encryption-in-transit-supported": _flag(network["EncryptionInTransitSupported"]),
        "capability-flex": _flag("-flex" in family),
        "network-bandwidth": _network_bandwidth(network),
        "ebs-bandwidth": _ebs_bandwidth(api["EbsInfo"]),
        "local-nvme": local_nvme_gib(api),
    }
    if manufacturer := processor.get("Manufacturer"):
        facts["cpu-manufacturer"] = str(manufacturer).lower()
    if clock := processor.get("SustainedClockSpeedInGhz"):
        facts["cpu-sustained-clock-speed-mhz"] = round(clock * 1000)
    if match := _SCHEME.match(name):
        facts["category"] = match["category"]
        facts["generation"] = match["generation"]
    gpus = api.get("GpuInfo", {}).get("Gpus", ())
    if len(gpus) == 1:
        gpu = gpus[0]
        facts["gpu-name"] = str(gpu["Name"]).lower().replace(" ", "-")
        facts["gpu-manufacturer"] = str(gpu["Manufacturer"]).lower()
        facts["gpu-count"] = gpu["Count"]
        facts["gpu-memory"] = gpu["MemoryInfo"]["SizeInMiB"]
    for key, value in facts.items():
        if value is not None:
            labels[INSTANCE_PREFIX + key] = str(value)
    return labels


def local_nvme_gib(api: Mapping[str, Any]) -> int | None:
    """The total size of a type's NVMe instance store as EC2 states it, None without one."""
    storage = api.get("InstanceStorageInfo")
    if not storage or storage.get("NvmeSupport", "unsupported") == "unsupported":
        return None
    return int(storage["TotalSizeInGB"])


def _flag(value: object) -> str:
    return "true" if value else "false"


def _network_bandwidth(network: Mapping[str, Any]) -> int | None:
    """Guaranteed Mbps over all network cards; burst bandwidth is not promised, so not counted."""
    cards = [card.get("BaselineBandwidthInGbps") for card in network.get("NetworkCards", ())]
    return round(sum(cards) * 1000) if cards and all(cards) else None


def _ebs_bandwidth(ebs: Mapping[str, Any]) -> int | None:
    """Mbps to EBS, for types that are EBS-optimized without asking."""
    if ebs.get("EbsOptimizedSupport") != "default":
        return None
    return int(ebs["EbsOptimizedInfo"]["MaximumBandwidthInMbps"])
