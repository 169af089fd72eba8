"""`make cluster`: a cluster with autoctl on this machine, for a person to play with.

    python -m controlplane.cluster      # from hack/

Everything is in `.cluster/` of the repository, until the next start. Ctrl-C ends all processes.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from controlplane import build
from controlplane.installation import ROOT, Installation
from controlplane.plane import ControlPlane
from controlplane.process import Process, ProcessEndedError
from controlplane.volumes import VolumeProvisioner

FOLDER = ROOT / ".cluster"
_VOLUME_SECONDS = 2.0
"""Between two looks for claims: each is a kubectl, and nobody here waits for the half second."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (ROOT / ".cluster.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            build.say("another `make cluster` runs already")
            return 1
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        plane = ControlPlane(FOLDER)
        installation = Installation(plane)
        volumes = VolumeProvisioner(plane, default=True, seconds=_VOLUME_SECONDS)
        try:
            _run(plane, installation, volumes)
        except KeyboardInterrupt:
            build.say("ending")
            return 0
        except (build.GoMissingError, build.BuildError, ProcessEndedError, TimeoutError) as error:
            build.say(str(error))
            return 1
        finally:
            # A second Ctrl-C must not leave anything running.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            volumes.stop()
            installation.stop()
            plane.stop()
            build.say("every process has ended")


def _run(plane: ControlPlane, installation: Installation, volumes: VolumeProvisioner) -> NoReturn:
    plane.start()
    volumes.start()
    installation.start_cloud()
    build.say(f"simulated AWS at {installation.cloud_url}")
    installation.install()
    operator = installation.start_operator(log_format="console")
    operator.wait_ready()
    aws = " ".join(f"{name}={value}" for name, value in installation.aws_environment.items())
    kubectl = shutil.which("kubectl") or build.program("kubectl")
    print(
        f"""
autoctl runs in a cluster of its own. In another terminal:

  export KUBECONFIG={plane.kubeconfig}
  {kubectl} apply -f {ROOT / "examples"}
  {kubectl} get nodepools,nodeclaims,nodes,pods --watch

The simulated account, for the AWS command line or boto3:

  export {aws}

Metrics: {operator.metrics_url}/metrics
Logs:    {FOLDER / "logs"}

Ctrl-C ends everything. The operator says:
""",
        flush=True,
    )
    threading.Thread(target=_follow, args=(operator.process.log,), daemon=True).start()
    processes: list[Process] = [*plane.processes.values(), installation.cloud, operator.process]
    while True:
        for process in processes:
            process.check()
        time.sleep(1)


def _follow(path: Path) -> None:
    """Print what is written to a file, from its beginning."""
    with path.open(errors="replace") as file:
        while True:
            line = file.readline()
            if line:
                print(line, end="", flush=True)
            else:
                time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
