"""Reading a workload's history, and the objects it becomes."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from click.testing import CliRunner

from autoctl.cli.main import cli
from autoctl.simulate.replay import default_pool, pod_object, trace_objects, trace_scenario
from autoctl.simulate.trace import TraceError, TracePod, parse_columns, read_trace

ROOT = Path(__file__).parents[3]
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
        (
            f"{HEAD}a,1,1,0,,1\n",
            (
                "line 2: column created: expected a number of seconds, 0 or more, or Unix time "
                "before 2100, got ''"
            ),
        ),
        (f"{HEAD}a,1,1,0,9,1\n", "line 2: column deleted: expected a time not before creation"),
        (f"{HEAD}a,1,1,0,nan,1\n", "line 2: column created: expected a number of seconds"),
        (f"{HEAD}A_b,1,1,0,0,1\n", "line 2: column name: expected a pod's name"),
        (f"{HEAD}a,1,1,two,0,1\n", "line 2: column gpu: expected a number of GPUs"),
        (
            f"{HEAD}a,1,1,0,-1,1\n",
            "line 2: column created: expected a number of seconds, 0 or more",
        ),
        (f"{HEAD}a,1,1,0,1767571200000,\n", "line 2: column created: expected a number of seconds"),
        (
            f"{HEAD}a,1,1,0,0,1\n\nb,1,1,0,1767571200,\n",
            (
                "line 4: column created: expected seconds from the beginning of the trace, as in "
                "the first line (0), got 1767571200"
            ),
        ),
        (f"{HEAD}a,1,1,0,0,1,7\n", "line 2: expected 6 columns as the headings, got 7"),
        (f"{HEAD}a,500m,1,0,0,1\n", "line 2: column cpu: expected millicores, 0 or more"),
        (f'{HEAD}a,1,1,0,0,1\n"b,1\n', "after line 2: expected CSV in UTF-8"),
        (f"{HEAD}{'a' * 200_000},1,1,0,0,1\n", "after line 0: expected CSV in UTF-8: field larger"),
        (
            "name,cpu,CPU,memory,created\na,1,2,1,0\n",
            "line 1: the heading CPU for cpu is there 2 times",
        ),
        ("name,cpu,created\na,1,0\n", "line 1: expected a column memory"),
        (HEAD, "expected a line for each pod"),
        ("", "line 1: expected a column name"),
        (
            "name,cpu,memory,created,node_selector\na,1,1,0,arch\n",
            "line 2: column node_selector: expected labels as key=value pairs",
        ),
        (
            "name,cpu,memory,created,node_selector\na,1,1,0,a b=c\n",
            "line 2: column node_selector: expected labels as key=value pairs",
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


@pytest.mark.parametrize(
    "text", ["cpu", "cpu=", "colour=x", "name=name,name=cpu", ",,,", "cpu=a,", " "]
)
def test_wrong_mappings_are_refused(text: str) -> None:
    with pytest.raises(TraceError, match="--columns"):
        parse_columns(text)


def test_a_mapping_to_a_heading_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="the heading 'cores' for cpu"):
        read_trace(_file(tmp_path, f"{HEAD}a,1,1,0,0,1\n"), {"cpu": "cores"})


def test_a_number_is_never_that_of_another_pod(tmp_path: Path) -> None:
    longest = "x" * 253
    lines = ["a", "a.2", "a", "a", longest, longest]
    text = HEAD + "".join(f"{name},1,1,0,{i},\n" for i, name in enumerate(lines))
    names = [p.name for p in read_trace(_file(tmp_path, text)).pods]
    assert names[:4] == ["a", "a.2", "a.3", "a.4"]
    assert names[5] == "x" * 251 + ".2"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_files_of_spreadsheets_and_of_archives(tmp_path: Path, packed: bool) -> None:
    """A byte order mark, lines as Windows ends them, an empty line at the end."""
    path = tmp_path / "trace.csv"
    text = f"\ufeff{HEAD}a,1,1,0,0,9\n\n".replace("\n", "\r\n").encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    assert [p.name for p in read_trace(str(path)).pods] == ["a"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(HEAD.encode() + b"a,1,1,0,0,9\n" * 9000)[:-9], "the gzip file is damaged"),
        (b"\x1f\x8bnot really", "after line 0: the gzip file is damaged"),
        (f"{HEAD}a,1,1,0,0,9\n".encode() + b"\xff\n", "expected CSV in UTF-8"),
        (b"PK\x03\x04\xff\xfe", "expected CSV in UTF-8"),
    ],
    ids=["cut off", "no gzip", "latin", "zip"],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=told):
        read_trace(str(path))


def test_the_export_in_the_documentation_gives_a_trace(tmp_path: Path) -> None:
    """Its script, against what Prometheus would answer over a window of ten days."""
    now, day = 1767571200.0, 86400.0
    pods: dict[str, dict[str, float]] = {
        "gone": {"created": now - 5 * day, "deleted": now - 4 * day, "seen": now - 4 * day},
        "done": {"created": now - 5 * day, "ended": now - day, "seen": now - day},
        "lost": {"created": now - 5 * day, "seen": now - 2 * day},
        "old": {"created": now - 400 * day, "seen": now},
        "agent": {"created": now - 5 * day, "seen": now, "daemon": 1},
        "unseen": {"cpu": 100},
    }
    for name in ("gone", "done", "lost", "old"):
        pods[name] |= {"cpu": 500, "memory": 256}
    pods["done"]["gpu"] = 1
    marks = {
        "kube_pod_created": "created",
        "kube_pod_deletion_timestamp": "deleted",
        "kube_pod_completion_time": "ended",
        "timestamp(kube_pod_info)": "seen",
        'resource="cpu"': "cpu",
        'resource="memory"': "memory",
        'resource="nvidia_com_gpu"': "gpu",
        'created_by_kind="DaemonSet"': "daemon",
    }

    class Prometheus(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (query,) = parse_qs(urlsplit(self.path).query)["query"]
            assert "[10d" in query
            (column,) = [c for mark, c in marks.items() if mark in query]
            found = [
                {
                    "metric": {"namespace": "ns", "pod": name, "uid": f"uid-{name}"},
                    "value": [now, str(values[column])],
                }
                for name, values in pods.items()
                if column in values
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": {"result": found}}).encode())

        def log_message(self, *_: object) -> None:
            """Nothing to the terminal."""

    page = (Path(__file__).parents[3] / "docs" / "trace.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        made = subprocess.run(
            [sys.executable, "-c", script, url, "10"], capture_output=True, text=True, check=True
        )
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    trace = read_trace(_file(tmp_path, made.stdout))
    assert trace.origin == now - 10 * day
    assert {
        (p.name, p.created / day, p.deleted and p.deleted / day, p.gpu) for p in trace.pods
    } == {
        ("gone", 5.0, 6.0, 0),
        ("done", 5.0, 9.0, 1),
        ("lost", 5.0, 8.0, 0),
        ("old", 0.0, None, 0),
    }
    assert {(p.namespace, p.cpu, p.memory) for p in trace.pods} == {("ns", 500, 256)}


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


def test_the_pool_to_compare_with_differs_in_its_policy_alone() -> None:
    text = (ROOT / "scenarios" / "trace-when-empty.yaml").read_text(encoding="utf-8")
    pool = yaml.safe_load(text)
    assert pool["spec"]["disruption"].pop("consolidationPolicy") == "WhenEmpty"
    expected = default_pool()
    del expected["spec"]["disruption"]["consolidationPolicy"]
    assert pool == expected
