"""Reading a workload's history, and the objects it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from autoctl.cli.main import cli
from autoctl.simulate.replay import default_pool, pod_object, trace_objects, trace_scenario
from autoctl.simulate.trace import TraceError, TracePod, parse_columns, read_trace

HEAD = "name,cpu,memory,gpu,created,deleted\n"


def _file(folder: Path, text: str) -> str:
    path = folder / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_columns_of_a_public_trace_need_no_option(tmp_path: Path) -> None:
    text = (
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time,scheduled_time\n"
        "a,12000,16384,1,460,5,100,5\n"
    )
    (pod,) = read_trace(_file(tmp_path, text)).pods
    assert pod == TracePod("a", 12000, 16384, 5.0, 100.0, gpu=1)


def test_optional_columns(tmp_path: Path) -> None:
    text = (
        "Pod,Namespace,cpu,memory,created,deleted,node_selector,priority,do-not-disrupt\n"
        "a,web,100.2,256,0,,kubernetes.io/arch=amd64;team=x,7,true\n"
    )
    trace = read_trace(_file(tmp_path, text), parse_columns("doNotDisrupt=do-not-disrupt"))
    assert trace.pods == (
        TracePod(
            "a",
            101,
            256,
            0.0,
            None,
            namespace="web",
            node_selector={"kubernetes.io/arch": "amd64", "team": "x"},
            priority=7,
            do_not_disrupt=True,
        ),
    )


@pytest.mark.parametrize(("given", "whole"), [("", 0), ("0", 0), ("0.25", 1), ("1", 1), ("1.5", 2)])
def test_shares_of_a_gpu_are_rounded_up(tmp_path: Path, given: str, whole: int) -> None:
    (pod,) = read_trace(_file(tmp_path, f"{HEAD}a,1,1,{given},0,9\n")).pods
    assert pod.gpu == whole
    requests = pod_object(pod, 1)["spec"]["containers"][0]["resources"]["requests"]
    assert requests.get("nvidia.com/gpu") == (str(whole) if whole else None)


def test_unix_times_count_from_the_first_pod(tmp_path: Path) -> None:
    text = f"{HEAD}b,1,1,0,1767571210,1767571310\na,1,1,0,1767571200,\n"
    trace = read_trace(_file(tmp_path, text))
    assert [(p.name, p.created, p.deleted) for p in trace.pods] == [
        ("a", 0.0, None),
        ("b", 10.0, 110.0),
    ]
    assert trace_scenario(trace, "t", "us-west-2").start.isoformat() == "2026-01-05T00:00:00+00:00"


def test_a_name_that_comes_again_gets_a_number_and_a_momentary_pod_is_left_out(
    tmp_path: Path,
) -> None:
    trace = read_trace(_file(tmp_path, f"{HEAD}a,1,1,0,0,5\na,1,1,0,6,9\nb,1,1,0,3,3\n"))
    assert [p.name for p in trace.pods] == ["a", "a.2"]
    assert trace.momentary == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{HEAD}a,x,1,0,0,1\n", "line 2: column cpu: expected millicores, 0 or more, got 'x'"),
        (f"{HEAD}a,1,1,0,0,1\nb,1,-4,0,0,1\n", "line 3: column memory: expected MiB"),
        (f"{HEAD}a,1,1,0,,1\n", "line 2: column created: expected a number of seconds, got ''"),
        (f"{HEAD}a,1,1,0,9,1\n", "line 2: column deleted: expected a time not before creation"),
        (f"{HEAD}a,1,1,0,nan,1\n", "line 2: column created: expected a number of seconds"),
        (f"{HEAD}A_b,1,1,0,0,1\n", "line 2: column name: expected a pod's name"),
        (f"{HEAD}a,1,1,two,0,1\n", "line 2: column gpu: expected a number of GPUs"),
        ("name,cpu,created\na,1,0\n", "line 1: expected a column memory"),
        (HEAD, "expected a line for each pod"),
        ("", "line 1: expected a column name"),
        (
            "name,cpu,memory,created,node_selector\na,1,1,0,arch\n",
            "line 2: column node_selector: expected key=value pairs",
        ),
        (
            "name,cpu,memory,created,priority\na,1,1,0,high\n",
            "line 2: column priority: expected an integer",
        ),
        (
            "name,cpu,memory,created,do_not_disrupt\na,1,1,0,perhaps\n",
            "line 2: column do_not_disrupt: expected true or false",
        ),
    ],
)
def test_a_bad_file_is_refused_by_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(TraceError) as raised:
        read_trace(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert told in str(raised.value)
    outcome = CliRunner().invoke(cli, ["simulate", "--trace", path])
    assert outcome.exit_code == 2
    assert told in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trace", "missing.csv"],
        ["--columns", "name=x"],
        ["--nodepool", "x.yaml"],
        ["scenario.yaml", "--trace", "t.csv"],
    ],
)
def test_wrong_flags_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["simulate", *arguments]).exit_code == 2


@pytest.mark.parametrize("text", ["cpu", "cpu=", "colour=x"])
def test_wrong_mappings_are_refused(text: str) -> None:
    with pytest.raises(TraceError, match="--columns"):
        parse_columns(text)


def test_a_mapping_to_a_heading_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="the heading 'cores' for cpu"):
        read_trace(_file(tmp_path, f"{HEAD}a,1,1,0,0,1\n"), {"cpu": "cores"})


def test_what_is_missing_for_a_trace_is_made(tmp_path: Path) -> None:
    text = "name,cpu,memory,created,priority\na,1,1,0,7\nb,1,1,0,-2\n"
    trace = read_trace(_file(tmp_path, text))
    made = trace_objects(trace, [])
    assert [(o["kind"], o["metadata"]["name"]) for o in made] == [
        ("PriorityClass", "trace-minus-2"),
        ("PriorityClass", "trace-7"),
        ("NodePool", "default"),
        ("NodeClass", "default"),
    ]
    pool = default_pool()
    pool["metadata"]["name"] = "mine"
    pool["spec"]["template"]["spec"]["nodeClassRef"]["name"] = "theirs"
    kinds = [(o["kind"], o["metadata"]["name"]) for o in trace_objects(trace, [pool])]
    assert kinds[2:] == [("NodePool", "mine"), ("NodeClass", "theirs")]
