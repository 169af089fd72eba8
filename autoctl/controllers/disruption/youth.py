"""What a move must save that takes nodes which are young, or which consolidation has just made.

A move may end otherwise than planned. kube-scheduler binds pods where it finds room; budgets,
graceful ends and StatefulSets that start one pod after the other hold some of them back, and what
comes late may find its room taken and get a node that nobody planned. As soon as that node is young
no more, the same move pays again. NodeClaims that are bought by a consolidation therefore tell how
many in a row it is. Each doubles what the next one has to save, for four times as long as the one
before: whatever keeps a plan from coming true, the cluster comes to rest, and what saves much is
still done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.state.nodes import StateNode

IN_A_ROW: Final = "autoctl.io/consolidations-in-a-row"
"""On NodeClaims bought by a consolidation: how many have followed each other, with this one."""
_TIMES: Final = (0, 4, 16, 64, 256)
"""By the number in a row, and for all larger ones: for how many times its youth a node has to stay
to prove the consolidation right that made it."""


def in_a_row(claim: NodeClaim | None) -> int:
    """How many consolidations in a row led to this NodeClaim; 0 when pods did."""
    text = "" if claim is None else claim.metadata.annotations.get(IN_A_ROW, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def least_saving(node: StateNode, now: datetime, options: DisruptionOptions) -> float:
    """The least share of its nodes' price that a move with this one must save, if it buys any."""
    created = node.created
    if created is None:
        return options.savings_threshold
    if now < created + options.young:
        return options.young_threshold
    row = in_a_row(node.claim)
    if not row or now >= created + _proof(row, options.young):
        return options.savings_threshold
    doubled: float = options.savings_threshold * 2.0 ** min(row, 16)
    return max(options.savings_threshold, min(options.young_threshold, doubled))


def changes(node: StateNode, young: timedelta) -> Iterator[datetime]:
    """When `least_saving` of the node changes."""
    if node.created is not None:
        yield node.created + young
        row = in_a_row(node.claim)
        if row:
            yield node.created + _proof(row, young)


def next_in_a_row(nodes: Iterable[StateNode], now: datetime, young: timedelta) -> int:
    """What a consolidation of these nodes makes it: one more than those it follows soon."""
    recent = (
        row
        for node in nodes
        if (row := in_a_row(node.claim))
        and node.created is not None
        and now < node.created + _proof(row, young)
    )
    return 1 + max(recent, default=0)


def _proof(row: int, young: timedelta) -> timedelta:
    return young * _TIMES[min(row, len(_TIMES) - 1)]
