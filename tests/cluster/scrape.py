"""What Prometheus and Karpenter's dashboards think of /metrics."""

from __future__ import annotations

import subprocess

from metrics_table import disagreements, scraped_metrics

from controlplane import build

_ADVICE_EXIT_CODE = 3
_ADVICE = 'non-histogram and non-summary metrics should not have "_count" suffix'
_KARPENTERS_COUNTS = (
    "karpenter_cluster_state_node_count",
    "karpenter_scheduler_ignored_pods_count",
    "karpenter_scheduler_unschedulable_pods_count",
)
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
    accepted = {f"{name} {_ADVICE}" for name in _KARPENTERS_COUNTS}
    assert [line for line in done.stderr.splitlines() if line not in accepted] == []
    scraped = scraped_metrics(text)
    assert disagreements(scraped.items()) == []
    # It is the operator's own account of what happened.
    assert {
        "karpenter_nodeclaims_created_total",
        "karpenter_nodes_created_total",
        "karpenter_nodepools_usage",
        "karpenter_pods_startup_duration_seconds",
        "karpenter_scheduler_scheduling_duration_seconds",
        "karpenter_cloudprovider_duration_seconds",
        "workqueue_work_duration_seconds",
        "client_go_request_total",
    } <= scraped.keys()
