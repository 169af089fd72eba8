"""Which pods unusual hardware (accelerated, bare metal) is bought for.

It is bought for pods that nothing else can hold. A node that has to be bought for one of these may
take ordinary pods as well: its processors and memory are paid for. Karpenter packs both onto one
NodeClaim too, and drops unusual types only where ordinary ones remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

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


def needing_unusual(rows: Sequence[Mask], exotic: Mask) -> list[bool]:
    """`needs_unusual` of each; many demands share a mask."""
    needing = {key: needs_unusual(r, exotic) for key, r in {id(r): r for r in rows}.items()}
    return [needing[id(r)] for r in rows]


def usable(rows: Sequence[Mask], exotic: Mask, hardware: Hardware) -> list[Mask]:
    """(O,) each: of the offers `rows` that hold each demand's pods those it may have bought."""
    if hardware is Hardware.ANY:
        return list(rows)
    different = list({id(r): r for r in rows}.values())
    needing = needing_unusual(different, exotic)
    open_to_all = ~exotic
    if hardware is Hardware.SHARED:
        for r, needs in zip(different, needing, strict=True):
            if needs:
                open_to_all = open_to_all | r
    allowed = {
        id(r): r if needs else r & open_to_all for r, needs in zip(different, needing, strict=True)
    }
    return [allowed[id(r)] for r in rows]
