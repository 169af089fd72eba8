"""Signs of kube-scheduler at work, seen in what it writes to pods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from autoctl.api import core
from autoctl.ports.kubernetes import EventType
from autoctl.state.reflector import Change

BUSY: Final = timedelta(seconds=10)
"""For this long after a promised pod was bound, others are taken to wait for their turn."""

SLACK: Final = timedelta(seconds=10)
"""kube-scheduler may try a pod on a new node a little before the node counts as initialized."""


@dataclass(slots=True)
class SchedulerSigns:
    """When kube-scheduler last wrote to any pod, and last bound one that was promised a node."""

    _wrote: datetime | None = None
    _kept_promise: datetime | None = None

    def note(self, change: Change[core.Pod], now: datetime, *, promised: bool) -> None:
        """Look at a change of a pod; `promised`: it had been promised a node."""
        before = change.previous
        if before is None or change.type is EventType.DELETED:
            return
        bound = not before.spec.node_name and change.object.spec.node_name
        if bound or _verdict(before) != _verdict(change.object):
            self._wrote = now
        if bound and promised:
            self._kept_promise = now

    def seen_since(self, since: datetime | None, now: datetime) -> bool:
        """Whether it has been at work since then, and is done with those that were promised."""
        if since is None or self._wrote is None or self._wrote < since - SLACK:
            return False
        return self._kept_promise is None or now >= self._kept_promise + BUSY


def _verdict(pod: core.Pod) -> tuple[object, ...]:
    return tuple(
        (c.status, c.reason, c.message)
        for c in pod.status.conditions or ()
        if c.type == "PodScheduled"
    )
