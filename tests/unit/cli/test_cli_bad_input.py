"""What people type wrongly: one line that names the place, exit code 2, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autoctl.cli.main import cli

HEAD = "apiVersion: simulate.autoctl.io/v1\nkind: Scenario\nduration: 1m\n"
WORKLOAD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %s
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
"""


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("steps: [{at: 5s}]", "steps[0]: expected exactly one of apply, scale, delete, "),
        (
            "steps: [{at: 5s, scale: {kind: Deployment, name: x, replicas: -1}}]",
            "steps[0].scale.replicas: Input should be greater than or equal to 0",
        ),
        ("steps: [{at: 5m, fault: {type: ami-release}}]", "steps[0].at: 0:05:00 is after the end"),
        ("region: mars", "region: 'mars' is not simulated; expected one of ap-northeast-1"),
        ("steps: [", "line 5: expected YAML: expected the node content"),
    ],
)
def test_a_scenario_that_cannot_be_played(tmp_path: Path, scenario: str, message: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + scenario + "\n")
    result = CliRunner().invoke(cli, ["simulate", str(file)])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Value error" not in result.stderr


def test_kinds_that_are_not_simulated_are_passed_over_and_told(tmp_path: Path) -> None:
    """A cluster's dump has them, and a folder of manifests."""
    widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: x}\n"
    (tmp_path / "more.yaml").write_text(widget)
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + "manifests: [.]\n")
    result = CliRunner().invoke(cli, ["simulate", str(file)])
    assert result.exit_code == 0, result.output
    assert "Not simulated: Scenario (1), Widget (1)." in result.stdout


def test_a_scenario_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xff\xfe")
    result = CliRunner().invoke(cli, ["simulate", str(file)])
    assert result.exit_code == 2
    assert result.stderr == f"Error: {file}: expected UTF-8 text: invalid start byte\n"


def test_a_report_without_a_place_is_refused_before_the_simulation(tmp_path: Path) -> None:
    report = tmp_path / "none" / "report.html"
    result = CliRunner().invoke(cli, ["simulate", "--report", str(report)])
    assert result.exit_code == 2
    assert f"there is no folder {report.parent}" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("replicas", ["-3", '"x"', "true", "1.5"])
def test_a_number_of_replicas_that_the_api_server_refuses(tmp_path: Path, replicas: str) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WORKLOAD % replicas)
    result = CliRunner().invoke(cli, ["plan", "-f", str(file)])
    assert result.exit_code == 2, result.output
    assert "replicas: expected a whole number of at least 0, got" in result.stderr


def test_no_replicas_at_all_are_none(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WORKLOAD % "0")
    result = CliRunner().invoke(cli, ["plan", "-f", str(file)])
    assert result.exit_code == 0
    assert "0 nodes, 0 pods, 0 NodePools" in result.stdout


def test_a_locale_without_unicode(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WORKLOAD.replace("web", "wäb") % "1", encoding="utf-8")
    code = "from autoctl.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", "-f", str(file)],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"default/w?b-0" in done.stdout


def test_names_are_whole_in_a_pipe(tmp_path: Path) -> None:
    name = "a-workload-with-" + "-".join(["a-long-name"] * 6)
    file = tmp_path / "w.yaml"
    file.write_text(WORKLOAD.replace("name: web}", f"name: {name}}}", 1) % "1")
    result = CliRunner(env={"COLUMNS": None}).invoke(cli, ["plan", "-f", str(file)])
    assert f"default/{name}-0" in result.stdout
    assert "1 pod, 0 NodePools" in result.stdout


def test_a_report_beside_a_random_world_is_refused() -> None:
    result = CliRunner().invoke(cli, ["simulate", "--random", "1", "--report", "x.html"])
    assert result.exit_code == 2
    assert "--random makes up the whole world" in result.stderr


def test_a_reader_that_goes_away_ends_a_simulation_quietly(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    steps = "steps: [{at: 10s, fault: {type: ami-release}}, {at: 20s, fault: {type: ami-release}}]"
    file.write_text(HEAD + steps + "\n")
    code = "from autoctl.cli.main import main; main()"
    command = f'"{sys.executable}" -c "{code}" simulate "{file}" | true'
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.stderr == b""
