"""Instance types, where they are offered, zones and spot prices, from the embedded catalog."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from autoctl.catalog.embedded import api_instance_types, region_data
from autoctl.sim.cloud.ec2.query import Fields, flag, page, select
from autoctl.sim.cloud.errors import AwsFailure, invalid_value
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2

TYPE_FIELDS: Fields[dict[str, Any]] = {
    "instance-type": lambda t: str(t["InstanceType"]),
    "supported-virtualization-type": lambda t: t["SupportedVirtualizationTypes"],
    "processor-info.supported-architecture": lambda t: t["ProcessorInfo"]["SupportedArchitectures"],
    "bare-metal": lambda t: flag(t["BareMetal"]),
    "current-generation": lambda t: flag(t["CurrentGeneration"]),
    "hypervisor": lambda t: t.get("Hypervisor"),
    "instance-storage-supported": lambda t: flag(t["InstanceStorageSupported"]),
    "supported-usage-class": lambda t: t["SupportedUsageClasses"],
    "vcpu-info.default-vcpus": lambda t: str(t["VCpuInfo"]["DefaultVCpus"]),
    "memory-info.size-in-mib": lambda t: str(t["MemoryInfo"]["SizeInMiB"]),
    "burstable-performance-supported": lambda t: flag(t["BurstablePerformanceSupported"]),
    "network-info.efa-supported": lambda t: flag(t["NetworkInfo"]["EfaSupported"]),
}


class Offered(NamedTuple):
    instance_type: str
    location: str


class SpotPrice(NamedTuple):
    instance_type: str
    zone: str
    price: float


OFFERING_FIELDS: Fields[Offered] = {
    "instance-type": lambda o: o.instance_type,
    "location": lambda o: o.location,
}
SPOT_FIELDS: Fields[SpotPrice] = {
    "availability-zone": lambda s: s.zone,
    "instance-type": lambda s: s.instance_type,
    "product-description": lambda _: "Linux/UNIX",
    "spot-price": lambda s: f"{s.price:.6f}",
}


class InstanceTypes:
    """The region's instance types with their offerings and prices."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        data = region_data(ec2.region)
        only = ec2.cloud.settings.instance_types
        self._priced = {n: t for n, t in data.types.items() if not only or n in only}
        self._api = api_instance_types()
        self.zones = {zone.name: zone.id for zone in data.zones}
        names = list(self.zones)
        self._spot: dict[str, dict[str, float]] = {}
        self._offered: dict[str, tuple[str, ...]] = {}
        for name, priced in self._priced.items():
            zones = tuple(names[index] for index in priced.zones)
            self._offered[name] = zones
            if priced.spot:
                self._spot[name] = dict(zip(zones, priced.spot, strict=True))

    def get(self, name: str) -> Any:
        """One type as DescribeInstanceTypes gives it; not to be changed."""
        if name not in self._offered:
            raise AwsFailure(
                "InvalidInstanceType",
                f"The following supplied instance types do not exist: [{name}]",
            )
        return self._api[name]

    def on_demand_price(self, name: str) -> float:
        """USD/hour."""
        return self._priced[name].price

    @property
    def names(self) -> list[str]:
        """All types of the region, in order."""
        return sorted(self._offered)

    def spot_price(self, name: str, zone: str) -> float | None:
        """USD/hour, None where spot is not offered."""
        return self._spot.get(name, {}).get(zone)

    def set_spot_price(self, name: str, zone: str, price: float) -> None:
        """Move a spot price, USD/hour."""
        self._spot[name][zone] = price

    def check_offered(self, name: str, zone: str) -> None:
        """Raises Unsupported unless the type is offered in the zone."""
        if name not in self._offered:
            raise AwsFailure("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
        if zone not in self._offered[name]:
            others = ", ".join(self._offered[name])
            raise AwsFailure(
                "Unsupported",
                f"Your requested instance type ({name}) is not supported in your requested "
                f"Availability Zone ({zone}). Please retry your request by not specifying an "
                f"Availability Zone or choosing {others}.",
            )

    def describe_instance_types(self, params: Params) -> Answer:
        names = params.get("InstanceTypes")
        if names and params.get("MaxResults"):
            raise AwsFailure(
                "InvalidParameterCombination",
                "The parameter instanceTypes cannot be used with the parameter maxResults",
            )
        if names and len(names) > 100:
            raise invalid_value("instanceTypes", len(names), "At most 100 instance types.")
        wanted = [self.get(name) for name in names or sorted(self._offered)]
        found = select(wanted, params, TYPE_FIELDS)
        items, token = page(found, params, low=5, high=100, default=100)
        return {"InstanceTypes": [dict(entry) for entry in items], **token}

    def describe_instance_type_offerings(self, params: Params) -> Answer:
        kind = params.get("LocationType", "region")
        rows: list[Offered] = []
        for name in sorted(self._offered):
            if kind == "region":
                rows.append(Offered(name, self._ec2.region))
            elif kind == "availability-zone":
                rows += [Offered(name, zone) for zone in self._offered[name]]
            elif kind == "availability-zone-id":
                rows += [Offered(name, self.zones[zone]) for zone in self._offered[name]]
        found = select(rows, params, OFFERING_FIELDS)
        items, token = page(found, params, low=5, high=1000, default=1000)
        return {
            "InstanceTypeOfferings": [
                {
                    "InstanceType": row.instance_type,
                    "LocationType": kind,
                    "Location": row.location,
                }
                for row in items
            ],
            **token,
        }

    def describe_spot_price_history(self, params: Params) -> Answer:
        products = params.get("ProductDescriptions")
        wanted_zone = params.get("AvailabilityZone")
        types = params.get("InstanceTypes") or sorted(self._spot)
        rows: list[SpotPrice] = []
        if not products or any(product.startswith("Linux/UNIX") for product in products):
            for name in types:
                for zone, price in self._spot.get(name, {}).items():
                    if wanted_zone in (None, zone):
                        rows.append(SpotPrice(name, zone, price))
        found = select(rows, params, SPOT_FIELDS)
        items, token = page(found, params, low=1, high=1000, default=1000)
        since = self._ec2.now() - timedelta(minutes=30)
        return {
            "SpotPriceHistory": [
                {
                    "InstanceType": row.instance_type,
                    "AvailabilityZone": row.zone,
                    "AvailabilityZoneId": self.zones[row.zone],
                    "ProductDescription": "Linux/UNIX",
                    "SpotPrice": f"{row.price:.6f}",
                    "Timestamp": since,
                }
                for row in items
            ],
            **token,
        }

    def describe_availability_zones(self, params: Params) -> Answer:
        for name in params.get("ZoneNames", ()):
            if name not in self.zones:
                raise AwsFailure("InvalidParameterValue", f"Invalid availability zone: [{name}]")
        names = params.get("ZoneNames") or [
            zone
            for zone, zone_id in self.zones.items()
            if not params.get("ZoneIds") or zone_id in params["ZoneIds"]
        ]
        fields: Fields[str] = {
            "zone-name": lambda zone: zone,
            "zone-id": lambda zone: self.zones[zone],
            "region-name": lambda _: self._ec2.region,
            "state": lambda _: "available",
            "zone-type": lambda _: "availability-zone",
            "opt-in-status": lambda _: "opt-in-not-required",
        }
        return {
            "AvailabilityZones": [
                {
                    "ZoneName": zone,
                    "ZoneId": self.zones[zone],
                    "ZoneType": "availability-zone",
                    "RegionName": self._ec2.region,
                    "GroupName": self._ec2.region,
                    "NetworkBorderGroup": self._ec2.region,
                    "OptInStatus": "opt-in-not-required",
                    "State": "available",
                    "Messages": [],
                }
                for zone in select(names, params, fields)
            ]
        }
