"""Where the API server is and how to speak to it: kubeconfig files and the in-cluster account.

Read without the `kubernetes` package, whose import alone costs two seconds and 90 MB.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autoctl.kube.credentials import (
    ConfigError,
    Credentials,
    ExecCredentials,
    FixedCredentials,
    TokenFile,
)
from autoctl.ports.clock import Clock, SystemClock

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """PEM text of a certificate and its key."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """An API server and the caller's credentials. `namespace` is the context's own."""

    server: str
    credentials: Credentials = field(default_factory=FixedCredentials)
    ca: str | None = None
    """PEM text; None: the system's authorities."""
    verify: bool = True
    client_certificate: ClientCertificate | None = None
    server_name: str | None = None
    """Name to verify in the server's certificate where it is not the URL's host."""
    proxy: str | None = None
    namespace: str = "default"
    source: str = ""
    """Where this came from, for messages."""

    async def headers(self) -> dict[str, str]:
        """Headers of one request."""
        header = await self.credentials.authorization()
        return {} if header is None else {"Authorization": header}

    async def renew(self) -> bool:
        """Get new credentials after a 401; False when another try would be in vain."""
        return await self.credentials.renew()

    def ssl_context(self) -> ssl.SSLContext | bool:
        """The TLS settings for aiohttp. Raises `ConfigError` for unreadable certificates."""
        if not self.server.startswith("https:"):
            return True
        try:
            context = ssl.create_default_context(cadata=self.ca)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.client_certificate is not None:
                _load_certificate(context, self.client_certificate)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{self.source}: bad certificate or key: {error}") from error
        return context


def load_config(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> ConnectionConfig:
    """Find the cluster as controllers do: the given file, KUBECONFIG, the pod's service account,
    `~/.kube/config`. Raises `ConfigError`.
    """
    env = os.environ if environ is None else environ
    clock = clock or SystemClock()
    given = kubeconfig or env.get("KUBECONFIG")
    if given:
        return load_kubeconfig([Path(p) for p in given.split(os.pathsep) if p], context, clock)
    if env.get("KUBERNETES_SERVICE_HOST") and context is None:
        return load_in_cluster(env, service_account)
    default = Path.home() / ".kube" / "config"
    try:
        there = default.exists()
    except OSError as error:  # the folder may not be entered
        raise ConfigError(f"cannot read {default}: {error.strerror}") from error
    if there:
        return load_kubeconfig([default], context, clock)
    raise ConfigError(
        "no cluster to talk to: set --kubeconfig or KUBECONFIG, "
        "or run in a pod with a service account"
    )


def load_in_cluster(env: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> ConnectionConfig:
    """The service account that Kubernetes mounts into a pod; its token is read anew in time."""
    host, port = env["KUBERNETES_SERVICE_HOST"], env.get("KUBERNETES_SERVICE_PORT", "443")
    if ":" in host:
        host = f"[{host}]"
    try:
        ca = (account / "ca.crt").read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {account / 'ca.crt'}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{account / 'ca.crt'} is not UTF-8 text: {error.reason}") from error
    namespace = account / "namespace"
    return ConnectionConfig(
        server=f"https://{host}:{port}",
        credentials=TokenFile(account / "token"),
        ca=ca,
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        source="in-cluster service account",
    )


def load_kubeconfig(
    paths: Iterable[Path], context: str | None = None, clock: Clock | None = None
) -> ConnectionConfig:
    """One context of kubeconfig files, merged as kubectl does: the first to name a thing wins."""
    merged = _merge(list(paths))
    name = context or merged.current
    if not name:
        raise ConfigError(f"{merged.source}: no current-context; name one with --context")
    chosen = merged.find("contexts", "context", name)
    cluster = merged.find("clusters", "cluster", _required(chosen, "cluster", merged, name))
    user_name = chosen.value.get("user")
    user = merged.find("users", "user", user_name) if user_name else _Entry({}, chosen.file)
    server = cluster.value.get("server")
    if not isinstance(server, str) or not server.startswith(("http://", "https://")):
        raise ConfigError(f"{cluster.file}: cluster.server must be an http(s) URL, got {server!r}")
    ca = _pem(cluster, "certificate-authority")
    certificate, key = _pem(user, "client-certificate"), _pem(user, "client-key")
    if (certificate is None) != (key is None):
        raise ConfigError(f"{user.file}: client-certificate and client-key must come together")
    return ConnectionConfig(
        server=server.rstrip("/"),
        credentials=_credentials(user, clock or SystemClock()),
        ca=None if ca is None else ca.decode("ascii", "replace"),
        verify=not cluster.value.get("insecure-skip-tls-verify", False),
        client_certificate=(
            ClientCertificate(certificate, key) if certificate and key is not None else None
        ),
        server_name=cluster.value.get("tls-server-name"),
        proxy=cluster.value.get("proxy-url"),
        namespace=chosen.value.get("namespace") or "default",
        source=f"{chosen.file}, context {name!r}",
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A named part of a kubeconfig and the file it stands in (relative paths start there)."""

    value: dict[str, Any]
    file: Path


@dataclass(slots=True)
class _Merged:
    source: str
    current: str | None = None
    entries: dict[str, dict[str, _Entry]] = field(default_factory=dict)

    def find(self, section: str, kind: str, name: str) -> _Entry:
        entry = self.entries.get(section, {}).get(name)
        if entry is None:
            known = ", ".join(sorted(self.entries.get(section, {}))) or "none"
            raise ConfigError(f"{self.source}: no {kind} named {name!r} (there are: {known})")
        return entry


def _merge(paths: list[Path]) -> _Merged:
    merged = _Merged(source=os.pathsep.join(map(str, paths)))
    read = 0
    for path in paths:
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{path} is not a kubeconfig: expected UTF-8 text: {error.reason}"
            ) from error
        except RecursionError as error:
            raise ConfigError(f"{path} is not a kubeconfig: nested too deeply") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not YAML: {_problem(error)}") from error
        read += 1
        if not isinstance(document, dict):
            raise ConfigError(f"{path} is not a kubeconfig: expected a mapping")
        current = document.get("current-context") or None
        if not isinstance(current, str | None):
            raise ConfigError(f"{path}: current-context: expected a name, got {current!r}")
        merged.current = merged.current or current
        for section, kind in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
            items = document.get(section) or []
            if not isinstance(items, list):
                raise ConfigError(f"{path}: {section}: expected a list, got {items!r:.80}")
            for item in items:
                if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                    raise ConfigError(f"{path}: every item of {section} needs a name")
                value = item.get(kind) or {}
                if not isinstance(value, dict):
                    raise ConfigError(f"{path}: {section} {item['name']!r}: {kind} is no mapping")
                names = merged.entries.setdefault(section, {})
                names.setdefault(item["name"], _Entry(value, path))
    if not read:
        raise ConfigError(f"there is no kubeconfig at {merged.source}")
    return merged


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong, and in which line, without the lines of the file: they may hold secrets."""
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark is not None else ""
    return line + str(getattr(error, "problem", None) or getattr(error, "reason", error))


def _required(entry: _Entry, key: str, merged: _Merged, name: str) -> str:
    value = entry.value.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{merged.source}: context {name!r} names no {key}")
    return value


def _pem(entry: _Entry, key: str) -> bytes | None:
    """The bytes of `KEY-data` (base64), or of the file that `KEY` names."""
    inline, path = entry.value.get(f"{key}-data"), entry.value.get(key)
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise ConfigError(f"{entry.file}: {key}-data is not base64") from error
    if path:
        full = entry.file.parent / Path(path).expanduser()
        try:
            return full.read_bytes()
        except OSError as error:
            raise ConfigError(f"{entry.file}: {key}: {full}: {error.strerror}") from error
    return None


def _credentials(user: _Entry, clock: Clock) -> Credentials:
    value = user.value
    if value.get("token"):
        return FixedCredentials.token(value["token"])
    if value.get("tokenFile"):
        return TokenFile(user.file.parent / Path(value["tokenFile"]).expanduser())
    if value.get("exec"):
        plugin = value["exec"]
        if not isinstance(plugin, dict) or not plugin.get("command"):
            raise ConfigError(f"{user.file}: user.exec needs a command")
        return ExecCredentials(
            command=plugin["command"],
            args=plugin.get("args") or [],
            env={item["name"]: item["value"] for item in plugin.get("env") or []},
            api_version=plugin.get("apiVersion") or "client.authentication.k8s.io/v1",
            clock=clock,
            install_hint=plugin.get("installHint") or "",
        )
    if value.get("auth-provider"):
        raise ConfigError(f"{user.file}: auth-provider is gone from Kubernetes; use exec instead")
    if value.get("username"):
        return FixedCredentials.basic(value["username"], value.get("password") or "")
    return FixedCredentials()


def _load_certificate(context: ssl.SSLContext, pair: ClientCertificate) -> None:
    # OpenSSL reads certificate chains from files only; this one is readable by nobody else and is
    # gone when the context has it.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pair.certificate + b"\n" + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
