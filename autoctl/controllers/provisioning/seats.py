"""Who is meant for which new node, when kube-scheduler puts pods of one kind in each other's place.

A pod that was meant for one node may land on another, on room that was bought there for a pod of
its kind. Nothing is lost by that, if the pod that finds its room taken goes to the one left over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from autoctl.api import core
from autoctl.controllers.provisioning.rivalry import kind_of


class Seats:
    """Remembers the home (Node or NodeClaim) and kind of each pod that waits for a new node."""

    def __init__(self) -> None:
        self._seats: dict[str, tuple[str, str, Hashable]] = {}

    def trades(
        self,
        waiting: Sequence[core.Pod],
        promised: Mapping[str, str],
        landed: Callable[[str], str | None],
    ) -> list[tuple[core.Pod, str]]:
        """Waiting pods with the home that each gets in place of its own.

        `promised` is pod key -> home; `landed` tells the home that the pod of a key was bound to,
        None for one that is gone or was bound to none that is known here.
        """
        found: list[tuple[core.Pod, str]] = []
        here = {pod.metadata.uid for pod in waiting}
        homes = dict(promised)
        left, taken = Counter[tuple[Hashable, str]](), Counter[tuple[Hashable, str]]()
        for uid in [uid for uid in self._seats if uid not in here]:
            key, home, kind = self._seats.pop(uid)
            place = landed(key)
            if place is not None:
                left[kind, home] += 1
                taken[kind, place] += 1
        rest = left - taken
        for kind, place in (taken - left).elements():
            vacant = next((h for k, h in rest if k == kind), None)
            displaced = self._displaced(waiting, homes, place, kind)
            if vacant is not None and displaced is not None:
                rest -= Counter({(kind, vacant): 1})
                homes[displaced.key] = vacant
                found.append((displaced, vacant))
        for pod in waiting:
            target = homes.get(pod.key)
            if target is None:
                self._seats.pop(pod.metadata.uid, None)
                continue
            known = self._seats.get(pod.metadata.uid)
            kind = kind_of(pod) if known is None else known[2]
            self._seats[pod.metadata.uid] = (pod.key, target, kind)
        return found

    def _displaced(
        self, waiting: Sequence[core.Pod], homes: Mapping[str, str], home: str, kind: Hashable
    ) -> core.Pod | None:
        """Who of the home's own is to go elsewhere: one that is not nominated, if there is one."""
        alike = [
            pod
            for pod in waiting
            if homes.get(pod.key) == home
            and pod.metadata.uid in self._seats
            and self._seats[pod.metadata.uid][2] == kind
        ]
        return min(alike, key=lambda p: (bool(p.status.nominated_node_name), p.key), default=None)
