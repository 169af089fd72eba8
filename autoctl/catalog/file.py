"""A catalog from a file, in place of the embedded one: `plan --catalog FILE`.

The form is documented in docs/plan.md. Whatever is wrong is told with the file, the path of the
field inside it and what was expected there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autoctl.api.labels import (
    ARCH,
    CAPACITY_RESERVATION_ID,
    CAPACITY_TYPES,
    COMPUTE_TYPE,
    COMPUTE_TYPE_AUTO,
    INSTANCE_TYPE,
    OS,
    normalize_label,
)
from autoctl.api.quantity import QuantityError
from autoctl.catalog.model import RESERVED, Catalog, InstanceType, Offering
from autoctl.catalog.units import amount

REGION = "file"
"""The region of a catalog that names none."""

_MOST_RESERVED = 2**31 - 1

ACCELERATORS = frozenset(
    {"nvidia.com/gpu", "amd.com/gpu", "aws.amazon.com/neuron", "aws.amazon.com/neuroncore"}
)


class CatalogError(ValueError):
    """A catalog file that cannot be used: `FILE: PATH: expected ..., got ...`."""


def load_catalog_file(path: str | Path) -> Catalog:
    """Read a catalog. Raises CatalogError, also for a file that cannot be read."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path}: expected UTF-8 text, {error.reason}") from error
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise CatalogError(
            f"{path}: line {error.lineno} column {error.colno}: expected JSON, {error.msg}"
        ) from error
    try:
        return parse_catalog(document)
    except CatalogError as error:
        raise CatalogError(f"{path}: {error}") from error


def parse_catalog(document: Any) -> Catalog:
    """The catalog of a decoded document. Raises CatalogError naming the field's path."""
    root = _object(document, "the document", required={"instanceTypes"}, optional={"region"})
    region = root.get("region", REGION)
    types: dict[str, InstanceType] = {}
    for index, entry in enumerate(_list(root["instanceTypes"], "instanceTypes")):
        path = f"instanceTypes[{index}]"
        parsed = _instance_type(entry, path)
        if parsed.name in types:
            raise CatalogError(f"{path}.name: expected a name of its own, {parsed.name!r} is taken")
        types[parsed.name] = parsed
    return Catalog(_text(region, "region"), types)


def _instance_type(value: Any, path: str) -> InstanceType:
    entry = _object(
        value,
        path,
        required={"name", "architecture", "capacity", "offerings"},
        optional={"operatingSystems", "overhead", "labels"},
    )
    name = _text(entry["name"], f"{path}.name")
    architecture = _choice(entry["architecture"], f"{path}.architecture", ("amd64", "arm64"))
    systems = tuple(
        _text(system, f"{path}.operatingSystems[{index}]")
        for index, system in enumerate(
            _list(entry.get("operatingSystems", ["linux"]), f"{path}.operatingSystems")
        )
    )
    if not systems:
        raise CatalogError(f"{path}.operatingSystems: expected at least one, got none")
    system = {OS: systems[0]} if len(systems) == 1 else {}
    capacity = _resources(entry["capacity"], f"{path}.capacity")
    labels = _labels(entry.get("labels"), f"{path}.labels")
    offerings = tuple(
        _offering(offering, f"{path}.offerings[{index}]")
        for index, offering in enumerate(_list(entry["offerings"], f"{path}.offerings"))
    )
    return InstanceType(
        name=name,
        architecture=architecture,
        capacity=capacity,
        overhead=_resources(_given(entry.get("overhead")), f"{path}.overhead"),
        operating_systems=systems,
        labels={
            COMPUTE_TYPE: COMPUTE_TYPE_AUTO,
            **system,
            **labels,
            ARCH: architecture,
            INSTANCE_TYPE: name,
        },
        offerings=offerings,
        exotic=any(capacity.get(resource) for resource in ACCELERATORS),
    )


def _offering(value: Any, path: str) -> Offering:
    entry = _object(
        value,
        path,
        required={"zone", "capacityType", "price"},
        optional={"available", "reservationId", "reservationCapacity", "labels"},
    )
    capacity_type = _choice(entry["capacityType"], f"{path}.capacityType", CAPACITY_TYPES)
    reservation = entry.get("reservationId")
    capacity = entry.get("reservationCapacity")
    if reservation is not None:
        _text(reservation, f"{path}.reservationId")
    if capacity is not None and (isinstance(capacity, bool) or not isinstance(capacity, int)):
        raise _expected(f"{path}.reservationCapacity", "a whole number", capacity)
    if capacity is not None and not 0 <= capacity <= _MOST_RESERVED:
        what = f"a number of instances from 0 to {_MOST_RESERVED}"
        raise _expected(f"{path}.reservationCapacity", what, capacity)
    if (capacity_type == RESERVED) != (reservation is not None):
        raise CatalogError(
            f"{path}.reservationId: expected with capacityType {RESERVED} and only there"
        )
    available = entry.get("available", True)
    if not isinstance(available, bool):
        raise _expected(f"{path}.available", "true or false", available)
    labels = _labels(entry.get("labels"), f"{path}.labels")
    if reservation is not None:
        labels[CAPACITY_RESERVATION_ID] = reservation
    return Offering(
        zone=_text(entry["zone"], f"{path}.zone"),
        capacity_type=capacity_type,
        price=_price(entry["price"], f"{path}.price"),
        available=available,
        reservation_id=reservation,
        reservation_capacity=capacity,
        labels=labels,
    )


def _given(value: Any) -> Any:
    """The value; nothing where the file says null."""
    return {} if value is None else value


def _labels(value: Any, path: str) -> dict[str, str]:
    given = _mapping(_given(value), path)
    return {
        normalize_label(key): _text(label, f"{path}.{key}", empty=True)
        for key, label in given.items()
    }


def _price(value: Any, path: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise _expected(path, "a price in USD/hour >= 0", value)
    return float(value)


def _resources(value: Any, path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for resource, quantity in _mapping(value, path).items():
        try:
            found[resource] = amount(resource, quantity)
        except QuantityError as error:
            raise CatalogError(f"{path}.{resource}: {error}") from error
        if found[resource] < 0:
            raise _expected(f"{path}.{resource}", "a quantity >= 0", quantity)
    return found


def _object(value: Any, path: str, *, required: set[str], optional: set[str]) -> dict[str, Any]:
    entry = _mapping(value, path)
    prefix = "" if path == "the document" else f"{path}."
    for key in sorted(required - entry.keys()):
        raise CatalogError(f"{prefix}{key}: expected, but missing")
    for key in sorted(entry.keys() - required - optional):
        fields = ", ".join(sorted(required | optional))
        raise CatalogError(f"{prefix}{key}: unknown field, expected one of {fields}")
    return entry


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _expected(path, "an object", value)
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise _expected(path, "a list", value)
    return value


def _text(value: Any, path: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise _expected(path, "a string" if empty else "a string that is not empty", value)
    return value


def _choice(value: Any, path: str, choices: Iterable[str]) -> str:
    choices = tuple(choices)
    if value not in choices:
        raise _expected(path, "one of " + ", ".join(choices), value)
    return str(value)


def _expected(path: str, what: str, value: object) -> CatalogError:
    got = type(value).__name__ if isinstance(value, (dict, list)) and value else repr(value)
    return CatalogError(f"{path}: expected {what}, got {got}")
