"""The part of a NodeClass about huge pages, the kubelet and the kernel."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from autoctl.api.duration import DURATION_PATTERN
from autoctl.api.meta import ApiModel, Int32, Int64, Rule, cel_name, rules

EVICTION_SIGNALS: Final = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "pid.available",
)

SYSCTL_RANGES: Final[dict[str, tuple[int, int]]] = {
    "fs.aio-max-nr": (65536, 4194304),
    "fs.inotify.max_user_instances": (8192, 1048576),
    "fs.inotify.max_user_watches": (8192, 1048576),
    "fs.nr_open": (1048576, 2147483584),
    "kernel.perf_event_paranoid": (-1, 2),
    "net.core.netdev_max_backlog": (1000, 3240000),
    "net.core.rmem_max": (212992, 134217728),
    "net.core.somaxconn": (4096, 3240000),
    "net.core.wmem_max": (212992, 134217728),
    "net.ipv4.neigh.default.gc_thresh1": (0, 262144),
    "net.ipv4.neigh.default.gc_thresh2": (512, 524288),
    "net.ipv4.neigh.default.gc_thresh3": (1024, 1048576),
    "net.ipv4.tcp_fin_timeout": (5, 120),
    "net.ipv4.tcp_keepalive_time": (30, 432000),
    "net.ipv4.tcp_max_syn_backlog": (128, 3240000),
    "net.ipv4.tcp_tw_reuse": (0, 2),
    "user.max_user_namespaces": (0, 2147483647),
    "vm.dirty_background_ratio": (1, 20),
    "vm.dirty_expire_centisecs": (0, 6000),
    "vm.dirty_ratio": (5, 40),
    "vm.dirty_writeback_centisecs": (0, 1000),
    "vm.max_map_count": (65530, 2147483647),
    "vm.swappiness": (0, 200),
    "vm.watermark_scale_factor": (10, 3000),
}
"""Kernel parameters a NodeClass may set, with the least and greatest value."""

CONGESTION_CONTROL: Final = "net.ipv4.tcp_congestion_control"

_PERCENT = r"(100|[0-9]{1,2}(\.[0-9]{1,3})?)%"
_AMOUNT = r"[0-9]{1,15}(\.[0-9]{1,3})?([KMGTPE]i|[mkMGTPE])?"
_THRESHOLD_PATTERN = f"^({_PERCENT}|{_AMOUNT})$"
_UNSAFE_SYSCTL_PATTERN = (
    r"^(kernel\.(shm|msg)[a-z0-9_.]*\*?|kernel\.sem|(fs\.mqueue|net)\.[A-Za-z0-9_./-]*\*?)$"
)

Threshold: TypeAlias = Annotated[str, Field(max_length=24, pattern=_THRESHOLD_PATTERN)]
Thresholds: TypeAlias = Annotated[
    dict[str, Threshold],
    Field(max_length=len(EVICTION_SIGNALS)),
]

_SIGNALS = "[" + ", ".join(f"'{signal}'" for signal in EVICTION_SIGNALS) + "]"


class HugePages(ApiModel):
    """Huge pages of one size that are set aside when the node starts."""

    size: Annotated[Literal["2Mi", "1Gi"], Field(description="Size of a page.")]
    count: Annotated[Int32, Field(ge=1, description="How many pages.")]


class TransparentHugePages(ApiModel):
    """Transparent huge pages; the kernel's own modes (`madvise`) when absent."""

    enabled: Annotated[
        Literal["always", "madvise", "never"] | None,
        Field(description="Which memory gets transparent huge pages."),
    ] = None
    defrag: Annotated[
        Literal["always", "defer", "defer+madvise", "madvise", "never"] | None,
        Field(description="How hard the kernel works to find them."),
    ] = None


class HugePageSettings(ApiModel):
    """Static and transparent huge pages."""

    pages: Annotated[
        tuple[HugePages, ...] | None,
        Field(
            max_length=2,
            description=(
                "Static pages, one entry a size. Instance types of whose memory they take more "
                "than 80 % are not used."
            ),
            json_schema_extra=rules(
                x_kubernetes_list_type="map", x_kubernetes_list_map_keys=["size"]
            ),
        ),
    ] = None
    transparent: Annotated[
        TransparentHugePages | None,
        Field(
            description="Transparent huge pages.",
            json_schema_extra=rules(
                Rule(
                    "!has(self.enabled) || self.enabled != 'never' || !has(self.defrag) || "
                    "self.defrag == 'never'",
                    "'defrag' must be unset or 'never' when 'enabled' is 'never'",
                )
            ),
        ),
    ] = None


def _signal_rule(field: str) -> Rule:
    return Rule(
        f"!has(self.{field}) || self.{field}.all(k, k in {_SIGNALS})",
        f"{field} supports only the signals {', '.join(EVICTION_SIGNALS)}",
    )


EVICTION_RULES: Final = (
    _signal_rule("hard"),
    _signal_rule("soft"),
    _signal_rule("softGracePeriod"),
    Rule(
        "!has(self.soft) || self.soft.all(k, has(self.softGracePeriod) && "
        "k in self.softGracePeriod)",
        "each signal of 'soft' must have a 'softGracePeriod'",
    ),
    Rule(
        "!has(self.softGracePeriod) || self.softGracePeriod.all(k, has(self.soft) && "
        "k in self.soft)",
        "each signal of 'softGracePeriod' must have a 'soft' threshold",
    ),
    Rule(
        "!has(self.soft) || !has(self.hard) || self.soft.all(k, !(k in self.hard) || "
        "self.soft[k].endsWith('%') != self.hard[k].endsWith('%') || "
        "(self.soft[k].endsWith('%') ? "
        "double(self.soft[k].replace('%', '')) > double(self.hard[k].replace('%', '')) : "
        "quantity(self.soft[k]).isGreaterThan(quantity(self.hard[k]))))",
        "the 'soft' threshold of a signal must be greater than its 'hard' threshold",
    ),
)


class Eviction(ApiModel):
    """When the kubelet evicts pods because the node runs out of something."""

    hard: Annotated[
        Thresholds | None,
        Field(description="Signal to the amount or percentage below which pods end at once."),
    ] = None
    soft: Annotated[
        Thresholds | None,
        Field(description="Signal to the amount or percentage below which a grace period starts."),
    ] = None
    soft_grace_period: Annotated[
        dict[str, Annotated[str, Field(max_length=32, pattern=DURATION_PATTERN)]] | None,
        Field(max_length=len(EVICTION_SIGNALS), description="Signal to its grace period."),
    ] = None
    max_pod_grace_period: Annotated[
        Int32 | None,
        Field(
            ge=0,
            description="Seconds a pod gets to end after a soft threshold; 0 is the pod's own.",
        ),
    ] = None


class Logging(ApiModel):
    """Rotation of container logs."""

    container_log_max_size: Annotated[
        str | None,
        Field(
            max_length=24,
            pattern=r"^[0-9]{1,12}([KMGT]i|[kMGT])?$",
            description="Size at which a log is rotated, such as `10Mi`.",
        ),
    ] = None
    container_log_max_files: Annotated[
        Int32 | None, Field(ge=2, description="Files kept for a container.")
    ] = None


class Kubelet(ApiModel):
    """Settings of the kubelet."""

    max_pods: Annotated[
        Int32 | None,
        Field(
            ge=1,
            le=110,
            description="Most pods on a node; less where the instance type has fewer addresses.",
        ),
    ] = None
    pod_pids_limit: Annotated[
        Int64 | None,
        Field(
            ge=-1,
            description="Most processes of a pod: at least 100, or -1 for no limit.",
            json_schema_extra=rules(
                Rule("self == -1 || self >= 100", "podPidsLimit must be -1 or at least 100")
            ),
        ),
    ] = None
    ids_per_pod: Annotated[
        Int64 | None,
        Field(
            ge=65536,
            le=4294967295,
            multiple_of=65536,
            description=(
                "User and group IDs of a pod with a user namespace; needs "
                "`kernel.sysctl.user.max_user_namespaces`."
            ),
        ),
    ] = None
    single_process_oom_kill: Annotated[
        bool | None,
        Field(
            alias="singleProcessOOMKill",
            description=(
                "Kill the process alone that ran out of memory, not its whole container; "
                "Kubernetes 1.32 and later."
            ),
        ),
    ] = None
    eviction: Annotated[
        Eviction | None,
        Field(
            description="When pods are evicted for want of resources.",
            json_schema_extra=rules(*EVICTION_RULES),
        ),
    ] = None
    logging: Annotated[Logging | None, Field(description="Rotation of container logs.")] = None
    allowed_unsafe_sysctls: Annotated[
        tuple[Annotated[str, Field(max_length=253, pattern=_UNSAFE_SYSCTL_PATTERN)], ...] | None,
        Field(
            max_length=64,
            description=(
                "Sysctls that pods may set beyond the safe ones: names or prefixes with `*` of "
                "kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.*."
            ),
        ),
    ] = None


def _sysctl(name: str) -> Any:
    low, high = SYSCTL_RANGES[name]
    return Field(alias=name, ge=low, le=high, description=f"{low} to {high}.")


class Sysctl(ApiModel):
    """Kernel parameters by name; these alone, within the ranges of `SYSCTL_RANGES`."""

    fs_aio_max_nr: Annotated[Int64 | None, _sysctl("fs.aio-max-nr")] = None
    fs_inotify_max_user_instances: Annotated[
        Int64 | None, _sysctl("fs.inotify.max_user_instances")
    ] = None
    fs_inotify_max_user_watches: Annotated[Int64 | None, _sysctl("fs.inotify.max_user_watches")] = (
        None
    )
    fs_nr_open: Annotated[Int64 | None, _sysctl("fs.nr_open")] = None
    kernel_perf_event_paranoid: Annotated[Int64 | None, _sysctl("kernel.perf_event_paranoid")] = (
        None
    )
    net_core_netdev_max_backlog: Annotated[Int64 | None, _sysctl("net.core.netdev_max_backlog")] = (
        None
    )
    net_core_rmem_max: Annotated[Int64 | None, _sysctl("net.core.rmem_max")] = None
    net_core_somaxconn: Annotated[Int64 | None, _sysctl("net.core.somaxconn")] = None
    net_core_wmem_max: Annotated[Int64 | None, _sysctl("net.core.wmem_max")] = None
    net_ipv4_neigh_default_gc_thresh1: Annotated[
        Int64 | None, _sysctl("net.ipv4.neigh.default.gc_thresh1")
    ] = None
    net_ipv4_neigh_default_gc_thresh2: Annotated[
        Int64 | None, _sysctl("net.ipv4.neigh.default.gc_thresh2")
    ] = None
    net_ipv4_neigh_default_gc_thresh3: Annotated[
        Int64 | None, _sysctl("net.ipv4.neigh.default.gc_thresh3")
    ] = None
    net_ipv4_tcp_congestion_control: Annotated[
        Literal["cubic", "reno"] | None,
        Field(alias=CONGESTION_CONTROL, description="Algorithm of TCP congestion control."),
    ] = None
    net_ipv4_tcp_fin_timeout: Annotated[Int64 | None, _sysctl("net.ipv4.tcp_fin_timeout")] = None
    net_ipv4_tcp_keepalive_time: Annotated[Int64 | None, _sysctl("net.ipv4.tcp_keepalive_time")] = (
        None
    )
    net_ipv4_tcp_max_syn_backlog: Annotated[
        Int64 | None, _sysctl("net.ipv4.tcp_max_syn_backlog")
    ] = None
    net_ipv4_tcp_tw_reuse: Annotated[Int64 | None, _sysctl("net.ipv4.tcp_tw_reuse")] = None
    user_max_user_namespaces: Annotated[Int64 | None, _sysctl("user.max_user_namespaces")] = None
    vm_dirty_background_ratio: Annotated[Int64 | None, _sysctl("vm.dirty_background_ratio")] = None
    vm_dirty_expire_centisecs: Annotated[Int64 | None, _sysctl("vm.dirty_expire_centisecs")] = None
    vm_dirty_ratio: Annotated[Int64 | None, _sysctl("vm.dirty_ratio")] = None
    vm_dirty_writeback_centisecs: Annotated[
        Int64 | None, _sysctl("vm.dirty_writeback_centisecs")
    ] = None
    vm_max_map_count: Annotated[Int64 | None, _sysctl("vm.max_map_count")] = None
    vm_swappiness: Annotated[Int64 | None, _sysctl("vm.swappiness")] = None
    vm_watermark_scale_factor: Annotated[Int64 | None, _sysctl("vm.watermark_scale_factor")] = None


_BACKGROUND = f"self.{cel_name('vm.dirty_background_ratio')}"
_RATIO = f"self.{cel_name('vm.dirty_ratio')}"
_THRESHOLDS = [f"self.{cel_name(f'net.ipv4.neigh.default.gc_thresh{n}')}" for n in (1, 2, 3)]

SYSCTL_RULES: Final = (
    Rule(
        f"has({_BACKGROUND}) == has({_RATIO})",
        "'vm.dirty_background_ratio' and 'vm.dirty_ratio' must be set together",
    ),
    Rule(
        f"!has({_BACKGROUND}) || !has({_RATIO}) || {_BACKGROUND} < {_RATIO}",
        "'vm.dirty_background_ratio' must be less than 'vm.dirty_ratio'",
    ),
    Rule(
        f"has({_THRESHOLDS[0]}) == has({_THRESHOLDS[1]}) && "
        f"has({_THRESHOLDS[1]}) == has({_THRESHOLDS[2]})",
        "'net.ipv4.neigh.default.gc_thresh1', 'gc_thresh2' and 'gc_thresh3' must be set together",
    ),
    Rule(
        f"!(has({_THRESHOLDS[0]}) && has({_THRESHOLDS[1]}) && has({_THRESHOLDS[2]})) || "
        f"({_THRESHOLDS[0]} < {_THRESHOLDS[1]} && {_THRESHOLDS[1]} < {_THRESHOLDS[2]})",
        "'net.ipv4.neigh.default.gc_thresh1' must be less than 'gc_thresh2' and 'gc_thresh2' less "
        "than 'gc_thresh3'",
    ),
)


class Kernel(ApiModel):
    """Settings of the kernel."""

    sysctl: Annotated[
        Sysctl | None,
        Field(
            description="Kernel parameters by name.",
            json_schema_extra=rules(*SYSCTL_RULES),
        ),
    ] = None


_NAMESPACES = f"self.kernel.sysctl.{cel_name('user.max_user_namespaces')}"


class AdvancedCompute(ApiModel):
    """Huge pages, kubelet and kernel settings."""

    hugepages: Annotated[
        HugePageSettings | None, Field(description="Static and transparent huge pages.")
    ] = None
    kubelet: Annotated[Kubelet | None, Field(description="Settings of the kubelet.")] = None
    kernel: Annotated[Kernel | None, Field(description="Settings of the kernel.")] = None


ADVANCED_COMPUTE_RULES: Final = (
    Rule(
        "!has(self.kubelet) || !has(self.kubelet.idsPerPod) || (has(self.kernel) && "
        f"has(self.kernel.sysctl) && has({_NAMESPACES}) && {_NAMESPACES} > 0)",
        "'kubelet.idsPerPod' requires 'kernel.sysctl.user.max_user_namespaces' greater than 0",
    ),
)
