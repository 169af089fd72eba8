"""The catalog that comes with the package: types, offerings and prices of common regions.

It is the first value of the operator's catalog and the world of simulations.
`hack/build_catalog.py` makes the data and tells where prices are estimates.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from autoctl.api.labels import ZONE_ID
from autoctl.catalog.build import instance_type_from_api
from autoctl.catalog.fit import fits
from autoctl.catalog.model import ON_DEMAND, SPOT, Catalog, Offering
from autoctl.catalog.overhead import DEFAULT_SETTINGS, NodeSettings
from autoctl.catalog.universe import in_universe

_DATA = "autoctl.catalog.data"
_SUFFIX = ".json.gz"
_TYPES = "instance_types"


class Zone(msgspec.Struct, frozen=True):
    """An availability zone: the account's name for it, and the id all accounts share."""

    name: str
    id: str


class PricedType(msgspec.Struct, frozen=True):
    """Where a type is offered in a region, and for how much.

    `zones` indexes the region's zones; `price` is USD/hour on demand, an estimate where
    `estimated`; `spot` has one USD/hour a zone and is empty for types without spot.
    """

    zones: list[int]
    price: float
    estimated: bool = False
    spot: list[float] = []


class RegionData(msgspec.Struct, frozen=True):
    """The embedded facts of one region."""

    region: str
    zones: list[Zone]
    types: dict[str, PricedType]


def regions() -> tuple[str, ...]:
    """The regions with embedded data, sorted."""
    names = (entry.name for entry in files(_DATA).iterdir() if entry.name.endswith(_SUFFIX))
    return tuple(sorted(n.removesuffix(_SUFFIX) for n in names if not n.startswith(_TYPES)))


@cache
def api_instance_types() -> Mapping[str, Mapping[str, Any]]:
    """Every known type as DescribeInstanceTypes gives it, by name. Not to be changed."""
    types: dict[str, dict[str, Any]] = msgspec.json.decode(_read(_TYPES))
    return types


@cache
def region_data(region: str) -> RegionData:
    """Zones, offerings and prices of a region; LookupError names the regions there are."""
    if region not in regions():
        raise LookupError(f"no embedded catalog for region {region!r}; have {', '.join(regions())}")
    return msgspec.json.decode(_read(region), type=RegionData)


def load_catalog(region: str, settings: NodeSettings = DEFAULT_SETTINGS) -> Catalog:
    """The launchable types of a region with all their offerings.

    Raises LookupError for a region without embedded data.
    """
    data = region_data(region)
    api_types = api_instance_types()
    labels = [{ZONE_ID: zone.id} for zone in data.zones]
    types = {}
    for name, priced in data.types.items():
        api = api_types[name]
        if not in_universe(api) or not fits(api, settings):
            continue
        offerings = [
            Offering(data.zones[zone].name, ON_DEMAND, priced.price, labels=labels[zone])
            for zone in priced.zones
        ]
        offerings += [
            Offering(data.zones[zone].name, SPOT, price, labels=labels[zone])
            for zone, price in zip(priced.zones, priced.spot, strict=bool(priced.spot))
        ]
        types[name] = instance_type_from_api(api, offerings, settings)
    return Catalog(region, types)


def _read(name: str) -> bytes:
    return gzip.decompress((files(_DATA) / f"{name}{_SUFFIX}").read_bytes())
