"""What a command under way needs next: a pure judgement of its NodeClaims and their prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from autoctl.controllers.disruption.marks import InFlight
from autoctl.controllers.disruption.model import Reason
from autoctl.state.nodes import StateNode
from autoctl.state.pricing import is_priced, node_price
from autoctl.state.snapshot import Snapshot

RETRY_PER_COMMAND: Final = timedelta(milliseconds=80)
SHORTEST_RETRY: Final = timedelta(minutes=10)
LONGEST_RETRY: Final = timedelta(hours=1)
MARKING: Final = timedelta(seconds=60)
"""How long a leader may take from the first mark to the last replacement."""


class Next(Enum):
    """What to do with a command."""

    WAIT = "wait"
    ADVANCE = "advance"
    """Replacements are launched, so that pods which need none of them may go."""
    FINISH = "finish"
    ROLL_BACK = "roll back"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The next step, and why."""

    next: Next
    why: str = ""


def patience(commands: int) -> timedelta:
    """How long replacements may take, with that many commands under way (Karpenter's rule)."""
    return min(LONGEST_RETRY, max(SHORTEST_RETRY, RETRY_PER_COMMAND * commands))


def pays(command: InFlight, snapshot: Snapshot, nodes: Mapping[str, StateNode]) -> bool:
    """Whether a consolidation still saves something, now that its replacements are launched.

    A capacity reservation that was counted on may have filled up before the launch or ended since,
    and the replacement runs on demand. That is asked as long as nothing was taken away: not when a
    node of the command is on its way out, nor when pods may have come to a replacement. `nodes` has
    the snapshot's nodes by the names of their NodeClaims.
    """
    whole = len(command.candidates) == command.mark.nodes and not any(
        c.deleting for c in command.candidates
    )
    if command.mark.reason is not Reason.UNDERUTILIZED or not command.replacements or not whole:
        return True
    going = [nodes.get(c.name) for c in command.candidates]
    coming = [nodes.get(c.name) for c in command.replacements]
    if any(n is not None and _open(n) for n in coming):
        return True
    before, after = _price(going, snapshot), _price(coming, snapshot)
    return before is None or after is None or after < before


def _open(node: StateNode) -> bool:
    """Whether the node lets pods in."""
    return node.node is not None and not node.awaiting_pods


def _price(nodes: Iterable[StateNode | None], snapshot: Snapshot) -> float | None:
    """USD/hour of the nodes together; None when that of one is not known (yet)."""
    total = 0.0
    for node in nodes:
        if node is None or not is_priced(node, snapshot):
            return None
        total += node_price(node, snapshot)
    return total


def judge(
    command: InFlight, now: datetime, commands: int, *, starting: bool, paying: bool = True
) -> Judgement:
    """What the command needs.

    `starting`: this process still marks nodes or buys replacements. `paying`: see `pays`.
    """
    staying = [c for c in command.candidates if not c.deleting]
    if not staying:
        return Judgement(Next.NOTHING)
    if starting:
        return Judgement(Next.WAIT, "it is being started")
    mark = command.mark
    age = now - mark.started
    if len(command.replacements) < mark.replacements:
        if age < MARKING:
            return Judgement(Next.WAIT, "replacements are being made")
        missing = mark.replacements - len(command.replacements)
        return Judgement(Next.ROLL_BACK, f"{missing} of {mark.replacements} replacements are gone")
    gone = [c.name for c in command.replacements if c.deleting]
    if gone:
        return Judgement(Next.ROLL_BACK, f"replacement {gone[0]} is being deleted")
    if not paying:
        return Judgement(Next.ROLL_BACK, "what was bought does not cost less than what goes")
    waiting = [c.name for c in command.replacements if not c.initialized]
    if not waiting:
        return Judgement(Next.FINISH)
    if age > patience(commands):
        return Judgement(Next.ROLL_BACK, f"replacement {waiting[0]} is not ready in time")
    why = f"{len(waiting)} replacements are not initialized"
    launched = all(c.launched for c in command.replacements)
    return Judgement(Next.ADVANCE if launched else Next.WAIT, why)
