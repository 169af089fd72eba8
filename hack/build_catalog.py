"""Build the embedded instance catalog from data that two Python packages carry.

    python hack/build_catalog.py [--output autoctl/catalog/data]

* moto packages the answers of EC2's DescribeInstanceTypes and DescribeInstanceTypeOfferings;
* apache-libcloud packages on-demand Linux prices by type and region. Its zeros are holes of its
  own collection, not free instances, and are treated as absent; and for about a fifth of the types
  it took the price of dedicated tenancy (6 or 10 % dearer), which shows against the other sizes of
  the family and against sibling regions, and is put right.

A type without a price gets an estimate, best source first, and is marked as estimated:

1. another size of its family in the region (a family's price is linear in its size);
2. its own price in the reference region, times how much dearer the region is in general;
3. the family it succeeds, by vCPU and memory, plus what a generation usually adds;
4. a line through the region's prices by vCPU and memory.

Spot prices are not published as data; a deterministic share of the on-demand price stands in.
The operator replaces every price by the account's own at run time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcloud
import moto

REGIONS = (
    "us-east-1",
    "us-east-2",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
)
REFERENCE_REGION = "us-east-1"

EQUAL_REGIONS = ("us-east-1", "us-east-2", "us-west-2")
"""Regions where AWS asks the same price for nearly everything."""

DEDICATED = (1.045, 1.125)
"""Between these ratios one price is the other with the surcharge of dedicated tenancy."""

GENERATION_UPLIFT = 1.05
"""What one generation usually adds to the price of the same vCPU and memory."""

PREDECESSORS = {
    "c8i-flex": "c7i-flex",
    "m8i-flex": "m7i-flex",
    "r8i-flex": "m8i-flex",
    "i7i": "i4i",
    "i8g": "i4g",
    "i8ge": "i7ie",
    "g6f": "g6",
    "gr6f": "gr6",
    "g7": "g6",
    "g7e": "g6e",
    "p5e": "p5en",
    "p6-b200": "p5en",
    "p6-b300": "p6-b200",
    "trn2": "trn1",
    "trn2u": "trn2",
    "t8i": "t3",
    "x8i": "x2idn",
    "x8aedz": "x2iezn",
    "m8azn": "m5zn",
    "u7i-6tb": "u-6tb1",
    "u7i-8tb": "u7i-6tb",
    "u7in-24tb": "u7in-16tb",
}
"""Families whose predecessor their name does not tell."""

FAMILY = re.compile(r"^(?P<series>[a-z]+)(?P<generation>\d+)(?P<attributes>[a-z]*)(?P<rest>-.+)?$")


@dataclass(frozen=True)
class Size:
    """What a price is estimated from."""

    vcpus: int
    memory_mib: int
    accelerator_mib: int

    def scale_to(self, other: Size) -> float:
        """How much dearer `other` should be: by accelerator memory where both have it, else by
        the mean of the vCPU and memory ratios."""
        if self.accelerator_mib and other.accelerator_mib:
            return other.accelerator_mib / self.accelerator_mib
        return 0.5 * (other.vcpus / self.vcpus + other.memory_mib / self.memory_mib)


def size_of(api: dict[str, Any]) -> Size:
    accelerator = api.get("GpuInfo", {}).get("TotalGpuMemoryInMiB", 0)
    accelerator += api.get("NeuronInfo", {}).get("TotalNeuronDeviceMemoryInMiB", 0)
    return Size(api["VCpuInfo"]["DefaultVCpus"], api["MemoryInfo"]["SizeInMiB"], accelerator)


def without_surcharge(
    known: dict[str, dict[str, float]], types: dict[str, dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Shared-tenancy prices: where one is a dedicated surcharge above its likes, theirs instead."""
    low, high = DEDICATED
    fixed = {name: dict(prices) for name, prices in known.items()}
    for prices in fixed.values():
        present = [region for region in EQUAL_REGIONS if region in prices]
        cheapest = min((prices[region] for region in present), default=0.0)
        for region in present:
            if low <= prices[region] / cheapest <= high:
                prices[region] = cheapest
    shapes: dict[tuple[str, str, float], list[str]] = {}
    for name in fixed:
        size = size_of(types[name])
        if not size.accelerator_mib:
            shape = round(size.memory_mib / size.vcpus)
            for region in fixed[name]:
                shapes.setdefault((region, family_of(name), shape), []).append(name)
    for (region, _, _), names in shapes.items():
        unit = min(fixed[name][region] / size_of(types[name]).vcpus for name in names)
        for name in names:
            linear = unit * size_of(types[name]).vcpus
            if low <= fixed[name][region] / linear <= high:
                fixed[name][region] = round(linear, 5)
    return fixed


def family_of(name: str) -> str:
    return name.partition(".")[0]


class Prices:
    """On-demand prices, USD/hour, known or estimated."""

    def __init__(self, known: dict[str, dict[str, float]], types: dict[str, dict[str, Any]]):
        self.known = known
        self.sizes = {name: size_of(api) for name, api in types.items()}
        self.families: dict[str, list[str]] = {}
        for name in sorted(types):
            self.families.setdefault(family_of(name), []).append(name)
        self.levels = {region: self._level(region) for region in REGIONS}
        self.lines = {region: self._line(region) for region in REGIONS}

    def _level(self, region: str) -> float:
        ratios = [
            prices[region] / prices[REFERENCE_REGION]
            for prices in self.known.values()
            if prices.get(region) and prices.get(REFERENCE_REGION)
        ]
        return statistics.median(ratios)

    def _line(self, region: str) -> tuple[float, float]:
        """Least squares of price over (vCPU, memory) for types without accelerators."""
        aa = ab = bb = ay = by = 0.0
        for name, prices in self.known.items():
            size, price = self.sizes.get(name), prices.get(region)
            if size is None or not price or size.accelerator_mib:
                continue
            weight = 1 / price**2  # relative errors: a large type must not outweigh the small
            aa += weight * size.vcpus**2
            ab += weight * size.vcpus * size.memory_mib
            bb += weight * size.memory_mib**2
            ay += weight * size.vcpus * price
            by += weight * size.memory_mib * price
        determinant = aa * bb - ab * ab
        return (ay * bb - by * ab) / determinant, (by * aa - ay * ab) / determinant

    def price(self, name: str, region: str) -> tuple[float, bool]:
        """The price of a type and whether it is an estimate."""
        known = self.known.get(name, {}).get(region)
        if known:
            return known, False
        family = family_of(name)
        estimate = (
            self._from_family(name, family, region)
            or self._from_reference(name, region)
            or self._from_predecessor(name, family, region)
        )
        if estimate is None:
            vcpu, mib = self.lines[region]
            size = self.sizes[name]
            estimate = vcpu * size.vcpus + mib * size.memory_mib
        return round(estimate, 5), True

    def _from_family(self, name: str, family: str, region: str) -> float | None:
        size = self.sizes[name]
        siblings = [
            sibling
            for sibling in self.families.get(family, ())
            if self.known.get(sibling, {}).get(region)
        ]
        if not siblings:
            return None
        nearest = min(
            siblings, key=lambda other: (abs(self.sizes[other].vcpus - size.vcpus), other)
        )
        return self.known[nearest][region] * self.sizes[nearest].scale_to(size)

    def _from_reference(self, name: str, region: str) -> float | None:
        known = self.known.get(name, {}).get(REFERENCE_REGION)
        if known is None and region != REFERENCE_REGION:
            known = self._from_family(name, family_of(name), REFERENCE_REGION)
        return known * self.levels[region] if known else None

    def _from_predecessor(self, name: str, family: str, region: str) -> float | None:
        seen = {family}
        uplift = 1.0
        size = self.sizes[name]
        while (previous := self._predecessor(family)) is not None and previous not in seen:
            seen.add(previous)
            uplift *= GENERATION_UPLIFT
            family = previous
            for source, level in ((region, 1.0), (REFERENCE_REGION, self.levels[region])):
                candidates = [
                    other
                    for other in self.families[family]
                    if self.known.get(other, {}).get(source)
                ]
                if candidates:
                    nearest = min(
                        candidates, key=lambda o: (abs(self.sizes[o].vcpus - size.vcpus), o)
                    )
                    base = self.known[nearest][source] * self.sizes[nearest].scale_to(size)
                    return base * uplift * level
        return None

    def _predecessor(self, family: str) -> str | None:
        """The family that this one succeeds: the same series and attributes one or more
        generations earlier, else the same generation with fewer attributes."""
        if family in PREDECESSORS:
            return PREDECESSORS[family]
        match = FAMILY.match(family)
        if match is None:
            return None
        series, attributes = match["series"], match["attributes"]
        for generation in range(int(match["generation"]) - 1, 0, -1):
            for variant in (attributes, attributes.replace("b", "n"), attributes.rstrip("e")):
                candidate = f"{series}{generation}{variant}"
                if candidate in self.families:
                    return candidate
        for cut in range(len(attributes) - 1, 0, -1):
            candidate = f"{series}{match['generation']}{attributes[:cut]}"
            if candidate in self.families:
                return candidate
        return None


def spot_share(name: str, zone: str) -> float:
    """The share of the on-demand price that spot costs: 0.30 to 0.55 by family, up to a tenth
    dearer or cheaper by type and zone. Larger sizes are dearer, for they are interrupted first."""
    family = zlib.crc32(family_of(name).encode()) % 1000 / 1000
    local = zlib.crc32(f"{name}/{zone}".encode()) % 1000 / 1000
    return (0.30 + 0.25 * family) * (0.90 + 0.20 * local)


def zone_ids(resources: Path, region: str, offered: dict[str, set[str]]) -> dict[str, str]:
    """Zone name to zone id: the zone of an id is the one with the same set of offered types."""
    by_id: dict[str, set[str]] = {}
    for row in read_gzip(
        resources / f"instance_type_offerings/availability-zone-id/{region}.json.gz"
    ):
        by_id.setdefault(row["Location"], set()).add(row["InstanceType"])
    mapping: dict[str, str] = {}
    free = sorted(by_id)
    for zone in sorted(offered):
        mapping[zone] = max(
            free, key=lambda i: (len(offered[zone] & by_id[i]) - len(offered[zone] ^ by_id[i]), i)
        )
        free.remove(mapping[zone])
    return mapping


def read_gzip(path: Path) -> Any:
    with gzip.open(path) as file:
        return json.load(file)


def write_gzip(path: Path, value: Any) -> int:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    path.write_bytes(gzip.compress(text, 9, mtime=0))
    return path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("autoctl/catalog/data"))
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    resources = Path(moto.__file__).parent / "ec2/resources"
    types: dict[str, dict[str, Any]] = read_gzip(resources / "instance_types.json.gz")
    pricing = json.loads((Path(libcloud.__file__).parent / "data/pricing.json").read_text())
    known = {
        name: {region: float(price) for region, price in prices.items() if price}
        for name, prices in pricing["compute"]["ec2_linux"].items()
        if name in types
    }
    prices = Prices(without_surcharge(known, types), types)
    print("instance_types", write_gzip(output / "instance_types.json.gz", types), "bytes")
    for region in REGIONS:
        offered: dict[str, set[str]] = {}
        path = resources / f"instance_type_offerings/availability-zone/{region}.json.gz"
        for row in read_gzip(path):
            offered.setdefault(row["Location"], set()).add(row["InstanceType"])
        zones = sorted(offered)
        ids = zone_ids(resources, region, offered)
        rows: dict[str, dict[str, Any]] = {}
        estimates = 0
        for name in sorted(set().union(*offered.values()) & set(types)):
            price, estimated = prices.price(name, region)
            estimates += estimated
            row: dict[str, Any] = {
                "zones": [index for index, zone in enumerate(zones) if name in offered[zone]],
                "price": price,
            }
            if estimated:
                row["estimated"] = True
            if "spot" in types[name]["SupportedUsageClasses"]:
                row["spot"] = [
                    round(price * spot_share(name, zones[index]), 5) for index in row["zones"]
                ]
            rows[name] = row
        value = {
            "region": region,
            "zones": [{"name": zone, "id": ids[zone]} for zone in zones],
            "types": rows,
        }
        size = write_gzip(output / f"{region}.json.gz", value)
        print(region, size, "bytes,", len(rows), "types,", estimates, "with estimated prices")


if __name__ == "__main__":
    main()
