"""In which zones pending pods can run, for people who ask why a zone gets all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from autoctl.api import core
from autoctl.api.labels import ZONE
from autoctl.scheduling.problem import SchedulingProblem, Volumes
from autoctl.scheduling.templates import template_of
from autoctl.scheduling.volumes import VolumeError, volume_needs

FLEXIBLE: Final = "flexible"
"""Several zones."""
NONE: Final = "none"
"""No zone at all: what the pod asks for contradicts itself, its volumes or the NodePools."""


def pending_by_zone(problem: SchedulingProblem, pods: Iterable[core.Pod]) -> Counter[str]:
    """How many of `pods` can run in one zone only (by its name), in several, in none.

    Node selectors, required node affinity and volumes count, within the zones that there are nodes
    or offerings in. Where other pods are (spread, pod affinity) does not.
    """
    zones = frozenset(
        [o.zone for p in problem.pools for t in p.instance_types for o in t.offerings]
        + [n.labels[ZONE] for n in problem.nodes if ZONE in n.labels]
    )
    return Counter(_effective(pod, problem.volumes, zones) for pod in pods)


def _effective(pod: core.Pod, volumes: Volumes, zones: frozenset[str]) -> str:
    template = template_of(pod)
    try:
        needs = volume_needs(template, pod, volumes)
    except VolumeError:
        return NONE
    found: set[str] = set()
    for term in template.terms:
        for option in needs.alternatives:
            if term.intersects(option) is None:
                wanted = term.add(*option.values()).get(ZONE)
                found.update(z for z in zones if wanted is None or wanted.has(z))
    if len(found) == 1:
        return found.pop()
    return FLEXIBLE if found else NONE
