"""The embedded data and what is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoctl.api import labels as keys
from autoctl.catalog.embedded import api_instance_types, load_catalog, region_data, regions
from autoctl.catalog.model import ON_DEMAND, SPOT
from autoctl.catalog.overhead import GIB, NodeSettings
from autoctl.catalog.universe import in_universe, is_exotic

ROOT = Path(__file__).parents[3]


def test_the_common_regions_are_there() -> None:
    assert set(regions()) == {
        "us-east-1",
        "us-east-2",
        "us-west-2",
        "eu-west-1",
        "eu-central-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-northeast-1",
    }


def test_an_unknown_region_is_named_with_those_there_are() -> None:
    with pytest.raises(LookupError, match=r"mars-1.*us-west-2"):
        load_catalog("mars-1")


@pytest.mark.parametrize("region", regions())
def test_every_offering_has_a_price_and_a_zone_id(region: str) -> None:
    catalog = load_catalog(region)
    assert len(catalog.instance_types) > 500
    for entry in catalog.instance_types.values():
        assert entry.offerings, entry.name
        for offering in entry.offerings:
            assert offering.price > 0
            assert offering.zone.startswith(region)
            assert offering.labels[keys.ZONE_ID].rpartition("-")[2].startswith("az")


@pytest.mark.parametrize("region", regions())
def test_spot_is_cheaper_than_on_demand_in_the_same_zone(region: str) -> None:
    for entry in load_catalog(region).instance_types.values():
        prices = {(o.zone, o.capacity_type): o.price for o in entry.offerings}
        for (zone, capacity_type), price in prices.items():
            if capacity_type == SPOT:
                assert price < prices[zone, ON_DEMAND], entry.name


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("m5.large", 0.096),
        ("m5.4xlarge", 0.768),
        ("c5.xlarge", 0.17),
        ("m7g.xlarge", 0.1632),
        ("c8g.large", 0.07976),
        ("p5.48xlarge", 98.32),
    ],
)
def test_list_prices_of_us_west_2(name: str, price: float) -> None:
    priced = region_data("us-west-2").types[name]
    assert (priced.price, priced.estimated) == (pytest.approx(price, abs=1e-4), False)


@pytest.mark.parametrize(
    ("name", "predecessor"),
    [("m8i.large", "m7i.large"), ("m8a.2xlarge", "m7a.2xlarge"), ("c9g.xlarge", "c8g.xlarge")],
)
def test_newer_families_cost_a_little_more_and_say_so(name: str, predecessor: str) -> None:
    types = region_data("us-west-2").types
    assert types[name].estimated
    assert 1 < types[name].price / types[predecessor].price < 1.2


@pytest.mark.parametrize("region", regions())
def test_a_familys_price_is_linear_in_its_size(region: str) -> None:
    """No price of dedicated tenancy is left among those of shared tenancy."""
    types = region_data(region).types
    for family in ("m5", "c5", "r6g", "m6i", "m7g"):
        units = {
            name: priced.price / api_instance_types()[name]["VCpuInfo"]["DefaultVCpus"]
            for name, priced in types.items()
            if name.startswith(f"{family}.") and "metal" not in name
        }
        assert max(units.values()) / min(units.values()) < 1.03, (family, units)


def test_types_outside_the_universe_are_not_in_the_catalog() -> None:
    names = load_catalog("us-west-2").instance_types
    for absent in ("t3.nano", "t3.micro", "t3.small", "m5.metal", "m7g.medium", "mac2.metal"):
        assert absent in api_instance_types()
        assert absent not in names
    assert "t3.medium" in names


@pytest.mark.parametrize(
    ("name", "offered", "exotic"),
    [
        ("m5.large", True, False),
        ("m7g.medium", False, False),  # one vCPU
        ("m1.large", False, False),  # a family of long ago
        ("c9gd.xlarge", True, False),
        ("g4dn.xlarge", True, True),
        ("inf2.xlarge", True, True),
        ("f2.6xlarge", False, True),
        ("hpc8a.96xlarge", True, True),
        ("m5.metal", False, True),
    ],
)
def test_universe(name: str, offered: bool, exotic: bool) -> None:
    api = api_instance_types()[name]
    assert in_universe(api) is offered
    assert is_exotic(api) is exotic


def test_settings_of_a_node_class_change_the_types() -> None:
    plain = load_catalog("us-west-2").instance_types
    changed = load_catalog("us-west-2", NodeSettings(max_pods=8, hugepages={"1Gi": 12}))
    assert changed.instance_types["m5.xlarge"].allocatable["pods"] == 8
    assert changed.instance_types["m5.xlarge"].capacity["hugepages-1Gi"] == 12 * GIB
    assert "m5.large" in plain
    assert "m5.large" not in changed.instance_types, "12 GiB of huge pages do not fit 8 GiB"


def test_the_data_is_what_the_build_makes(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "hack/build_catalog.py", "--output", tmp_path],
        check=True,
        capture_output=True,
    )
    data = ROOT / "autoctl/catalog/data"
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in data.glob("*.gz")}
