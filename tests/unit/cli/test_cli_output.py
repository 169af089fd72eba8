"""Output that cannot be written is told in one line, whatever the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
ROOT = Path(__file__).parents[3]
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["version"],
        ["--help"],
        ["crds", "--help"],
        ["crds"],
        ["plan", "-f", "examples"],
        ["plan", "-f", "examples", "-o", "json"],
        ["simulate", "--duration", "10m"],
        ["simulate", "--duration", "1m", "-o", "json"],
    ],
)
def test_a_reader_that_goes_away_ends_every_command_alike(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_interrupt_is_no_failed_expectation() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", START, "simulate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Shells let what they run in the background ignore it, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    process.stdout.readline()  # a decision: it is being played
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert (process.returncode, told) == (128 + signal.SIGINT, b"Interrupted.\n")
