"""What a launch may make of a NodeClaim: every instance type with every offering it may take.

The launch is free to choose, so whatever is promised about a new node has to hold for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from verifier_cluster import Place, daemons_for
from verifier_rules import Labels, value_matches

from autoctl.api import core
from autoctl.api.labels import (
    ARCH,
    CAPACITY_TYPE,
    HOSTNAME,
    INSTANCE_TYPE,
    NODEPOOL,
    OS,
    WELL_KNOWN_LABELS,
    ZONE,
    normalize_label,
)
from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.problem import Pool, RequirementSpec, SchedulingProblem


@dataclass(frozen=True)
class Launch:
    """One outcome: an instance type, bought this way, with these labels."""

    instance_type: InstanceType
    offering: Offering
    labels: Labels

    @property
    def price(self) -> float:
        return self.offering.price

    def describe(self) -> str:
        where = self.offering
        return f"{self.instance_type.name} in {where.zone} ({where.capacity_type})"

    @property
    def reservation(self) -> str | None:
        return self.offering.reservation_id if self.offering.capacity_type == "reserved" else None


def launches(
    pool: Pool,
    requirements: Sequence[RequirementSpec],
    types: Iterable[InstanceType],
    name: str,
) -> Iterator[Launch]:
    """Every launch of `types` from `pool` that available offerings and the requirements allow.

    A label that neither the instance type nor the offering decides comes from the requirements:
    each value they leave is an outcome.
    """
    for instance_type in types:
        for offering in instance_type.offerings:
            if not offering.available or offering.reservation_capacity == 0:
                continue
            known = {
                INSTANCE_TYPE: instance_type.name,
                ARCH: instance_type.architecture,
                **instance_type.labels,
                ZONE: offering.zone,
                CAPACITY_TYPE: offering.capacity_type,
                **offering.labels,
                **pool.labels,
                NODEPOOL: pool.name,
                HOSTNAME: name,
            }
            if len(instance_type.operating_systems) == 1:
                known[OS] = instance_type.operating_systems[0]
            for labels in completed(known, requirements):
                yield Launch(instance_type, offering, labels)


def completed(known: Labels, requirements: Sequence[RequirementSpec]) -> Iterator[Labels]:
    """`known` with each choice of the labels that only requirements give; none if they contradict.

    A requirement that merely wants the label to be there, or a number in bounds, gets some value.
    """
    asked: dict[str, list[RequirementSpec]] = {}
    for requirement in requirements:
        asked.setdefault(normalize_label(requirement.key), []).append(requirement)
    free: dict[str, list[str]] = {}
    for key, specs in asked.items():
        if key in known or key in WELL_KNOWN_LABELS:
            if not all(value_matches(s, known.get(key)) for s in specs):
                return
            continue
        named = [s.values for s in specs if s.operator == "In"]
        if named:
            free[key] = [v for v in named[0] if all(value_matches(s, v) for s in specs)]
            if not free[key]:
                return
        elif any(s.operator not in ("NotIn", "DoesNotExist") for s in specs):
            free[key] = [some_value(specs)]
    for values in product(*free.values()):
        yield {**known, **dict(zip(free, values, strict=True))}


def some_value(specs: Sequence[RequirementSpec]) -> str:
    """A value that satisfies requirements without In: what the operator would make up."""
    numbers = [int(v) + step for s in specs for v in s.values for step in (-1, 0, 1) if v.isdigit()]
    for value in ("made-up", *map(str, numbers)):
        if all(value_matches(s, value) for s in specs):
            return value
    return "made-up"


def launched(
    problem: SchedulingProblem, pool: Pool, launch: Launch, name: str, pods: Sequence[core.Pod] = ()
) -> Place:
    """The node that comes of a launch; startup taints are gone by the time pods are bound."""
    return Place(
        name=name,
        labels=launch.labels,
        allocatable=launch.instance_type.allocatable,
        taints=pool.taints,
        pods=list(pods),
        coming=daemons_for(problem, name, launch.labels, pool.taints),
    )
