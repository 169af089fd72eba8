"""Catalog files: what is read and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoctl.catalog.file import CatalogError, load_catalog_file, parse_catalog

DOCUMENT: dict[str, Any] = {
    "instanceTypes": [
        {
            "name": "fake.large",
            "architecture": "amd64",
            "operatingSystems": ["linux"],
            "capacity": {"cpu": "2", "memory": "8Gi", "pods": "29"},
            "overhead": {"cpu": "100m", "memory": "10Mi"},
            "labels": {"eks.amazonaws.com/instance-family": "fake"},
            "offerings": [
                {"zone": "us-west-2a", "capacityType": "on-demand", "price": 0.1},
                {
                    "zone": "us-west-2b",
                    "capacityType": "reserved",
                    "price": 0,
                    "available": False,
                    "reservationId": "cr-1",
                    "reservationCapacity": 3,
                },
            ],
        }
    ]
}


def test_a_whole_type() -> None:
    catalog = parse_catalog(DOCUMENT)
    entry = catalog.instance_types["fake.large"]
    assert catalog.zones == ("us-west-2a", "us-west-2b")
    assert entry.capacity == {"cpu": 2000, "memory": 8 * 1024**3, "pods": 29}
    assert entry.allocatable["cpu"] == 1900
    assert entry.labels == {
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "fake.large",
        "eks.amazonaws.com/compute-type": "auto",
        "eks.amazonaws.com/instance-family": "fake",
    }
    first, second = entry.offerings
    assert (first.zone, first.price, first.available) == ("us-west-2a", 0.1, True)
    assert (second.reservation_id, second.reservation_capacity) == ("cr-1", 3)
    assert second.labels == {"eks.amazonaws.com/capacity-reservation-id": "cr-1"}
    assert not second.available


def changed(**fields: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["instanceTypes"][0].update(fields)
    return document


def test_null_is_absent_where_a_field_may_be() -> None:
    entry = parse_catalog(changed(overhead=None, labels=None)).instance_types["fake.large"]
    assert entry.allocatable == entry.capacity
    assert "eks.amazonaws.com/instance-family" not in entry.labels


def test_labels_have_their_own_names() -> None:
    given = {"karpenter.k8s.aws/instance-family": "m5"}
    entry = parse_catalog(changed(labels=given)).instance_types["fake.large"]
    assert entry.labels["eks.amazonaws.com/instance-family"] == "m5"


def test_absent_overhead_is_none() -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["instanceTypes"][0]["overhead"]
    entry = parse_catalog(document).instance_types["fake.large"]
    assert entry.allocatable == entry.capacity


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = document
        for part in parents:
            target = target[int(part)] if part.isdigit() else target[part]
        if value is ...:
            del target[last]
        else:
            target[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("instanceTypes", ...), r"^instanceTypes: expected, but missing"),
        (_set("instanceTypes", {}), r"^instanceTypes: expected a list, got \{\}"),
        (_set("extra", 1), r"^extra: unknown field"),
        (_set("instanceTypes.0", "x"), r"^instanceTypes\[0\]: expected an object, got 'x'"),
        (_set("instanceTypes.0.name", ""), r"^instanceTypes\[0\]\.name: expected a string that"),
        (_set("instanceTypes.0.price", 1), r"^instanceTypes\[0\]\.price: unknown field"),
        (
            _set("instanceTypes.0.architecture", "x86"),
            r"\.architecture: expected one of amd64, arm64, got 'x86'",
        ),
        (_set("instanceTypes.0.capacity.cpu", "two"), r"\.capacity\.cpu: quantity 'two'"),
        (_set("instanceTypes.0.capacity.cpu", "-1"), r"\.capacity\.cpu: expected a quantity >= 0"),
        (_set("instanceTypes.0.labels.a", 1), r"\.labels\.a: expected a string, got 1"),
        (_set("instanceTypes.0.operatingSystems", []), r"operatingSystems: expected at least one"),
        (
            _set("instanceTypes.0.offerings.0.price", "1"),
            r"offerings\[0\]\.price: expected a price in USD/hour >= 0, got '1'",
        ),
        (_set("instanceTypes.0.offerings.0.price", True), r"\.price: expected a price"),
        (_set("instanceTypes.0.offerings.0.price", float("nan")), r"\.price: expected a price"),
        (_set("instanceTypes.0.offerings.0.zone", ...), r"offerings\[0\]\.zone: expected, but"),
        (
            _set("instanceTypes.0.offerings.0.capacityType", "ondemand"),
            r"capacityType: expected one of reserved, spot, on-demand",
        ),
        (_set("instanceTypes.0.offerings.0.available", "no"), r"available: expected true or false"),
        (
            _set("instanceTypes.0.offerings.0.reservationId", "cr-2"),
            r"reservationId: expected with",
        ),
        (_set("instanceTypes.0.offerings.1.reservationId", None), r"reservationId: expected with"),
        *(
            (
                _set("instanceTypes.0.offerings.1.reservationCapacity", wrong),
                r"reservationCapacity: expected a number of instances from 0 to 2147483647",
            )
            for wrong in (-1, 2**31, 2**63)
        ),
        (
            _set("instanceTypes.0.offerings.1.reservationCapacity", 1.5),
            r"reservationCapacity: expected a whole number",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_path(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(CatalogError, match=message):
        parse_catalog(document)


def test_names_are_unique() -> None:
    document = {"instanceTypes": DOCUMENT["instanceTypes"] * 2}
    with pytest.raises(CatalogError, match=r"instanceTypes\[1\]\.name: .*'fake\.large' is taken"):
        parse_catalog(document)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"catalog\.json: No such file"),
        (b"{\n 'x'", r"catalog\.json: line 2 column 2: expected JSON"),
        (b"\xff", r"catalog\.json: expected UTF-8"),
        (b"[]", r"catalog\.json: the document: expected an object"),
    ],
)
def test_messages_begin_with_the_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "catalog.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CatalogError, match=message):
        load_catalog_file(path)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(DOCUMENT))
    assert list(load_catalog_file(path).instance_types) == ["fake.large"]
