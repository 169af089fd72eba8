"""What each NodeClass can launch now: the snapshot's source of instance types.

Everything here is computed from what is known, without a request: the market's facts, the class's
resolved status, and the offerings that are out of capacity. Results are kept, and types that did
not change stay the same objects, so that whoever caches by them may go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from autoctl.api import labels
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeclass_status import CapacityReservationStatus
from autoctl.aws.market import Market
from autoctl.aws.offerings import UnavailableOfferings
from autoctl.catalog.build import instance_type_from_api
from autoctl.catalog.fit import fits
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT, InstanceType, Offering
from autoctl.catalog.node_settings import node_settings
from autoctl.catalog.universe import in_universe
from autoctl.state.images import images_of

RESERVED_DISCOUNT = 10_000_000
"""Reserved capacity is paid for already: it costs next to nothing, in the order of its price."""


_NOTHING_SEEN: Mapping[tuple[str, str], int] = MappingProxyType({})


@dataclass(frozen=True)
class _Entry:
    node_class: NodeClass
    facts: tuple[int, int]
    base: tuple[InstanceType, ...]
    revision: int
    types: tuple[InstanceType, ...]


class InstanceTypes:
    """`state.cluster.InstanceTypeSource` for EC2."""

    def __init__(
        self,
        market: Market,
        unavailable: UnavailableOfferings,
        *,
        unlabelled: Collection[str] = (),
    ) -> None:
        """`unlabelled` are keys of labels that nodes are not given."""
        self.market = market
        self._unlabelled = frozenset(unlabelled)
        self._unavailable = unavailable
        self._entries: dict[str, _Entry] = {}
        self._memory: dict[tuple[str, str], int] = {}
        self._taken: dict[str, tuple[CapacityReservationStatus, int]] = {}
        self._observed: list[str] = []
        """Instance types of which something was learned, each time anew."""

    def refresh(
        self,
        *,
        types: Mapping[str, Mapping[str, Any]] | None = None,
        zones: Mapping[str, str] | None = None,
        offered: Mapping[str, frozenset[str]] | None = None,
        on_demand: Mapping[str, float] | None = None,
        spot: Mapping[tuple[str, str], float] | None = None,
    ) -> bool:
        """Take over those facts of the market that are given; tell whether they are news."""
        given = {
            "types": types,
            "zones": zones,
            "offered": offered,
            "on_demand": on_demand,
            "spot": spot,
        }
        news = {
            name: facts
            for name, facts in given.items()
            if facts is not None and facts != getattr(self.market, name)
        }
        if news:
            changed: dict[str, Any] = {**news, "revision": self.market.revision + 1}
            self.market = replace(self.market, **changed)
        return bool(news)

    def take_reserved(self, reservation: CapacityReservationStatus) -> None:
        """An instance was launched into the reservation, as its class's status has it.

        The count in the status is a minute old at worst; until it changes, this one is less.
        """
        seen, taken = self._taken.get(reservation.id, (reservation, 0))
        if seen != reservation:
            taken = 0
        self._taken[reservation.id] = (reservation, taken + 1)
        self._observed.append(reservation.instance_type)

    def observe_memory(self, instance_type: str, image: str, memory: int) -> None:
        """A node of the type, started from the image, reports so many bytes: the least counts."""
        known = self._memory.get((instance_type, image))
        if known is None or memory < known:
            self._memory[instance_type, image] = memory
            self._observed.append(instance_type)

    def launchable(self, node_class: NodeClass) -> tuple[InstanceType, ...]:
        """The class's types with offerings in its subnets' zones; none while it is not ready."""
        if not node_class.ready or node_class.deleting:
            return ()
        return self.known(node_class)

    def revision(self) -> int:
        """Grows when capacity ran out or came back, or the market was refreshed."""
        return self._unavailable.refresh() + self.market.revision + len(self._observed)

    def known(self, node_class: NodeClass) -> tuple[InstanceType, ...]:
        """As `launchable`, but also of a class that is not ready (any more)."""
        revision = self._unavailable.refresh()
        facts = (self.market.revision, len(self._observed))
        entry = self._entries.get(node_class.name)
        if entry is not None and entry.node_class is node_class and entry.facts == facts:
            if entry.revision == revision:
                return entry.types
            base = entry.base
        elif (
            entry is not None
            and entry.facts[0] == self.market.revision
            and _shape(entry.node_class) == _shape(node_class)
        ):
            observed = set(self._observed[entry.facts[1] :])
            base = self._updated(entry.base, node_class, observed) if observed else entry.base
        else:
            base = self._class_types(node_class)
            if entry is not None:
                base = _kept(entry.base, base)
        zones = open_zones(node_class, self._unavailable.subnet_available)
        known = entry.types if entry is not None and len(entry.types) == len(base) else base
        group = node_class.status.placement_group
        group_id = group.id if group is not None else ""
        types = tuple(
            self._masked(t, before, zones, group_id) for t, before in zip(base, known, strict=True)
        )
        if all(new is old for new, old in zip(types, known, strict=True)):
            # The same tuple: what was prepared from it still holds.
            types = known
        self._entries[node_class.name] = _Entry(node_class, facts, base, revision, types)
        return types

    def _updated(
        self, base: tuple[InstanceType, ...], node_class: NodeClass, names: Collection[str]
    ) -> tuple[InstanceType, ...]:
        """`base` with the types of these names computed anew."""
        fresh = self._class_types(node_class, names)
        kept = (t for t in base if t.name not in names)
        return _kept(base, tuple(sorted((*kept, *fresh), key=lambda t: t.name)))

    def _class_types(
        self, node_class: NodeClass, names: Collection[str] | None = None
    ) -> tuple[InstanceType, ...]:
        return class_types(
            node_class, self.market, self._memory, self._left, names, self._unlabelled
        )

    def _left(self, reservation: CapacityReservationStatus) -> int:
        """How many instances the reservation has room for now."""
        seen, taken = self._taken.get(reservation.id, (reservation, 0))
        room = reservation.available_instance_count or 0
        return max(0, room - taken) if seen == reservation else room

    def _masked(
        self,
        instance_type: InstanceType,
        before: InstanceType,
        zones: Container[str],
        group: str,
    ) -> InstanceType:
        """The type with what is out marked; `before` where that says the same already."""
        out = [
            o.zone not in zones
            or not self._unavailable.available(
                instance_type.name, o.zone, o.capacity_type, group, o.reservation_id or ""
            )
            for o in instance_type.offerings
        ]
        if not any(out):
            return instance_type
        masked = replace(
            instance_type,
            offerings=tuple(
                replace(o, available=False) if gone else o
                for o, gone in zip(instance_type.offerings, out, strict=True)
            ),
        )
        return before if before == masked else masked


def _shape(node_class: NodeClass) -> tuple[object, ...]:
    """What decides the types: free addresses, which change all the time, do not."""
    status = node_class.status
    return (
        node_class.spec,
        node_class.zones,
        status.amis,
        status.capacity_reservations,
        status.placement_group,
        status.ip_family,
    )


def open_zones(node_class: NodeClass, subnet_available: Callable[[str], bool]) -> frozenset[str]:
    """The zones in which the class's subnets have room for nodes, and for their pods.

    Of full subnets of nodes EC2 tells when something is launched there (`subnet_available`). Those
    of pods are counted, too: nothing need be launched into them, and a node whose pods get no
    addresses is of no use.
    """
    status = node_class.status
    zones = frozenset(s.zone for s in status.subnets if subnet_available(s.id))
    if not node_class.spec.pod_subnet_selector_terms:
        return zones
    return zones & {
        s.zone
        for s in status.pod_subnets
        if subnet_available(s.id) and s.available_ip_address_count != 0
    }


def _kept(
    before: tuple[InstanceType, ...], after: tuple[InstanceType, ...]
) -> tuple[InstanceType, ...]:
    """`after` with the objects of `before` where they are equal."""
    known = {t.name: t for t in before}
    return tuple(known[t.name] if known.get(t.name) == t else t for t in after)


def class_types(
    node_class: NodeClass,
    market: Market,
    memory: Mapping[tuple[str, str], int] = _NOTHING_SEEN,
    room: Callable[[CapacityReservationStatus], int] = lambda r: r.available_instance_count or 0,
    names: Collection[str] | None = None,
    unlabelled: Collection[str] = (),
) -> tuple[InstanceType, ...]:
    """All types that fit the class, with every offering in its zones, capacity aside.

    With `names`, only those of them. The answer is in the order of names. `unlabelled` are keys of
    labels that nodes are not given.

    `memory` is what nodes were seen to have: (type, image) -> bytes; `room` tells how many
    instances a reservation still takes.
    """
    settings = node_settings(node_class)
    zones = set(node_class.zones)
    group = node_class.status.placement_group
    extra = {labels.PLACEMENT_GROUP_ID: group.id} if group is not None else {}
    reservations = [(r, room(r)) for r in node_class.status.capacity_reservations]
    found = []
    for name in sorted(market.types if names is None else market.types.keys() & set(names)):
        api = market.types[name]
        if not in_universe(api) or not fits(api, settings):
            continue
        offerings = _offerings(name, market, zones, reservations, extra)
        if not offerings:
            continue
        instance_type = instance_type_from_api(api, offerings, settings)
        images = images_of(node_class.status.amis, instance_type)
        if not images:
            continue
        seen = memory.get((name, images[0]))
        if seen is not None:
            real = replace(settings, observed_memory={name: seen})
            instance_type = instance_type_from_api(api, offerings, real)
        if unlabelled:
            kept = {k: v for k, v in instance_type.labels.items() if k not in unlabelled}
            instance_type = replace(instance_type, labels=kept)
        found.append(instance_type)
    return tuple(found)


def _offerings(
    name: str,
    market: Market,
    zones: set[str],
    reservations: Sequence[tuple[CapacityReservationStatus, int]],
    extra: Mapping[str, str],
) -> tuple[Offering, ...]:
    price = market.on_demand.get(name)
    found = []
    for zone in sorted(market.offered.get(name, frozenset()) & zones):
        placed = {labels.ZONE_ID: market.zones[zone], **extra} if zone in market.zones else extra
        if price is not None:
            found.append(Offering(zone, ON_DEMAND, price, labels=placed))
        spot = market.spot.get((name, zone))
        if spot is not None:
            found.append(Offering(zone, SPOT, spot, labels=placed))
        found += [
            _reserved(reservation, room, price or 0.0, placed)
            for reservation, room in reservations
            if reservation.instance_type == name and reservation.availability_zone == zone
        ]
    return tuple(found)


def _reserved(
    reservation: CapacityReservationStatus, room: int, price: float, placed: Mapping[str, str]
) -> Offering:
    return Offering(
        zone=reservation.availability_zone,
        capacity_type=RESERVED,
        price=price / RESERVED_DISCOUNT,
        available=room > 0 and reservation.state == "active",
        reservation_id=reservation.id,
        reservation_capacity=room,
        labels={
            **placed,
            labels.CAPACITY_RESERVATION_ID: reservation.id,
            labels.CAPACITY_RESERVATION_TYPE: reservation.reservation_type,
            labels.CAPACITY_RESERVATION_INTERRUPTIBLE: str(bool(reservation.interruptible)).lower(),
        },
    )
