"""The Node that a booted instance's kubelet registers.

What the kubelet knows comes from the user data (Bottlerocket's TOML settings), from the hardware
and from the cloud: labels, taints and reserved resources from the first, capacity from the second,
zone and type labels from the third.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoctl.api import labels as keys
from autoctl.catalog.embedded import api_instance_types
from autoctl.catalog.overhead import (
    DEFAULT_SETTINGS,
    GIB,
    HUGEPAGE_SIZES,
    MIB,
    NodeSettings,
    Percent,
    capacity,
    memory_capacity,
    overhead,
)
from autoctl.catalog.units import amounts, format_amount
from autoctl.sim.cloud.ec2.records import InstanceRecord

CSI_DRIVER = "ebs.csi.eks.amazonaws.com"
ROOT_DEVICE = "/dev/xvda"

_KERNEL_SHARE = 0.983
_KERNEL_FIXED = 260 * MIB
"""A booted kernel reports about so much of the nominal memory, less a fixed part: more than the
careful estimate, as on real instances."""


class UserDataError(ValueError):
    """User data with which the machine would boot, but its kubelet never join a cluster."""


@dataclass(frozen=True)
class NodeRegistration:
    """A Node as its kubelet first writes it; quantities are Kubernetes' strings."""

    name: str
    provider_id: str
    architecture: str
    capacity: Mapping[str, str]
    allocatable: Mapping[str, str]
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    csi_drivers: Mapping[str, int]

    def manifest(self) -> dict[str, Any]:
        """The Node object, not ready yet."""
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {
                    "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": self.architecture,
                    **self.labels,
                },
            },
            "spec": {"providerID": self.provider_id, "taints": [dict(t) for t in self.taints]},
            "status": {
                "capacity": dict(self.capacity),
                "allocatable": dict(self.allocatable),
                "nodeInfo": {
                    "architecture": self.architecture,
                    "operatingSystem": "linux",
                    "osImage": "Bottlerocket (simulated)",
                    "kubeletVersion": "v1.34.0",
                    "kubeProxyVersion": "",
                    "kernelVersion": "6.12.0",
                    "containerRuntimeVersion": "containerd://2.1.0",
                    "bootID": self.name,
                    "machineID": self.name,
                    "systemUUID": self.name,
                },
            },
        }


def registration(instance: InstanceRecord, region: str) -> NodeRegistration:
    """What the instance's kubelet registers.

    Raises UserDataError when the user data would keep it from joining.
    """
    settings = _bottlerocket(instance.user_data)
    kubernetes = settings.get("kubernetes", {})
    for key in ("cluster-name", "api-server", "cluster-certificate"):
        if not kubernetes.get(key):
            raise UserDataError(f"settings.kubernetes.{key} is missing")
    api = api_instance_types()[instance.instance_type]
    node = _node_settings(api, instance, settings)
    total = capacity(api, node)
    taken = overhead(api, node)
    labels = {
        keys.INSTANCE_TYPE: instance.instance_type,
        keys.ZONE: instance.zone,
        keys.REGION: region,
        keys.ZONE_ID: instance.zone_id,
        keys.EBS_CSI_ZONE: instance.zone,
        **{key: str(value) for key, value in kubernetes.get("node-labels", {}).items()},
    }
    if instance.partition is not None:
        labels.setdefault(keys.PLACEMENT_GROUP_PARTITION, str(instance.partition))
    return NodeRegistration(
        name=instance.instance_id,
        provider_id=instance.provider_id,
        architecture=instance.architecture,
        capacity={name: format_amount(name, value) for name, value in total.items()},
        allocatable={
            name: format_amount(name, max(0, value - taken.get(name, 0)))
            for name, value in total.items()
        },
        labels=labels,
        taints=tuple(_taints(kubernetes.get("node-taints", {}))),
        csi_drivers={CSI_DRIVER: _attachable_volumes(api, instance)},
    )


def _bottlerocket(user_data: str) -> dict[str, Any]:
    try:
        settings = tomllib.loads(user_data).get("settings", {})
    except tomllib.TOMLDecodeError as error:
        raise UserDataError(f"user data is not TOML: {error}") from error
    if not isinstance(settings, dict):
        raise UserDataError("settings is not a table")
    return settings


def _taints(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Bottlerocket's `key = ["value:Effect"]`, one or several."""
    taints = []
    for key, entries in settings.items():
        for entry in [entries] if isinstance(entries, str) else entries:
            value, colon, effect = entry.rpartition(":")
            if not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
                raise UserDataError(
                    f"settings.kubernetes.node-taints.{key}: expected value:Effect, got {entry!r}"
                )
            taint = {"key": key, "effect": effect}
            taints.append({**taint, "value": value} if value else taint)
    return taints


def _node_settings(
    api: Mapping[str, Any], instance: InstanceRecord, settings: Mapping[str, Any]
) -> NodeSettings:
    kubernetes = settings.get("kubernetes", {})
    nominal = int(api["MemoryInfo"]["SizeInMiB"]) * MIB
    seen = max(memory_capacity(api), math.floor(nominal * _KERNEL_SHARE) - _KERNEL_FIXED)
    seen -= seen % 1024
    # A kubelet that is given any threshold forgets those that it has by itself.
    hard = _thresholds(kubernetes.get("eviction-hard", {})) or DEFAULT_SETTINGS.eviction_hard
    return NodeSettings(
        max_pods=kubernetes.get("max-pods"),
        static_ips=kubernetes.get("max-pods"),
        hugepages=_hugepages(settings),
        system_reserved=amounts(kubernetes.get("system-reserved", {})),
        kube_reserved=amounts(kubernetes.get("kube-reserved", {})),
        eviction_hard=hard,
        eviction_soft=_thresholds(kubernetes.get("eviction-soft", {})),
        observed_memory={instance.instance_type: seen},
        ephemeral_storage=_ephemeral_storage(api, instance, settings),
        efa_interfaces=sum(i.interface_type.startswith("efa") for i in instance.interfaces),
    )


def _thresholds(settings: Mapping[str, str]) -> dict[str, int | Percent]:
    return {
        signal: Percent(float(value.removesuffix("%")))
        if value.endswith("%")
        else amounts({"memory": value})["memory"]
        for signal, value in settings.items()
    }


def _hugepages(settings: Mapping[str, Any]) -> dict[str, int]:
    static = settings.get("kernel", {}).get("hugepages", {}).get("static", {})
    sizes = {size: pages for size, pages in static.items() if isinstance(pages, Mapping)}
    unknown = sorted(sizes.keys() - HUGEPAGE_SIZES.keys())
    if unknown:
        raise UserDataError(f"settings.kernel.hugepages.static: no pages of size {unknown[0]}")
    return {size: int(pages["count"]) for size, pages in sizes.items()}


def _ephemeral_storage(
    api: Mapping[str, Any], instance: InstanceRecord, settings: Mapping[str, Any]
) -> int:
    """The NVMe instance store where the user data says so, else the data volume's size."""
    nvme = int(api.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)) * 1000**3
    if nvme and settings.get("bootstrap-commands"):
        return nvme
    volumes = {
        device["DeviceName"]: int(device["Ebs"].get("VolumeSize", 20))
        for device in instance.block_devices
    }
    data = [size for name, size in volumes.items() if name != ROOT_DEVICE]
    return (data[0] if data else volumes.get(ROOT_DEVICE, 20)) * GIB


def _attachable_volumes(api: Mapping[str, Any], instance: InstanceRecord) -> int:
    """How many EBS volumes the CSI driver may still attach."""
    ebs = api["EbsInfo"]
    limit = int(ebs.get("MaximumEbsAttachments", 39))
    if ebs.get("AttachmentLimitType") == "shared":
        limit -= len(instance.interfaces)
    return max(1, limit - len(instance.block_devices))
