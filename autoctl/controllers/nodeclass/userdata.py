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
from autoctl.api.nodeclass import CertificateBundle, NodeClass
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

    `nvme`: the instance store becomes the node's ephemeral storage. `efa` are the network cards
    that get an EFA interface. Where interfaces for pods are made in subnets of their own,
    `subnet` is the one of all others, and `pod_subnet` that of these.
    """

    labels: Mapping[str, str]
    taints: Sequence[core.Taint]
    max_pods: int
    nvme: bool = False
    efa: tuple[int, ...] = ()
    subnet: str = ""
    pod_subnet: str = ""


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
        settings["pki"] = _certificates(spec.certificate_bundles)
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
        "single-process-oom-kill": kubelet.single_process_oom_kill,
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
    unknown = {setting.key for setting in LATER_SETTINGS if not setting.known_to(cluster.version)}
    found.update(
        {k: value for k, value in optional.items() if value is not None and k not in unknown}
    )
    return found


@dataclass(frozen=True, slots=True)
class LaterSetting:
    """A setting that not every kubelet, or not every release of Bottlerocket, knows.

    `field` is the NodeClass's, `key` the setting's name. `release` is Bottlerocket's first with it:
    an older one takes no user data that has it, and never joins. `kubernetes` is the first minor
    whose kubelet knows it; for older ones it is left out.
    """

    field: str
    key: str
    release: tuple[int, int, int]
    kubernetes: tuple[int, int] = (1, 0)

    def known_to(self, version: str) -> bool:
        """Whether kubelets of the Kubernetes minor (such as 1.34) know it."""
        return _numbers(version)[:2] >= self.kubernetes


LATER_SETTINGS: Final = (
    LaterSetting(
        "advancedCompute.kubelet.singleProcessOOMKill",
        "single-process-oom-kill",
        (1, 39, 0),
        (1, 32),
    ),
    LaterSetting("advancedCompute.kubelet.idsPerPod", "ids-per-pod", (1, 51, 0), (1, 33)),
    LaterSetting("advancedCompute.hugepages", "hugepages", (1, 64, 0)),
)
"""Changelogs of Bottlerocket and of Kubernetes tell when each came."""


def later_settings(node_class: NodeClass) -> tuple[LaterSetting, ...]:
    """Those of them that the class asks for."""
    compute = node_class.spec.advanced_compute
    if compute is None:
        return ()
    kubelet = compute.kubelet or Kubelet()
    pages = compute.hugepages
    asked = {
        "single-process-oom-kill": kubelet.single_process_oom_kill is not None,
        "ids-per-pod": kubelet.ids_per_pod is not None,
        "hugepages": pages is not None and bool(_hugepages(pages)),
    }
    return tuple(setting for setting in LATER_SETTINGS if asked[setting.key])


def too_old_for(node_class: NodeClass, release: str) -> tuple[LaterSetting, ...]:
    """The settings the class asks for that a Bottlerocket release (such as 1.50.0) lacks."""
    numbers = _numbers(release)
    return tuple(s for s in later_settings(node_class) if numbers < s.release)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.partition("-")[0].split(".")))


def _certificates(bundles: Sequence[CertificateBundle]) -> dict[str, Any]:
    """Trusted bundles by name.

    Bottlerocket's names have letters, digits and hyphens alone, and its base64 is one line: what
    was folded for reading is put together.
    """
    found: dict[str, Any] = {}
    for bundle in sorted(bundles, key=lambda b: ("_" in b.name, b.name)):
        name = bundle.name.replace("_", "-")
        while name in found:
            name += "-"
        found[name] = {"data": "".join(bundle.data.split()), "trusted": True}
    return dict(sorted(found.items()))


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
