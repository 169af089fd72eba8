"""What NodeOverlays make of the instance types that NodePools can launch.

An overlay touches the offerings of a pool's types whose labels (those of the offering, the type,
the pool's template and the pool's own) meet its requirements. It prices those offerings, and adds
its capacity to every type of which it touches an offering: an instance has one capacity, however
it is bought. Overlays count in the order of their weight, the highest for each price and each
resource. One that sets what another of equal weight has set is refused as a whole, in every pool,
and takes no part: the later name wins (Karpenter's nodeoverlay controller).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from typing import Final

from autoctl.api import labels, nodeclaim
from autoctl.api.nodeoverlay import NodeOverlay
from autoctl.api.quantity import QuantityError, parse_quantity
from autoctl.api.runtime import requirement_errors
from autoctl.catalog.model import InstanceType, Offering
from autoctl.catalog.units import amounts
from autoctl.scheduling.pool_offers import region_of
from autoctl.scheduling.requirements import Requirement, Requirements

CONFLICT: Final = "Conflict"
RUNTIME_VALIDATION: Final = "RuntimeValidation"


@dataclass(frozen=True)
class PoolTypes:
    """A NodePool's instance types as its NodeClass sells them, and the labels of all its nodes.

    Pools of one NodeClass should share the tuple: the work is done once for it.
    """

    pool: str
    labels: Mapping[str, str]
    types: tuple[InstanceType, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an overlay is not in force: a reason and a message for its condition."""

    reason: str
    message: str


@dataclass(frozen=True)
class Overlaid:
    """Instance types with overlays applied, by NodePool, and the overlays that are not in force.

    Types that no overlay touches are the objects that were given, and so is the whole tuple where
    none is touched. Offerings and types name the overlays that changed them.
    """

    types: Mapping[str, tuple[InstanceType, ...]] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)


def apply_overlays(overlays: Iterable[NodeOverlay], pools: Iterable[PoolTypes]) -> Overlaid:
    """Apply the overlays, heaviest first, to the types of all pools.

    The last answers are kept: the same objects asked again give the same objects, so that whoever
    caches by types may go on.
    """
    ordered = tuple(sorted(overlays, key=lambda o: o.order, reverse=True))
    given = tuple(pools)
    if not ordered:
        return Overlaid({p.pool: p.types for p in given})
    for known in _RECENT:
        if known.answers(ordered, given):
            return known.result
    result = _apply(ordered, given)
    _RECENT.insert(0, _Answer(ordered, given, result))
    del _RECENT[_MOST_RECENT:]
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    overlays: tuple[NodeOverlay, ...]
    pools: tuple[PoolTypes, ...]
    result: Overlaid

    def answers(self, overlays: tuple[NodeOverlay, ...], pools: tuple[PoolTypes, ...]) -> bool:
        """Whether the question was the same, by the identity of overlays and types."""
        return (
            len(overlays) == len(self.overlays)
            and len(pools) == len(self.pools)
            and all(map(is_, overlays, self.overlays))
            and all(
                a.pool == b.pool and a.types is b.types and a.labels == b.labels
                for a, b in zip(pools, self.pools, strict=True)
            )
        )


_RECENT: list[_Answer] = []
_MOST_RECENT = 4


def _apply(ordered: Sequence[NodeOverlay], given: Sequence[PoolTypes]) -> Overlaid:
    faults = {o.name: overlay_errors(o) for o in ordered}
    demands = {o.name: _demands(o) for o in ordered if not faults[o.name]}
    keys = sorted({key for each in demands.values() for key in each})
    drafts: dict[tuple[int, tuple[str | None, ...]], _Draft] = {}
    members: dict[str, _Draft] = {}
    for pool in given:
        own = {**pool.labels, labels.NODEPOOL: pool.pool}
        group = (id(pool.types), tuple(own.get(key) for key in keys))
        if group not in drafts:
            drafts[group] = _Draft(pool.pool, own, pool.types)
        members[pool.pool] = drafts[group]
    refused: dict[str, Refusal] = {}
    for overlay in ordered:
        if overlay.name not in demands:
            refused[overlay.name] = Refusal(RUNTIME_VALIDATION, "; ".join(faults[overlay.name]))
            continue
        touched = [(draft, draft.touched(demands[overlay.name])) for draft in drafts.values()]
        rival = next((r for draft, hit in touched if (r := draft.rival(overlay, hit))), None)
        if rival is not None:
            refused[overlay.name] = Refusal(CONFLICT, f"conflict with another overlay: {rival}")
            continue
        for draft, hit in touched:
            draft.take(overlay, hit)
    finished = {id(draft): draft.types() for draft in drafts.values()}
    return Overlaid({pool: finished[id(draft)] for pool, draft in members.items()}, refused)


Hit = Mapping[int, Sequence[int]]
"""Index of a type -> indices of its offerings; only types with at least one."""


class _Draft:
    """The types of pools that no overlay tells apart, with what overlays have set so far."""

    def __init__(self, pool: str, own: Mapping[str, str], types: tuple[InstanceType, ...]) -> None:
        self._pool = pool
        self._own = own
        self._types = types
        # What counts is the first overlay that sets a thing; what the next may be in conflict
        # with is the last, as its weight is the least.
        self._priced: dict[tuple[int, int], NodeOverlay] = {}
        self._last_priced: dict[tuple[int, int], NodeOverlay] = {}
        self._added: dict[int, dict[str, NodeOverlay]] = {}
        self._last_added: dict[tuple[int, str], NodeOverlay] = {}

    def touched(self, demands: Requirements) -> Hit:
        """The types and offerings whose labels meet the demands."""
        found: dict[int, Sequence[int]] = {}
        for index, instance_type in enumerate(self._types):
            fixed = _type_label(instance_type, self._own)
            if not all(
                r.accepts(fixed(key)) for key, r in demands.items() if key not in _OF_OFFERINGS
            ):
                continue
            open_demands = [r for key, r in demands.items() if key in _OF_OFFERINGS]
            hit = [
                position
                for position, offering in enumerate(instance_type.offerings)
                if all(_accepts(r, offering, fixed) for r in open_demands)
            ]
            if hit:
                found[index] = hit
        return found

    def rival(self, overlay: NodeOverlay, hit: Hit) -> str | None:
        """What another overlay of this one's weight has set already, in words."""
        weight = overlay.spec.weight or 0
        for index, offerings in hit.items():
            name = self._types[index].name
            for position in offerings if _sets_price(overlay) else ():
                other = self._last_priced.get((index, position))
                if other is not None and (other.spec.weight or 0) == weight:
                    offering = self._types[index].offerings[position]
                    return (
                        f"{other.name!r} of equal weight sets the price of {name} "
                        f"{offering.capacity_type} in {offering.zone} for NodePool {self._pool!r}"
                    )
            for resource in overlay.spec.capacity:
                other = self._last_added.get((index, resource))
                if other is not None and (other.spec.weight or 0) == weight:
                    return (
                        f"{other.name!r} of equal weight sets {resource} of {name} "
                        f"for NodePool {self._pool!r}"
                    )
        return None

    def take(self, overlay: NodeOverlay, hit: Hit) -> None:
        """Note what the overlay sets."""
        for index, offerings in hit.items():
            for position in offerings if _sets_price(overlay) else ():
                self._priced.setdefault((index, position), overlay)
                self._last_priced[index, position] = overlay
            for resource in overlay.spec.capacity:
                self._added.setdefault(index, {}).setdefault(resource, overlay)
                self._last_added[index, resource] = overlay

    def types(self) -> tuple[InstanceType, ...]:
        """The types with everything applied."""
        changed = {index for index, _ in self._priced} | set(self._added)
        if not changed:
            return self._types
        return tuple(
            self._changed(index, instance_type) if index in changed else instance_type
            for index, instance_type in enumerate(self._types)
        )

    def _changed(self, index: int, instance_type: InstanceType) -> InstanceType:
        offerings = tuple(
            _priced(offering, self._priced.get((index, position)))
            for position, offering in enumerate(instance_type.offerings)
        )
        added = self._added.get(index, {})
        capacity = {
            **instance_type.capacity,
            **{
                resource: amounts({resource: overlay.spec.capacity[resource]})[resource]
                for resource, overlay in added.items()
            },
        }
        names = tuple(sorted({overlay.name for overlay in added.values()}))
        return replace(instance_type, offerings=offerings, capacity=capacity, overlays=names)


def overlay_errors(overlay: NodeOverlay) -> list[str]:
    """Why the overlay cannot be in force, which its schema could not tell; empty when it can."""
    unreadable = list(
        requirement_errors(
            nodeclaim.Requirement(key=r.key, operator=r.operator, values=r.values)
            for r in overlay.spec.requirements
        )
    )
    return [*(unreadable or _contradictions(overlay)), *_capacity_errors(overlay)]


def _contradictions(overlay: NodeOverlay) -> Iterator[str]:
    """Labels that a node must have, and for which the requirements leave no value.

    To the algebra such a label is one that must be absent, which most nodes would satisfy.
    """
    needed = {
        labels.normalize_label(r.key)
        for r in overlay.spec.requirements
        if r.operator not in ("NotIn", "DoesNotExist")
    }
    for key, requirement in _demands(overlay).items():
        if key in needed and requirement.some_value() is None:
            yield f"requirements on {key} contradict each other"


def _capacity_errors(overlay: NodeOverlay) -> Iterator[str]:
    for resource, quantity in overlay.spec.capacity.items():
        try:
            negative = parse_quantity(quantity) < 0
        except QuantityError as error:
            yield f"capacity.{resource}: {error}"
            continue
        if negative:
            yield f"capacity.{resource}: {quantity} is negative; expected a quantity of at least 0"


def _demands(overlay: NodeOverlay) -> Requirements:
    return Requirements(
        Requirement.of(r.key, r.operator, r.values) for r in overlay.spec.requirements
    )


def _sets_price(overlay: NodeOverlay) -> bool:
    return overlay.spec.price is not None or overlay.spec.price_adjustment is not None


def _priced(offering: Offering, overlay: NodeOverlay | None) -> Offering:
    if overlay is None:
        return offering
    return replace(
        offering,
        price=overlay.spec.adjusted(offering.price),
        overlay=overlay.name,
        market_price=offering.price,
    )


_OF_OFFERINGS: Final = frozenset(
    {
        labels.ZONE,
        labels.ZONE_ID,
        labels.REGION,
        labels.CAPACITY_TYPE,
        labels.CAPACITY_RESERVATION_ID,
        labels.CAPACITY_RESERVATION_TYPE,
        labels.CAPACITY_RESERVATION_INTERRUPTIBLE,
        labels.PLACEMENT_GROUP_ID,
    }
)
"""Labels that may differ among the offerings of a type."""


def _type_label(instance_type: InstanceType, own: Mapping[str, str]) -> Callable[[str], str | None]:
    """Looks up the labels that all nodes of the type in this pool have."""

    def value(key: str) -> str | None:
        if key == labels.INSTANCE_TYPE:
            return instance_type.name
        found = instance_type.labels.get(key, own.get(key))
        if found is not None:
            return found
        if key == labels.ARCH:
            return instance_type.architecture
        if key == labels.OS:
            return next(iter(_systems(instance_type)), None)
        return None

    return value


def _systems(instance_type: InstanceType) -> Iterator[str]:
    """The operating system a node gets unless asked for another comes first."""
    if "linux" in instance_type.operating_systems:
        yield "linux"
    yield from instance_type.operating_systems


def _accepts(
    requirement: Requirement, offering: Offering, fixed: Callable[[str], str | None]
) -> bool:
    key = requirement.key
    value: str | None
    if key == labels.ZONE:
        value = offering.zone
    elif key == labels.CAPACITY_TYPE:
        value = offering.capacity_type
    else:
        value = offering.labels.get(key)
        if value is None:
            value = region_of(offering.zone) if key == labels.REGION else fixed(key)
    return requirement.accepts(value)
