"""Pending pods, in groups that stand or fall together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from autoctl.sim.cluster.scheduler.counting import LabelClass
from autoctl.sim.cluster.scheduler.podinfo import Constraints, Shape
from autoctl.sim.cluster.store import Key
from autoctl.sim.cluster.timings import Timings

GroupKey: TypeAlias = tuple[object, ...]
_REWRITE_SECONDS: Final = 10.0


@dataclass(slots=True, eq=False)
class Waiting:
    """A pending pod; `message` is what its PodScheduled condition says, since `written`.

    `nominated` is the name of its nominated node ("" without one).
    """

    uid: str
    key: Key
    number: int
    shape: Shape
    constraints: Constraints
    label_class: LabelClass
    nominated: str = ""
    group: GroupKey = ()
    message: str = ""
    written: float = 0.0

    def write_at(self, message: str, now: float) -> float | None:
        """When the condition should get this message; `None` when it has it.

        A pod's first failure is written at once, a changed reason at most every ten seconds: the
        counts in the message change with every node that comes.
        """
        if message == self.message:
            return None
        return max(self.written + _REWRITE_SECONDS, now) if self.message else now


@dataclass(slots=True, eq=False)
class Group:
    """Pods that no filter can tell apart: when one fits nowhere, none does."""

    key: GroupKey
    pods: dict[str, Waiting] = field(default_factory=dict)
    failures: int = 0
    retry_at: float = 0.0
    failed: bool = False
    woken: bool = False
    message: str = ""
    report_at: float | None = None
    """When the conditions of its pods get the latest message, where that had to wait."""

    @property
    def head(self) -> Waiting:
        """The pod that waits longest."""
        return next(iter(self.pods.values()))

    def fail(self, message: str, now: float, timings: Timings) -> None:
        """Note a failed attempt; the next waits for a change, and for the back-off."""
        pause = timings.scheduler_backoff_initial * 2 ** min(self.failures, 30)
        self.failures += 1
        self.failed, self.woken, self.message = True, False, message
        self.retry_at = now + min(pause, timings.scheduler_backoff_max)

    def succeed(self) -> None:
        """Note that a pod found its place."""
        self.failures, self.failed, self.woken, self.message = 0, False, False, ""
        self.report_at = None

    def due(self, now: float) -> bool:
        """Whether an attempt is worth its while now."""
        return not self.failed or (self.woken and now >= self.retry_at - 1e-6)


class Queue:
    """Pods by group. Groups keep the order in which they came."""

    def __init__(self) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self._pods: dict[str, Waiting] = {}
        self._next = 0

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._pods.values())

    def get(self, uid: str) -> Waiting:
        """A pod that waits. Raises `KeyError` for another."""
        return self._pods[uid]

    def number(self) -> int:
        """The next place in the order of arrival."""
        self._next += 1
        return self._next

    def add(self, waiting: Waiting, key: GroupKey) -> Group:
        """Add a pod to its group."""
        waiting.group = key
        self._pods[waiting.uid] = waiting
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(key)
        group.pods[waiting.uid] = waiting
        return group

    def move(self, waiting: Waiting, key: GroupKey) -> None:
        """Put a pod into another group, which begins with what its old one has found out."""
        old = self.groups[waiting.group]
        self.remove(waiting.uid)
        is_new = key not in self.groups
        group = self.add(waiting, key)
        if is_new:
            group.failures, group.retry_at = old.failures, old.retry_at
            group.failed, group.woken, group.message = old.failed, old.woken, old.message

    def remove(self, uid: str) -> Waiting | None:
        """Take a pod out; its group goes with its last pod."""
        waiting = self._pods.pop(uid, None)
        if waiting is not None:
            group = self.groups[waiting.group]
            del group.pods[uid]
            if not group.pods:
                del self.groups[waiting.group]
        return waiting
