"""What disruption decides, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from autoctl.scheduling.problem import NewNode


class Reason(StrEnum):
    """Why a node goes. The first four are what budgets name in `reasons`."""

    UNDERUTILIZED = "Underutilized"
    EMPTY = "Empty"
    DRIFTED = "Drifted"
    EXPIRED = "Expired"
    SCALED_DOWN = "ScaledDown"
    """A static pool has more nodes than its `replicas`."""


class ConsolidationType(StrEnum):
    """The label `consolidation_type` of Karpenter's metrics."""

    NONE = ""
    EMPTY = "empty"
    MULTI = "multi"
    SINGLE = "single"


@dataclass(frozen=True)
class Command:
    """Take `nodes` away, after `replacements` (if any) are initialized.

    `moves` says where each pod is expected to go: to an existing node's name, or to
    `replacement:INDEX`; `waiting` are pods that the drain has to wait for, which get their new home
    when they go. `savings` is USD/hour (negative when a replacement costs more, as drift
    may). `evictions` counts the pods that have to move.
    """

    reason: Reason
    nodes: tuple[str, ...]
    replacements: tuple[NewNode, ...] = ()
    savings: float = 0.0
    evictions: int = 0
    moves: Mapping[str, str] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    consolidation_type: ConsolidationType = ConsolidationType.NONE
    score: float | None = None
    """The Balanced policy's score, where it was asked."""
    in_a_row: int = 0
    """Of a consolidation: how many have followed each other (see `youth`)."""

    @property
    def decision(self) -> str:
        """`replace` or `delete`, as Karpenter's metrics call them."""
        return "replace" if self.replacements else "delete"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a node may not be disrupted (now, or for one reason)."""

    node: str
    reason: str
    pod: str | None = None


@dataclass(frozen=True, slots=True)
class PoolBlocked:
    """A NodePool whose budgets allow no disruption for a reason now, or cannot be read."""

    pool: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class Decision:
    """All that one pass decided: commands on disjoint nodes, and why other nodes stay."""

    commands: tuple[Command, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    pools: tuple[PoolBlocked, ...] = ()
    unconsolidatable: Mapping[str, str] = field(default_factory=dict)
    """Node name -> why consolidation leaves it alone."""
    spent: tuple[PoolBlocked, ...] = ()
    """Budgets that would let nodes go, were they not used up. Told in plans, by no event."""
    unasked: Mapping[str, str] = field(default_factory=dict)
    """Node name -> why consolidation does not look at it now. Told in plans, by no event."""
    eligible: Mapping[Reason, int] = field(default_factory=dict)
    """How many nodes could go for each reason, budgets aside."""
    lower_bound: float | None = None
    """USD/hour no world with the same pods goes below, where consolidation computed it."""

    @property
    def left_alone(self) -> list[tuple[str, str]]:
        """Nodes that nothing blocks and consolidation leaves all the same, by name, with why."""
        going = {name for command in self.commands for name in command.nodes}
        why = {**self.unasked, **self.unconsolidatable}
        return sorted((name, reason) for name, reason in why.items() if name not in going)
