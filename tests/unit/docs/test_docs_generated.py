"""The generated pages of the documentation are those that the code makes now."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "hack" / "docs.py"))


def test_pages_are_current(generator: dict[str, Any]) -> None:
    written = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
    assert written == generator["pages"](), "run `make docs`"


def test_fields_of_lists_and_maps_are_found(generator: dict[str, Any]) -> None:
    page = generator["object_page"](
        {
            "spec": {
                "group": "example.com",
                "scope": "Cluster",
                "names": {"kind": "Thing", "plural": "things", "shortNames": ["th"]},
                "versions": [
                    {
                        "name": "v1",
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"properties": {"spec": SPEC}}},
                    }
                ],
            }
        }
    )
    assert "`example.com/v1`, cluster-scoped; `kubectl get things`, `th`." in page
    assert "| `spec.parts` | list of object |  | Not empty. |" in page
    assert r"| `spec.parts[].size` | integer or string | `1\|2` | How big. |" in page
    assert "| `spec.limits.<key>.soft` | integer | **required** | At least 0. |" in page
    assert "- `spec.parts[]`: too big" in page


SPEC = {
    "properties": {
        "parts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "x-kubernetes-validations": [{"rule": "self.size < 3", "message": "too big"}],
                "properties": {
                    "size": {
                        "x-kubernetes-int-or-string": True,
                        "default": "1|2",
                        "description": "How big.",
                    }
                },
            },
        },
        "limits": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["soft"],
                "properties": {"soft": {"type": "integer", "minimum": 0}},
            },
        },
    }
}
