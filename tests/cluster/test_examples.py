"""The examples are what the API server accepts."""

from __future__ import annotations

from pathlib import Path

from controlplane.plane import ControlPlane

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_examples_apply(plane: ControlPlane) -> None:
    applied = plane.kubectl("apply", "--dry-run=server", "-f", EXAMPLES)
    assert applied.count("created (server dry run)") == len(list(EXAMPLES.glob("*.yaml")))
