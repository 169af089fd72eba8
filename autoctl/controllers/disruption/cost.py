"""What it costs to move pods, as Karpenter weighs it (`pkg/utils/disruption`).

A pod costs 1, more or less with the annotation `controller.kubernetes.io/pod-deletion-cost` and
its priority; a node costs 1 plus what its movable pods cost.
"""

from __future__ import annotations

from collections.abc import Iterable

from autoctl.api import core
from autoctl.state.pods import is_reschedulable

POD_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
EMPTY_COST = 1.0


def eviction_cost(pod: core.Pod) -> float:
    """The cost of evicting `pod`, between -10 and 10; an unreadable annotation counts as none."""
    cost = 1.0
    annotation = (pod.metadata.annotations or {}).get(POD_DELETION_COST)
    if annotation is not None:
        try:
            cost += float(annotation) / 2**27
        except ValueError:
            cost += 0.0
    if pod.spec.priority is not None:
        cost += pod.spec.priority / 2**25
    return min(10.0, max(-10.0, cost))


def rescheduling_cost(pods: Iterable[core.Pod]) -> float:
    """The cost of moving a node's pods elsewhere; `EMPTY_COST` or less means nothing to move."""
    return moving_cost(p for p in pods if is_reschedulable(p))


def moving_cost(movable: Iterable[core.Pod]) -> float:
    """The same of pods that are known to need room elsewhere."""
    return EMPTY_COST + sum(max(0.0, eviction_cost(p)) for p in movable)
