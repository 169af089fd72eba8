"""Which evictions PodDisruptionBudgets allow.

Rules: "Disruptions" in the Kubernetes documentation; a pod that more than one budget selects
cannot be evicted at all; `unhealthyPodEvictionPolicy: AlwaysAllow` lets pods that are not ready go.
Budgets are asked only about pods that the Eviction API is asked about (`state.pods.is_evictable`):
callers leave out the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from autoctl.api import core
from autoctl.api.matching import matches
from autoctl.state.budgets import is_healthy, never_allows

MULTIPLE = "Eviction does not support multiple PDBs"
PREVENTED = "Pdb prevents pod evictions"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a pod may not be evicted, and the budgets that say so (`namespace/name`)."""

    message: str
    budgets: tuple[str, ...]


class EvictionLimits:
    """The budgets of a cluster, looked up by pod. Budgets must carry a status."""

    def __init__(self, budgets: Mapping[str, core.PodDisruptionBudget]) -> None:
        self._by_namespace: dict[str, list[tuple[str, core.PodDisruptionBudget]]] = {}
        for key in sorted(budgets):
            budget = budgets[key]
            namespace = budget.metadata.namespace or "default"
            self._by_namespace.setdefault(namespace, []).append((key, budget))

    def __bool__(self) -> bool:
        """Whether there is any budget."""
        return bool(self._by_namespace)

    def selecting(self, pod: core.Pod) -> list[tuple[str, core.PodDisruptionBudget]]:
        """The budgets whose selector matches the pod."""
        candidates = self._by_namespace.get(pod.metadata.namespace or "default", ())
        return [(k, b) for k, b in candidates if matches(b.spec.selector, pod.metadata.labels)]

    def blocks(self, pod: core.Pod) -> Verdict | None:
        """Why the pod cannot be evicted now, or None if it can."""
        return self._verdict(pod, _is_spent)

    def always_blocks(self, pod: core.Pod) -> bool:
        """Whether the pod cannot be evicted however long one waits, as its budgets are written.

        A budget that merely allows none at the moment gives way once other pods are healthy.
        """
        return self._verdict(pod, never_allows) is not None

    def _verdict(
        self, pod: core.Pod, forbids: Callable[[core.PodDisruptionBudget], bool]
    ) -> Verdict | None:
        selecting = self.selecting(pod)
        if not selecting:
            return None
        if len(selecting) > 1:
            return Verdict(MULTIPLE, tuple(k for k, _ in selecting))
        key, budget = selecting[0]
        if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow" and not is_healthy(pod):
            return None
        return Verdict(PREVENTED, (key,)) if forbids(budget) else None

    def first_blocked(self, pods: Iterable[core.Pod]) -> tuple[core.Pod, Verdict] | None:
        """The first pod that cannot be evicted now, with why."""
        for pod in pods:
            verdict = self.blocks(pod)
            if verdict is not None:
                return pod, verdict
        return None


def _is_spent(budget: core.PodDisruptionBudget) -> bool:
    return budget.status is None or budget.status.disruptions_allowed <= 0
