"""Writing results: JSON and YAML for pipes, tables for people."""

from __future__ import annotations

import json
from typing import Any, TextIO

import yaml


def write_structured(value: Any, output: str, stream: TextIO) -> None:
    """Write `value` as `json` or `yaml`, ending with a newline."""
    if output == "yaml":
        yaml.safe_dump(value, stream, sort_keys=False)
    else:
        json.dump(value, stream, indent=2)
        stream.write("\n")
