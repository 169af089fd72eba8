"""Spread constraints for pods that bring none (`SolverOptions.default_spread`).

As kube-scheduler's `defaultConstraints`: they apply to pods of a controller, and select its pods.
The controller's selector is not at hand, so the pod's own labels stand in for it, without those
that differ between pods of one controller.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autoctl.api import core

_OF_ONE_POD = frozenset(
    {
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
        "controller-revision-hash",
        "pod-template-generation",
        "pod-template-hash",
        "statefulset.kubernetes.io/pod-name",
    }
)


def with_default_spread(
    pods: Sequence[core.Pod], constraints: Sequence[core.TopologySpreadConstraint]
) -> tuple[core.Pod, ...]:
    """The pods, those of a controller that have no spread constraints with the default ones."""
    if not constraints:
        return tuple(pods)
    return tuple(_spread(pod, constraints) for pod in pods)


def _spread(pod: core.Pod, constraints: Sequence[core.TopologySpreadConstraint]) -> core.Pod:
    own = {k: v for k, v in (pod.metadata.labels or {}).items() if k not in _OF_ONE_POD}
    if pod.spec.topology_spread_constraints or not pod.metadata.owner_references or not own:
        return pod
    selector = core.LabelSelector(match_labels=own)
    added = [msgspec.structs.replace(c, label_selector=selector) for c in constraints]
    spec = msgspec.structs.replace(pod.spec, topology_spread_constraints=added)
    return msgspec.structs.replace(pod, spec=spec)
