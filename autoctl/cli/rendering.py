"""Writing results: JSON and YAML for pipes, tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

import yaml


def write_structured(value: Any, output: str, stream: TextIO) -> None:
    """Write `value` as `json` or `yaml`, ending with a newline."""
    if output == "yaml":
        yaml.safe_dump(value, stream, sort_keys=False)
    else:
        json.dump(value, stream, indent=2)
        stream.write("\n")


def reason_lines(reason: str, detail: Mapping[str, str]) -> list[str]:
    """Why a pod cannot be placed, a line for each NodePool; nothing is said twice.

    A reason that ends with what the NodePools say, in one sentence, is cut before it.
    """
    if reason in detail.values():
        if len(detail) == 1:
            return [f"NodePool {pool}: {why}" for pool, why in detail.items()]
        return [reason]
    spoken = "; ".join(f"{pool}: {why}" for pool, why in detail.items())
    head = reason.removesuffix(spoken).removesuffix(": ")
    return [head, *(f"NodePool {pool}: {why}" for pool, why in sorted(detail.items()))]
