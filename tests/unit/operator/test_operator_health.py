"""Probes and scrapes."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoctl.controllers.runtime.metrics import DURATION_BUCKETS, Metrics
from autoctl.operator.health import HealthServer, MetricsServer, PortInUseError


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_probes_tell_which_check_failed() -> None:
    wrong: list[str] = []
    server = HealthServer(
        "127.0.0.1",
        0,
        live={"loop": lambda: None},
        ready={"mirror": lambda: wrong[0] if wrong else None},
    )
    try:
        assert get(server.port, "/healthz")[0] == get(server.port, "/readyz")[0] == 200
        wrong.append("waiting for pods")
        code, body = get(server.port, "/readyz?verbose")
        assert (code, json.loads(body)) == (503, {"mirror": "waiting for pods"})
        assert get(server.port, "/healthz")[0] == 200
        assert get(server.port, "/else")[0] == 404
    finally:
        server.close()


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"metrics on 127\.0\.0\.1:{port}: Address alre"):
            MetricsServer("127.0.0.1", port, Metrics().registry)


def test_the_exposition_has_karpenters_names_types_and_quantiles() -> None:
    metrics = Metrics()
    metrics.nodeclaims_created.labels("provisioned", "default", "false").inc()
    metrics.nodeclaims_termination_duration.labels("default").observe(3)
    for value in range(1, 101):
        metrics.nodes_termination_duration.labels("default").observe(value)
    server = MetricsServer("127.0.0.1", 0, metrics.registry)
    try:
        code, text = get(server.port, "/metrics")
    finally:
        server.close()
    assert code == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["karpenter_nodeclaims_created"].type == "counter"
    assert 'karpenter_nodeclaims_created_total{min_values_relaxed="false"' in text
    summary = families["karpenter_nodes_termination_duration_seconds"]
    assert summary.type == "summary"
    quantiles = {s.labels["quantile"]: s.value for s in summary.samples if "quantile" in s.labels}
    assert quantiles == {"0": 1, "0.5": 50, "0.9": 90, "0.99": 99, "1": 100}
    assert any(s.name.endswith("_sum") and s.value == 5050 for s in summary.samples)


def test_duration_buckets_are_karpenters() -> None:
    assert len(DURATION_BUCKETS) == 45
    assert (DURATION_BUCKETS[0], DURATION_BUCKETS[-1]) == (0.005, 600)
    assert list(DURATION_BUCKETS) == sorted(DURATION_BUCKETS)


def test_registries_do_not_share_counts() -> None:
    one, other = Metrics(), Metrics()
    one.nodes_created.labels("p", "z").inc()
    labels = {"nodepool": "p", "zone": "z"}
    assert one.registry.get_sample_value("karpenter_nodes_created_total", labels) == 1
    assert other.registry.get_sample_value("karpenter_nodes_created_total", labels) is None
