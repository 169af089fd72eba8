"""Every metric, with Karpenter's names, types, labels and buckets, so that its dashboards work.

`Metrics` makes them in a registry of its own: worlds that run in one process (the simulator, tests)
do not share counters. Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from autoctl.api.labels import WELL_KNOWN_LABELS
from autoctl.controllers.runtime.summary import Summary
from autoctl.controllers.runtime.union import Union

DURATION_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8),
    *(0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30),
    *(40, 50, 60, 120, 180, 300, 450, 600),
)
"""Bounds of Karpenter's duration histograms (45 of them, 5 ms to 10 min)."""
TERMINATION_BUCKETS = tuple(2.0**n for n in range(12))
"""1 s to 2,048 s."""
INSTANCE_TERMINATION_BUCKETS = tuple(2.0**n for n in range(11))
"""1 s to 1,024 s."""
_HOUR, _DAY = 3600.0, 86400.0
NODE_LIFETIME_BUCKETS = (
    *(900.0, 1800.0, 2700.0, _HOUR, 2 * _HOUR, 4 * _HOUR, 6 * _HOUR, 8 * _HOUR, 10 * _HOUR),
    *(12 * _HOUR, _DAY, 2 * _DAY, 3 * _DAY, 4 * _DAY, 5 * _DAY, 6 * _DAY, 7 * _DAY, 10 * _DAY),
    *(15 * _DAY, 20 * _DAY, 25 * _DAY, 30 * _DAY),
)
"""15 minutes to 30 days."""
WORKQUEUE_BUCKETS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)
SCORE_BUCKETS = (0.1, 0.25, 0.33, 0.5, 1.0, 2.0, 5.0, 10.0)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


TRANSITION_BUCKETS = tuple(0.5 * 2.0**n for n in range(15))
"""Half a second to more than two hours."""
NODE_LABEL_KEYS = tuple(sorted(WELL_KNOWN_LABELS, key=lambda key: key.rpartition("/")[2]))
"""Labels of nodes that metrics of nodes carry, under the names `NODE_LABEL_NAMES`."""
NODE_LABEL_NAMES = tuple(key.rpartition("/")[2].replace("-", "_") for key in NODE_LABEL_KEYS)
RETRY_BUCKETS = tuple(range(11))
CONDITION_KINDS = ("nodeclaim", "nodepool", "nodeclass", "node")
_KINDS = {
    "nodeclaim": ("karpenter.sh", "NodeClaim"),
    "nodepool": ("karpenter.sh", "NodePool"),
    "nodeclass": ("eks.amazonaws.com", "NodeClass"),
}
"""Group and kind of what the metrics of all kinds together are about."""


@dataclass(frozen=True)
class ConditionGauges:
    """The metrics of one kind's status conditions."""

    count: Gauge
    current_seconds: Gauge
    transitions: Counter
    transition_seconds: Histogram
    terminating_seconds: Gauge
    termination: Histogram


class Metrics:
    """The metrics of one operator."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.documented: list[MetricWrapperBase | Summary | Union] = []
        """All metrics, for the reference in the documentation and for tests."""
        self._nodeclaims()
        self._nodes()
        self._nodepools()
        self._pods()
        self._disruption()
        self._scheduler()
        self._cluster_state()
        self._cloud_provider()
        self._interruption()
        self._runtime()
        self._conditions()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        metric = Gauge(name, text, labels, registry=self.registry)
        self.documented.append(metric)
        return metric

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        metric = Counter(name, text, labels, registry=self.registry)
        self.documented.append(metric)
        return metric

    def _histogram(
        self,
        name: str,
        text: str,
        *labels: str,
        buckets: tuple[float, ...] = DURATION_BUCKETS,
    ) -> Histogram:
        metric = Histogram(name, text, labels, registry=self.registry, buckets=buckets)
        self.documented.append(metric)
        return metric

    def _summary(self, name: str, text: str, *labels: str) -> Summary:
        metric = Summary(name, text, labels, registry=self.registry)
        self.documented.append(metric)
        return metric

    def _union(
        self, name: str, text: str, members: Mapping[tuple[str, ...], MetricWrapperBase]
    ) -> None:
        metric = Union(name, text, ("group", "kind"), members)
        self.registry.register(metric)
        self.documented.append(metric)

    def _nodeclaims(self) -> None:
        self.nodeclaims_created = self._counter(
            "karpenter_nodeclaims_created_total",
            "NodeClaims created, by reason and NodePool.",
            *("reason", "nodepool", "min_values_relaxed"),
        )
        self.nodeclaims_terminated = self._counter(
            "karpenter_nodeclaims_terminated_total",
            "NodeClaims that are gone.",
            *("nodepool", "capacity_type", "zone"),
        )
        self.nodeclaims_disrupted = self._counter(
            "karpenter_nodeclaims_disrupted_total",
            "NodeClaims that the operator decided to remove.",
            *("reason", "nodepool", "capacity_type", "consolidation_policy", "termination_mode"),
        )
        self.nodeclaims_unhealthy_disrupted = self._counter(
            "karpenter_nodeclaims_unhealthy_disrupted_total",
            "NodeClaims removed because of an unhealthy node condition.",
            *("condition", "nodepool", "capacity_type", "image_id"),
        )
        self.nodeclaims_termination_duration = self._histogram(
            "karpenter_nodeclaims_termination_duration_seconds",
            "Time from the deletion of a NodeClaim until its finalizer was removed.",
            "nodepool",
            buckets=TERMINATION_BUCKETS,
        )
        self.nodeclaims_instance_termination_duration = self._histogram(
            "karpenter_nodeclaims_instance_termination_duration_seconds",
            "Time from the request to terminate an instance until it was terminated.",
            "nodepool",
            buckets=INSTANCE_TERMINATION_BUCKETS,
        )

    def _nodes(self) -> None:
        self.nodes_created = self._counter(
            "karpenter_nodes_created_total", "Nodes that registered.", "nodepool", "zone"
        )
        self.nodes_terminated = self._counter(
            "karpenter_nodes_terminated_total", "Nodes that are gone.", "nodepool", "zone"
        )
        self.nodes_drained = self._counter(
            "karpenter_nodes_drained_total", "Nodes drained of their pods.", "nodepool"
        )
        self.nodes_termination_duration = self._summary(
            "karpenter_nodes_termination_duration_seconds",
            "Time from the deletion of a Node until its finalizer was removed.",
            "nodepool",
        )
        self.nodes_lifetime_duration = self._histogram(
            "karpenter_nodes_lifetime_duration_seconds",
            "Time from a Node's creation until its end.",
            "nodepool",
            buckets=NODE_LIFETIME_BUCKETS,
        )

        shared = ("node_name", "phase", "managed", *NODE_LABEL_NAMES)
        texts = {
            "allocatable": "What pods may have of a node.",
            "system_overhead": "Capacity of a node that pods cannot have.",
            "total_pod_requests": "Requests of a node's pods without those of DaemonSets.",
            "total_pod_limits": "Limits of a node's pods without those of DaemonSets.",
            "total_daemon_requests": "Requests of a node's DaemonSet pods.",
            "total_daemon_limits": "Limits of a node's DaemonSet pods.",
        }
        self.nodes_resources = {
            name: self._gauge(f"karpenter_nodes_{name}", text, "resource_type", *shared)
            for name, text in texts.items()
        }
        self.nodes_current_lifetime = self._gauge(
            "karpenter_nodes_current_lifetime_seconds", "Age of a node.", *shared
        )

    def _nodepools(self) -> None:
        self.nodepools_limit = self._gauge(
            "karpenter_nodepools_limit", "Limits of a NodePool.", "resource_type", "nodepool"
        )
        self.nodepools_usage = self._gauge(
            "karpenter_nodepools_usage",
            "Capacity of a NodePool's nodes.",
            *("resource_type", "nodepool"),
        )
        self.nodepools_cost = self._gauge(
            "karpenter_nodepools_cost_total", "USD per hour of a NodePool's nodes.", "nodepool"
        )
        self.nodepools_cost_errors = self._counter(
            "karpenter_nodepools_cost_tracker_errors_total",
            "Nodes whose price is not known, so that they are missing from their NodePool's cost.",
            "nodepool",
        )
        self.nodepools_allowed_disruptions = self._gauge(
            "karpenter_nodepools_allowed_disruptions",
            "Nodes that budgets allow to disrupt at once.",
            *("nodepool", "reason"),
        )

        self.nodepools_nodes_consuming_budgets = self._gauge(
            "karpenter_nodepools_nodes_consuming_budgets",
            "Nodes that use up a NodePool's budgets.",
            *("nodepool", "reason"),
        )

    def _pods(self) -> None:
        self.pods_state = self._gauge(
            "karpenter_pods_state",
            "1 for each pod, labelled with what it is like.",
            *("name", "namespace", "owner", "node", "scheduled", "nodepool", "zone", "arch"),
            *("capacity_type", "instance_type", "phase", "ready", "managed"),
        )
        self.pods_unstarted_time = self._gauge(
            "karpenter_pods_unstarted_time_seconds",
            "Age of a pod that does not run yet.",
            *("name", "namespace"),
        )
        self.pods_unbound_time = self._gauge(
            "karpenter_pods_unbound_time_seconds",
            "Age of a pod that is on no node yet.",
            *("name", "namespace"),
        )
        self.pods_provisioning_unstarted_time = self._gauge(
            "karpenter_pods_provisioning_unstarted_time_seconds",
            "Time since a pod that does not run yet was first seen to need a node.",
            *("name", "namespace"),
        )
        self.pods_provisioning_unbound_time = self._gauge(
            "karpenter_pods_provisioning_unbound_time_seconds",
            "Time since a pod that is on no node yet was first seen to need one.",
            *("name", "namespace"),
        )
        self.pods_provisioning_undecided_time = self._gauge(
            "karpenter_pods_provisioning_scheduling_undecided_time_seconds",
            "Time since a pod without a decision where it goes was first seen to need a node.",
            *("name", "namespace"),
        )
        self.pods_provisioning_bound_duration = self._histogram(
            "karpenter_pods_provisioning_bound_duration_seconds",
            "Time from first seeing that a pod needs a node until it is bound.",
        )
        self.pods_provisioning_startup_duration = self._histogram(
            "karpenter_pods_provisioning_startup_duration_seconds",
            "Time from first seeing that a pod needs a node until it runs.",
        )
        self.pods_scheduling_decision_duration = self._histogram(
            "karpenter_pods_scheduling_decision_duration_seconds",
            "Time from first seeing a pending pod until the decision where it goes.",
        )
        self.pods_startup_duration = self._summary(
            "karpenter_pods_startup_duration_seconds",
            "Time from a pod's creation until it runs.",
        )
        self.pods_bound_duration = self._histogram(
            "karpenter_pods_bound_duration_seconds",
            "Time from a pod's creation until it is bound.",
        )
        self.pods_eviction_requests = self._counter(
            "karpenter_pods_eviction_requests_total",
            "Eviction requests, by HTTP status.",
            "code",
        )
        self.pods_drained = self._counter(
            "karpenter_pods_drained_total", "Pods that left a drained node.", "reason"
        )
        self.pods_disruption_initiated = self._counter(
            "karpenter_pods_disruption_initiated_total",
            "Pods that have to move because their NodeClaim is taken away.",
            *("reason", "nodepool", "capacity_type", "consolidation_policy", "termination_mode"),
        )

    def _disruption(self) -> None:
        prefix = "karpenter_voluntary_disruption"
        kind = ("reason", "consolidation_type")
        self.disruption_evaluation_duration = self._histogram(
            f"{prefix}_decision_evaluation_duration_seconds",
            "Time to decide one pass over all methods together (reason `all`).",
            *kind,
        )
        self.disruption_decisions = self._counter(
            f"{prefix}_decisions_total", "Disruption decisions.", "decision", *kind
        )
        self.disruption_decisions_by_nodepool = self._counter(
            f"{prefix}_decisions_by_nodepool_total",
            "Disruption decisions, by NodePool.",
            *("nodepool", "decision", *kind),
        )
        self.disruption_eligible_nodes = self._gauge(
            f"{prefix}_eligible_nodes", "Nodes that could be disrupted, budgets aside.", "reason"
        )
        self.consolidation_timeouts = self._counter(
            f"{prefix}_consolidation_timeouts_total",
            "Always 0: consolidation is bounded by work, not by time.",
            "consolidation_type",
        )
        for consolidation_type in ("multi", "single"):
            self.consolidation_timeouts.labels(consolidation_type)
        self.disruption_failed_validations = self._counter(
            f"{prefix}_failed_validations_total",
            "Commands dropped because the cluster had changed.",
            "consolidation_type",
        )
        self.disruption_queue_failures = self._counter(
            f"{prefix}_queue_failures_total",
            "Commands given up while they were carried out.",
            *("decision", *kind),
        )
        self.consolidation_score = self._histogram(
            "karpenter_consolidation_score",
            "Savings share over disruption share of a move.",
            *("decision", "nodepool", "policy"),
            buckets=SCORE_BUCKETS,
        )
        self.lifetime_cap_remaining = self._gauge(
            "autoctl_nodeclaims_lifetime_cap_remaining_seconds",
            "Seconds until the 21-day cap ends the instance.",
            *("nodepool", "node_name"),
        )
        self.lifetime_cap_forced = self._counter(
            "autoctl_nodeclaims_lifetime_cap_forced_total",
            "Instances ended because of the 21-day cap.",
            "nodepool",
        )
        self.consolidation_moves = self._counter(
            "karpenter_consolidation_moves_total",
            "Consolidation moves that began (decision `approved`).",
            *("decision", "nodepool", "policy"),
        )

    def _scheduler(self) -> None:
        self.scheduling_duration = self._histogram(
            "karpenter_scheduler_scheduling_duration_seconds",
            "Time of a whole solve.",
            "controller",
        )
        self.scheduler_queue_depth = self._gauge(
            "karpenter_scheduler_queue_depth",
            "Pods a solve still has to place.",
            *("controller", "scheduling_id"),
        )
        self.scheduler_unfinished_work = self._gauge(
            "karpenter_scheduler_unfinished_work_seconds",
            "Seconds the solve under way has taken.",
            *("controller", "scheduling_id"),
        )
        self.ignored_pods = self._gauge(
            "karpenter_scheduler_ignored_pods_count",
            "Pending pods that provisioning leaves alone.",
        )
        self.unschedulable_pods = self._gauge(
            "karpenter_scheduler_unschedulable_pods_count",
            "Pods that no capacity could be found for.",
            "controller",
        )
        self.scheduler_refusals = self._counter(
            "autoctl_scheduler_refusals_total",
            "Times that kube-scheduler did not take what decisions held to fit, by what is left "
            "out for the pod: the node, all-nodes that are there, or no-new-node is launched.",
            "outcome",
        )
        self.refused_pods = self._gauge(
            "autoctl_scheduler_refused_pods",
            "Pods for which nothing is launched: kube-scheduler refused nodes made for them.",
        )
        self.pending_pods_by_zone = self._gauge(
            "karpenter_scheduler_pending_pods_by_effective_zone_count",
            "Pending pods by the one zone they can run in; flexible: in several, none: in no zone.",
            *("controller", "zone"),
        )

    def _cluster_state(self) -> None:
        self.cluster_state_node_count = self._gauge(
            "karpenter_cluster_state_node_count", "Nodes in the mirror of the cluster."
        )
        self.cluster_state_synced = self._gauge(
            "karpenter_cluster_state_synced", "1 when the mirror holds what the API server has."
        )
        self.cluster_state_unsynced_time = self._gauge(
            "karpenter_cluster_state_unsynced_time_seconds",
            "Seconds for which the mirror has not been in step.",
        )
        self.cluster_utilization = self._gauge(
            "karpenter_cluster_utilization_percent",
            "Requests over allocatable of all nodes.",
            "resource_type",
        )

    def _cloud_provider(self) -> None:
        prefix = "karpenter_cloudprovider"
        self.cloudprovider_duration = self._histogram(
            f"{prefix}_duration_seconds",
            "Time of a call to the cloud provider.",
            *("controller", "method", "provider"),
        )
        self.cloudprovider_errors = self._counter(
            f"{prefix}_errors_total",
            "Failed calls to the cloud provider.",
            *("controller", "method", "provider", "error"),
        )
        self.instance_type_cpu_cores = self._gauge(
            f"{prefix}_instance_type_cpu_cores", "vCPUs of an instance type.", "instance_type"
        )
        self.instance_type_memory_bytes = self._gauge(
            f"{prefix}_instance_type_memory_bytes", "Memory of an instance type.", "instance_type"
        )
        offering = ("instance_type", "capacity_type", "zone")
        self.offering_price_estimate = self._gauge(
            f"{prefix}_instance_type_offering_price_estimate",
            "USD per hour of an offering.",
            *offering,
        )
        self.offering_available = self._gauge(
            f"{prefix}_instance_type_offering_available",
            "1 when the offering is believed to have capacity.",
            *offering,
        )
        self.catalog_refreshed = self._gauge(
            "autoctl_catalog_refreshed_timestamp_seconds",
            "When a part of the catalog was last read from AWS, in seconds since 1970.",
            "part",
        )
        self.launch_failures = self._counter(
            f"{prefix}_instance_launch_failures_total",
            "Launches that the cloud refused.",
            *("zone", "zone_id", "capacity_type", "reason"),
        )
        self.termination_failures = self._counter(
            f"{prefix}_instance_termination_failures_total",
            "Terminations that the cloud refused.",
            *("zone", "zone_id"),
        )
        self.user_data_bytes = self._gauge(
            "karpenter_ec2nodeclasses_userdata_bytes",
            "Size of the user data of the NodeClass's instances, before encoding.",
            "nodeclass",
        )
        request = ("service", "action", "code")
        self.aws_requests = self._counter(
            "aws_sdk_go_request_total", "Requests to AWS, by the last attempt's code.", *request
        )
        self.aws_retries = self._histogram(
            "aws_sdk_go_request_retry_count",
            "Attempts of a request to AWS after the first.",
            *request,
            buckets=RETRY_BUCKETS,
        )
        self.aws_request_duration = self._histogram(
            "aws_sdk_go_request_duration_seconds",
            "Time of a request to AWS with all its attempts.",
            *request,
        )
        self.aws_attempts = self._counter(
            "aws_sdk_go_request_attempt_total", "Attempts of requests to AWS.", *request
        )
        self.aws_attempt_duration = self._histogram(
            "aws_sdk_go_request_attempt_duration_seconds",
            "Time of one attempt of a request to AWS.",
            *request,
        )
        self.batch_time = self._histogram(
            f"{prefix}_batcher_batch_time_seconds", "Time that a batch collected.", "batcher"
        )
        self.batch_size = self._histogram(
            f"{prefix}_batcher_batch_size",
            "Requests in a batch.",
            "batcher",
            buckets=BATCH_SIZE_BUCKETS,
        )

    def _interruption(self) -> None:
        self.interruption_received = self._counter(
            "karpenter_interruption_received_messages_total",
            "Messages taken from the interruption queue.",
            "message_type",
        )
        self.interruption_deleted = self._counter(
            "karpenter_interruption_deleted_messages_total",
            "Messages deleted from the interruption queue.",
        )
        self.interruption_message_queue_duration = self._histogram(
            "karpenter_interruption_message_queue_duration_seconds",
            "Age of a message when it was handled.",
        )
        self.interruption_instance_status_unhealthy = self._counter(
            "karpenter_interruption_instance_status_unhealthy_total",
            "Instances with a failed status check.",
            "category",
        )

    def _conditions(self) -> None:
        self.conditions = {kind: self._conditions_of(kind) for kind in CONDITION_KINDS}
        members = {_KINDS[kind]: self.conditions[kind] for kind in _KINDS}
        prefix = "operator_status_condition"
        self._union(
            f"{prefix}_count",
            "1 for each status condition of an object.",
            {who: gauges.count for who, gauges in members.items()},
        )
        self._union(
            f"{prefix}_current_status_seconds",
            "How long a status condition of an object has been as it is.",
            {who: gauges.current_seconds for who, gauges in members.items()},
        )
        self._union(
            f"{prefix}_transitions_total",
            "Changes of status conditions of an object.",
            {who: gauges.transitions for who, gauges in members.items()},
        )
        self._union(
            f"{prefix}_transition_seconds",
            "How long a status condition of an object was in a status before it changed.",
            {who: gauges.transition_seconds for who, gauges in members.items()},
        )
        self._union(
            "operator_termination_current_time_seconds",
            "Time since the deletion of an object that is still there.",
            {who: gauges.terminating_seconds for who, gauges in members.items()},
        )
        self._union(
            "operator_termination_duration_seconds",
            "Time from the deletion of an object until it was gone.",
            {who: gauges.termination for who, gauges in members.items()},
        )

    def _conditions_of(self, kind: str) -> ConditionGauges:
        named = ("namespace", "name")
        prefix = f"operator_{kind}_status_condition"
        return ConditionGauges(
            count=self._gauge(
                f"{prefix}_count",
                f"1 for each status condition of a {kind}.",
                *(*named, "type", "status", "reason"),
            ),
            current_seconds=self._gauge(
                f"{prefix}_current_status_seconds",
                f"How long a status condition of a {kind} has been as it is.",
                *(*named, "type", "status", "reason"),
            ),
            transitions=self._counter(
                f"{prefix}_transitions_total",
                f"Changes of status conditions of a {kind}.",
                *("type", "status", "reason"),
            ),
            transition_seconds=self._histogram(
                f"{prefix}_transition_seconds",
                f"How long a status condition of a {kind} was in a status before it changed.",
                *("type", "status"),
                buckets=TRANSITION_BUCKETS,
            ),
            terminating_seconds=self._gauge(
                f"operator_{kind}_termination_current_time_seconds",
                f"Time since the deletion of a {kind} that is still there.",
                *named,
            ),
            termination=self._histogram(
                f"operator_{kind}_termination_duration_seconds",
                f"Time from the deletion of a {kind} until it was gone.",
                buckets=TRANSITION_BUCKETS,
            ),
        )

    def _runtime(self) -> None:
        self.build_info = self._gauge(
            "karpenter_build_info",
            "1, labelled with what was built. goversion and goarch name the runtime.",
            *("version", "goversion", "goarch", "commit"),
        )
        self.leader_election_master_status = self._gauge(
            "leader_election_master_status", "1 while this replica leads.", "name"
        )
        self.leader_election_slowpath = self._counter(
            "leader_election_slowpath_total",
            "Renewals of the lease that did not succeed at the first try.",
            "name",
        )
        self.reconcile_total = self._counter(
            "controller_runtime_reconcile_total", "Reconciles.", "controller", "result"
        )
        self.reconcile_errors = self._counter(
            "controller_runtime_reconcile_errors_total", "Failed reconciles.", "controller"
        )
        self.reconcile_panics = self._counter(
            "controller_runtime_reconcile_panics_total",
            "Failed reconciles with an error of neither the API server nor AWS: defects.",
            "controller",
        )
        self.reconcile_time = self._histogram(
            "controller_runtime_reconcile_time_seconds", "Time of a reconcile.", "controller"
        )
        self.max_concurrent_reconciles = self._gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Reconciles a controller runs at once.",
            "controller",
        )
        self.active_workers = self._gauge(
            "controller_runtime_active_workers", "Reconciles under way.", "controller"
        )
        self.queue_depth = self._gauge("workqueue_depth", "Keys that wait.", "name", "controller")
        self.queue_adds = self._counter(
            "workqueue_adds_total", "Keys queued.", "name", "controller"
        )
        self.queue_retries = self._counter(
            "workqueue_retries_total", "Keys queued again after a failure.", "name", "controller"
        )
        self.queue_duration = self._histogram(
            "workqueue_queue_duration_seconds",
            "Time a key waited.",
            *("name", "controller"),
            buckets=WORKQUEUE_BUCKETS,
        )
        self.queue_work_duration = self._histogram(
            "workqueue_work_duration_seconds",
            "Time a key was worked on.",
            *("name", "controller"),
            buckets=WORKQUEUE_BUCKETS,
        )
        self.queue_unfinished_work = self._gauge(
            "workqueue_unfinished_work_seconds",
            "Sum of the ages of the work under way.",
            *("name", "controller"),
        )
        self.queue_longest_running = self._gauge(
            "workqueue_longest_running_processor_seconds",
            "Age of the oldest work under way.",
            *("name", "controller"),
        )
        self.client_requests = self._counter(
            "client_go_request_total", "Requests to the API server.", "code", "verb"
        )
        self.client_request_duration = self._histogram(
            "client_go_request_duration_seconds",
            "Time of a request to the API server.",
            *("verb", "group", "version", "kind"),
        )
        self.watch_restarts = self._counter(
            "autoctl_watch_restarts_total",
            "Watches taken up again after an error.",
            "resource",
        )
        self.kopf_restarts = self._counter(
            "autoctl_kopf_restarts_total", "Times that the framework ended and was started again."
        )
        self.clock_jumps = self._counter(
            "autoctl_clock_jumps_total",
            "Jumps of the operator's clock (machine) or of the API server's time (server).",
            *("clock", "direction"),
        )
        self.clock_correction = self._gauge(
            "autoctl_clock_correction_seconds",
            "What is added to the machine's clock to get the API server's time.",
        )
        self.events_dropped = self._counter(
            "autoctl_events_dropped_total",
            "Kubernetes events not written.",
            "cause",
        )
