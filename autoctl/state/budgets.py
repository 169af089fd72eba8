"""What PodDisruptionBudgets allow, where their controller has not said so.

A budget read from a cluster carries a status; one read from a manifest does not. The arithmetic is
that of the disruption controller: Kubernetes documentation, "Specifying a Disruption Budget".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from autoctl.api import core
from autoctl.api.matching import matches


def with_status(
    budgets: Mapping[str, core.PodDisruptionBudget], pods: Iterable[core.Pod]
) -> dict[str, core.PodDisruptionBudget]:
    """Return `budgets` with a status computed from `pods` for those that have none.

    An empty status, as manifests made by tools carry, is none.
    """
    nobodys = (None, core.PodDisruptionBudgetStatus())
    missing = {key: b for key, b in budgets.items() if b.status in nobodys}
    result = dict(budgets)
    if not missing:
        return result
    everyone = list(pods)
    for key, budget in missing.items():
        selected = [
            p
            for p in everyone
            if (p.metadata.namespace or "default") == (budget.metadata.namespace or "default")
            and matches(budget.spec.selector, p.metadata.labels)
            and p.status.phase not in ("Succeeded", "Failed")
        ]
        result[key] = core.PodDisruptionBudget(
            metadata=budget.metadata, spec=budget.spec, status=_status(budget, selected)
        )
    return result


def _status(
    budget: core.PodDisruptionBudget, pods: list[core.Pod]
) -> core.PodDisruptionBudgetStatus:
    expected = len(pods)
    healthy = sum(1 for p in pods if is_healthy(p))
    if budget.spec.max_unavailable is not None:
        desired = max(0, expected - scaled(budget.spec.max_unavailable, expected))
    elif budget.spec.min_available is not None:
        desired = scaled(budget.spec.min_available, expected)
    else:
        desired = 0
    return core.PodDisruptionBudgetStatus(
        disruptions_allowed=max(0, healthy - desired) if expected else 0,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        observed_generation=budget.metadata.generation,
    )


def never_allows(budget: core.PodDisruptionBudget) -> bool:
    """Whether the budget's own words forbid every disruption, however many pods are healthy.

    Karpenter's rule (`pkg/utils/pdb`): `maxUnavailable` of 0 or 0%, `minAvailable` of 100%. A
    number that only happens to be all pods there are (1 of 1) is none: one more replica lifts it.
    """
    return budget.spec.max_unavailable in (0, "0%") or budget.spec.min_available == "100%"


def is_healthy(pod: core.Pod) -> bool:
    """A pod counts for a budget when it is Ready and not on its way out."""
    if pod.metadata.deletion_timestamp is not None:
        return False
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def scaled(value: core.IntOrString, total: int) -> int:
    """An absolute number, or a percentage of `total` rounded up (as for both budget fields)."""
    if isinstance(value, int):
        return value
    text = value.strip()
    if text.endswith("%"):
        return math.ceil(int(text[:-1]) * total / 100)
    return int(text)
