"""The benchmarks of disruption at tiny sizes: what they report, and that budgets hold all along."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from autoctl.cli.main import cli

OF_THE_MACHINE = {"seconds", "cpuSeconds", "firstCpuSeconds", "peakMemoryMiB", "decisionSeconds"}


def report(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["bench", *arguments, "-o", "json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return {k: v for k, v in found.items() if k not in OF_THE_MACHINE}


def test_one_pass_takes_what_the_budget_allows() -> None:
    found = report("disrupt", "--nodes", "31", "--pods-per-node", "4")
    assert found["nodesGoing"] == 4, "a tenth, rounded up"
    assert 0 < found["evictions"] <= found["pods"]
    assert found["savings"] > 0
    assert found == report("disrupt", "--nodes", "31", "--pods-per-node", "4")


def test_every_state_on_the_way_keeps_the_default_budget() -> None:
    found = report("consolidate", "--nodes", "12", "--budget", "10%")
    assert found["mostOverBudget"] == 0
    assert found["nodesAfter"] < found["nodesBefore"] == 12
    assert found["usdPerHourAfter"] < 0.7 * found["usdPerHourBefore"]
