"""Output that cannot be written is told in one line, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
START = "from autoctl.cli.main import main; main()"


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [
        ["version"],
        ["--help"],
        ["crds"],
        ["simulate", "--duration", "1m"],
        ["simulate", "--duration", "1m", "-o", "json"],
    ],
)
def test_a_full_disk_is_one_clear_line(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", START, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == "Error: cannot write the output: No space left on device\n"
    assert done.returncode == os.EX_IOERR
