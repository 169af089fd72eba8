"""What proves to the API server who is asking: tokens, token files, exec plugins."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from autoctl.ports.clock import Clock

_FILE_SECONDS = 60.0
"""A mounted token is read anew this often: the kubelet rotates it in place."""
_EXEC_SECONDS = 60.0
"""Time a credential plugin has for its answer."""
_EARLY = timedelta(seconds=60)
"""A plugin's credential is renewed this long before it expires."""


class ConfigError(Exception):
    """The connection to the cluster is described wrongly; the message names the file and field."""


class Credentials(Protocol):
    """Gives the header that authenticates requests."""

    async def authorization(self) -> str | None:
        """The Authorization header's value, or None. Raises `ConfigError`."""
        ...

    async def renew(self) -> bool:
        """Fetch new credentials after a 401; False where there can be no others."""
        ...


@dataclass(frozen=True, slots=True)
class FixedCredentials:
    """A header that never changes, or none (client certificates speak in the handshake)."""

    header: str | None = None

    @classmethod
    def token(cls, token: str) -> FixedCredentials:
        return cls(f"Bearer {token}")

    @classmethod
    def basic(cls, username: str, password: str) -> FixedCredentials:
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        return cls(f"Basic {pair}")

    async def authorization(self) -> str | None:
        return self.header

    async def renew(self) -> bool:
        return False


class TokenFile:
    """A token in a file that somebody else keeps fresh (service accounts)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token: str | None = None
        self._read_at = float("-inf")

    async def authorization(self) -> str | None:
        now = asyncio.get_running_loop().time()
        if self._token is None or now - self._read_at >= _FILE_SECONDS:
            self._read(now)
        return f"Bearer {self._token}"

    async def renew(self) -> bool:
        before = self._token
        self._read(asyncio.get_running_loop().time())
        return self._token != before

    def _read(self, now: float) -> None:
        try:
            token = self._path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"cannot read the token {self._path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"the token {self._path} is not text: {error.reason}") from error
        if not token:
            raise ConfigError(f"the token {self._path} is empty")
        self._token = token
        self._read_at = now


class ExecCredentials:
    """A client-go credential plugin, such as `aws eks get-token`."""

    def __init__(
        self,
        command: str,
        args: Sequence[str],
        env: Mapping[str, str],
        api_version: str,
        clock: Clock,
        install_hint: str = "",
    ) -> None:
        self._command = command
        self._args = tuple(args)
        self._env = dict(env)
        self._api_version = api_version
        self._clock = clock
        self._hint = f"\n{install_hint.strip()}" if install_hint else ""
        self._token: str | None = None
        self._expires: datetime | None = None
        self._lock = asyncio.Lock()

    async def authorization(self) -> str | None:
        async with self._lock:
            if self._token is None or self._expired():
                await self._run()
        return f"Bearer {self._token}"

    async def renew(self) -> bool:
        async with self._lock:
            before = self._token
            await self._run()
            return self._token != before

    def _expired(self) -> bool:
        return self._expires is not None and self._clock.now() >= self._expires - _EARLY

    async def _run(self) -> None:
        request = {
            "apiVersion": self._api_version,
            "kind": "ExecCredential",
            "spec": {"interactive": False},
        }
        env = {**os.environ, **self._env, "KUBERNETES_EXEC_INFO": json.dumps(request)}
        try:
            process = await asyncio.create_subprocess_exec(
                self._command,
                *self._args,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot run the credential plugin {self._command!r}: {error.strerror}{self._hint}"
            ) from error
        try:
            async with asyncio.timeout(_EXEC_SECONDS):
                stdout, stderr = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise ConfigError(
                f"the credential plugin {self._command!r} gave no answer in {_EXEC_SECONDS:.0f} s"
            ) from error
        if process.returncode != 0:
            raise ConfigError(
                f"the credential plugin {self._command!r} failed with exit code "
                f"{process.returncode}: {stderr.decode('utf-8', 'replace').strip()[:500]}"
            )
        self._take(stdout)

    def _take(self, stdout: bytes) -> None:
        try:
            answer: Any = json.loads(stdout)
            status = answer["status"]
            token, expires = status.get("token"), status.get("expirationTimestamp")
            self._expires = datetime.fromisoformat(expires) if expires else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"the credential plugin {self._command!r} did not print an ExecCredential"
            ) from error
        if not token:
            raise ConfigError(
                f"the credential plugin {self._command!r} gave no token "
                "(client certificates from plugins are not supported)"
            )
        self._token = token
