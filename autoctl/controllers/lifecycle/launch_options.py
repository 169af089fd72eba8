"""What NodeClaims may be launched from: pure, and quick to ask for many NodeClaims.

A region sells a thousand types in ten thousand offerings, and a large plan launches hundreds of
NodeClaims at once. What depends on the types alone is therefore prepared once, and a NodeClaim that
names its types (all do that a plan made) is compared with those alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, TypeVar, cast

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim, Requirement
from autoctl.api.nodeclass_status import AmiStatus
from autoctl.catalog.model import InstanceType, Offering
from autoctl.catalog.units import amounts
from autoctl.scheduling.requirements import Requirements
from autoctl.state.images import images_of
from autoctl.state.problem import requirement_specs

Choice = tuple[InstanceType, Offering]
"""A type, and one way to buy it."""

T = TypeVar("T")

_MOST_ANSWERS: Final = 512
_MOST_PREPARED: Final = 8
_DECIDED: Final = labels.WELL_KNOWN_LABELS - {labels.NODEPOOL}
"""Labels that the choice of an offering settles; the others are the NodePool's."""
_PLACE: Final = (labels.ZONE, labels.CAPACITY_TYPE)


class LaunchOptions:
    """The answers that follow from `types` and the region, each worked out once."""

    def __init__(self, types: Sequence[InstanceType], region: str) -> None:
        self.types = types
        self.region = region
        self._by_name = {t.name: t for t in types}
        self._offering_keys = frozenset(_PLACE).union(
            *(o.labels for t in types for o in t.offerings)
        )
        self._labels: dict[str, dict[str, str]] = {}
        self._answers: dict[Hashable, object] = {}
        self._amis: tuple[AmiStatus, ...] = ()
        self._images: dict[str, str | None] = {}

    def named(self, name: str) -> InstanceType | None:
        """The type of that name."""
        return self._by_name.get(name)

    def of(self, claim: NodeClaim) -> tuple[Choice, ...]:
        """Every type and offering that meets the claim's requirements and requests.

        Whether there is capacity does not count. In the order of `types`.
        """
        requirements = claim.spec.requirements
        meeting = self.once((self._meeting, requirements), lambda: self._meeting(requirements))
        requests = amounts(claim.spec.resources.requests).items()
        return tuple(
            choice
            for instance_type, choices in meeting
            if all(instance_type.allocatable.get(k, 0) >= v for k, v in requests)
            for choice in choices
        )

    def key(self, claim: NodeClaim) -> Hashable:
        """What of the claim decides which offerings it may have."""
        return claim.spec.requirements, tuple(sorted(claim.spec.resources.requests.items()))

    def once(self, question: Hashable, answer: Callable[[], T]) -> T:
        """The answer to a question about these options, kept as long as they are."""
        if question not in self._answers:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[question] = answer()
        return cast("T", self._answers[question])

    def image(self, amis: tuple[AmiStatus, ...], instance_type: InstanceType) -> str | None:
        """The image that a node of the type starts from."""
        if amis is not self._amis:
            self._amis, self._images = amis, {}
        if instance_type.name not in self._images:
            self._images[instance_type.name] = next(iter(images_of(amis, instance_type)), None)
        return self._images[instance_type.name]

    def _meeting(
        self, requirements: tuple[Requirement, ...]
    ) -> tuple[tuple[InstanceType, tuple[Choice, ...]], ...]:
        """The types that meet the requirements, with those of their offerings that do."""
        wanted = Requirements.of_specs(requirement_specs(requirements))
        decided = {k: r for k, r in wanted.items() if k in _DECIDED}
        # There are ten thousand offerings: what a type alone decides is asked once for the type.
        of_type = Requirements(r for k, r in decided.items() if k not in self._offering_keys)
        of_offering = {
            k: r for k, r in decided.items() if k in self._offering_keys and k not in _PLACE
        }
        places: dict[tuple[str, str], bool] = {}

        def placed(offering: Offering) -> bool:
            place = (offering.zone, offering.capacity_type)
            if place not in places:
                places[place] = all(
                    key not in decided or decided[key].accepts(value)
                    for key, value in zip(_PLACE, place, strict=True)
                )
            return places[place]

        found = []
        for instance_type in self._candidates(wanted):
            own = self._type_labels(instance_type)
            if not of_type.accepts(own):
                continue
            choices = tuple(
                (instance_type, o)
                for o in instance_type.offerings
                if placed(o)
                and all(r.accepts(o.labels.get(k, own.get(k))) for k, r in of_offering.items())
            )
            if choices:
                found.append((instance_type, choices))
        return tuple(found)

    def _candidates(self, wanted: Requirements) -> Sequence[InstanceType]:
        """The types worth a look: those that the claim names, where it names any."""
        names = wanted.get(labels.INSTANCE_TYPE)
        if names is None or names.complement:
            return self.types
        return [t for t in self.types if t.name in names.values]

    def _type_labels(self, instance_type: InstanceType) -> dict[str, str]:
        known = self._labels.get(instance_type.name)
        if known is None:
            known = self._labels[instance_type.name] = type_labels(instance_type, self.region)
        return known


class PreparedOptions:
    """The options last used: as long as types are the same objects, so are these."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._known: dict[int, LaunchOptions] = {}

    def of(self, types: Sequence[InstanceType]) -> LaunchOptions:
        key = id(types)
        # What is kept holds its types, so that no other object can have their identity.
        found = self._known.pop(key, None) or LaunchOptions(types, self._region)
        self._known[key] = found
        if len(self._known) > _MOST_PREPARED:
            del self._known[next(iter(self._known))]
        return found


def type_labels(instance_type: InstanceType, region: str) -> dict[str, str]:
    """The labels of all nodes of the type, whatever offering buys them."""
    return {
        **instance_type.labels,
        labels.INSTANCE_TYPE: instance_type.name,
        labels.ARCH: instance_type.architecture,
        labels.OS: "linux",
        labels.REGION: region,
    }


def offering_labels(instance_type: InstanceType, offering: Offering, region: str) -> dict[str, str]:
    """The labels of a node of the type, bought by the offering."""
    return {
        **type_labels(instance_type, region),
        **offering.labels,
        labels.ZONE: offering.zone,
        labels.CAPACITY_TYPE: offering.capacity_type,
    }
