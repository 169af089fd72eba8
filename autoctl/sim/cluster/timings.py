"""How long things take in the simulated cluster, in seconds of virtual time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Durations in seconds; the defaults are what EKS clusters of ordinary size show.

    Sources: node-monitor-grace-period 40 s, node-monitor-period 5 s and pod garbage collection
    20 s (after a quarantine of 40 s) are kube-controller-manager's defaults; 300 s is the
    toleration that the DefaultTolerationSeconds admission plugin adds; 360 s is the attach-detach
    controller's maxWaitForUnmountDuration; bookmarks come about once a minute and watches
    end after 30-60 minutes in kube-apiserver.
    """

    request_latency: float = 0.005
    """One API request, there and back; half of it passes before the write takes effect."""
    watch_latency: float = 0.01
    """From the commit of a change to its delivery on a watch."""
    bookmark_interval: float = 60.0
    watch_timeout: float = 2400.0
    history_window: float = 300.0
    """How long a resource version can still be watched from (etcd's compaction interval)."""

    event_ttl: float = 3600.0
    """How long an Event object is kept (kube-apiserver's event-ttl)."""

    controller_delay: float = 0.1
    """From a change to the reconciliation of the built-in controllers."""
    scheduler_delay: float = 0.1
    """From a change to the scheduler's next pass."""
    scheduler_pods_per_second: float = 500.0
    scheduler_backoff_initial: float = 1.0
    scheduler_backoff_max: float = 10.0

    pod_start: float = 5.0
    """Bound pod on a Ready node to Running (image pull and container start)."""
    pod_ready: float = 0.0
    """Running to Ready (readiness probe)."""
    pod_run: float = 60.0
    """What a pod that ends by itself (restart policy Never or OnFailure) runs, unless annotated."""
    pod_termination: float = 3.0
    """What a container takes to end after SIGTERM, where that is less than its grace period."""
    node_ready: float = 5.0
    """Registration of a node to its Ready condition."""
    node_monitor_grace: float = 40.0
    """A silent kubelet to Ready=Unknown."""
    cloud_node_monitor: float = 5.0
    """Ready=Unknown to the cloud controller's check that the instance exists."""
    pod_gc: float = 60.0
    """A pod's node object gone to the pod's removal (40 s quarantine, a look every 20 s)."""

    volume_provision: float = 3.0
    volume_attach: float = 2.0
    volume_detach: float = 5.0
    volume_force_detach: float = 360.0
