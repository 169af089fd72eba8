"""How long a node counts as young: the longer, the more consolidations in a row have led to it.

A move may end otherwise than planned. kube-scheduler binds pods where it finds room; budgets,
graceful ends and StatefulSets that start one pod after the other hold some of them back, and what
comes late may find its room taken and get a node that nobody planned. As soon as that node is young
no more, the same move pays again. NodeClaims that are bought by a consolidation therefore tell how
many in a row it is, and each makes them young for four times as long: whatever keeps a plan from
coming true, the cluster comes to rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from autoctl.api.nodeclaim import NodeClaim
from autoctl.state.nodes import StateNode

IN_A_ROW: Final = "autoctl.io/consolidations-in-a-row"
"""On NodeClaims bought by a consolidation: how many have followed each other, with this one."""
_TIMES: Final = (1, 1, 4, 16, 64)
"""By the number in a row, and for all larger ones: how many times as long youth is."""
_PROVEN: Final = 4
"""After so many times its youth a node begins a new row."""


def in_a_row(claim: NodeClaim | None) -> int:
    """How many consolidations in a row led to this NodeClaim; 0 when pods did."""
    text = "" if claim is None else claim.metadata.annotations.get(IN_A_ROW, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def young_until(node: StateNode, young: timedelta) -> datetime | None:
    """When the node's youth ends; None for a node that has not come yet."""
    return None if node.created is None else node.created + _youth(node.claim, young)


def next_in_a_row(nodes: Iterable[StateNode], now: datetime, young: timedelta) -> int:
    """What a consolidation of these nodes makes it: one more than those it follows soon.

    A node that stayed for several times its youth proved its consolidation right.
    """
    recent = (
        in_a_row(node.claim)
        for node in nodes
        if node.created is not None and now < node.created + _PROVEN * _youth(node.claim, young)
    )
    return 1 + max(recent, default=0)


def _youth(claim: NodeClaim | None, young: timedelta) -> timedelta:
    return young * _TIMES[min(in_a_row(claim), len(_TIMES) - 1)]
