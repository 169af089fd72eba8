"""Reads `admission.yaml` and `core.yaml`: the manifests and what the API server says to them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nodeclass_limits import Error, entries

from autoctl.api.nodeclass_compute import SYSCTL_RANGES

ADMISSION = Path(__file__).with_name("admission.yaml")
CORE = Path(__file__).with_name("core.yaml")
UNCHECKED = (
    "<nil>",
    (
        "Invalid value: null: some validation rules were not checked because the object was "
        "invalid; correct the existing errors to complete validation"
    ),
)


@dataclass(frozen=True)
class Case:
    """One object, or one change of an object when `old` is there, and the errors it must get."""

    name: str
    manifest: dict[str, Any]
    old: dict[str, Any] | None
    errors: frozenset[tuple[str, str]]
    """(field, message) as in the causes of the API server's answer; empty: accepted."""

    def __str__(self) -> str:
        return self.name


def without_nulls(value: Any) -> Any:
    """The value without fields that are null, as the API server stores it."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def custom_cases() -> list[Case]:
    """`admission.yaml`, then both sides of sysctls' ranges and of NodeClasses' other limits."""
    table = yaml.safe_load(ADMISSION.read_text(encoding="utf-8"))
    read = [_case(entry, table["bases"]) for entry in table["cases"]]
    base = table["bases"]["class"]
    return read + _sysctl_cases(base) + _limit_cases(base)


def core_cases() -> list[Case]:
    """`core.yaml`."""
    table = yaml.safe_load(CORE.read_text(encoding="utf-8"))
    return [_case(entry, table["bases"]) for entry in table["cases"]]


def _case(entry: dict[str, Any], bases: dict[str, Any]) -> Case:
    base = bases[entry["base"]]
    manifest = copy.deepcopy(merge_patch(base, entry.get("patch", {})))
    if "repeat" in entry:
        repeat = entry["repeat"]
        _put(manifest, repeat["path"], [repeat["item"]] * repeat["times"])
    if "value" in entry:
        _put(manifest, entry["value"]["path"], entry["value"]["is"])
    if "text" in entry:
        text = entry["text"]
        _put(manifest, text["path"], text["value"] * text["times"])
    return Case(
        name=entry["name"],
        manifest=manifest,
        old=copy.deepcopy(merge_patch(base, entry["old"])) if "old" in entry else None,
        errors=frozenset((error["field"], error["message"]) for error in entry.get("errors", ())),
    )


def _put(target: Any, path: list[str | int], value: Any) -> None:
    """Set the value at `path`; what lacks on the way is made, `0` makes a list of one."""
    for key, following in zip(path, [*path[1:], None], strict=True):
        if following is None:
            target[key] = value
        elif following == 0:
            target[key] = [None]
        else:
            target.setdefault(key, {})
        target = target[key]


def _limit_cases(base: dict[str, Any]) -> list[Case]:
    return [
        Case(
            name=name,
            manifest=copy.deepcopy(merge_patch(base, {"spec": spec})),
            old=None,
            errors=_with_unchecked([] if error is None else error),
        )
        for name, spec, error in entries()
    ]


def _with_unchecked(error: Error | list[Error]) -> frozenset[Error]:
    """The errors; with some, the API server says that it left rules unchecked."""
    errors = {error} if isinstance(error, tuple) else set(error)
    blocking = ("Too long", "Too many", "Unsupported value")
    if any(message.startswith(blocking) for _, message in errors):
        errors.add(UNCHECKED)
    return frozenset(errors)


def _sysctl_cases(base: dict[str, Any]) -> list[Case]:
    partners = {
        "vm.dirty_background_ratio": {"vm.dirty_ratio": 40},
        "vm.dirty_ratio": {"vm.dirty_background_ratio": 1},
        "net.ipv4.neigh.default.gc_thresh1": {
            "net.ipv4.neigh.default.gc_thresh2": 524287,
            "net.ipv4.neigh.default.gc_thresh3": 1048576,
        },
        "net.ipv4.neigh.default.gc_thresh2": {
            "net.ipv4.neigh.default.gc_thresh1": 0,
            "net.ipv4.neigh.default.gc_thresh3": 1048576,
        },
        "net.ipv4.neigh.default.gc_thresh3": {
            "net.ipv4.neigh.default.gc_thresh1": 0,
            "net.ipv4.neigh.default.gc_thresh2": 512,
        },
    }
    made = []
    for name, (low, high) in SYSCTL_RANGES.items():
        field = f"spec.advancedCompute.kernel.sysctl.{name}"
        below = f"{field} in body should be greater than or equal to {low}"
        above = f"{field} in body should be less than or equal to {high}"
        for value, detail in ((low, None), (high, None), (low - 1, below), (high + 1, above)):
            sysctl = {name: value, **partners.get(name, {})}
            patch = {"spec": {"advancedCompute": {"kernel": {"sysctl": sysctl}}}}
            made.append(
                Case(
                    name=f"{name} = {value}",
                    manifest=copy.deepcopy(merge_patch(base, patch)),
                    old=None,
                    errors=frozenset({(field, f"Invalid value: {value}: {detail}")})
                    if detail
                    else frozenset(),
                )
            )
    return made
