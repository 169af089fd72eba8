"""autoctl installed in a control plane: charts, simulated cloud, operator processes.

The charts go in by helm; KWOK keeps the pods of the Deployment, which therefore do nothing. What
acts are `autoctl run` processes beside it, each with the environment that the Deployment gives its
container and with a token of its ServiceAccount, so that a wrong value or a missing RBAC rule
shows. AWS is `autoctl cloud`, reached by boto3 over HTTP.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.plane import ControlPlane, free_ports
from controlplane.process import Process, wait_for

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-west-2"
RELEASE = "autoctl"


@dataclass(frozen=True)
class Operator:
    """One replica: its process, and where it answers."""

    process: Process
    health_url: str
    metrics_url: str

    def ready(self) -> bool:
        return fetch(self.health_url + "/readyz") is not None

    def metrics(self) -> str:
        """The text of /metrics. Raises `OSError`."""
        with urllib.request.urlopen(self.metrics_url + "/metrics", timeout=10) as answer:  # noqa: S310
            return str(answer.read().decode())

    def wait_ready(self, timeout: float = 60) -> None:
        wait_for(self.process.name, self.ready, timeout=timeout, processes=[self.process])


class Installation:
    """Install, start and stop autoctl in a running `ControlPlane`."""

    def __init__(
        self,
        plane: ControlPlane,
        *,
        cluster_name: str = "autoctl",
        namespace: str = "kube-system",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.plane = plane
        self.cluster_name = cluster_name
        self.namespace = namespace
        self.settings = {"clusterName": cluster_name} | dict(settings or {})
        self.cloud_url = ""
        self.cloud = Process("autoctl-cloud", (), plane.folder / "logs" / "autoctl-cloud.log")
        self.operators: dict[str, Operator] = {}

    @property
    def aws_environment(self) -> dict[str, str]:
        """What makes boto3 and the AWS command line speak to the simulated cloud."""
        return {
            "AWS_ENDPOINT_URL": self.cloud_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "simulated",
            "AWS_SECRET_ACCESS_KEY": "simulated",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start_cloud(self, *arguments: str) -> None:
        """Start `autoctl cloud`, which registers Nodes as cluster administrator.

        Its interruption queue becomes the setting's default: start it before `install`.
        """
        ready = self.plane.folder / "cloud.ready"
        ready.unlink(missing_ok=True)
        self.cloud = Process(
            "autoctl-cloud",
            [
                *autoctl("cloud", "--listen", "127.0.0.1:0"),
                f"--kubeconfig={self.plane.kubeconfig}",
                f"--ready-file={ready}",
                f"--cluster-name={self.cluster_name}",
                f"--region={REGION}",
                *arguments,
            ],
            self.cloud.log,
            _environment({}),
            self.plane.folder,
        )
        self.cloud.start()
        wait_for(self.cloud.name, ready.exists, timeout=60, processes=[self.cloud])
        facts = json.loads(ready.read_text())
        self.cloud_url = facts["endpoint"]
        self.settings.setdefault("interruptionQueue", facts["queue"])

    def install(self, *arguments: str) -> None:
        """Install both charts with default values and `settings`; wait for the Deployment."""
        self.plane.helm(
            "upgrade", "--install", "autoctl-crds", ROOT / "charts/autoctl-crds",
            "-n", self.namespace, "--take-ownership", "--force-conflicts",
        )  # fmt: skip
        self.plane.helm(
            "upgrade", "--install", RELEASE, ROOT / "charts/autoctl", "-n", self.namespace,
            "--set-json", f"settings={json.dumps(self.settings)}",
            "--wait", "--timeout", "120s", *arguments,
        )  # fmt: skip

    def uninstall(self) -> None:
        """Remove both charts; the CRDs stay."""
        for release in (RELEASE, "autoctl-crds"):
            self.plane.helm("uninstall", release, "-n", self.namespace, "--ignore-not-found")

    def start_operator(self, name: str = "operator", **settings: str) -> Operator:
        """Start one replica; `settings` are `AUTOCTL_*` variables by their field's name.

        Does not wait: see `Operator.wait_ready`.
        """
        metrics_port, health_port = free_ports(2)
        kubeconfig = self.plane.kubeconfig_for_token(
            self.plane.mint_token(self.namespace, RELEASE, seconds=86_400),
            name,
            namespace=self.namespace,
        )
        own = {
            "metrics_port": str(metrics_port),
            "health_port": str(health_port),
            "bind_address": "127.0.0.1",
            "leader_election_namespace": self.namespace,
        }
        variables = self._container_environment(name) | {
            f"AUTOCTL_{field.upper()}": value for field, value in (own | settings).items()
        }
        process = Process(
            name,
            autoctl("run"),
            self.plane.folder / "logs" / f"{name}.log",
            _environment(self.aws_environment | variables | {"KUBECONFIG": str(kubeconfig)}),
            self.plane.folder,
        )
        operator = Operator(
            process, f"http://127.0.0.1:{health_port}", f"http://127.0.0.1:{metrics_port}"
        )
        self.operators[name] = operator
        process.start()
        return operator

    def stop(self) -> None:
        """End the operators (gracefully), then the cloud."""
        for operator in self.operators.values():
            operator.process.stop(patience=30)
        self.cloud.stop(patience=5)

    def _container_environment(self, name: str) -> dict[str, str]:
        """The variables of the Deployment's container, as the pod `name` would see them."""
        deployment = self.plane.get("deployment", RELEASE, "-n", self.namespace)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        fields = {"metadata.name": name, "metadata.namespace": self.namespace}
        return {
            variable["name"]: variable["value"]
            if "value" in variable
            else fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            for variable in container["env"]
        }


def autoctl(*arguments: str) -> list[str]:
    """The command line of the `autoctl` that is installed beside this Python."""
    return [str(Path(sys.executable).parent / "autoctl"), *arguments]


def fetch(url: str) -> bytes | None:
    """The body of a 200 answer, or None for any other or none."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
        return bytes(answer.read()) if answer.status == 200 else None
    return None


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the person's own AWS or Kubernetes settings reaches the children."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | dict(variables)
