"""What EC2 sells in the region: types, where they are offered, for how much.

It begins with the embedded catalog, so that the first decision need not wait for AWS, and is
brought up to date while the operator runs. What cannot be refreshed stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from autoctl.aws.call import Caller
from autoctl.catalog.embedded import api_instance_types, region_data, regions

ON_DEMAND_USAGE = "Linux/UNIX"
_PRICED = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
    "tenancy": "Shared",
    "productFamily": "Compute Instance",
}
"""The attributes of what an instance costs that nobody reserved and that runs plain Linux."""


@dataclass(frozen=True)
class Market:
    """The facts of one region.

    `zones` maps a zone's name to its id; `offered` a type to the zones that have it; `on_demand` a
    type to USD/hour; `spot` (type, zone) to USD/hour.
    """

    types: Mapping[str, Mapping[str, Any]]
    zones: Mapping[str, str]
    offered: Mapping[str, frozenset[str]]
    on_demand: Mapping[str, float]
    spot: Mapping[tuple[str, str], float]
    revision: int = field(default=0, compare=False)


def known_market(region: str) -> Market:
    """The packaged facts; nothing for a region without any, until the account has answered."""
    return embedded_market(region) if region in regions() else Market({}, {}, {}, {}, {})


def embedded_market(region: str) -> Market:
    """The packaged facts. Raises LookupError for a region without any."""
    data = region_data(region)
    types = api_instance_types()
    return Market(
        types={name: types[name] for name in data.types},
        zones={zone.name: zone.id for zone in data.zones},
        offered={
            name: frozenset(data.zones[zone].name for zone in priced.zones)
            for name, priced in data.types.items()
        },
        on_demand={name: priced.price for name, priced in data.types.items()},
        spot={
            (name, data.zones[zone].name): price
            for name, priced in data.types.items()
            for zone, price in zip(priced.zones, priced.spot, strict=bool(priced.spot))
        },
    )


class MarketApi:
    """The requests that bring a `Market` up to date."""

    def __init__(self, ec2: Caller, pricing: Caller, *, region: str) -> None:
        self._ec2 = ec2
        self._pricing = pricing
        self._region = region

    async def zones(self) -> dict[str, str]:
        """Name -> id of the zones that the account may use."""
        answer = await self._ec2(
            "describe_availability_zones",
            Filters=[{"Name": "opt-in-status", "Values": ["opt-in-not-required", "opted-in"]}],
        )
        return {zone["ZoneName"]: zone["ZoneId"] for zone in answer["AvailabilityZones"]}

    async def types(self) -> dict[str, dict[str, Any]]:
        """Every current x86_64 and arm64 type with hardware virtualization."""
        found = await self._ec2.pages(
            "describe_instance_types",
            "InstanceTypes",
            Filters=[
                {"Name": "supported-virtualization-type", "Values": ["hvm"]},
                {"Name": "processor-info.supported-architecture", "Values": ["x86_64", "arm64"]},
            ],
            MaxResults=100,
        )
        return {entry["InstanceType"]: entry for entry in found}

    async def offered(self) -> dict[str, frozenset[str]]:
        """Type -> zones that offer it."""
        found = await self._ec2.pages(
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            MaxResults=1000,
        )
        zones: dict[str, set[str]] = {}
        for entry in found:
            zones.setdefault(entry["InstanceType"], set()).add(entry["Location"])
        return {name: frozenset(where) for name, where in zones.items()}

    async def on_demand(self) -> dict[str, float]:
        """Type -> USD/hour on demand, from the Price List."""
        filters = {**_PRICED, "regionCode": self._region}
        found = await self._pricing.pages(
            "get_products",
            "PriceList",
            ServiceCode="AmazonEC2",
            Filters=[
                {"Type": "TERM_MATCH", "Field": field, "Value": value}
                for field, value in sorted(filters.items())
            ],
            MaxResults=100,
        )
        prices = (_priced(json.loads(product)) for product in found)
        return dict(sorted(price for price in prices if price is not None))

    async def spot(self, since: datetime) -> dict[tuple[str, str], float]:
        """(type, zone) -> the present USD/hour; `since` is now, which gives the latest entry."""
        found = await self._ec2.pages(
            "describe_spot_price_history",
            "SpotPriceHistory",
            ProductDescriptions=[ON_DEMAND_USAGE, f"{ON_DEMAND_USAGE} (Amazon VPC)"],
            StartTime=since,
            MaxResults=1000,
        )
        return {
            (entry["InstanceType"], entry["AvailabilityZone"]): float(entry["SpotPrice"])
            for entry in sorted(found, key=lambda entry: entry["Timestamp"])
        }


def _priced(product: Mapping[str, Any]) -> tuple[str, float] | None:
    """A product's instance type and USD/hour; None for one that is not sold for dollars."""
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            price = float(dimension["pricePerUnit"].get("USD", 0))
            if price > 0 and dimension["unit"] == "Hrs":
                return product["product"]["attributes"]["instanceType"], price
    return None
