"""The published examples of the plan contract, where they are beside this repository."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from autoctl.cli.main import cli

CONTRACT = Path(__file__).resolve().parents[4] / "shared" / "contract"
CASES = sorted(p.name for p in CONTRACT.iterdir() if p.is_dir()) if CONTRACT.is_dir() else []


@pytest.mark.skipif(not CASES, reason="the contract's examples are not beside this repository")
@pytest.mark.parametrize("case", CASES)
def test_example(case: str) -> None:
    folder = CONTRACT / case
    told = json.loads((folder / "expect.json").read_text())
    files = ["-f", str(folder / "objects.json"), "--catalog", str(folder / "catalog.json")]
    outcome = CliRunner().invoke(cli, ["plan", *files, *told["args"]], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    check(json.loads(outcome.stdout), told["expect"])


def check(answer: dict[str, Any], expect: dict[str, Any]) -> None:
    claims, disruptions = answer["nodeClaims"], answer["disruptions"]
    found = {
        "nodeClaims": lambda: len(claims),
        "instanceType": lambda: claims[0]["offer"]["instanceType"],
        "alternatives": lambda: claims[0]["alternatives"],
        "costAfter": lambda: answer["cost"]["after"],
        "disruptions": lambda: len(disruptions),
        "reason": lambda: disruptions[0]["reason"],
        "nodes": lambda: sorted(n for d in disruptions for n in d["nodes"]),
        "replacements": lambda: sum(len(d["replacements"]) for d in disruptions),
        "evictions": lambda: sum(d["evictions"] for d in disruptions),
        "unschedulable": lambda: [u["pod"] for u in answer["unschedulable"]],
    }
    for name, value in expect.items():
        if name == "podsApart":
            for pair in value:
                assert not any(set(pair) <= set(c["pods"]) for c in claims)
        else:
            assert found[name]() == value, name
