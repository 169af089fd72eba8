"""Which launches may share a CreateFleet request although they differ: pure.

An instance of a shared request must suit every NodeClaim that the request is for, so that it offers
only what all of them allow. What EC2 takes first is the cheapest; where that is the same for all,
sharing costs nothing as long as there is capacity. Who is left without an instance asks again for
all that is his own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from autoctl.aws.fleet import FleetConfig, FleetRequest, Override
from autoctl.catalog.model import SPOT

MOST_DIGESTS: Final = 28
"""As many of eight characters, and what is between them, as a tag's value of 256 takes."""

_SHARES: Final = (0.75, 0.5, 0.25, 0.0)
"""How much of what each one allows must be left: no more is given up than need be."""
_LEAST_SPOT: Final = 0.5
"""Of spot capacity the choice itself is worth something: it keeps instances from interruptions."""

_Offer = tuple[str, str, str, str, str]
"""Template, instance type, zone, subnet and image."""


@dataclass(slots=True)
class Merged:
    """One request, and the indexes of those that it stands for."""

    request: FleetRequest
    members: list[int]


def merge(requests: Sequence[FleetRequest], most: int) -> list[Merged]:
    """The requests, shared until they are `most`, or as few as can be.

    Requests that allow the same share one in any case. In the order of their first members.
    """
    groups = [_Group.of(index, request) for index, request in enumerate(requests)]
    groups = _joined(groups, 1.0, 0)
    for share in _SHARES:
        if len(groups) > most:
            groups = _joined(groups, share, most)
    return [Merged(_request(group, requests), sorted(group.members)) for group in groups]


@dataclass(slots=True)
class _Group:
    """Requests that share one: `best` is what EC2 takes first, `common` what suits all.

    `largest` is the number of offers of the member with most; at least the share `least` of that
    must be left.
    """

    kind: tuple[object, ...]
    best: _Offer
    least: float
    members: tuple[int, ...]
    common: frozenset[_Offer]
    digests: frozenset[str]
    largest: int

    @classmethod
    def of(cls, index: int, request: FleetRequest) -> _Group:
        offers = [(c.template, o) for c in request.configs for o in c.overrides]
        template, first = min(offers, key=lambda offer: _order(offer[1]))
        common = frozenset(_offer(t, o) for t, o in offers)
        return cls(
            (
                request.capacity_type,
                request.market,
                request.placement_group,
                request.reservation,
                request.tags,
            ),
            _offer(template, first),
            _LEAST_SPOT if request.capacity_type == SPOT else 0.0,
            (index,),
            common,
            frozenset(request.digests),
            len(common),
        )

    def joined(self, other: _Group, share: float) -> _Group | None:
        """Both in one; None where too little would be left that suits all."""
        common = self.common & other.common
        digests = self.digests | other.digests
        largest = max(self.largest, other.largest)
        if len(common) < max(share, self.least) * largest or len(digests) > MOST_DIGESTS:
            return None
        return replace(
            self,
            members=self.members + other.members,
            common=common,
            digests=digests,
            largest=largest,
        )


def _joined(groups: Sequence[_Group], share: float, most: int) -> list[_Group]:
    """The groups, each in the first before it that it may join, until there are `most`."""
    excess = len(groups) - most
    found: list[_Group] = []
    alike: dict[object, list[int]] = {}
    for group in groups:
        places = alike.setdefault((group.kind, group.best), [])
        if excess > 0:
            for place in places:
                together = found[place].joined(group, share)
                if together is not None:
                    found[place] = together
                    excess -= 1
                    break
            else:
                places.append(len(found))
                found.append(group)
            continue
        places.append(len(found))
        found.append(group)
    return found


def _request(group: _Group, requests: Sequence[FleetRequest]) -> FleetRequest:
    """The group's request: the first member's, without what does not suit the others."""
    members = [requests[index] for index in group.members]
    first = members[0]
    if len(members) == 1:
        return first
    configs = []
    for config in first.configs:
        kept = tuple(o for o in config.overrides if _offer(config.template, o) in group.common)
        if kept:
            configs.append(FleetConfig(config.template, kept))
    digests = tuple(sorted(group.digests))
    return replace(first, configs=tuple(configs), digests=digests)


def _offer(template: str, override: Override) -> _Offer:
    return (
        template,
        override.instance_type,
        override.zone,
        override.subnet_id,
        override.image_id,
    )


def _order(override: Override) -> tuple[float, float, str, str]:
    """EC2's order: by priority where there is one, by price else."""
    priority = override.priority if override.priority is not None else 0
    return (priority, override.price, override.instance_type, override.zone)
