"""A Prometheus summary with quantiles, which prometheus-client's own leaves out."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

OBJECTIVES = (0.0, 0.5, 0.9, 0.99, 1.0)
"""The quantiles that Karpenter's summaries report."""
_WINDOW = 1_000
"""Latest observations of each label set that the quantiles are taken over."""


class _Series:
    """One label set: totals since the start, and the latest observations."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.latest: deque[float] = deque(maxlen=_WINDOW)
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        with self._lock:
            self.count += 1
            self.total += value
            self.latest.append(value)

    def read(self) -> tuple[int, float, list[float]]:
        with self._lock:
            return self.count, self.total, sorted(self.latest)


class Summary(Collector):
    """Count, sum and quantiles of observations; safe to read from another thread."""

    def __init__(
        self, name: str, documentation: str, labelnames: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.labelnames = tuple(labelnames)
        self._series: dict[tuple[str, ...], _Series] = {}
        self._lock = threading.Lock()
        if not labelnames:
            self._series[()] = _Series()
        registry.register(self)

    def labels(self, *values: str, **named: str) -> _Series:
        """The series of these label values, made on first use."""
        key = values or tuple(named[name] for name in self.labelnames)
        if len(key) != len(self.labelnames):
            raise ValueError(f"{self.name} has the labels {self.labelnames}, got {key}")
        with self._lock:
            return self._series.setdefault(key, _Series())

    def observe(self, value: float) -> None:
        """Observe without labels."""
        self.labels().observe(value)

    def remove(self, *values: str) -> None:
        """Forget a series."""
        with self._lock:
            self._series.pop(values, None)

    def describe(self) -> Iterable[Metric]:
        return [Metric(self.name, self.documentation, "summary")]

    def collect(self) -> Iterable[Metric]:
        metric = Metric(self.name, self.documentation, "summary")
        with self._lock:
            series = sorted(self._series.items())
        for values, one in series:
            labels = dict(zip(self.labelnames, values, strict=True))
            count, total, ordered = one.read()
            for quantile in OBJECTIVES:
                value = _quantile(ordered, quantile)
                metric.add_sample(self.name, {**labels, "quantile": f"{quantile:g}"}, value)
            metric.add_sample(f"{self.name}_count", labels, count)
            metric.add_sample(f"{self.name}_sum", labels, total)
        yield metric


def _quantile(ordered: Sequence[float], quantile: float) -> float:
    """Nearest-rank quantile; NaN where nothing was observed, as other clients report it."""
    if not ordered:
        return float("nan")
    ranks = [(i + 1) / len(ordered) for i in range(len(ordered))]
    return ordered[min(bisect_left(ranks, quantile), len(ordered) - 1)]
