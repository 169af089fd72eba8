"""The examples are what the API server accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from guide_objects import GUIDE, filled

from controlplane.plane import ControlPlane

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_examples_apply(plane: ControlPlane) -> None:
    applied = plane.kubectl("apply", "--dry-run=server", "-f", EXAMPLES)
    assert applied.count("created (server dry run)") == len(list(EXAMPLES.glob("*.yaml")))


@pytest.mark.parametrize("entry", GUIDE, ids=[e["page"].replace(" ", "-") for e in GUIDE])
def test_what_the_user_guide_shows_applies(
    plane: ControlPlane, entry: dict[str, Any], tmp_path: Path
) -> None:
    objects = filled(entry)
    manifest = tmp_path / "guide.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    applied = plane.kubectl("apply", "--dry-run=server", "-f", manifest)
    assert applied.count("created (server dry run)") == len(objects)
