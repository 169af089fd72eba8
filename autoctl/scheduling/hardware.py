"""Which pods unusual hardware (accelerated, bare metal) is bought for.

It is bought for pods that nothing else can hold. A node that has to be bought for one of these may
take ordinary pods as well: its processors and memory are paid for. Karpenter packs both onto one
NodeClaim too, and drops unusual types only where ordinary ones remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from autoctl.scheduling.tables import Mask


class Hardware(Enum):
    """What ordinary pods may have bought."""

    ORDINARY = "ordinary"
    SHARED = "shared"
    """Also unusual hardware, beside a pod that needs it."""
    ANY = "any"


def needs_unusual(rows: Mask, exotic: Mask) -> bool:
    """Whether nothing ordinary is among the offers `rows` (O,)."""
    return not bool((rows & ~exotic).any())


def usable(rows: Sequence[Mask], exotic: Mask, hardware: Hardware) -> list[Mask]:
    """(O,) each: of the offers `rows` that hold each demand's pods those it may have bought."""
    if hardware is Hardware.ANY:
        return list(rows)
    needing = {id(r): needs_unusual(r, exotic) for r in rows}
    shared = np.zeros_like(exotic)
    if hardware is Hardware.SHARED:
        for r in rows:
            if needing[id(r)]:
                shared |= r
    allowed = {id(r): r if needing[id(r)] else r & (~exotic | shared) for r in rows}
    return [allowed[id(r)] for r in rows]
