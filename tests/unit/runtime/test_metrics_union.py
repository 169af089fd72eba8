"""Several metrics shown as one."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from autoctl.controllers.runtime.union import Union


def test_the_members_samples_carry_whose_they_are() -> None:
    registry = CollectorRegistry()
    pools = Counter("pool_changes_total", "x", ["type"], registry=registry)
    nodes = Counter("node_changes_total", "x", ["type"], registry=registry)
    registry.register(Union("changes_total", "All.", ("kind",), {("P",): pools, ("N",): nodes}))
    pools.labels("Ready").inc(2)
    nodes.labels("Ready").inc(3)
    assert registry.get_sample_value("changes_total", {"kind": "P", "type": "Ready"}) == 2
    assert registry.get_sample_value("changes_total", {"kind": "N", "type": "Ready"}) == 3
    pools.remove("Ready")
    assert registry.get_sample_value("changes_total", {"kind": "P", "type": "Ready"}) is None


def test_histograms_keep_their_buckets() -> None:
    registry = CollectorRegistry()
    took = Histogram("pool_seconds", "x", [], registry=registry, buckets=(1, 10))
    registry.register(Union("seconds", "All.", ("kind",), {("P",): took}))
    took.observe(5)
    assert registry.get_sample_value("seconds_bucket", {"kind": "P", "le": "10.0"}) == 1
    assert registry.get_sample_value("seconds_bucket", {"kind": "P", "le": "1.0"}) == 0
    assert registry.get_sample_value("seconds_sum", {"kind": "P"}) == 5
    assert b"# TYPE seconds histogram" in generate_latest(registry)


def test_a_name_that_is_taken_is_refused() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("a", "x", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Union("a", "x", (), {(): gauge}))
