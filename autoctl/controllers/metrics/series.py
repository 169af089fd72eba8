"""A gauge whose series are exactly those of the latest pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from prometheus_client import Gauge

Samples: TypeAlias = Mapping[tuple[str, ...], float]
"""Label values, in the gauge's order -> value."""


class Series:
    """Writes what changed, and removes the series of what is gone."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._known: dict[tuple[str, ...], float] = {}
        self._children: dict[tuple[str, ...], Gauge] = {}

    def replace(self, samples: Samples) -> None:
        """Make `samples` all that the gauge has."""
        for gone in self._known.keys() - samples.keys():
            self._gauge.remove(*gone)
            del self._known[gone]
            del self._children[gone]
        for values, value in samples.items():
            if self._known.get(values) != value:
                child = self._children.get(values)
                if child is None:
                    child = self._children[values] = self._gauge.labels(*values)
                child.set(value)
                self._known[values] = value
