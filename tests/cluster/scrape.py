"""What Prometheus and Karpenter's dashboards think of /metrics."""

from __future__ import annotations

import subprocess

from metrics_table import disagreements, scraped_metrics

from controlplane import build

_ADVICE_EXIT_CODE = 3
_COUNT = 'non-histogram and non-summary metrics should not have "_count" suffix'
_TOTAL = 'non-counter metrics should not have "_total" suffix'
_KARPENTERS_NAMES = {
    "karpenter_cluster_state_node_count": _COUNT,
    "karpenter_nodepools_cost_total": _TOTAL,
    "karpenter_scheduler_ignored_pods_count": _COUNT,
    "karpenter_scheduler_pending_pods_by_effective_zone_count": _COUNT,
    "karpenter_scheduler_unschedulable_pods_count": _COUNT,
    "operator_node_status_condition_count": _COUNT,
    "operator_status_condition_count": _COUNT,
    "operator_nodeclaim_status_condition_count": _COUNT,
    "operator_nodeclass_status_condition_count": _COUNT,
    "operator_nodepool_status_condition_count": _COUNT,
}
"""Prometheus would name these otherwise, but dashboards ask for them by these names."""


def check_metrics(text: str) -> None:
    """promtool reads the text and dislikes nothing but names that are Karpenter's own; names, types
    and labels are Karpenter's.
    """
    done = subprocess.run(
        [build.program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, _ADVICE_EXIT_CODE), done.stderr
    accepted = {f"{name} {advice}" for name, advice in _KARPENTERS_NAMES.items()}
    dislikes = [line for line in done.stderr.splitlines() if line not in accepted]
    assert not dislikes, dislikes
    different = disagreements(scraped_metrics(text).items())
    assert not different, different


def missing_metrics(text: str) -> set[str]:
    """What the operator has yet to tell of what it did; some is only counted now and then."""
    return {
        "karpenter_nodeclaims_created_total",
        "karpenter_nodes_created_total",
        "karpenter_nodepools_usage",
        "karpenter_pods_startup_duration_seconds",
        "karpenter_scheduler_scheduling_duration_seconds",
        "karpenter_cloudprovider_duration_seconds",
        "workqueue_work_duration_seconds",
        "client_go_request_total",
    } - scraped_metrics(text).keys()
