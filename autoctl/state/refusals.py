"""Nodes that kube-scheduler does not take for a pod, although decisions say that it fits there.

Rules may be at work of which nobody here knows: a scheduler plugin, an extender, a webhook. A node
whose promises came to nothing is left out for the pod for a while. So are all nodes, when more of
them refuse it: kube-scheduler looks at every node each time. When nodes that were bought for the
pod refuse it as well, no further one is bought for a while. Pauses double up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

LAPSES: Final = 2
"""Promises of a node that must lapse before it is left out, one in view of a scheduler at work."""
PATIENCE: Final = timedelta(minutes=6)
"""After this long none need be in view of it: kube-scheduler tries every pod in 5 minutes."""
NODES: Final = 2
"""Nodes left out before all that are there are, or before no further one is bought."""
PAUSE: Final = timedelta(minutes=5)
LONGEST_PAUSE: Final = timedelta(hours=2)


class Outcome(StrEnum):
    """What a lapse led to."""

    NODE = "node"
    """The node is left out."""
    ALL_NODES = "all-nodes"
    """All nodes that are there are left out."""
    NO_NEW_NODE = "no-new-node"
    """The pod is left alone: nothing is bought for it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """News about the pod of this key and UID: what is left out until when, and because of whom."""

    pod: str
    uid: str
    target: str
    outcome: Outcome
    until: datetime


@dataclass(slots=True)
class _Lapses:
    first: datetime
    count: int = 0
    seen: bool = False


@dataclass(slots=True)
class _Record:
    """One pod's history. Targets are the names of NodeClaims, or of Nodes without one."""

    lapses: dict[str, _Lapses] = field(default_factory=dict)
    left_out: dict[str, datetime] = field(default_factory=dict)
    bought: set[str] = field(default_factory=set)
    in_vain: int = 0
    pauses: int = 0
    resting: datetime | None = None

    def pause(self) -> timedelta:
        found: timedelta = min(LONGEST_PAUSE, PAUSE * 2 ** min(self.pauses, 10))
        self.pauses += 1
        return found


class Refusals:
    """The histories of pods that are pending."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._concerned: set[str] = set()
        """UIDs of pods for which anything was left out."""
        self._news: list[Refusal] = []

    def __bool__(self) -> bool:
        """Whether anything is, or was, left out for any pod that is still pending."""
        return bool(self._concerned)

    def buy(self, uids: Iterable[str], claim: str) -> None:
        """A node is bought for these pods."""
        for uid in uids:
            self._records.setdefault(uid, _Record()).bought.add(claim)

    def forget(self, uid: str) -> None:
        """The pod is bound or gone."""
        self._records.pop(uid, None)
        self._concerned.discard(uid)

    def lapsed(
        self,
        pod: tuple[str, str],
        target: str,
        now: datetime,
        *,
        seen: bool,
        others: Iterable[str] = (),
    ) -> None:
        """A promise to the pod (key, UID) is over without it being bound.

        `seen`: kube-scheduler was at work meanwhile, and is not busy placing others that were
        promised something. `others` are the targets that it could have taken instead.
        """
        key, uid = pod
        record = self._records.setdefault(uid, _Record())
        lapses = record.lapses.setdefault(target, _Lapses(now))
        lapses.count += 1
        lapses.seen = lapses.seen or seen
        if lapses.count < LAPSES or not (lapses.seen or now >= lapses.first + PATIENCE):
            # Nodes that were bought in vain and went again, empty as they were, count together.
            vain = [n for n in record.lapses if n in record.bought and record.lapses[n].seen]
            if target not in record.bought or len(vain) < LAPSES * NODES:
                return
            for name in vain:
                del record.lapses[name]
            record.in_vain = NODES - 1
        else:
            del record.lapses[target]
        self._concerned.add(uid)
        if target in record.bought:
            record.in_vain += 1
        if record.in_vain >= NODES:
            record.resting = now + record.pause()
            record.in_vain = 0
            self._tell(key, uid, target, Outcome.NO_NEW_NODE, record.resting)
            return
        known = {name for name, until in record.left_out.items() if now < until}
        until = now + record.pause()
        wide = len(known - record.bought) + (target not in record.bought) >= NODES
        record.left_out.update(dict.fromkeys((target, *(others if wide else ())), until))
        outcome = Outcome.ALL_NODES if wide else Outcome.NODE
        self._tell(key, uid, target, outcome, until)

    def left_out(self, uid: str, now: datetime) -> frozenset[str]:
        """The targets that are left out for the pod now."""
        record = self._records.get(uid)
        if record is None:
            return frozenset()
        return frozenset(name for name, until in record.left_out.items() if now < until)

    def is_resting(self, uid: str, now: datetime) -> bool:
        """Whether nothing is to be decided about the pod now."""
        record = self._records.get(uid)
        return record is not None and record.resting is not None and now < record.resting

    def affected(self, now: datetime, keys: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
        """Pod key -> targets left out now, of the pods in `keys` (UID -> key)."""
        found = {keys[uid]: self.left_out(uid, now) for uid in self._concerned if uid in keys}
        return {key: targets for key, targets in found.items() if targets}

    def resting(self, now: datetime, keys: Mapping[str, str]) -> frozenset[str]:
        """The keys of pods that are left alone now, of those in `keys` (UID -> key)."""
        return frozenset(
            keys[uid] for uid in self._concerned if uid in keys and self.is_resting(uid, now)
        )

    def news(self) -> list[Refusal]:
        """What was decided since the last call."""
        found, self._news = self._news, []
        return found

    def _tell(self, key: str, uid: str, target: str, outcome: Outcome, until: datetime) -> None:
        self._news.append(Refusal(key, uid, target, outcome, until))
