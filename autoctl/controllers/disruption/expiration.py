"""When a node has lived long enough: `expireAfter`, and the cap nothing can lift.

Sources: Auto Mode's node lifetime (14 days by default, never more than 21); Karpenter's
`nodeclaim.expiration` (forceful: no budgets, no replacement beforehand). A budget that names
`Expired` bounds expiry, an extension; the cap is bound by nothing.

After the API server's time has jumped many lifetimes may have ended at one instant. Those nodes go
as budgets of any kind allow (`catch_up_room`), so that no clock empties a pool at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from autoctl.api.nodeclaim import MAX_LIFETIME, NodeClaim
from autoctl.api.nodepool import UNLIMITED, NodePool

CAP_WARNINGS: Final = (timedelta(hours=48), timedelta(hours=24), timedelta(hours=1))
"""How long before the cap its approach is told as an event."""
FORCE_BEFORE_CAP: Final = timedelta(minutes=15)
"""The instance is ended this long before the cap: EC2 takes minutes, and calls may fail."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The instants of a NodeClaim's life.

    `expires` is when it is drained (None: never by itself). `cap` is when the machine must be
    gone; `must_drain` leaves the drain its grace period before that.
    """

    expires: datetime | None
    must_drain: datetime
    cap: datetime

    def expired(self, now: datetime) -> bool:
        """Whether the drain is due, by `expireAfter` or because the cap comes near."""
        return (self.expires is not None and now >= self.expires) or now >= self.must_drain

    @property
    def forced(self) -> datetime:
        """When the machine is terminated, whatever holds it."""
        return self.cap - FORCE_BEFORE_CAP

    def next_change(self, now: datetime) -> datetime | None:
        """The next instant after `now` at which something is due, or to be told."""
        warnings = (self.cap - w for w in CAP_WARNINGS)
        instants = (self.expires, self.must_drain, self.forced, self.cap, *warnings)
        return min((t for t in instants if t is not None and t > now), default=None)


def lifetime_of(claim: NodeClaim) -> Lifetime | None:
    """The NodeClaim's lifetime, or None before the API server has created it."""
    created = claim.metadata.creation_timestamp
    if created is None:
        return None
    cap = created + MAX_LIFETIME
    grace = claim.spec.grace_period
    # A drain without a grace period of its own gets a day before the cap; one that is longer than
    # the cap itself starts at once.
    reserve = min(MAX_LIFETIME, grace if grace is not None else timedelta(hours=24))
    length = claim.spec.lifetime
    return Lifetime(
        expires=None if length is None else created + length,
        must_drain=cap - reserve,
        cap=cap,
    )


def catch_up_room(pool: NodePool, total: int, leaving: int, now: datetime, *, due: bool) -> int:
    """How many more nodes of a pool may go because a jump of the clock made them too old.

    `total` and `leaving` count as for budgets. Every budget counts that is for no particular reason
    or names `Expired`; a pool without any gives a tenth at a time. Nodes at their cap (`due`) may
    go one by one at least, whatever the budgets say.
    """
    disruption = pool.spec.disruption
    general = tuple(b for b in disruption.budgets if b.reasons is None)
    allowed = min(
        disruption.allowed("Expired", total, now),
        disruption.model_copy(update={"budgets": general}).allowed("Drifted", total, now),
    )
    tenth = -(-total // 10)
    if allowed >= UNLIMITED:
        allowed = tenth
    if due:
        allowed = max(allowed, tenth, 1)
    return max(0, allowed - leaving)
