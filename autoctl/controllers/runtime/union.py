"""One metric that shows the series of several others, told apart by labels of its own.

Nothing is stored twice: the members' samples are read when they are scraped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Union(Collector):
    """Metrics of one type, together. `members` has the values of `keys` for each of them."""

    def __init__(
        self,
        name: str,
        documentation: str,
        keys: tuple[str, ...],
        members: Mapping[tuple[str, ...], MetricWrapperBase],
    ) -> None:
        (self.type,) = {f.type for member in members.values() for f in member.describe()}
        # A counter's family goes without the suffix that its samples have.
        self.name = name.removesuffix("_total") if self.type == "counter" else name
        self.documentation = documentation
        # prometheus-client has no public name for them.
        (own,) = {member._labelnames for member in members.values()}  # noqa: SLF001
        self.labelnames = (*keys, *own)
        self._keys = keys
        self._members = members

    def collect(self) -> Iterator[Metric]:
        """The samples of all members."""
        metric = Metric(self.name, self.documentation, self.type)
        for values, member in self._members.items():
            mine = dict(zip(self._keys, values, strict=True))
            for family in member.collect():
                for sample in family.samples:
                    suffix = sample.name.removeprefix(family.name)
                    metric.add_sample(
                        self.name + suffix,
                        {**sample.labels, **mine},
                        sample.value,
                        sample.timestamp,
                        sample.exemplar,
                    )
        yield metric

    def describe(self) -> list[Metric]:
        """The name alone: so that two metrics of one name are refused."""
        return [Metric(self.name, self.documentation, self.type)]
