"""Names that the tests of the charts share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

CHARTS = Path(__file__).resolve().parents[3] / "charts"

Render = Callable[..., list[dict[str, Any]]]
"""`render(chart, values, *arguments)`: the objects that `helm template` prints."""


def one(objects: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    """The only object of its kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, [(o["kind"], o["metadata"]["name"]) for o in objects]
    return found[0]
