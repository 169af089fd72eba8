"""Which preferences of a pod to insist on, from all of them to none.

Preferences are tried as requirements. When they cannot all hold, those are given up that cost the
least: first by kind, in Karpenter's order of relaxation (preferred pod affinity, pod anti-affinity
and node affinity by weight, then ScheduleAnyway constraints, last the wish to avoid
PreferNoSchedule taints), and among the weighted ones so that the most weight is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from autoctl.scheduling.requirements import Requirements
from autoctl.scheduling.templates import SCHEDULE_ANYWAY, Template
from autoctl.scheduling.topology import Kept

_EXHAUSTIVE = 7
_ORDER = ("affinity", "anti_affinity", "node", "spread", "taints")


@dataclass(frozen=True, slots=True)
class Preference:
    """One preference: its kind, its index in the template's list, its weight."""

    kind: str
    index: int
    weight: int
    text: str


def preferences_of(template: Template, *, avoid_taints: bool) -> tuple[Preference, ...]:
    """A template's preferences; `avoid_taints` when some PreferNoSchedule taint is about."""
    found = [
        Preference("affinity", i, w.weight, f"preferred pod affinity (weight {w.weight})")
        for i, w in enumerate(template.preferred_affinity)
    ]
    found += [
        Preference("anti_affinity", i, w.weight, f"preferred pod anti-affinity (weight {w.weight})")
        for i, w in enumerate(template.preferred_anti_affinity)
    ]
    found += [
        Preference("node", i, weight, f"preferred node affinity (weight {weight}: {terms_text(r)})")
        for i, (weight, r) in enumerate(template.preferred)
    ]
    found += [
        Preference("spread", i, 0, f"ScheduleAnyway spread over {c.topology_key}")
        for i, c in enumerate(template.spread)
        if c.when_unsatisfiable == SCHEDULE_ANYWAY
    ]
    if avoid_taints:
        found.append(Preference("taints", 0, 0, "avoiding PreferNoSchedule taints"))
    return tuple(found)


def levels(preferences: Sequence[Preference]) -> Iterator[tuple[Kept, tuple[str, ...]]]:
    """Sets of preferences to insist on, best first, each with what it gives up.

    Up to seven preferences every subset is tried; beyond, one more is given up at each level.
    """
    if not preferences:
        yield Kept(), ()
        return
    if len(preferences) <= _EXHAUSTIVE:
        subsets = [
            subset
            for size in range(len(preferences), -1, -1)
            for subset in combinations(preferences, size)
        ]
        subsets.sort(key=_worth, reverse=True)
    else:
        order = sorted(preferences, key=lambda p: (p.kind in ("spread", "taints"), *_place(p)))
        subsets = [tuple(order[start:]) for start in range(len(order) + 1)]
    for subset in subsets:
        given_up = [p for p in preferences if p not in subset]
        given_up.sort(key=_place)
        yield _kept(subset), tuple(p.text for p in given_up)


def terms_text(requirements: Requirements) -> str:
    """Requirements in one line."""
    return ", ".join(str(r) for r in requirements.values())


def _worth(subset: Sequence[Preference]) -> tuple[int, int, int, tuple[int, ...]]:
    return (
        sum(p.kind == "taints" for p in subset),
        sum(p.kind == "spread" for p in subset),
        sum(p.weight for p in subset),
        tuple(sorted((_ORDER.index(p.kind) for p in subset), reverse=True)),
    )


def _place(preference: Preference) -> tuple[int, int]:
    if preference.kind in ("spread", "taints"):
        return (_ORDER.index(preference.kind), preference.index)
    return (_ORDER.index(preference.kind), preference.weight)


def _kept(subset: Sequence[Preference]) -> Kept:
    def of(kind: str) -> tuple[int, ...]:
        return tuple(sorted(p.index for p in subset if p.kind == kind))

    return Kept(
        node=of("node"),
        affinity=of("affinity"),
        anti_affinity=of("anti_affinity"),
        spread=of("spread"),
        taints=any(p.kind == "taints" for p in subset),
    )
