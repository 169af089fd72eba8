"""The command as people run it: boto3 and the API server over HTTP, output and exit code."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from test_doctor import CASES, CLUSTER, Cluster, Place, karpenter

from autoctl.cli.main import cli
from autoctl.sim.cloud.http import CloudServer

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"


def answer(cluster: Cluster, path: str) -> dict[str, Any] | None:
    """What an API server with these objects answers to a GET; None for 404."""
    path = path.partition("?")[0]
    if path.startswith(DEFINITIONS):
        return cluster.definitions.get(path.removeprefix(DEFINITIONS))
    for resource, items in cluster.lists.items():
        root = f"/apis/{resource.group}" if resource.group else "/api"
        if path == f"{root}/{resource.version}/{resource.plural}":
            return {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}
    return None


@contextmanager
def api_server(cluster: Cluster) -> Iterator[str]:
    """Serves the cluster; anything but reading is refused, and fails the test."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(cluster, self.path)
            missing = {"kind": "Status", "code": 404, "reason": "NotFound", "message": self.path}
            body = json.dumps(missing if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the test's output is the command's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(path: Path, url: str) -> Path:
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "clusters": [{"name": "here", "cluster": {"server": url}}],
                "users": [{"name": "me", "user": {"token": "any"}}],
            }
        )
    )
    return path


def examine(place: Place, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Run the command against the place."""
    cloud = CloudServer(place.cloud)
    cloud.start()
    try:
        with api_server(place.cluster) as url:
            for name, value in {
                "AWS_ENDPOINT_URL": cloud.url,
                "AWS_ACCESS_KEY_ID": "any",
                "AWS_SECRET_ACCESS_KEY": "any",
            }.items():
                monkeypatch.setenv(name, value)
            arguments = ["doctor", "--cluster-name", place.name, "--region", "us-west-2"]
            arguments += ["--kubeconfig", str(kubeconfig(tmp_path / "config", url))]
            if place.queue:
                arguments += ["--interruption-queue", place.queue]
            return CliRunner().invoke(cli, [*arguments, "-o", output])
    finally:
        cloud.stop()


def test_a_sound_place_ends_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = examine(Place(), "text", tmp_path, monkeypatch)
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output


# One of each check; what Karpenter's lease says depends on the time of day, here the machine's.
OVER_HTTP = list(
    {case[1][0][0]: case for case in reversed(CASES) if case[0] is not karpenter}.values()
)


@pytest.mark.parametrize(("spoil", "expected"), OVER_HTTP, ids=[c[0].__name__ for c in OVER_HTTP])
def test_each_misconfiguration_is_named_with_what_to_do(
    spoil: Any,
    expected: list[tuple[str, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place()
    spoil(place)
    result = examine(place, "json", tmp_path, monkeypatch)
    report = json.loads(result.stdout)
    assert report["schema"] == "autoctl.doctor/v1"
    found = [f for f in report["findings"] if f["level"] != "ok"]
    assert [(f["check"], f["level"]) for f in found] == [e[:2] for e in expected], found
    for finding, (_, _, text) in zip(found, expected, strict=True):
        assert text in finding["message"]
        assert finding["fix"]
    errors = any(level == "error" for _, level, _ in expected)
    assert report["healthy"] is not errors
    assert result.exit_code == (1 if errors else 0)


def test_people_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    place.cloud.denied = {"ec2:CreateFleet"}
    result = examine(place, "text", tmp_path, monkeypatch)
    assert result.exit_code == 1
    assert "FAIL  permissions" in result.output
    assert "ec2:CreateFleet" in result.output
    assert "1 to fix." in result.output
    assert CLUSTER in result.output
