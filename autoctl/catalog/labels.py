"""The labels a node carries because of its instance type.

The names are those of the EKS Auto Mode page on NodePools; every value comes from a field of
EC2's DescribeInstanceTypes. A label whose fact does not apply (the GPU's name of a type without
one) is absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from autoctl.api import labels as keys

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
        keys.ARCH: architecture(api),
        keys.OS: "linux",
        keys.INSTANCE_TYPE: name,
        keys.COMPUTE_TYPE: keys.COMPUTE_TYPE_AUTO,
    }
    facts: dict[str, object | None] = {
        keys.INSTANCE_FAMILY: family,
        keys.INSTANCE_SIZE: size,
        keys.INSTANCE_HYPERVISOR: api.get("Hypervisor"),
        keys.INSTANCE_CPU: api["VCpuInfo"]["DefaultVCpus"],
        keys.INSTANCE_MEMORY: api["MemoryInfo"]["SizeInMiB"],
        keys.INSTANCE_ENCRYPTION_IN_TRANSIT: _flag(network["EncryptionInTransitSupported"]),
        keys.INSTANCE_CAPABILITY_FLEX: _flag("-flex" in family),
        keys.INSTANCE_NETWORK_BANDWIDTH: _network_bandwidth(network),
        keys.INSTANCE_EBS_BANDWIDTH: _ebs_bandwidth(api["EbsInfo"]),
        keys.INSTANCE_LOCAL_NVME: local_nvme_gib(api),
    }
    if manufacturer := processor.get("Manufacturer"):
        facts[keys.INSTANCE_CPU_MANUFACTURER] = str(manufacturer).lower()
    if clock := processor.get("SustainedClockSpeedInGhz"):
        facts[keys.INSTANCE_CPU_CLOCK_SPEED] = round(clock * 1000)
    if match := _SCHEME.match(name):
        facts[keys.INSTANCE_CATEGORY] = match["category"]
        facts[keys.INSTANCE_GENERATION] = match["generation"]
    gpus = api.get("GpuInfo", {}).get("Gpus", ())
    if len(gpus) == 1:
        gpu = gpus[0]
        facts[keys.INSTANCE_GPU_NAME] = str(gpu["Name"]).lower().replace(" ", "-")
        facts[keys.INSTANCE_GPU_MANUFACTURER] = str(gpu["Manufacturer"]).lower()
        facts[keys.INSTANCE_GPU_COUNT] = gpu["Count"]
        facts[keys.INSTANCE_GPU_MEMORY] = gpu["MemoryInfo"]["SizeInMiB"]
    devices = api.get("NeuronInfo", {}).get("NeuronDevices", ())
    if len(devices) == 1:
        device = devices[0]
        facts[keys.INSTANCE_ACCELERATOR_NAME] = str(device["Name"]).lower()
        facts[keys.INSTANCE_ACCELERATOR_MANUFACTURER] = "aws"
        facts[keys.INSTANCE_ACCELERATOR_COUNT] = device["Count"]
    return labels | {key: str(value) for key, value in facts.items() if value is not None}


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
