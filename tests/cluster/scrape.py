"""What Prometheus and Karpenter's dashboards think of /metrics."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

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


_MOST_SERIES = 200
"""Of a gauge or counter that promtool is shown: it compares each two series of a family, which for
the offerings of a region takes half a minute."""


def check_metrics(text: str) -> None:
    """promtool reads the text and dislikes nothing but names that are Karpenter's own; names, types
    and labels are Karpenter's, and no series is told twice.
    """
    series = Counter(s.rpartition(" ")[0] for s in text.splitlines() if s and s[0] != "#")
    twice = [name for name, count in series.items() if count > 1]
    assert not twice, twice
    done = subprocess.run(
        [build.program("promtool"), "check", "metrics"],
        input=_shortened(text),
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


def _shortened(text: str) -> str:
    """The text with the first series of each gauge and counter; the families stay as they are."""
    kept: list[str] = []
    shown, plain = 0, False
    for line in text.splitlines(keepends=True):
        if line.startswith("#"):
            shown = 0
            plain = line.startswith("# TYPE") and line.split()[-1] in ("gauge", "counter")
        elif plain:
            shown += 1
            if shown > _MOST_SERIES:
                continue
        kept.append(line)
    return "".join(kept)


def missing_metrics(text: str) -> set[str]:
    """What the operator has yet to tell of what it did; some is only counted now and then."""
    return {
        name for name in _TOLD_IN_TIME if not re.search(_SAMPLE.format(name), text, re.MULTILINE)
    }


_SAMPLE = r"^{}(_count)?[ {{]"
"""A line with a value. To parse the whole text takes seconds: it tells of every instance type."""
_TOLD_IN_TIME = (
    "karpenter_nodeclaims_created_total",
    "karpenter_nodes_created_total",
    "karpenter_nodepools_usage",
    "karpenter_pods_startup_duration_seconds",
    "karpenter_scheduler_scheduling_duration_seconds",
    "karpenter_cloudprovider_duration_seconds",
    "workqueue_work_duration_seconds",
    "client_go_request_total",
)
