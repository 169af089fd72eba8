"""Which of a NodeClass's AMIs an instance type boots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from autoctl.api.nodeclass_status import AmiStatus
from autoctl.catalog.model import InstanceType
from autoctl.scheduling.problem import RequirementSpec
from autoctl.scheduling.requirements import Requirements


def images_of(amis: Sequence[AmiStatus], instance_type: InstanceType) -> tuple[str, ...]:
    """The IDs of the AMIs whose requirements the type meets; a launch takes the first."""
    return tuple(a.id for a in amis if _requirements(a).accepts(instance_type.labels))


@lru_cache(maxsize=256)
def _requirements(ami: AmiStatus) -> Requirements:
    return Requirements.of_specs(
        RequirementSpec(r.key, r.operator, r.values) for r in ami.requirements
    )
