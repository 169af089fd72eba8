"""`autoctl bench schedule` at tiny sizes: what it reports, and that the report is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autoctl.cli.main import cli

KEYS = {
    "pods",
    "mix",
    "instanceTypes",
    "seed",
    "seconds",
    "cpuSeconds",
    "podsPerSecond",
    "existingNodes",
    "nodes",
    "usdPerHour",
    "lowerBound",
    "costOverBound",
    "peakMemoryMiB",
    "unschedulable",
    "method",
    "work",
}
OF_THE_MACHINE = {"seconds", "cpuSeconds", "podsPerSecond", "peakMemoryMiB"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["bench", "schedule", *arguments])


def report(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("mix", ["diverse", "uniform", "bimodal", "large", "preferences"])
def test_every_mix_is_placed_whole(mix: str) -> None:
    found = report("--pods", "40", "--instance-types", "60", "--mix", mix)
    assert found.keys() == KEYS
    assert (found["pods"], found["mix"], found["unschedulable"]) == (40, mix, 0)
    assert 0 < found["lowerBound"] <= found["usdPerHour"]
    over = found["usdPerHour"] / found["lowerBound"] - 1
    assert found["costOverBound"] == pytest.approx(over, abs=1e-4)
    assert 0 < found["nodes"] <= 40


def test_a_seed_decides_everything_but_the_time() -> None:
    arguments = ("--pods", "60", "--instance-types", "30", "--mix", "uniform", "--seed")
    first, again, other = (report(*arguments, seed) for seed in ("7", "7", "8"))
    kept = KEYS - OF_THE_MACHINE
    assert {k: first[k] for k in kept} == {k: again[k] for k in kept}
    assert first["usdPerHour"] != other["usdPerHour"]


def test_pods_larger_than_every_type_are_counted() -> None:
    found = report("--pods", "20", "--instance-types", "1", "--mix", "large")
    assert found["unschedulable"] == 20
    assert (found["nodes"], found["usdPerHour"], found["method"]) == (0, 0.0, "none")


def test_a_trace_is_planned_on_the_catalog(tmp_path: Path) -> None:
    trace = tmp_path / "pods.csv"
    trace.write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"
        "plain,1000,2048,0,0\nshare,4000,8192,1,460\nwhole,8000,16384,2,1000\n"
    )
    found = report("--trace", str(trace))
    assert (found["pods"], found["mix"], found["unschedulable"]) == (3, "trace", 0)
    assert found["instanceTypes"] > 500


def test_a_trace_without_its_columns_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "pods.csv"
    trace.write_text("name,cpu\na,1\n")
    result = run("--trace", str(trace))
    assert result.exit_code == 2
    assert "cpu_milli" in result.output


def test_text_has_a_line_for_each_figure() -> None:
    result = run("--pods", "5", "--instance-types", "5")
    assert result.exit_code == 0
    assert {line.split()[0] for line in result.stdout.splitlines()} == KEYS


def test_a_pod_beside_nodes_that_are_there_takes_room_on_one() -> None:
    found = report("--pods", "1", "--instance-types", "8", "--nodes", "20")
    assert (found["existingNodes"], found["nodes"], found["unschedulable"]) == (20, 0, 0)


def test_without_nodes_some_are_bought() -> None:
    found = report("--pods", "20", "--instance-types", "8")
    assert found["existingNodes"] == 0
    assert found["nodes"] > 0
    assert found["usdPerHour"] >= found["lowerBound"] > 0
