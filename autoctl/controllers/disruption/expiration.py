"""When a node has lived long enough: `expireAfter`, and the cap nothing can lift.

Sources: Auto Mode's node lifetime (14 days by default, never more than 21); Karpenter's
`nodeclaim.expiration` (forceful: no budgets, no replacement beforehand). A budget that names
`Expired` bounds expiry, an extension; the cap is bound by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from autoctl.api.nodeclaim import MAX_LIFETIME, NodeClaim

CAP_WARNINGS: Final = (timedelta(hours=48), timedelta(hours=24), timedelta(hours=1))
"""How long before the cap its approach is told as an event."""


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

    def capped(self, now: datetime) -> bool:
        """Whether the machine has to be terminated now, whatever holds it."""
        return now >= self.cap

    def next_change(self, now: datetime) -> datetime | None:
        """The next instant after `now` at which one of the answers above changes."""
        later = [t for t in (self.expires, self.must_drain, self.cap) if t is not None and t > now]
        return min(later, default=None)


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
