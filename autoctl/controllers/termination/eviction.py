"""Evicting pods, each with its own patience."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from autoctl.api import core
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.drain import ForcedDeletion
from autoctl.ports.kubernetes import (
    PODS,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    KubernetesApi,
    NotFound,
    TooManyRequests,
)

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
_FORGET_ABOVE = 10_000
_REFUSALS = (TooManyRequests, BadRequest, Forbidden, Invalid)
"""What is said of this one pod, by a budget or an admission webhook; the others go on."""
_RESOLUTION = 0.001
"""Less than this is rounding, which a timer could wait for in vain."""


@dataclass(slots=True)
class _Patience:
    failures: int
    not_before: float


class Evictor:
    """Asks for evictions; one that was refused waits 100 ms to 10 s before the next try."""

    def __init__(self, api: KubernetesApi, events: EventRecorder, metrics: Metrics) -> None:
        self._api = api
        self._events = events
        self._metrics = metrics
        self._refused: dict[str, _Patience] = {}

    def wait(self, pod: core.Pod) -> float:
        """Seconds until the pod's eviction may be tried (again)."""
        patience = self._refused.get(pod.metadata.uid)
        if patience is None:
            return 0.0
        left = patience.not_before - asyncio.get_running_loop().time()
        return left if left > _RESOLUTION else 0.0

    async def evict(self, pod: core.Pod, reason: str) -> str | None:
        """Ask for the eviction; return why it was refused, or None."""
        namespace = pod.metadata.namespace or "default"
        uid = pod.metadata.uid
        try:
            await self._api.evict(pod.metadata.name, namespace, uid=uid)
        except (NotFound, Conflict) as gone:
            # Gone, or another pod has its name by now: both mean that this one has left.
            self._count(gone.code)
            self._refused.pop(uid, None)
            return None
        except ApiError as refused:
            if not isinstance(refused, _REFUSALS) and not _multiple_budgets(refused):
                raise
            self._count(refused.code)
            self._be_patient(uid)
            return refused.message
        self._count(201)
        self._refused.pop(uid, None)
        self._metrics.pods_drained.labels(reason).inc()
        about = ObjectReference.of(PODS, pod.metadata.name, namespace, uid)
        self._events.publish(Event(about, "Evicted", f"Evicted pod: {reason}"))
        return None

    async def delete(self, forced: ForcedDeletion, deadline: str) -> None:
        """Delete the pod, whatever protects it, so that it ends with its node."""
        pod = forced.pod
        namespace = pod.metadata.namespace or "default"
        about = ObjectReference.of(PODS, pod.metadata.name, namespace, pod.metadata.uid)
        try:
            await self._api.delete(
                PODS,
                pod.metadata.name,
                namespace,
                uid=pod.metadata.uid,
                grace_period_seconds=forced.grace_seconds,
            )
        except (NotFound, Conflict):
            return
        self._events.publish(
            Event(
                about,
                "Disrupted",
                f"Deleting the pod to accommodate the terminationTime {deadline} of the node. The "
                f"pod was granted {forced.grace_seconds} seconds of grace-period of its "
                f"{pod.spec.termination_grace_period_seconds} terminationGracePeriodSeconds. This "
                "bypasses the PDB of the pod and the do-not-disrupt annotation.",
            )
        )

    def _be_patient(self, uid: str) -> None:
        if len(self._refused) > _FORGET_ABOVE:
            self._refused.clear()
        now = asyncio.get_running_loop().time()
        before = self._refused.get(uid)
        failures = before.failures + 1 if before is not None else 0
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failures, 10))
        self._refused[uid] = _Patience(failures, now + delay)

    def _count(self, code: int) -> None:
        self._metrics.pods_eviction_requests.labels(str(code)).inc()


def _multiple_budgets(error: ApiError) -> bool:
    """The API server answers 500 for a pod that several budgets select."""
    return "more than one PodDisruptionBudget" in error.message
