"""From EC2's own descriptions to catalog objects, for the embedded data and the run-time answers
alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autoctl.catalog.labels import architecture, instance_labels
from autoctl.catalog.model import InstanceType, Offering
from autoctl.catalog.overhead import (
    DEFAULT_SETTINGS,
    NodeSettings,
    capacity,
    efa_cards,
    overhead,
)
from autoctl.catalog.universe import is_exotic


def instance_type_from_api(
    api: Mapping[str, Any],
    offerings: Iterable[Offering] = (),
    settings: NodeSettings = DEFAULT_SETTINGS,
) -> InstanceType:
    """The catalog's view of one entry of DescribeInstanceTypes under a NodeClass's settings.

    Raises ValueError for a type that runs neither amd64 nor arm64.
    """
    return InstanceType(
        name=api["InstanceType"],
        architecture=architecture(api),
        capacity=capacity(api, settings),
        overhead=overhead(api, settings),
        labels=instance_labels(api),
        offerings=tuple(offerings),
        exotic=is_exotic(api),
        efa_cards=efa_cards(api),
    )
