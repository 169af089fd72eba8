"""Dashboards made for Karpenter find its metrics."""

from __future__ import annotations

from metrics_table import MetricShape, disagreements, known_metrics
from prometheus_client import Counter, Gauge, Histogram

from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.runtime.summary import Summary
from autoctl.controllers.runtime.union import Union

TYPES = {Counter: "counter", Gauge: "gauge", Histogram: "histogram", Summary: "summary"}


def test_metrics_have_karpenters_names_types_and_labels() -> None:
    """Each is in the table, or has a name that says that it is this project's own."""
    shapes = []
    for metric in Metrics().documented:
        kind = metric.type if isinstance(metric, Union) else TYPES[type(metric)]
        # prometheus-client keeps the name of a counter without its suffix.
        if isinstance(metric, Summary | Union):
            name, labels = metric.name, metric.labelnames
        else:
            name, labels = metric._name, metric._labelnames
        if kind == "counter":
            name += "_total"
        shapes.append((name, MetricShape(kind, frozenset(labels))))
    assert disagreements(shapes) == []
    assert {name for name, _ in shapes} >= set(known_metrics())


def test_a_metric_of_another_shape_is_told() -> None:
    right = MetricShape("counter", frozenset({"code"}))
    wrong = MetricShape("gauge", frozenset({"code"}))
    name = "karpenter_pods_eviction_requests_total"
    assert disagreements([(name, right), ("autoctl_anything", wrong)]) == []
    assert disagreements([(name, wrong)]) == [f"{name}: {wrong}, expected {right}"]
    assert disagreements([("karpenter_unheard_of", right)])
