"""Labels from DescribeInstanceTypes."""

from __future__ import annotations

import pytest

from autoctl.catalog.embedded import api_instance_types, load_catalog
from autoctl.catalog.labels import architecture, instance_labels

PREFIX = "eks.amazonaws.com/instance-"


def test_all_labels_of_a_plain_type() -> None:
    assert instance_labels(api_instance_types()["m5.large"]) == {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "m5.large",
        "eks.amazonaws.com/compute-type": "auto",
        PREFIX + "category": "m",
        PREFIX + "generation": "5",
        PREFIX + "family": "m5",
        PREFIX + "size": "large",
        PREFIX + "hypervisor": "nitro",
        PREFIX + "cpu": "2",
        PREFIX + "cpu-manufacturer": "intel",
        PREFIX + "cpu-sustained-clock-speed-mhz": "3100",
        PREFIX + "memory": "8192",
        PREFIX + "encryption-in-transit-supported": "false",
        PREFIX + "capability-flex": "false",
        PREFIX + "network-bandwidth": "750",
        PREFIX + "ebs-bandwidth": "4750",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "g4dn.xlarge",
            {
                "gpu-name": "t4",
                "gpu-manufacturer": "nvidia",
                "gpu-count": "1",
                "gpu-memory": "16384",
                "local-nvme": "125",
                "category": "g",
                "generation": "4",
            },
        ),
        ("p5.48xlarge", {"gpu-count": "8", "network-bandwidth": "3200000"}),
        ("p6-b200.48xlarge", {"category": "p", "generation": "6", "family": "p6-b200"}),
        ("m7i-flex.large", {"capability-flex": "true", "family": "m7i-flex"}),
        ("c7g.xlarge", {"cpu-manufacturer": "aws"}),
        ("m7a.large", {"cpu-manufacturer": "amd"}),
        ("t2.medium", {"hypervisor": "xen"}),
        ("u-6tb1.56xlarge", {"category": "u", "generation": "1"}),
        ("inf2.24xlarge", {"accelerator-name": "inferentia2", "accelerator-count": "6"}),
        ("im4gn.large", {"category": "im", "generation": "4"}),
    ],
)
def test_labels_by_type(name: str, expected: dict[str, str]) -> None:
    labels = instance_labels(api_instance_types()[name])
    assert {key: labels[PREFIX + key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "absent"),
    [("m5.large", "gpu-name"), ("m5.large", "local-nvme"), ("m5.metal", "hypervisor")],
)
def test_facts_that_do_not_apply_have_no_label(name: str, absent: str) -> None:
    assert PREFIX + absent not in instance_labels(api_instance_types()[name])


def test_a_mac_has_no_architecture_that_kubernetes_knows() -> None:
    with pytest.raises(ValueError, match=r"mac1\.metal.*x86_64_mac"):
        architecture(api_instance_types()["mac1.metal"])


def test_every_label_value_is_valid_in_kubernetes() -> None:
    for entry in load_catalog("us-east-1").instance_types.values():
        for key, value in entry.labels.items():
            assert len(value) <= 63, (entry.name, key)
            assert value == value.strip() != "", (entry.name, key)
