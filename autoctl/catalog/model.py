"""Instance types and their offerings, as decisions see them.

Units: prices in USD/hour; quantities are integers in base units per resource, CPU in millicores,
memory, ephemeral storage and huge pages in bytes, everything else in pieces (`Resources`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

Resources: TypeAlias = Mapping[str, int]
"""Resource name -> amount; `cpu` in millicores, byte resources in bytes, others in pieces."""

ON_DEMAND = "on-demand"
SPOT = "spot"
RESERVED = "reserved"

_EMPTY: Mapping[str, str] = MappingProxyType({})

_LEAST = 1e-4
"""Part of the market's price that an offering counts at least for: one that an overlay made free is
cheaper than any other still, and too dear to be wasted."""
_TIE = 1e-6
"""Part of the market's price that decides among offerings an overlay made equal."""


@dataclass(frozen=True, slots=True)
class Offering:
    """One way to buy an instance type: a zone and a capacity type, at a price.

    `price` is USD/hour. `available` is false while capacity is known to be exhausted (or the zone
    is out of the NodeClass's subnets). A `reserved` offering belongs to the reservation
    `reservation_id`, which has room for `reservation_capacity` more instances; `labels` carries
    what only this offering adds to a node (zone id, reservation labels, ...). `overlay` names the
    NodeOverlay that set the price, None while it is the market's; `market_price` is what the market
    asks then.
    """

    zone: str
    capacity_type: str
    price: float
    available: bool = True
    reservation_id: str | None = None
    reservation_capacity: int | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    overlay: str | None = None
    market_price: float | None = None

    def __post_init__(self) -> None:
        if not self.price >= 0:
            raise ValueError(f"offering price must be a number >= 0, got {self.price!r}")

    @property
    def weighed(self) -> float:
        """`price` as a choice among offerings weighs it: a trifle more where an overlay set it.

        At prices that an overlay made equal, or nothing, all sizes and any number of nodes would
        be as good; the trifle is a part of the market's price, which still tells them apart.
        """
        if self.market_price is None:
            return self.price
        return max(self.price, _LEAST * self.market_price) + _TIE * self.market_price


@dataclass(frozen=True)
class InstanceType:
    """An instance type with what a node of it offers.

    `capacity` is what the node reports; `overhead` is what the kubelet, the system and eviction
    thresholds take of it; `allocatable` is the difference. `labels` has one value a key: what
    every node of the type carries (architecture, operating system, family, CPU count, ...); zone
    and capacity type come from the offering. `exotic` types (accelerated, bare metal) are used for
    ordinary pods only when nothing else is left. `overlays` names the NodeOverlays that added to
    `capacity`. `efa_cards` are the indexes of the network cards that an Elastic Fabric Adapter goes
    to, as many as instances may have adapters.
    """

    name: str
    architecture: str
    capacity: Resources
    overhead: Resources = field(default_factory=dict)
    operating_systems: tuple[str, ...] = ("linux",)
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    offerings: tuple[Offering, ...] = ()
    exotic: bool = False
    overlays: tuple[str, ...] = ()
    efa_cards: tuple[int, ...] = ()

    @cached_property
    def allocatable(self) -> Resources:
        """Capacity less overhead, never below zero."""
        return {k: max(0, v - self.overhead.get(k, 0)) for k, v in self.capacity.items()}


@dataclass(frozen=True)
class Catalog:
    """The instance types of one region (or of a `--catalog` file), by name."""

    region: str
    instance_types: Mapping[str, InstanceType]

    @cached_property
    def zones(self) -> tuple[str, ...]:
        """Every zone with an offering, sorted."""
        return tuple(sorted({o.zone for t in self.instance_types.values() for o in t.offerings}))
