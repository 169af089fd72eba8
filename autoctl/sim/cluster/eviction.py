"""The Eviction subresource: when a PodDisruptionBudget lets a pod go.

Follows the eviction REST handler of kube-apiserver: terminal, pending and terminating pods pass;
more than one budget is a server error; unhealthy pods pass by the budget's policy; otherwise one of
the allowed disruptions is used up and the pod is noted in `status.disruptedPods`.
"""

from __future__ import annotations

from collections.abc import Callable

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import (
    ApiError,
    Forbidden,
    Object,
    TooManyRequests,
    Unavailable,
)
from autoctl.sim.cluster.server import Server, is_true, set_condition
from autoctl.sim.cluster.store import timestamp

_VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."


def evict(
    server: Server,
    name: str,
    namespace: str,
    *,
    budgets_of: Callable[[Object], list[Object]],
    uid: str | None = None,
    grace_period_seconds: int | None = None,
) -> None:
    """Evict a pod; `budgets_of` names the PodDisruptionBudgets that select it.

    Raises `NotFound`, `Conflict`, `TooManyRequests`, or 500 where there are two budgets.
    """
    pod = server.get(k8s.PODS, name, namespace)
    if not _passes_budgets(pod):
        budgets = budgets_of(pod)
        if len(budgets) > 1:
            raise Unavailable(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                "does not support.",
                code=500,
                reason="InternalError",
            )
        if budgets and not _unhealthy_may_go(pod, budgets[0]):
            _use_disruption(server, budgets[0], name)
    if uid is None or pod["metadata"]["uid"] == uid:
        pod = _mark(server, pod)
    server.delete(k8s.PODS, name, namespace, uid=uid, grace_period_seconds=grace_period_seconds)


def _passes_budgets(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return bool(pod["metadata"].get("deletionTimestamp")) or phase in (
        "Succeeded",
        "Failed",
        "Pending",
    )


def _unhealthy_may_go(pod: Object, budget: Object) -> bool:
    if is_true(pod, "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy", 0)
    return bool(0 < desired <= status.get("currentHealthy", 0))


def _use_disruption(server: Server, budget: Object, pod_name: str) -> None:
    metadata, status = budget["metadata"], budget.get("status") or {}
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", 10)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise Forbidden(f"pdb disruptions allowed is negative: {name}", reason="Forbidden")
    if allowed == 0:
        raise _too_many(
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently",
            0,
        )
    disrupted = {**(status.get("disruptedPods") or {}), pod_name: timestamp(server.store.now())}
    server.mutate(
        k8s.POD_DISRUPTION_BUDGETS,
        budget,
        status={"disruptionsAllowed": allowed - 1, "disruptedPods": disrupted},
    )


def _too_many(cause: str, retry_after: float) -> ApiError:
    return TooManyRequests(
        _VIOLATION,
        reason="TooManyRequests",
        retry_after=retry_after or None,
        details={"causes": [{"reason": "DisruptionBudget", "message": cause}]},
    )


def blocked() -> ApiError:
    """The 429 of an eviction that a fault keeps from succeeding."""
    return _too_many("The disruption budget is held by a fault of the scenario", 0)


def _mark(server: Server, pod: Object) -> Object:
    """Set the DisruptionTarget condition, as the handler does before it deletes."""
    if pod["metadata"].get("deletionTimestamp"):
        return pod
    conditions = set_condition(
        (pod.get("status") or {}).get("conditions"),
        "DisruptionTarget",
        "True",
        now=server.store.now(),
        reason="EvictionByEvictionAPI",
        message="Eviction API: evicting",
    )
    return server.mutate(k8s.PODS, pod, status={"conditions": conditions})
