"""The metrics that Karpenter's dashboards know, and whether others agree with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

OWN = "autoctl_"
"""What the names of metrics begin with that no other project has."""

NODE_LABELS = "node labels"
"""An entry that is no metric, but labels that many have."""


@dataclass(frozen=True)
class MetricShape:
    """Type and label names, as a dashboard's query depends on them."""

    type: str
    labels: frozenset[str]


def known_metrics() -> Mapping[str, MetricShape]:
    """Name, as it is scraped -> shape."""
    table = yaml.safe_load(Path(__file__).with_name("metrics.yaml").read_text())
    shared = {NODE_LABELS: table.pop(NODE_LABELS)}
    return {
        name: MetricShape(
            kind, frozenset(x for label in labels for x in shared.get(label, [label]))
        )
        for name, (kind, *labels) in table.items()
    }


def scraped_metrics(text: str) -> Mapping[str, MetricShape]:
    """What a scrape tells of the families that have samples: without, there are no labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        if not family.samples:
            continue
        # The parser takes the suffix off, the text has it.
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = MetricShape(family.type, frozenset(labels - {"le", "quantile"}))
    return found


def disagreements(shapes: Iterable[tuple[str, MetricShape]]) -> list[str]:
    """One line for each metric that is neither known in this shape nor of this project."""
    known = known_metrics()
    return [
        f"{name}: {shape}, expected {known.get(name, 'no such metric')}"
        for name, shape in shapes
        if not name.startswith(OWN) and known.get(name) != shape
    ]
