"""What is decided before any command is imported."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, sys
from autoctl.cli import main
assert "numpy" not in sys.modules, "numpy reads its settings when it is imported"
sys.argv = ["autoctl", "version"]
try:
    main.main()
except SystemExit:
    pass
print(os.environ["OPENBLAS_NUM_THREADS"])
"""


def _threads(**environment: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_matrices_are_multiplied_by_one_thread_unless_told_otherwise() -> None:
    assert _threads() == "1"
    assert _threads(OPENBLAS_NUM_THREADS="3") == "3"
