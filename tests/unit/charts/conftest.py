"""Rendering the charts with the pinned helm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts_rendering import CHARTS, Render

from controlplane import build


@pytest.fixture(scope="session")
def helm() -> Path:
    try:
        return build.program("helm")
    except build.GoMissingError as error:
        text = f"LEFT OUT: the tests that render the charts need Go ({error})"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture
def run_helm(helm: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run helm away from the settings of the person who runs the tests."""
    folders = {f"HELM_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HELM_", "KUBE"))}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(helm), *map(str, arguments)],
            env=kept | folders,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def render(run_helm: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Render:
    """`helm template` of a chart with values; returns the objects."""

    def objects(
        chart: str, values: dict[str, Any] | None = None, *arguments: str
    ) -> list[dict[str, Any]]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values or {}))
        done = run_helm("template", "release", CHARTS / chart, "-n", "ns", "-f", file, *arguments)
        if done.returncode:
            raise RuntimeError(done.stderr)
        loaded = yaml.load_all(done.stdout, yaml.CSafeLoader)
        return [document for document in loaded if document]

    return objects
