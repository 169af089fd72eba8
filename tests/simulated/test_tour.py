"""What `make demo` plays holds what it promises, and is the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

START = "from autoctl.cli.main import main; main()"


def _tour(folder: Path, hash_seed: str) -> tuple[bytes, Path]:
    """The tour in a process of its own: its JSON and its report."""
    report = folder / f"report-{hash_seed}.html"
    done = subprocess.run(
        [sys.executable, "-c", START, "simulate", "-o", "json", "--report", str(report)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=False,
    )
    # Exit code 1 would be an expectation of the tour that failed.
    assert done.returncode == 0, (done.stderr.decode(), done.stdout.decode()[-4000:])
    return done.stdout, report


@pytest.mark.slow
@pytest.mark.looptime(False)
def test_the_built_in_tour_meets_its_expectations_with_the_same_bytes_in_every_process(
    tmp_path: Path,
) -> None:
    with ThreadPoolExecutor(2) as pool:
        (one, report), (other, _) = pool.map(lambda seed: _tour(tmp_path, seed), ("0", "4711"))
    assert one == other
    assert report.stat().st_size > 10_000
