"""Density, capacity and overhead: figures that EKS's images and Karpenter are known to give."""

from __future__ import annotations

from typing import Any

import pytest

from autoctl.catalog.embedded import api_instance_types
from autoctl.catalog.overhead import (
    GIB,
    MIB,
    NodeSettings,
    Percent,
    capacity,
    eni_limited_pods,
    ephemeral_storage,
    kube_reserved_cpu,
    max_pods,
    memory_capacity,
    overhead,
)


def api(name: str) -> Any:
    return api_instance_types()[name]


@pytest.mark.parametrize(
    ("name", "secondary", "pod_subnets"),
    [
        ("t3.nano", 4, 3),
        ("t3.small", 11, 8),
        ("t3.medium", 17, 12),
        ("m7g.medium", 8, 5),
        ("m5.large", 29, 20),
        ("c6a.large", 29, 20),
        ("m8g.large", 29, 20),
        ("m5.xlarge", 58, 44),
        ("c5.4xlarge", 234, 205),
        ("m5.24xlarge", 737, 688),
        ("m6i.32xlarge", 737, 688),
    ],
)
def test_pods_that_interfaces_can_address(name: str, secondary: int, pod_subnets: int) -> None:
    network = api(name)["NetworkInfo"]
    assert eni_limited_pods(network) == secondary
    assert eni_limited_pods(network, pod_subnets=True) == pod_subnets


def test_only_the_default_network_card_counts() -> None:
    network = api("p4d.24xlarge")["NetworkInfo"]
    assert network["MaximumNetworkInterfaces"] == 60
    assert eni_limited_pods(network) == 15 * 49 + 2


@pytest.mark.parametrize(
    ("name", "settings", "pods"),
    [
        ("m5.large", NodeSettings(), 29),
        ("m5.large", NodeSettings(max_pods=20), 20),
        ("m5.large", NodeSettings(max_pods=110), 29),
        ("m5.large", NodeSettings(pod_subnets=True), 20),
        ("c5.4xlarge", NodeSettings(), 110),
        ("c5.4xlarge", NodeSettings(max_pods=50), 50),
        ("c5.4xlarge", NodeSettings(static_ips=33), 33),
    ],
)
def test_density_is_the_least_of_user_addresses_and_110(
    name: str, settings: NodeSettings, pods: int
) -> None:
    assert max_pods(api(name), settings) == pods


@pytest.mark.parametrize(
    ("vcpus", "millicores"),
    [(1, 60), (2, 70), (4, 80), (8, 90), (16, 110), (96, 310), (192, 550)],
)
def test_reserved_cpu_by_tiers(vcpus: int, millicores: int) -> None:
    assert kube_reserved_cpu(vcpus) == millicores


def test_memory_is_nominal_less_the_hypervisors_share() -> None:
    assert memory_capacity(api("m5.large")) == 8192 * MIB - 615 * MIB


def test_arm64_reports_64_mebibytes_less() -> None:
    nominal = 8192 - 64
    assert memory_capacity(api("m7g.large")) == (nominal - 610) * MIB


def test_observed_memory_replaces_the_estimate() -> None:
    settings = NodeSettings(observed_memory={"m5.large": 7800 * MIB})
    assert memory_capacity(api("m5.large"), settings) == 7800 * MIB
    assert memory_capacity(api("m5.xlarge"), settings) == memory_capacity(api("m5.xlarge"))


def test_overhead_of_m5_large() -> None:
    assert overhead(api("m5.large")) == {
        "cpu": 70,
        "memory": (11 * 29 + 255 + 100) * MIB,
        "ephemeral-storage": GIB + 8 * GIB,
    }


def test_reserved_memory_follows_the_density() -> None:
    few = overhead(api("m5.large"), NodeSettings(max_pods=8))
    assert few["memory"] == (11 * 8 + 255 + 100) * MIB


def test_given_reservations_replace_the_computed() -> None:
    settings = NodeSettings(kube_reserved={"cpu": 500, "memory": GIB}, system_reserved={"cpu": 100})
    taken = overhead(api("m5.large"), settings)
    assert taken["cpu"] == 600
    assert taken["memory"] == GIB + 100 * MIB
    assert taken["ephemeral-storage"] == GIB + 8 * GIB, "what is not named is computed"


@pytest.mark.parametrize(
    ("hard", "soft", "memory"),
    [
        ({"memory.available": 200 * MIB}, {}, 200 * MIB),
        ({"memory.available": 200 * MIB}, {"memory.available": 300 * MIB}, 300 * MIB),
        ({"memory.available": Percent(50)}, {"memory.available": 1}, (8192 - 615) * MIB // 2),
        ({}, {}, 0),
    ],
)
def test_eviction_takes_the_greater_threshold(
    hard: dict[str, Any], soft: dict[str, Any], memory: int
) -> None:
    settings = NodeSettings(eviction_hard=hard, eviction_soft=soft, kube_reserved={"memory": 0})
    assert overhead(api("m5.large"), settings)["memory"] == memory


@pytest.mark.parametrize(
    ("name", "asked", "bytes_"),
    [
        ("m5.large", 80 * GIB, 80 * GIB),
        ("m5d.large", 80 * GIB, 80 * GIB),
        ("m5d.large", 20 * GIB, 75 * 1000**3),
        ("i4i.large", 80 * GIB, 468 * 1000**3),
        ("i4i.large", 500 * GIB, 500 * GIB),
    ],
)
def test_instance_store_is_used_when_it_is_larger(name: str, asked: int, bytes_: int) -> None:
    assert ephemeral_storage(api(name), NodeSettings(ephemeral_storage=asked)) == bytes_


def test_huge_pages_become_a_resource_and_leave_memory() -> None:
    settings = NodeSettings(hugepages={"2Mi": 512, "1Gi": 1})
    total = capacity(api("m5.large"), settings)
    assert (total["hugepages-2Mi"], total["hugepages-1Gi"]) == (GIB, GIB)
    plain = overhead(api("m5.large"))["memory"]
    assert overhead(api("m5.large"), settings)["memory"] == plain + 2 * GIB


@pytest.mark.parametrize(
    ("name", "resources"),
    [
        ("g4dn.xlarge", {"nvidia.com/gpu": 1}),
        ("p5.48xlarge", {"nvidia.com/gpu": 8, "vpc.amazonaws.com/efa": 32}),
        ("inf2.24xlarge", {"aws.amazon.com/neuron": 6, "aws.amazon.com/neuroncore": 12}),
        ("m5.large", {}),
    ],
)
def test_accelerators_are_resources(name: str, resources: dict[str, int]) -> None:
    ordinary = {"cpu", "memory", "pods", "ephemeral-storage"}
    assert {k: v for k, v in capacity(api(name)).items() if k not in ordinary} == resources


@pytest.mark.parametrize(("interfaces", "count"), [(0, None), (2, 2), (40, 32)])
def test_static_interfaces_decide_on_efa(interfaces: int, count: int | None) -> None:
    settings = NodeSettings(static_ips=10, efa_interfaces=interfaces)
    assert capacity(api("p5.48xlarge"), settings).get("vpc.amazonaws.com/efa") == count


def test_no_efa_with_static_huge_pages() -> None:
    settings = NodeSettings(hugepages={"1Gi": 1})
    assert "vpc.amazonaws.com/efa" not in capacity(api("p5.48xlarge"), settings)
