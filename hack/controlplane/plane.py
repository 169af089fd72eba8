"""A control plane of real processes on this machine: etcd, Kubernetes, and KWOK for the kubelets.

    with ControlPlane() as plane:
        plane.kubectl("get", "nodes")

Everything listens on 127.0.0.1 at free ports and keeps its files in one folder. The cluster starts
with two nodes of its own (`SYSTEM_NODES`), as an EKS cluster has a small managed node group for
system pods: tainted `CriticalAddonsOnly`, not made by any NodePool.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane import build, pki
from controlplane.process import Process, wait_for

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
"""The processes, in the order of their start."""

SYSTEM_NODES = {"system-a": "us-west-2a", "system-b": "us-west-2b"}
"""Names and zones of the nodes that are there from the start."""

UNMANAGED_LABEL = "simulate.autoctl.io/kubelet-stopped"
"""A Node with this label has no kubelet: no heartbeats, no pod starts or ends on it."""

_STAGES = Path(__file__).resolve().parent / "stages"
_ISSUER = "https://kubernetes.default.svc"
_USERS = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "kwok": "system:masters",
}


# ServiceAccounts are what RBAC rules of charts are for.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "Panic"],
    "omitManagedFields": True,
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """One kind of request to the API server, in the words of an RBAC rule."""

    verb: str
    group: str
    resource: str
    """With its subresource, as in `pods/eviction`."""
    code: int


class CommandError(RuntimeError):
    """kubectl or helm failed; the message is what it wrote to stderr."""


class ControlPlane:
    """Start, stop and talk to one control plane.

    Public attributes: `folder` (all files), `server` (the API server's URL), `ca_file`,
    `kubeconfig` (of a cluster administrator), `processes` (by the names in `PARTS`).
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        say: Callable[[str], None] = build.say,
        node_monitor_grace_period: str = "50s",
    ) -> None:
        self._remove_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="autoctl-controlplane-"))
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.processes: dict[str, Process] = {}
        self.server = ""
        self.ca_file = self.folder / "pki" / "ca.crt"
        self._audit_log = self.folder / "logs" / "audit.log"
        self._node_monitor_grace_period = node_monitor_grace_period
        self._say = say
        self._tokens: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every part and wait until the cluster takes pods.

        Raises `GoMissingError` or `BuildError` when programs are missing, `ProcessEndedError` or
        `TimeoutError` when a part does not come up; nothing is left running then.
        """
        for part in PARTS:
            build.program(part)
        try:
            self._configure()
            for part in PARTS:
                self.start_part(part)
            self._create_system_nodes()
        except BaseException:
            self.stop()
            raise
        self._say(f"ready at {self.server}")

    def stop(self) -> None:
        """End every process and remove the folder, if it was made here."""
        # The data goes with the processes: nothing is worth a long graceful end.
        for part in reversed(PARTS):
            if part in self.processes:
                self.processes[part].stop(patience=2)
        if self._remove_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start_part(self, part: str) -> None:
        """Start one part (again), on the ports and data it had, and wait until it answers."""
        if part == "kwok":
            # A new KWOK process would wait until the Leases of a killed one run out.
            self.kubectl("delete", "leases", "--all", "-n", "kube-node-lease")
        self.processes[part].start()
        match part:
            case "etcd":
                url = self._etcd_url + "/health"
                self._wait(part, lambda: self._answers(url))
            case "kube-apiserver":
                self._wait(part, lambda: self._answers(self.server + "/readyz"))
            case "kube-controller-manager":
                self._wait(part, self._service_accounts_are_made)
            case _:
                # Neither has a health port here; their work is waited for where it is wanted.
                self.processes[part].check()

    def kill_part(self, part: str) -> None:
        """SIGKILL one part."""
        self.processes[part].kill()

    def restart_part(self, part: str) -> None:
        self.kill_part(part)
        self.start_part(part)

    # --- Commands ---------------------------------------------------------------------------------

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as administrator and return its stdout. Raises `CommandError`."""
        return self._run("kubectl", arguments, stdin)

    def helm(self, *arguments: str | Path) -> str:
        """Run helm as administrator and return its stdout. Raises `CommandError`."""
        return self._run("helm", arguments, None)

    def get(self, *arguments: str) -> Any:
        """`kubectl get ARGUMENTS -o json`, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects server-side, as field manager `kubectl`. Raises `CommandError`."""
        listing = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(listing))

    def create(self, *objects: Mapping[str, Any]) -> None:
        """Create objects; unlike `apply`, a Node keeps the status it comes with."""
        listing = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("create", "-f", "-", stdin=json.dumps(listing))

    def apply_crds(self, folder: Path) -> None:
        """Apply the CRDs in a folder and wait until the API server serves them."""
        self.kubectl("apply", "--server-side", "-f", folder)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", folder)

    def mint_token(self, namespace: str, service_account: str, *, seconds: int = 3600) -> str:
        """Return a token of a ServiceAccount, made by TokenRequest (at least 600 seconds)."""
        return self.kubectl(
            "create", "token", service_account, "-n", namespace, f"--duration={seconds}s"
        ).strip()

    def kubeconfig_for_token(self, token: str, name: str, *, namespace: str = "default") -> Path:
        """Write `NAME.kubeconfig` into the folder, with this token as its only credential."""
        path = self.folder / f"{name}.kubeconfig"
        self._write_kubeconfig(path, name, token, namespace)
        return path

    def requests_of(self, user: str) -> set[Request]:
        """What a ServiceAccount (`system:serviceaccount:NAMESPACE:NAME`) asked of the API server.

        Watches count when they are answered, other requests when they end.
        """
        found = set()
        with self._audit_log.open() as log:
            for line in log:
                event = json.loads(line)
                what = event.get("objectRef")
                if event["user"]["username"] != user or not what:
                    continue
                resource = "/".join(
                    part for part in (what.get("resource"), what.get("subresource")) if part
                )
                found.add(
                    Request(
                        event["verb"],
                        what.get("apiGroup", ""),
                        resource,
                        event["responseStatus"]["code"],
                    )
                )
        return found

    def log_tails(self, lines: int = 15) -> str:
        """The last lines of every part's log, for the report of a failed test."""
        return "\n\n".join(f"{p.name}:\n{p.log_tail(lines)}" for p in self.processes.values())

    # --- Set-up -----------------------------------------------------------------------------------

    def _configure(self) -> None:
        """Choose ports, write keys, tokens and configuration files, and name every process."""
        files = pki.write(self.folder / "pki")
        client_port, peer_port, secure_port = free_ports(3)
        self.server = f"https://127.0.0.1:{secure_port}"
        self._etcd_url = f"http://127.0.0.1:{client_port}"
        self._tls = ssl.create_default_context(cafile=str(files.ca))
        self._tokens = {user: secrets.token_hex(16) for user in _USERS}
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(
            "".join(
                f'{self._tokens[user]},{user},{user},"{groups}"\n'
                for user, groups in _USERS.items()
            )
        )
        configs = {
            user: self.kubeconfig_for_token(token, user.removeprefix("system:"))
            for user, token in self._tokens.items()
        }
        scheduler = self.folder / "scheduler.json"
        scheduler.write_text(
            json.dumps(
                {
                    "apiVersion": "kubescheduler.config.k8s.io/v1",
                    "kind": "KubeSchedulerConfiguration",
                    "leaderElection": {"leaderElect": False},
                    "clientConnection": {
                        "kubeconfig": str(configs["system:kube-scheduler"]),
                        "qps": 1000,
                        "burst": 2000,
                    },
                }
            )
        )
        audit = self.folder / "audit.json"
        audit.write_text(json.dumps(_AUDIT_POLICY))
        arguments: dict[str, list[str]] = {
            "etcd": [
                "--name=etcd-0",
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={self._etcd_url}",
                f"--advertise-client-urls={self._etcd_url}",
                f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
                f"--initial-cluster=etcd-0=http://127.0.0.1:{peer_port}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
            "kube-apiserver": [
                f"--etcd-servers={self._etcd_url}",
                "--bind-address=127.0.0.1",
                f"--secure-port={secure_port}",
                f"--tls-cert-file={files.server_certificate}",
                f"--tls-private-key-file={files.server_key}",
                f"--service-account-key-file={files.service_account_key}",
                f"--service-account-signing-key-file={files.service_account_key}",
                f"--service-account-issuer={_ISSUER}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=RBAC,Node",
                "--service-cluster-ip-range=10.96.0.0/16",
                # It would publish 127.0.0.1, which no Endpoints object may hold.
                "--endpoint-reconciler-type=none",
                "--allow-privileged",
                f"--audit-policy-file={audit}",
                f"--audit-log-path={self._audit_log}",
                "--profiling=false",
            ],
            "kube-controller-manager": [
                f"--kubeconfig={configs['system:kube-controller-manager']}",
                "--controllers=*,-nodeipam",
                f"--service-account-private-key-file={files.service_account_key}",
                f"--root-ca-file={files.ca}",
                "--use-service-account-credentials",
                f"--node-monitor-grace-period={self._node_monitor_grace_period}",
                "--leader-elect=false",
                "--secure-port=0",
                "--kube-api-qps=500",
                "--kube-api-burst=1000",
            ],
            "kube-scheduler": [
                f"--config={scheduler}",
                "--secure-port=0",
            ],
            "kwok": [
                f"--kubeconfig={configs['kwok']}",
                f"--manage-nodes-with-label-selector=!{UNMANAGED_LABEL}",
                "--node-lease-duration-seconds=40",
                "--cidr=100.64.0.1/10",
                # Of nodes that registered without an address.
                "--node-ip=192.0.2.1",
                *(f"--config={path}" for path in sorted(_STAGES.glob("*.yaml"))),
            ],
        }
        environment = self._environment()
        self.processes = {
            part: Process(
                part,
                [build.program(part), *arguments[part]],
                self.folder / "logs" / f"{part}.log",
                environment,
                self.folder,
            )
            for part in PARTS
        }

    def _environment(self) -> dict[str, str]:
        """For every child: nothing of the person's own Kubernetes or helm settings."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KUBE", "HELM_"))
        }
        return kept | {
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.folder / "kube-cache"),
            "HELM_CACHE_HOME": str(self.folder / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(self.folder / "helm" / "config"),
            "HELM_DATA_HOME": str(self.folder / "helm" / "data"),
        }

    def _write_kubeconfig(self, path: Path, user: str, token: str, namespace: str) -> None:
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        # JSON is YAML: every client reads it.
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "autoctl",
                    "cluster": {"server": self.server, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [
                {
                    "name": "autoctl",
                    "context": {"cluster": "autoctl", "user": user, "namespace": namespace},
                }
            ],
            "current-context": "autoctl",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1))

    def _create_system_nodes(self) -> None:
        nodes = [
            system_node(name, zone, f"192.168.{number}.10")
            for number, (name, zone) in enumerate(SYSTEM_NODES.items())
        ]
        self.create(*nodes)

        def ready() -> bool:
            listing = self.get("nodes", *SYSTEM_NODES)
            # A new node's not-ready taint goes a moment after its condition.
            return all(
                [taint["key"] for taint in node["spec"]["taints"]] == ["CriticalAddonsOnly"]
                for node in listing["items"]
            )

        wait_for("system nodes", ready, timeout=60, processes=list(self.processes.values()))

    # --- Readiness --------------------------------------------------------------------------------

    def _wait(self, part: str, condition: Callable[[], bool]) -> None:
        wait_for(part, condition, timeout=60, processes=[self.processes[part]])

    def _answers(self, url: str) -> bool:
        request = urllib.request.Request(url)  # noqa: S310 -- of this machine, see _configure
        if url.startswith(self.server):
            request.add_header("Authorization", f"Bearer {self._tokens['admin']}")
        with (
            suppress(OSError, urllib.error.URLError),
            urllib.request.urlopen(request, timeout=2, context=self._tls) as answer,  # noqa: S310
        ):
            return bool(answer.status == 200)
        return False

    def _service_accounts_are_made(self) -> bool:
        # Pods are refused before their namespace's default ServiceAccount is there.
        return self._answers(f"{self.server}/api/v1/namespaces/default/serviceaccounts/default")

    def _run(self, name: str, arguments: Sequence[str | Path], stdin: str | None) -> str:
        done = subprocess.run(
            [str(build.program(name)), *map(str, arguments)],
            input=stdin,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            command = " ".join([name, *map(str, arguments)])
            raise CommandError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def system_node(name: str, zone: str, address: str) -> dict[str, Any]:
    """A Node of a managed node group, as its kubelet registers it."""
    resources = {"cpu": "4", "memory": "16Gi", "pods": "58", "ephemeral-storage": "80Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": "m5.xlarge",
                "topology.kubernetes.io/region": zone[:-1],
                "topology.kubernetes.io/zone": zone,
                "eks.amazonaws.com/nodegroup": "system",
                "eks.amazonaws.com/capacityType": "ON_DEMAND",
            },
        },
        "spec": {
            "providerID": f"aws:///{zone}/i-{name}",
            "taints": [{"key": "CriticalAddonsOnly", "effect": "NoSchedule"}],
        },
        "status": {
            "capacity": resources,
            "allocatable": resources | {"cpu": "3920m", "memory": "15Gi"},
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": dict.fromkeys(
                (
                    "machineID",
                    "systemUUID",
                    "bootID",
                    "kernelVersion",
                    "osImage",
                    "containerRuntimeVersion",
                    "kubeProxyVersion",
                ),
                "",
            )
            | {
                "kubeletVersion": build.MODULES["kubernetes"].version,
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


def free_ports(count: int) -> list[int]:
    """Return distinct TCP ports of 127.0.0.1 that nobody listens on at this moment."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [int(holder.getsockname()[1]) for holder in holders]
    finally:
        for holder in holders:
            holder.close()
