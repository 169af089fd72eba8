"""A trace replayed on the whole operator, and a simulation's independence of hash seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

START = "from autoctl.cli.main import main; main()"
TRACE = """name,cpu,memory,gpu,created,deleted,do_not_disrupt
long,1500,2048,0,0,1500,
early,1500,2048,0,10,400,
gpu,2000,4096,0.5,60,900,
late,500,1024,0,700,1400,true
"""


def _simulate(folder: Path, *arguments: str, hash_seed: str = "0") -> bytes:
    (folder / "trace.csv").write_text(TRACE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", START, "simulate", "--trace", "trace.csv", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _simulate(tmp_path_factory.mktemp("replay"), "-o", "json")


def test_the_same_seed_gives_the_same_bytes_in_every_process(answer: bytes, tmp_path: Path) -> None:
    assert _simulate(tmp_path, "-o", "json", hash_seed="4711") == answer


def test_pods_come_and_go_at_their_times(answer: bytes) -> None:
    series = json.loads(answer)["series"]
    running = dict(zip(series["at"], series["podsRunning"], strict=True))
    assert [running[t] for t in (0.0, 300.0, 600.0, 1000.0, 1600.0)] == [0, 3, 2, 2, 0]


def test_nothing_stays_and_nobody_waits_longer_than_a_launch(answer: bytes) -> None:
    result: dict[str, Any] = json.loads(answer)
    assert result["series"]["nodes"][-1] == 0
    totals = result["totals"]
    assert totals["leaks"] == 0
    assert totals["launched"] == totals["terminated"] > 0
    assert 0 < totals["pendingSeconds"]["max"] <= 70
    assert 0 < totals["usdLowerBound"] <= totals["usd"]


def test_launches_tell_what_they_cost(answer: bytes) -> None:
    launches = [d for d in json.loads(answer)["decisions"] if d["kind"] == "launch"]
    assert launches
    assert all(d["usdPerHour"] > 0 and "." in d["detail"] for d in launches)
