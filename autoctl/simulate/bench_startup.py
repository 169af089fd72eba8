"""Start-up measured: the real operator process before a large cluster, until it is ready.

Three processes: an API server with the cluster (`static_api`), the simulated cloud over HTTP
(`autoctl cloud`), and `autoctl run`, of which time and memory are taken.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

_PATIENCE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.05
_CLI: Final = "from autoctl.cli.main import main; main()"
_LOG_TAIL: Final = 2000


class StartupError(Exception):
    """A process that ended, or was not ready in time; with the end of its log."""


def bench_startup(nodes: int, pods: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Start everything, wait until the operator is ready, and report.

    Seconds are real, from the start of the operator's process to the first success of `/readyz`;
    MiB are the operator's resident memory at that moment and the most it had had until then.

    Raises:
        StartupError: a process ended or was not ready within five minutes.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autoctl-startup-")))
        progress("making the cluster")
        url_file = folder / "api"
        api = stack.enter_context(
            _process(
                folder / "api.log",
                [
                    "-m",
                    "autoctl.simulate.static_api",
                    f"--nodes={nodes}",
                    f"--pods={pods}",
                    f"--ready-file={url_file}",
                ],
            )
        )
        cloud_file = folder / "cloud"
        cloud_port = _free_port()
        cloud = stack.enter_context(
            _process(
                folder / "cloud.log",
                [
                    "-c",
                    _CLI,
                    "cloud",
                    f"--listen=127.0.0.1:{cloud_port}",
                    f"--ready-file={cloud_file}",
                ],
            )
        )
        _wait(api, folder / "api.log", url_file.exists)
        _wait(cloud, folder / "cloud.log", cloud_file.exists)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(url_file.read_text("utf-8"))), "utf-8")
        progress("starting the operator")
        health = _free_port()
        begin = time.perf_counter()
        operator = stack.enter_context(
            _process(
                folder / "operator.log",
                [
                    "-c",
                    _CLI,
                    "run",
                    f"--kubeconfig={kubeconfig}",
                    "--cluster-name=autoctl",
                    "--region=us-west-2",
                    "--no-leader-elect",
                    "--bind-address=127.0.0.1",
                    f"--health-port={health}",
                    f"--metrics-port={_free_port()}",
                ],
                {
                    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{cloud_port}",
                    "AWS_ACCESS_KEY_ID": "bench",
                    "AWS_SECRET_ACCESS_KEY": "bench",
                    "AWS_DEFAULT_REGION": "us-west-2",
                },
            )
        )
        _wait(operator, folder / "operator.log", lambda: _ready(health))
        seconds = time.perf_counter() - begin
        resident, peak = _memory(operator.pid)
        return {
            "nodes": nodes,
            "pods": pods,
            "secondsToReady": round(seconds, 2),
            "residentMiB": round(resident, 1),
            "peakResidentMiB": round(peak, 1),
        }


@contextmanager
def _process(
    log: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that writes to `log`, ended at the end."""
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - this interpreter with our own arguments
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    while not condition():
        code = process.poll()
        if code is None and time.perf_counter() < deadline:
            time.sleep(_LOOK_SECONDS)
            continue
        what = "was not ready in time" if code is None else f"ended with {code}"
        tail = log.read_text("utf-8", errors="replace")[-_LOG_TAIL:]
        raise StartupError(f"{log.stem} {what}:\n{tail}")


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _memory(pid: int) -> tuple[float, float]:
    """Resident MiB now, and the most so far, as Linux counts them."""
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        if ":" in line
    )
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _kubeconfig(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": server}}],
        "users": [{"name": "bench", "user": {"token": "bench"}}],
    }
