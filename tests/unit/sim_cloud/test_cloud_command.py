"""`autoctl cloud` as a process, and the kubelets it runs."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from cloudkit import World

from autoctl.cli.cloud import cloud
from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import AlreadyExists, NotFound, Object, Unavailable
from autoctl.sim.cloud import kubelets as kubelets_module
from autoctl.sim.cloud.kubelets import KubeletFleet


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--listen", "nowhere"], 2, "expected an address such as 127.0.0.1:4566"),
        (["--listen", "127.0.0.1:99999"], 2, "expected an address"),
        (["--region", "mars-1"], 2, "--region mars-1: expected one of ap-northeast-1"),
        (["--boot-seconds", "-1"], 2, "-1"),
        (["--kubeconfig", "/nonexistent"], 2, "/nonexistent"),
    ],
)
def test_wrong_arguments(arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(cloud, arguments)
    assert result.exit_code == code
    assert message in result.output


def _one_line(arguments: list[str]) -> tuple[int, str]:
    """Exit code and the only line of a command that must not print more."""
    command = [Path(sys.executable).with_name("autoctl"), "cloud", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def test_a_ready_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "missing" / "ready.json", "No such file or directory"),
        (Path("/proc/ready.json"), ""),
    ):
        code, line = _one_line(["--ready-file", str(path)])
        assert code == 2
        assert line.startswith(f"autoctl: --ready-file {path}: cannot be written: {why}")


def test_an_address_that_cannot_be_had_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        expected = f"autoctl: --listen {taken}: cannot serve there: Address already in use\n"
        assert _one_line(["--listen", taken]) == (2, expected)
    # 192.0.2.0/24 is for documentation: no machine has it.
    code, line = _one_line(["--listen", "192.0.2.1:80"])
    assert code == 2
    assert line.startswith("autoctl: --listen 192.0.2.1:80: cannot serve there: ")


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [Path(sys.executable).with_name("autoctl"), "cloud", "--ready-file", ready],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        facts = json.loads(ready.read_text())
        session = boto3.Session("key", "secret", region_name=facts["region"])
        ec2 = session.client("ec2", endpoint_url=facts["endpoint"])
        assert len(ec2.describe_subnets()["Subnets"]) == 4
        sqs = session.client("sqs", endpoint_url=facts["endpoint"])
        assert sqs.get_queue_url(QueueName=facts["queue"])["QueueUrl"]
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    assert f"AWS_ENDPOINT_URL={facts['endpoint']}" in errors


class Api:
    """As much of a KubernetesApi as kubelets use; fails `failures` times first."""

    def __init__(self, failures: int = 0) -> None:
        self.objects: dict[tuple[k8s.Resource, str], Object] = {}
        self.failures = failures

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the API server restarts")

    async def create(
        self, resource: k8s.Resource, body: Object, _namespace: str | None = None
    ) -> Object:
        self._fail()
        key = (resource, body["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists("exists")
        body["metadata"]["uid"] = f"uid-{len(self.objects)}"
        self.objects[key] = body
        return body

    async def get(self, resource: k8s.Resource, name: str) -> Object:
        return self.objects[resource, name]

    async def delete(self, resource: k8s.Resource, name: str) -> None:
        self._fail()
        if (resource, name) not in self.objects:
            raise NotFound("gone")
        del self.objects[resource, name]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelets_module, "RETRY_SECONDS", 0.0)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_kubelet_registers_through_failures(world: World, failures: int) -> None:
    world.template()
    record = world.cloud.ec2.instances.get(world.launch())
    api: Any = Api(failures)
    kubelets = KubeletFleet(api, "us-west-2")
    asyncio.run(kubelets.register(record))
    name = record.instance_id
    # Its Lease belongs to whoever keeps the node ready.
    assert set(api.objects) == {(k8s.NODES, name), (k8s.CSI_NODES, name)}
    (owner,) = api.objects[k8s.CSI_NODES, name]["metadata"]["ownerReferences"]
    assert owner["uid"] == api.objects[k8s.NODES, name]["metadata"]["uid"]
    asyncio.run(kubelets.register(record))
    api.failures = failures
    asyncio.run(kubelets.remove(record))
    assert (k8s.NODES, name) not in api.objects
    asyncio.run(kubelets.remove(record))


@pytest.mark.usefixtures("_impatient")
def test_a_kubelet_of_a_dead_instance_gives_up(world: World) -> None:
    world.template()
    record = world.cloud.ec2.instances.get(world.launch())
    world.ec2.terminate_instances(InstanceIds=[record.instance_id])
    api: Any = Api(failures=1000)
    asyncio.run(KubeletFleet(api, "us-west-2").register(record))
    assert api.objects == {}


def test_an_instance_with_wrong_user_data_never_joins(world: World) -> None:
    world.template(UserData=None)
    record = world.cloud.ec2.instances.get(world.launch())
    api: Any = Api()
    asyncio.run(KubeletFleet(api, "us-west-2").register(record))
    assert api.objects == {}
