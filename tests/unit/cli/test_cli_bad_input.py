"""What people type wrongly: one line that names the place, exit code 2, no traceback."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autoctl.cli.main import cli
from autoctl.simulate.fault_fields import check_fault

HEAD = "apiVersion: simulate.autoctl.io/v1\nkind: Scenario\nduration: 1m\n"
JOB = "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {parallelism: 2000000000}}"
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
        ("steps: [{at: -5s, fault: {type: ami-release}}]", "steps[0].at: expected 0s or more"),
        ("expect: [{at: -5s, nodes: 1}]", "expect[0].at: expected 0s or more, got -0:00:05"),
        ("expect: [{at: soon, nodes: 1}]", "expect[0].at: expected a duration such as 90s"),
        ("expect: [{at: 30s}]", "expect[0]: expected at least one of nodes, pods, pendingPods"),
        (
            "expect: [{at: end, nodes: {min: 5, max: 2}}]",
            "expect[0].nodes: expected min not above max, got min 5 and max 2",
        ),
        ("expect: [{at: end, nodes: {}}]", "expect[0].nodes: expected a number, or min, max"),
        ("expect: [{at: end, nodes: .nan}]", "expect[0].nodes.min: Input should be a finite"),
        ("sample: 0s", "sample: expected more than 0s"),
        ("sample: ''", "sample: expected a duration such as 90s"),
        ("sample: 1e300d", "sample: expected a duration such as 90s"),
        ("colour: red", "s.yaml: colour: unknown field\n"),
        ("settings: {bootSeconds: -1}", "greater than or equal to 0, got -1\n"),
        (
            "settings: {instanceTypes: [m7i.large, wat.large]}",
            "instanceTypes[1]: expected an instance type of us-west-2 such as m7i.large, got 'wat",
        ),
        (
            "settings: {reservations: [{instanceType: wat.large, zone: us-west-2a}]}",
            "settings.reservations[0].instanceType: expected an instance type of us-west-2",
        ),
        (
            "settings: {reservations: [{instanceType: m7i.large, zone: mars}]}",
            "settings.reservations[0].zone: expected one of us-west-2a, us-west-2b",
        ),
        (
            "settings: {operator: {savings_threshold: high}}",
            "settings.operator.savings_threshold: Input should be a valid number, unable to parse",
        ),
        ("settings: {operator: 7}", "settings.operator: Input should be a valid dictionary, got 7"),
        ("settings: {operator: {wat: 1}}", "settings.operator.wat: unknown field\n"),
        ("settings: {operator: {log_level: wat}}", "settings.operator.log_level: Input should be"),
        (
            "settings: {operator: {batch_idle_duration: 20s}}",
            "settings.operator: batch-idle-duration must not be more than batch-max-duration",
        ),
        (
            "steps: [{at: 5s, fault: {type: api-error, operations: ['ec2:*', Wat]}}]",
            "steps[0].fault.operations[1]: expected a request of the operator to AWS such as ec2:",
        ),
        (
            "steps: [{at: 5s, fault: {type: api-error, operations: 5}}]",
            "steps[0].fault.operations: expected a list of strings, got 5",
        ),
        (
            "steps: [{at: 5s, fault: {type: api-error, share: x}}]",
            "steps[0].fault.share: expected a number above 0 and at most 1, got 'x'",
        ),
        (
            "steps: [{at: 5s, fault: {type: spot-interruption, count: 0}}]",
            "steps[0].fault.count: expected a whole number of at least 1, got 0",
        ),
        ("steps: [{at: 5s, fault: {type: wat}}]", "steps[0].fault.type: expected one of insuff"),
        (
            "steps: [{at: 5s, fault: {type: kube-error, resources: [pod]}}]",
            "steps[0].fault.resources[0]: expected a plural such as pods, got 'pod'",
        ),
        (
            "steps: [{at: 5s, fault: {type: clock-jump, for: 5s}}]",
            "steps[0].fault.by: expected a duration",
        ),
        (
            "steps: [{at: 5s, fault: {type: clock-jump, by: -5s, for: -5s}}]",
            "steps[0].fault.for: expected 0s or more",
        ),
        (
            "steps: [{at: 5s, fault: {type: leader-loss, names: [a]}}]",
            "steps[0].fault.names: unknown field of leader-loss, expected one of cutOff, ",
        ),
        (
            "objects: [{apiVersion: apps/v1, kind: Deployment}]",
            "objects[0].metadata.name: Required value",
        ),
        (
            f"objects: [{JOB}]",
            "objects[0].spec.parallelism: expected at most 200000 pods of all workloads, got 20",
        ),
        (
            "steps: [{at: 5s, scale: {name: w, replicas: 2000000000}}]",
            "steps[0].scale.replicas: Input should be less than or equal to 200000, got 200",
        ),
    ],
)
def test_a_scenario_that_cannot_be_played(tmp_path: Path, scenario: str, message: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + scenario + "\n")
    result = CliRunner().invoke(cli, ["simulate", str(file)])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Value error" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("operation", ["*", "ec2:*", "ec2:CreateFleet", "CreateFleet", "Describe*"])
def test_requests_that_a_fault_may_name(operation: str) -> None:
    check_fault({"type": "api-error", "operations": [operation]})


def test_a_workload_of_a_scenario_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(WORKLOAD % "2000000000")
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + "manifests: [w.yaml]\n")
    result = CliRunner().invoke(cli, ["simulate", str(file)])
    assert result.exit_code == 2
    assert "w.yaml: document 1: spec.replicas: Deployment web: expected at most" in result.stderr


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("deep") / "deep.json"
    file.write_text("[" * 5000 + "]" * 5000)
    return str(file)


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "-f", "DEEP"],
        ["plan", "-f", "TRACE", "--catalog", "DEEP"],
        ["plan", "--kubeconfig", "DEEP"],
        ["simulate", "DEEP"],
        ["simulate", "--trace", "TRACE", "--nodepool", "DEEP"],
    ],
)
def test_what_is_nested_too_deeply(tmp_path: Path, deep: str, arguments: list[str]) -> None:
    result = CliRunner().invoke(
        cli, [a.replace("DEEP", deep).replace("TRACE", _trace(tmp_path)) for a in arguments]
    )
    assert result.exit_code == 2, result.output
    assert f"{deep}" in result.stderr
    assert "nested too deeply" in result.stderr
    assert result.stderr.count("\n") == 1


def _trace(folder: Path) -> str:
    file = folder / "t.csv"
    file.write_text("name,cpu,memory,created,deleted\na,100,100,0,60\n")
    return str(file)


def test_a_template_nested_too_deeply_to_be_copied(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    template = '{"spec":' + '{"a":' * 900 + "1" + "}" * 901
    file.write_text(
        '{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, '
        f'"spec": {{"template": {template}}}}}'
    )
    result = CliRunner().invoke(cli, ["plan", "-f", str(file)])
    assert result.exit_code == 2, result.output
    assert "spec: Deployment w: nested too deeply to be expanded into pods" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--kubeconfig", "FILE"],
        ["explain", "pod", "x", "--kubeconfig", "FILE"],
        ["doctor", "--cluster-name", "c", "--kubeconfig", "FILE"],
    ],
)
def test_a_kubeconfig_that_is_no_text(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "kubeconfig"
    file.write_bytes(b"\xff")
    result = CliRunner().invoke(cli, [a.replace("FILE", str(file)) for a in arguments])
    assert result.exit_code == 2, result.output
    wanted = f"{file} is not a kubeconfig: expected UTF-8 text: invalid start byte\n"
    assert result.stderr.endswith(wanted)


def test_a_report_in_a_folder_that_may_not_be_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refused)
    report = str(tmp_path / "r.html")
    result = CliRunner().invoke(cli, ["simulate", "--report", report])
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: --report {report}: Permission denied\n",
    )


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
            "pool.yaml: expected a NodePool, got ConfigMap",
        ),
        ("", "pool.yaml: expected a NodePool, got nothing"),
        (
            "apiVersion: karpenter.sh/v1beta1\nkind: NodePool\nmetadata: {name: c}\n",
            "apiVersion: NodePool c: expected karpenter.sh/v1, got 'karpenter.sh/v1beta1'",
        ),
        (
            "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: c}\n",
            "pool.yaml: document 1: spec: NodePool c: Required value",
        ),
    ],
)
def test_a_trace_on_no_node_pool(tmp_path: Path, manifest: str, message: str) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(manifest)
    arguments = ["simulate", "--trace", _trace(tmp_path), "--nodepool", str(file)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


@pytest.mark.parametrize("share", ["nan", "inf", "0", "1.1"])
def test_a_share_that_is_none(tmp_path: Path, share: str) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WORKLOAD % "1")
    result = CliRunner().invoke(cli, ["plan", "-f", str(file), "--max-pod-share", share])
    assert result.exit_code == 2
    assert "Invalid value for '--max-pod-share'" in result.stderr


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
