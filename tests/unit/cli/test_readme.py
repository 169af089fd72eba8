"""The commands of the README print what it says, on the files that it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
WIDTH = 100
"""Columns of the README's tables."""
TRAIN = """
apiVersion: v1
kind: Pod
metadata: {name: train}
spec:
  containers: [{name: main, image: x, resources: {limits: {nvidia.com/gpu: 1}}}]
"""
"""What the README leaves to the reader's imagination."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


SESSIONS = [block.removeprefix("$ ").partition("\n") for block in blocks("console")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, and the files that the README names in their first line."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "train.yaml").write_text(TRAIN)
    for block in blocks("yaml"):
        if name := re.match(r"# (\S+\.yaml)\n", block):
            (folder / name[1]).write_text(block)
    return folder


def test_the_readme_shows_commands() -> None:
    assert [command.split()[1] for command, _, _ in SESSIONS] == ["plan", "explain", "simulate"]


@pytest.mark.parametrize(("command", "_", "expected"), SESSIONS, ids=[s[0] for s in SESSIONS])
def test_commands_print_what_the_readme_says(
    folder: Path, command: str, _: str, expected: str
) -> None:
    program, *arguments = command.split()
    assert program == "autoctl"
    done = subprocess.run(
        [sys.executable, "-c", "from autoctl.cli.main import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": str(WIDTH)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert stripped(done.stdout) == stripped(expected)


def stripped(text: str) -> list[str]:
    """Lines without the blanks that fill them up to the terminal's width."""
    return [line.rstrip() for line in text.rstrip().splitlines()]
