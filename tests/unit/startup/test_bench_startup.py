"""`autoctl bench startup` starts the real operator and reports what the contract names."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from autoctl.cli.main import cli
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, PODS
from autoctl.simulate.static_api import cluster_objects


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_operator_gets_ready_and_is_measured() -> None:
    outcome = CliRunner().invoke(
        cli, ["bench", "startup", "--nodes", "3", "--pods", "9", "-o", "json"]
    )
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    assert {"secondsToReady", "residentMiB"} <= set(result)
    assert result["secondsToReady"] > 0
    assert 20 < result["residentMiB"] <= result["peakResidentMiB"]


def test_the_made_cluster_is_at_rest() -> None:
    objects = cluster_objects(4, 10)
    names = {n["metadata"]["name"] for n in objects[NODES]}
    assert len(names) == 4
    assert {c["status"]["nodeName"] for c in objects[NODE_CLAIMS]} == names
    pods = objects[PODS]
    assert len({p["metadata"]["uid"] for p in pods}) == 10
    assert {p["spec"]["nodeName"] for p in pods} == names
