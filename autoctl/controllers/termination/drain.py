"""Which pods to make go next, and which to wait for: a pure decision.

Pods go in tiers: ordinary ones, then daemons, then critical ones, then critical daemons. Where the
node has a deadline, a pod whose own grace period would end after it is deleted in time, budgets and
`karpenter.sh/do-not-disrupt` notwithstanding (NodePool, `terminationGracePeriod`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoctl.api import core
from autoctl.state.pods import (
    Protection,
    do_not_disrupt,
    is_critical,
    is_daemon,
    is_evictable,
    is_terminating,
    is_waiting_eviction,
)

_DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ForcedDeletion:
    """A pod to delete now with this much grace, so that it is gone at the node's deadline."""

    pod: core.Pod
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The state of a drain.

    `evict` by the Eviction API, `delete` whatever forbids it, `waiting` for all of these pods.
    `forced_next` is when the next pod will have to be deleted.
    """

    evict: tuple[core.Pod, ...]
    delete: tuple[ForcedDeletion, ...]
    waiting: tuple[core.Pod, ...]
    forced_next: datetime | None = None

    @property
    def done(self) -> bool:
        return not self.waiting


def plan_drain(pods: Iterable[core.Pod], now: datetime, deadline: datetime | None) -> Drain:
    """What to do for a node with these pods, which has to be gone at `deadline` if there is one."""
    waiting = tuple(p for p in pods if is_waiting_eviction(p, now))
    forced = {p.key: f for p in waiting if (f := _forced(p, now, deadline)) is not None}
    ordinary = [p for p in waiting if p.key not in forced]
    evict: tuple[core.Pod, ...] = ()
    if ordinary:
        tier = min(_tier(p) for p in ordinary)
        evict = tuple(
            p
            for p in ordinary
            if _tier(p) == tier
            and is_evictable(p, now)
            and do_not_disrupt(p, now).protection is not Protection.ACTIVE
        )
    moments = [
        _moment(p, deadline) for p in ordinary if deadline is not None and not is_terminating(p)
    ]
    return Drain(evict, tuple(forced.values()), waiting, min(moments, default=None))


def _tier(pod: core.Pod) -> int:
    return 2 * is_critical(pod) + is_daemon(pod)


def _grace(pod: core.Pod) -> timedelta:
    seconds = pod.spec.termination_grace_period_seconds
    return timedelta(seconds=_DEFAULT_GRACE_SECONDS if seconds is None else seconds)


def _moment(pod: core.Pod, deadline: datetime) -> datetime:
    """When the pod has to be deleted to have its whole grace period."""
    return deadline - _grace(pod)


def _forced(pod: core.Pod, now: datetime, deadline: datetime | None) -> ForcedDeletion | None:
    if deadline is None:
        return None
    deleted = pod.metadata.deletion_timestamp
    if deleted is not None:
        # `deletionTimestamp` is when the grace ends. Shorten it where that is after the deadline.
        if deleted <= deadline or deleted <= now + timedelta(seconds=1):
            return None
    elif now < _moment(pod, deadline):
        return None
    left = int((deadline - now).total_seconds())
    return ForcedDeletion(pod, max(1, left))
