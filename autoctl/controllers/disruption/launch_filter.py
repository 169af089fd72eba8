"""Which instance types a replacement may be launched as.

The launch may end with any of the types a NodeClaim lists, so the list is cut to those that keep
the promise the command was chosen for: cheaper than what goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from autoctl.api.labels import CAPACITY_TYPE, INSTANCE_TYPE, ZONE
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT, InstanceType, Offering
from autoctl.controllers.disruption.split import Move
from autoctl.scheduling.problem import NewNode, Offer, RequirementSpec
from autoctl.scheduling.requirements import Requirements


@dataclass(frozen=True)
class Rejected:
    """Why a move is not made; the text of the `Unconsolidatable` event."""

    reason: str


def restrict(
    move: Move,
    types: Mapping[str, Mapping[str, InstanceType]],
    *,
    threshold: float,
    spot_alternatives: int,
) -> Move | Rejected:
    """Cut the replacements' instance types to those that make the move worth while.

    `types` maps a NodePool's name to its instance types by name. A node bought on demand is
    replaced by spot only where spot is what saves: the requirement is pinned, so that a shortage of
    spot capacity ends the command instead of buying on demand. Likewise where on-demand capacity
    costs less than spot, which a NodeOverlay may tell, it alone is what saves. Spot nodes that
    are replaced by as many must have `spot_alternatives` types to choose from: always chasing the
    cheapest would end in the pools that are interrupted most. Fewer nodes, or more and smaller
    ones, are another way to hold the pods, chosen for what it saves. Where the planned types might
    be launched in zones in which they cost as much as what goes, the move is not made.
    """
    if not move.replacements:
        return move
    allowance = move.price * (1 - threshold) - move.replacement_price
    if allowance < 0 or move.savings <= 0:
        return Rejected("Can't replace with a cheaper node")
    slack = allowance / len(move.replacements)
    as_many = len(move.replacements) == len(move.candidates)
    all_spot = all(c.node.capacity_type == SPOT for c in move.candidates)
    worst = 0.0
    replacements = []
    for node in move.replacements:
        sold = types.get(node.pool, {})
        pinned = _pin_market(node, sold.get(node.offer.instance_type))
        worst_price = partial(_worst_price, pinned.offer, _Allowed.by(pinned))
        limit = pinned.offer.price + slack
        kept = tuple(n for n in pinned.instance_types if worst_price(sold.get(n)) <= limit)
        worst += worst_price(sold.get(pinned.offer.instance_type))
        if worst >= move.price:
            return Rejected(
                "Can't replace with a cheaper node: the launch may end with a dearer one"
            )
        if pinned.offer.instance_type not in kept:
            kept = (pinned.offer.instance_type, *kept)
        short = _short_of_min_values(pinned, kept, sold)
        if short is not None:
            return Rejected(f"Can't replace with a cheaper node: {short}")
        if all_spot and as_many and pinned.offer.capacity_type == SPOT:
            if len(kept) < spot_alternatives:
                return Rejected(
                    f"SpotToSpotConsolidation requires {spot_alternatives} cheaper instance type "
                    f"options than the current candidate to consolidate, got {len(kept)}"
                )
            kept = kept[: max(spot_alternatives, _most_min_values(pinned))]
        replacements.append(_with_types(pinned, kept))
    return Move(move.candidates, tuple(replacements), move.destinations)


def _pin_market(node: NewNode, instance_type: InstanceType | None) -> NewNode:
    """The node for the offer's capacity type alone, where the other one would not save."""
    offer = node.offer
    other = {SPOT: ON_DEMAND, ON_DEMAND: SPOT}.get(offer.capacity_type)
    requirements = Requirements.of_specs(node.requirements)
    capacity = requirements.get(CAPACITY_TYPE)
    if other is None or (capacity is not None and not capacity.has(other)):
        return node
    if other == SPOT:
        allowed = _Allowed(requirements)
        spot = [
            o.price
            for o in (instance_type.offerings if instance_type is not None else ())
            if o.available and o.capacity_type == SPOT and allowed(o)
        ]
        if not spot or min(spot) <= offer.price:
            return node
    others = tuple(r for r in node.requirements if r.key != CAPACITY_TYPE)
    pinned = RequirementSpec(CAPACITY_TYPE, "In", (offer.capacity_type,))
    return replace(node, requirements=(*others, pinned))


def _with_types(node: NewNode, names: Sequence[str]) -> NewNode:
    others = tuple(r for r in node.requirements if r.key != INSTANCE_TYPE)
    own = next((r for r in node.requirements if r.key == INSTANCE_TYPE), None)
    pinned = RequirementSpec(
        INSTANCE_TYPE, "In", tuple(names), own.min_values if own is not None else None
    )
    return replace(node, instance_types=tuple(names), requirements=(*others, pinned))


@dataclass(frozen=True)
class _Allowed:
    """Whether a launch by these requirements may end with an offering."""

    requirements: Requirements

    @classmethod
    def by(cls, node: NewNode) -> _Allowed:
        return cls(Requirements.of_specs(node.requirements))

    def __call__(self, offering: Offering) -> bool:
        return self._may(CAPACITY_TYPE, offering.capacity_type) and self._may(ZONE, offering.zone)

    def _may(self, key: str, value: str) -> bool:
        requirement = self.requirements.get(key)
        return requirement is None or requirement.has(value)


def _worst_price(offer: Offer, allowed: _Allowed, instance_type: InstanceType | None) -> float:
    """The dearest the launch of this type may become, by the capacity type that it prefers."""
    if instance_type is None:
        return float("inf")
    for capacity_type in (RESERVED, SPOT, ON_DEMAND):
        prices = [
            o.price
            for o in instance_type.offerings
            if o.capacity_type == capacity_type and o.available and allowed(o)
        ]
        if prices:
            return max(prices)
    return offer.price if offer.instance_type == instance_type.name else float("inf")


def _short_of_min_values(
    node: NewNode, names: Sequence[str], types: Mapping[str, InstanceType]
) -> str | None:
    """Which `minValues` the types no longer satisfy, in words; as Karpenter, a ban on the move."""
    allowed = _Allowed.by(node)
    for requirement in node.requirements:
        least, key = requirement.min_values, requirement.key
        if least is None:
            continue
        values: set[str] = set()
        for name in names:
            found = types.get(name)
            if key == INSTANCE_TYPE:
                values.add(name)
            elif found is not None and key in (ZONE, CAPACITY_TYPE):
                values.update(
                    o.zone if key == ZONE else o.capacity_type
                    for o in found.offerings
                    if o.available and allowed(o)
                )
            elif found is not None and key in found.labels:
                values.add(found.labels[key])
        if len(values) < least:
            return f"minValues {least} of {key} leaves {len(values)} among the cheaper types"
    return None


def _most_min_values(node: NewNode) -> int:
    return max((r.min_values or 0 for r in node.requirements), default=0)
