"""What `make demo` plays holds what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from autoctl.cli.main import cli


@pytest.mark.slow
@pytest.mark.looptime(False)
def test_the_built_in_tour_meets_its_expectations(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    done = CliRunner().invoke(cli, ["simulate", "--report", str(report)])
    assert done.exit_code == 0, done.output
    assert report.stat().st_size > 10_000
