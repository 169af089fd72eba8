"""User data: the settings a Bottlerocket node starts with, as TOML.

Names and forms are those of the Bottlerocket documentation ("Settings reference"); the ones it
does not list yet (`ids-per-pod`, `single-process-oom-kill`, `kernel.hugepages`) are those of its
settings models in bottlerocket-settings-sdk. What becomes of them is in the templates of
bottlerocket-core-kit (`packages/kubernetes-*/kubelet-config`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tomli_w

from autoctl.api import core
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeclass_compute import AdvancedCompute, HugePageSettings, Kubelet
from autoctl.aws.eks import ClusterInfo
from autoctl.catalog.overhead import KUBE_RESERVED_STORAGE, kube_reserved_memory
from autoctl.catalog.units import format_amount

USER_DATA_LIMIT = 16384
"""Bytes that EC2 takes, before base64."""

_KUBELET_EVICTION: Final = {
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
}
"""The kubelet's own hard thresholds, which it forgets altogether once it is given any."""

_EPHEMERAL_DIRECTORIES = ("/var/lib/containerd", "/var/lib/kubelet", "/var/log/pods")


@dataclass(frozen=True)
class NodeSpecifics:
    """What differs between nodes of one NodeClass.

    `nvme`: the instance store becomes the node's ephemeral storage. `efa` is the number of EFA
    interfaces, from network card `efa_from` on.
    """

    labels: Mapping[str, str]
    taints: Sequence[core.Taint]
    max_pods: int
    nvme: bool = False
    efa: int = 0
    efa_from: int = 0


def user_data(node_class: NodeClass, cluster: ClusterInfo, node: NodeSpecifics) -> str:
    """The TOML document."""
    spec = node_class.spec
    compute = spec.advanced_compute or AdvancedCompute()
    settings: dict[str, Any] = {
        "kubernetes": _kubernetes(cluster, node, compute.kubelet or Kubelet()),
        "host-containers": {"admin": {"enabled": False}, "control": {"enabled": False}},
    }
    kernel = _kernel(node_class)
    if kernel:
        settings["kernel"] = kernel
    network = spec.advanced_networking
    if network is not None and network.https_proxy:
        settings["network"] = {"https-proxy": network.https_proxy}
        if network.no_proxy:
            settings["network"]["no-proxy"] = list(network.no_proxy)
    if spec.certificate_bundles:
        settings["pki"] = {
            bundle.name: {"data": bundle.data.strip(), "trusted": True}
            for bundle in sorted(spec.certificate_bundles, key=lambda b: b.name)
        }
    if cluster.registry_mirrors:
        settings["container-registry"] = {
            "mirrors": [
                {"registry": registry, "endpoint": list(endpoints)}
                for registry, endpoints in cluster.registry_mirrors
            ]
        }
    if node.nvme:
        settings["bootstrap-commands"] = {"ephemeral-storage": _ephemeral_storage()}
    return tomli_w.dumps({"settings": settings})


def _kubernetes(cluster: ClusterInfo, node: NodeSpecifics, kubelet: Kubelet) -> dict[str, Any]:
    taints: dict[str, list[str]] = {}
    for taint in node.taints:
        taints.setdefault(taint.key, []).append(f"{taint.value or ''}:{taint.effect}")
    found: dict[str, Any] = {
        "api-server": cluster.endpoint,
        "cluster-certificate": cluster.certificate_authority,
        "cluster-name": cluster.name,
        "cluster-dns-ip": cluster.dns_address,
        "hostname-override-source": "instance-id",
        "max-pods": node.max_pods,
        "kube-reserved": {
            # Bottlerocket works out the processor's share, by the formula of `catalog.overhead`.
            "memory": format_amount("memory", kube_reserved_memory(node.max_pods)),
            "ephemeral-storage": format_amount("ephemeral-storage", KUBE_RESERVED_STORAGE),
        },
        "registry-qps": 25,
        "registry-burst": 50,
        "node-labels": dict(sorted(node.labels.items())),
        "node-taints": {key: sorted(values) for key, values in sorted(taints.items())},
    }
    optional: dict[str, Any] = {
        "pod-pids-limit": kubelet.pod_pids_limit,
        "ids-per-pod": kubelet.ids_per_pod,
        "single-process-oom-kill": kubelet.single_process_oom_kill
        if knows_single_process_oom_kill(cluster.version)
        else None,
        "allowed-unsafe-sysctls": list(kubelet.allowed_unsafe_sysctls or ()) or None,
    }
    if kubelet.logging is not None:
        optional["container-log-max-size"] = kubelet.logging.container_log_max_size
        optional["container-log-max-files"] = kubelet.logging.container_log_max_files
    if kubelet.eviction is not None:
        eviction = kubelet.eviction
        if eviction.hard:
            optional["eviction-hard"] = dict(sorted((_KUBELET_EVICTION | eviction.hard).items()))
        optional["eviction-soft"] = dict(sorted((eviction.soft or {}).items())) or None
        optional["eviction-soft-grace-period"] = (
            dict(sorted((eviction.soft_grace_period or {}).items())) or None
        )
        optional["eviction-max-pod-grace-period"] = eviction.max_pod_grace_period
    found.update({key: value for key, value in optional.items() if value is not None})
    return found


def knows_single_process_oom_kill(version: str) -> bool:
    """Whether kubelets of the Kubernetes minor (such as 1.34) have the setting."""
    major, minor = map(int, version.split(".")[:2])
    return (major, minor) >= (1, 32)


def _kernel(node_class: NodeClass) -> dict[str, Any]:
    kernel: dict[str, Any] = {}
    security = node_class.spec.advanced_security
    if security is not None and security.kernel_lockdown is not None:
        kernel["lockdown"] = security.kernel_lockdown
    compute = node_class.spec.advanced_compute
    if compute is not None and compute.hugepages is not None:
        hugepages = _hugepages(compute.hugepages)
        if hugepages:
            kernel["hugepages"] = hugepages
    if compute is not None and compute.kernel is not None and compute.kernel.sysctl is not None:
        values = compute.kernel.sysctl.model_dump(by_alias=True, exclude_none=True)
        if values:
            kernel["sysctl"] = {name: str(value) for name, value in sorted(values.items())}
    return kernel


def _hugepages(given: HugePageSettings) -> dict[str, Any]:
    """Static pages are set aside early in the boot; a node that cannot have them must not run."""
    found: dict[str, Any] = {}
    if given.pages:
        sizes = {pages.size: {"count": str(pages.count)} for pages in given.pages}
        found["static"] = {"essential": True, **dict(sorted(sizes.items()))}
    if given.transparent is not None:
        modes = given.transparent.model_dump(exclude_none=True)
        if modes:
            found["transparent"] = modes
    return found


def _ephemeral_storage() -> dict[str, Any]:
    return {
        "commands": [
            ["apiclient", "ephemeral-storage", "init"],
            ["apiclient", "ephemeral-storage", "bind", "--dirs", *_EPHEMERAL_DIRECTORIES],
        ],
        "essential": True,
        "mode": "always",
    }
