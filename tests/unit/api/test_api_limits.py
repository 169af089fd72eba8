"""The admission table tries every limit of a NodeClass from both sides.

The table itself is put before the offline validation and before a real API server; here it is held
against the CRD, so that no limit is added without a value on either side of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from admission_table import Case, custom_cases

ROOT = Path(__file__).resolve().parents[3]
BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties")


@dataclass(frozen=True)
class Limit:
    """One limit of one field; `path` has `[]` for list items and `{}` for map values."""

    path: str
    kind: str
    value: Any

    def __str__(self) -> str:
        return f"{self.path} {self.kind} {self.value}"[:100]

    def size(self, value: Any) -> Any:
        """What of a value the limit is about."""
        return value if self.kind in ("minimum", "maximum") else len(value)

    def beyond(self, value: Any) -> bool:
        if self.kind in ("minimum", "maximum") and not isinstance(value, int):
            return False
        size = self.size(value)
        return bool(size < self.value if self.kind.startswith("min") else size > self.value)


def limits(schema: Mapping[str, Any], path: str) -> Iterator[Limit]:
    for kind in BOUNDS:
        # A minimum of nothing has nothing below it.
        if kind in schema and (kind, schema[kind]) not in (("minLength", 0), ("minItems", 0)):
            yield Limit(path, kind, schema[kind])
    for choice in schema.get("enum", ()):
        yield Limit(path, "enum", choice)
    if "pattern" in schema:
        yield Limit(path, "pattern", schema["pattern"])
    for rule in schema.get("x-kubernetes-validations", ()):
        yield Limit(path, "rule", rule["message"])
    for name, below in schema.get("properties", {}).items():
        yield from limits(below, f"{path}.{name}")
    if "items" in schema:
        yield from limits(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from limits(schema["additionalProperties"], f"{path}{{}}")


def values(tree: Any, path: list[str]) -> Iterator[Any]:
    """What an object has at a path."""
    if not path:
        yield tree
        return
    head, rest = path[0], path[1:]
    if head == "[]":
        for item in tree if isinstance(tree, list) else ():
            yield from values(item, rest)
    elif head == "{}":
        for item in tree.values() if isinstance(tree, Mapping) else ():
            yield from values(item, rest)
    elif isinstance(tree, Mapping) and head in tree:
        yield from values(tree[head], rest)


def split(path: str) -> list[str]:
    spaced = path.replace("[]", "\n[]").replace("{}", "\n{}")
    # Names of sysctls have dots of their own.
    head, found, tail = spaced.partition(".kernel.sysctl.")
    parts = [part for part in head.replace(".", "\n").split("\n") if part]
    return [*parts, "kernel", "sysctl", tail] if found else parts


def schema() -> Mapping[str, Any]:
    definition = yaml.safe_load((ROOT / "crds" / "eks.amazonaws.com_nodeclasses.yaml").read_text())
    whole = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: Mapping[str, Any] = whole["properties"]["spec"]
    return found


CASES = [case for case in custom_cases() if case.manifest["kind"] == "NodeClass"]
UNREACHABLE = {
    ("spec.advancedCompute.hugepages.pages", "maxItems"): "a third size would be there twice",
    ("spec.advancedCompute.kubelet.eviction.hard", "maxProperties"): "there are six signals",
    ("spec.advancedCompute.kubelet.eviction.soft", "maxProperties"): "there are six signals",
    ("spec.advancedCompute.kubelet.eviction.softGracePeriod", "maxProperties"): "six signals",
    ("spec.advancedCompute.kubelet.eviction.hard{}", "maxLength"): "digits and a unit",
    ("spec.advancedCompute.kubelet.eviction.soft{}", "maxLength"): "digits and a unit",
    ("spec.advancedCompute.kubelet.idsPerPod", "maximum"): "is no multiple of 65536",
    ("spec.ephemeralStorage.kmsKeyID", "maxLength"): "an alias ARN is shorter",
    ("spec.advancedCompute.kubelet.logging.containerLogMaxSize", "maxLength"): "12 digits, a unit",
    ("spec.certificateBundles[].name", "minLength"): "the pattern wants one character, too",
    ("spec.certificateBundles[].data", "minLength"): "the pattern wants one character, too",
}
"""Limits that another limit of the field comes before."""
LIMITS = sorted(
    (x for x in set(limits(schema(), "spec")) if (x.path, x.kind) not in UNREACHABLE), key=str
)


def tried(limit: Limit, cases: list[Case]) -> list[Any]:
    path = split(limit.path)
    return [value for case in cases for value in values(case.manifest, path)]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_both_sides_are_in_the_table(limit: Limit) -> None:
    accepted = [case for case in CASES if not case.errors]
    refused = [case for case in CASES if case.errors]
    if limit.kind == "rule":
        messages = {message for case in refused for _, message in case.errors}
        assert any(limit.value in message for message in messages), "nothing breaks the rule"
        return
    good, bad = tried(limit, accepted), tried(limit, refused)
    if limit.kind == "enum":
        assert limit.value in good, "the value is not tried"
        choices = {other.value for other in LIMITS if (other.path, other.kind) == key(limit)}
        assert any(value not in choices for value in bad), "no other value is tried"
    elif limit.kind == "pattern":
        assert good, "nothing that matches is tried"
        assert bad, "nothing that does not match is tried"
    else:
        assert any(limit.size(value) == limit.value for value in good), "the limit is not tried"
        assert any(limit.beyond(value) for value in bad), "nothing beyond the limit is tried"


def key(limit: Limit) -> tuple[str, str]:
    return limit.path, limit.kind


def test_there_are_limits() -> None:
    assert len(LIMITS) > 120
    assert len(CASES) > 100
