"""Simulated Price List: on-demand Linux prices from the embedded catalog."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from autoctl.catalog.embedded import api_instance_types
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params, Service

PAGE = 100


class Pricing(Service):
    """GetProducts for AmazonEC2 in the account's region."""

    name = "pricing"
    facts: ClassVar[dict[str, str]] = {
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "licenseModel": "No License required",
    }

    def get_products(self, params: Params) -> Answer:
        if params["ServiceCode"] != "AmazonEC2":
            raise AwsFailure(
                "InvalidParameterException", f"Invalid service code: {params['ServiceCode']}"
            )
        filters = params.get("Filters", ())
        found = [
            name
            for name in self.cloud.ec2.types.names
            if _all_pass(self._attributes(name), filters)
        ]
        start, size = int(params.get("NextToken", "0")), params.get("MaxResults", PAGE)
        products = [self._product(name) for name in found[start : start + size]]
        answer: Answer = {"FormatVersion": "aws_v1", "PriceList": products}
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return answer

    def _attributes(self, name: str) -> dict[str, str]:
        metal = api_instance_types()[name]["BareMetal"]
        return {
            **self.facts,
            "instanceType": name,
            "regionCode": self.cloud.region,
            "tenancy": "Dedicated" if metal else "Shared",
            "productFamily": "Compute Instance (bare metal)" if metal else "Compute Instance",
        }

    def _product(self, name: str) -> str:
        attributes = self._attributes(name)
        price = self.cloud.ec2.types.on_demand_price(name)
        sku = f"SKU{name.upper().replace('.', '').replace('-', '')}"
        product: dict[str, Any] = {
            "product": {
                "productFamily": attributes.pop("productFamily"),
                "attributes": attributes,
                "sku": sku,
            },
            "serviceCode": "AmazonEC2",
            "terms": {
                "OnDemand": {
                    f"{sku}.JRTCKXETXF": {
                        "priceDimensions": {
                            f"{sku}.JRTCKXETXF.6YS6EN2CT7": {
                                "unit": "Hrs",
                                "pricePerUnit": {"USD": f"{price:.10f}"},
                            }
                        }
                    }
                }
            },
        }
        return json.dumps(product)


def _all_pass(attributes: dict[str, str], filters: Iterable[dict[str, str]]) -> bool:
    return all(_passes(attributes, entry) for entry in filters)


def _passes(attributes: dict[str, str], entry: dict[str, str]) -> bool:
    value = attributes.get(entry["Field"], attributes.get(_camel(entry["Field"])))
    if entry["Type"] in ("ANY_OF", "NONE_OF"):
        inside = value in entry["Value"].split(",")
        return inside if entry["Type"] == "ANY_OF" else not inside
    if entry["Type"] == "CONTAINS":
        return value is not None and entry["Value"] in value
    return value == entry["Value"]


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]
