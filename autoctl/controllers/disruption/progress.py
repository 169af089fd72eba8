"""What a command under way needs next: a pure judgement of its NodeClaims."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from autoctl.controllers.disruption.marks import InFlight

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


def judge(command: InFlight, now: datetime, commands: int, *, starting: bool) -> Judgement:
    """What the command needs. `starting`: this process still marks nodes or buys replacements."""
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
    waiting = [c.name for c in command.replacements if not c.initialized]
    if not waiting:
        return Judgement(Next.FINISH)
    if age > patience(commands):
        return Judgement(Next.ROLL_BACK, f"replacement {waiting[0]} is not ready in time")
    why = f"{len(waiting)} replacements are not initialized"
    launched = all(c.launched for c in command.replacements)
    return Judgement(Next.ADVANCE if launched else Next.WAIT, why)
