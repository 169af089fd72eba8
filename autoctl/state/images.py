"""Which of a NodeClass's AMIs an instance type boots."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from autoctl.api.nodeclass_status import AmiStatus
from autoctl.catalog.model import InstanceType
from autoctl.scheduling.problem import RequirementSpec
from autoctl.scheduling.requirements import Requirements

_MOST: Final = 1 << 13
_KNOWN: dict[tuple[int, int], tuple[tuple[AmiStatus, ...], InstanceType, tuple[str, ...]]] = {}
"""Identities -> their objects, which keeps the identities their own, and the answer."""


def images_of(amis: tuple[AmiStatus, ...], instance_type: InstanceType) -> tuple[str, ...]:
    """The IDs of the AMIs whose requirements the type meets; a launch takes the first.

    Asked of every node again and again, so that answers are kept while both are the same objects.
    """
    key = id(amis), id(instance_type)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        found = tuple(a.id for a in amis if _requirements(a).accepts(instance_type.labels))
        known = _KNOWN[key] = (amis, instance_type, found)
    return known[2]


@lru_cache(maxsize=256)
def _requirements(ami: AmiStatus) -> Requirements:
    return Requirements.of_specs(
        RequirementSpec(r.key, r.operator, r.values) for r in ami.requirements
    )
