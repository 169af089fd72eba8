"""kopf watches what users write, and does one thing with it: tell which object changed.

Handlers are `on.event` alone, storages keep nothing, so that kopf writes nothing to the cluster and
costs little: its stateful handlers would patch every object, its own storages copy each one five
times. Pods are watched only while no node is named in them.

kopf runs in a thread with a loop of its own. It cancels every task of its loop when it ends, and
it does end on answers that a long-lived operator must survive (an error inside a watch, an expired
continue token): it is then started again.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
import structlog

from autoctl.kube.config import ConnectionConfig
from autoctl.kube.credentials import ConfigError, FixedCredentials
from autoctl.ports.kubernetes import PODS, Resource

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

Notify = Callable[[Resource, "str | None", str], None]

PENDING_PODS = "spec.nodeName="
"""Field selector of pods without a node; a pod that gets one is reported as DELETED."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_HEALTHY_SECONDS = 300.0
"""A run that lasted longer starts the pauses anew."""
_LOGIN_LIFETIME = timedelta(seconds=60)
_STOP_SECONDS = 2.0


class KopfBridge:
    """Calls `notify` in the loop that `start` was called in."""

    def __init__(
        self,
        config: ConnectionConfig,
        resources: Iterable[Resource],
        notify: Notify,
        *,
        rng: random.Random,
        restarted: Callable[[], None] = lambda: None,
    ) -> None:
        """`config` must not be shared with another loop; `restarted` counts, from the thread."""
        self._config = config
        self._resources = sorted(resources, key=str)
        self._notify = notify
        self._rng = rng
        self._restarted = restarted
        self._stop = threading.Event()
        self._home: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._main, name="kopf", daemon=True)

    def start(self) -> None:
        self._home = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End kopf. It waits seconds for tasks that may hang; nothing depends on them here."""
        self._stop.set()
        join = self._thread.join
        await asyncio.get_running_loop().run_in_executor(None, join, _STOP_SECONDS)

    def check(self) -> str | None:
        """What is wrong, for health checks, or None."""
        return None if self._thread.is_alive() else "the kopf thread has ended"

    def _main(self) -> None:
        failures = 0
        while not self._stop.is_set():
            loop = asyncio.new_event_loop()
            started = loop.time()
            try:
                loop.run_until_complete(self._operate())
            except Exception:  # noqa: BLE001 - logged, and kopf is started again
                _log.exception("kopf failed")
            lasted = loop.time() - started
            loop.close()
            if self._stop.is_set():
                return
            failures = 0 if lasted > _HEALTHY_SECONDS else failures + 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 6))
            pause *= 0.5 + self._rng.random() / 2
            _log.warning("starting kopf again", seconds=round(pause, 1))
            self._restarted()
            self._stop.wait(pause)

    async def _operate(self) -> None:
        await kopf.operator(
            registry=self._registry(),
            settings=kopf_settings(),
            standalone=True,
            clusterwide=True,
            stop_flag=self._stop,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        for resource in self._resources:
            decorate = kopf.on.event(
                resource.group,
                resource.version,
                resource.plural,
                id=f"notify/{resource}",
                registry=registry,
            )
            decorate(self._handler(resource))
        return registry

    def _handler(self, resource: Resource) -> Callable[..., Any]:
        async def changed(name: str, namespace: str | None, **_: Any) -> None:
            self._tell(resource, namespace, name)

        return changed

    def _tell(self, resource: Resource, namespace: str | None, name: str) -> None:
        assert self._home is not None
        if not self._home.is_closed():
            self._home.call_soon_threadsafe(self._notify, resource, namespace, name)

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:
        config = self._config
        try:
            header = await config.credentials.authorization()
        except ConfigError as error:
            raise kopf.TemporaryError(str(error), delay=5) from error
        scheme, _space, token = (header or "").partition(" ")
        pair = config.client_certificate
        lasting = isinstance(config.credentials, FixedCredentials)
        return kopf.ConnectionInfo(
            server=config.server,
            ca_data=config.ca,
            insecure=not config.verify,
            scheme=scheme or None,
            token=token or None,
            certificate_data=None if pair is None else pair.certificate,
            private_key_data=None if pair is None else pair.key,
            proxy_url=config.proxy,
            default_namespace=config.namespace,
            expiration=None if lasting else datetime.now(UTC) + _LOGIN_LIFETIME,
        )


def kopf_settings() -> kopf.OperatorSettings:
    """Settings under which kopf only watches, at the least cost, and gives up as late as it can."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.queueing.idle_timeout = 0.05
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.field_selectors[PODS.plural] = PENDING_PODS
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Backoffs()
    settings.process.ultimate_exiting_timeout = None
    return settings


class _Backoffs:
    """Pauses between tries of one request, without end (kopf iterates anew for each request)."""

    def __iter__(self) -> Iterator[float]:
        pause = 1.0
        while True:
            yield pause
            pause = min(_LONGEST_PAUSE, pause * 2)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing: nobody asks for differences."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""


class _NoProgress(kopf.ProgressStorage):
    """Remembers nothing: there are no handlers to be tried again."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""

    def purge(self, **_: Any) -> None:
        """Nothing is stored."""

    def touch(self, **_: Any) -> None:
        """Nothing is stored."""

    def clear(self, *, essence: Any) -> Any:
        return essence
