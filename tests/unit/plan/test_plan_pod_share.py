"""`--max-pod-share`: how much of a batch one new node is loaded with."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from plan_builders import Z1, instance_type, node_pool, offering, plan, pods

from autoctl.cli.main import cli

LARGE = instance_type(
    "large",
    cpu="100",
    memory="200Gi",
    pods="110",
    overhead={"cpu": "0"},
    offerings=[offering(Z1, "on-demand", 1.0)],
)
SMALL = instance_type(
    "small",
    cpu="50",
    memory="100Gi",
    pods="110",
    overhead={"cpu": "0"},
    offerings=[offering(Z1, "on-demand", 0.5)],
)


@pytest.mark.parametrize(
    ("arguments", "loads"),
    [
        pytest.param((), [50, 50], id="default"),
        pytest.param(("--max-pod-share", "0.5"), [50, 50], id="half"),
        pytest.param(("--max-pod-share", "1"), [100], id="switched off"),
    ],
)
def test_the_largest_share_of_a_batch_on_one_node(
    tmp_path: Path, arguments: tuple[str, ...], loads: list[int]
) -> None:
    batch = pods(100, cpu="1", memory="1Gi")
    answer = plan(tmp_path, [node_pool(), batch], *arguments, catalog=[LARGE, SMALL])
    assert sorted(len(c["pods"]) for c in answer.claims) == loads
    assert answer.unschedulable == {}


def test_a_share_of_nothing_is_refused() -> None:
    outcome = CliRunner().invoke(cli, ["plan", "--max-pod-share", "0"])
    assert outcome.exit_code == 2
    assert "--max-pod-share" in outcome.output
