"""In which order new nodes open to the pods they were bought for: pure decisions.

kube-scheduler (up to 1.34) forgets a pod's nomination whenever an attempt fails, and it tries every
waiting pod when some node opens. Nodes that open side by side so lose the nominations that keep
their room. They open one after the other instead: the nominations of one are made when it is its
turn, and the next has its turn when the pods of the last have landed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

TURNS: Final = 12
"""So many turns at most for all nodes that come together; of more nodes several open at a time."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A new node that nothing but the steering keeps closed.

    `exposed_to`: the homes (NodeClaims) of pods that could take room which nominations do not keep.
    `overdue`: it has waited long enough.
    """

    claim: str
    zone: str
    exposed_to: frozenset[str] = frozenset()
    overdue: bool = False


def next_to_open(
    closed: Sequence[Closed], opened: Collection[str], zones: Sequence[str], known: int
) -> list[str]:
    """The claims whose turn it is.

    `opened` are claims that take pods already, `zones` those of the new nodes among them, `known`
    how many new nodes there are in all. A node whose room is not kept waits for the homes of the
    pods that would take it; nodes that wait for each other open together. Zones take turns, so that
    pods spread over them do not keep each other waiting.
    """
    overdue = [node.claim for node in closed if node.overdue]
    open_then = {*opened, *overdue}
    ready = _unexposed([node for node in closed if not node.overdue], open_then)
    free = [node for node in ready if node.exposed_to <= open_then]
    if not free:
        return [*overdue, *(node.claim for node in ready)]
    at_once = max(1, -(-known // TURNS))
    chosen = list(overdue)
    used = Counter(zones)
    while free and len(chosen) < at_once:
        node = min(free, key=lambda n: (used[n.zone], n.claim))
        free.remove(node)
        used[node.zone] += 1
        chosen.append(node.claim)
    return chosen


def _unexposed(closed: Sequence[Closed], opened: Collection[str]) -> list[Closed]:
    """Those exposed only to pods whose homes are open, or may open as well."""
    left = list(closed)
    while True:
        open_then = {*opened, *(node.claim for node in left)}
        kept = [node for node in left if node.exposed_to <= open_then]
        if len(kept) == len(left):
            return left
        left = kept
