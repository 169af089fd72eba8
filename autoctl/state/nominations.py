"""Which pending pods were promised to which node, so that no pod is planned for twice.

A promise to a NodeClaim holds until the node has been initialized for a while, as the pod cannot
land before; one to a node that is there holds for the window alone. kube-scheduler decides in the
end: a pod that is still pending when its promise is over is planned for anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(seconds=20)
"""Karpenter's: twice the longest batch."""


@dataclass(frozen=True, slots=True)
class Nomination:
    """`uid` is the pod's: another pod of its name has no promise. `until` None: not yet counted."""

    target: str
    uid: str
    until: datetime | None
    since: datetime | None = None
    """When it began to be counted."""


class Nominations:
    """The promises of one operator."""

    def __init__(self, window: timedelta = WINDOW) -> None:
        self._window = window
        self._promises: dict[str, Nomination] = {}

    def nominate(self, pods: Iterable[tuple[str, str]], target: str, now: datetime) -> None:
        """Promise `target` (a Node's or NodeClaim's name) to the pods (key and UID)."""
        for key, uid in pods:
            self._promises[key] = Nomination(target, uid, now + self._window, now)

    def await_node(self, pods: Iterable[tuple[str, str]], claim: str) -> None:
        """Promise the node of a NodeClaim that is still to come."""
        for key, uid in pods:
            self._promises[key] = Nomination(claim, uid, None)

    def holds(self, key: str) -> bool:
        """Whether the pod of the key was promised something."""
        return key in self._promises

    def forget(self, key: str) -> None:
        """The pod is bound or gone."""
        self._promises.pop(key, None)

    def forget_target(self, target: str) -> None:
        """The target will not come: its pods wait for another."""
        self._promises = {k: p for k, p in self._promises.items() if p.target != target}

    def promises(self) -> Mapping[str, str]:
        """Pod key -> target of all promises, those included that may be over."""
        return {key: promise.target for key, promise in self._promises.items()}

    def next_end(self, now: datetime) -> datetime | None:
        """When the next promise runs out that has begun to be counted."""
        ends = (p.until for p in self._promises.values() if p.until is not None and p.until > now)
        return min(ends, default=None)

    def targets(self, now: datetime) -> frozenset[str]:
        """The names that pods were promised and have not reached."""
        return frozenset(
            p.target for p in self._promises.values() if p.until is None or now < p.until
        )

    def current(
        self,
        now: datetime,
        uid_of: Callable[[str], str | None],
        state_of: Callable[[str], bool | None],
        lapsed: Callable[[str, Nomination], None],
    ) -> Mapping[str, str]:
        """Pod key -> target of the promises that hold at `now`; drops the others.

        `uid_of` gives the UID of the pending pod of a key, None when there is none; `state_of`
        whether a target is initialized, None when it does not exist. `lapsed` is told of promises
        whose time is over although pod and target are there.
        """
        kept: dict[str, Nomination] = {}
        for key, promise in self._promises.items():
            ready = state_of(promise.target)
            if uid_of(key) != promise.uid or ready is None:
                continue
            if promise.until is None and ready:
                promise = Nomination(promise.target, promise.uid, now + self._window, now)
            if promise.until is None or now < promise.until:
                kept[key] = promise
            else:
                lapsed(key, promise)
        self._promises = kept
        return {key: promise.target for key, promise in kept.items()}
