"""/healthz, /readyz on one port and /metrics on another, served from threads.

Threads, because a solve or a large exposition must not make a probe late, nor a scrape the loop.
/healthz asks whether the event loop turns and the watches live; /readyz whether the caches are full
(a standby is ready: it could lead at once).
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

Check = Callable[[], str | None]
"""Returns what is wrong, or None. Called in a server thread."""


class PortInUseError(Exception):
    """A port that the operator should serve on is taken or forbidden."""


class LoopPulse:
    """Notices an event loop that no longer turns: a task beats, others look at the last beat."""

    def __init__(self, *, interval: float = 1.0, limit: float = 60.0) -> None:
        self._interval = interval
        self._limit = limit
        self._last = time.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = time.monotonic()
            await asyncio.sleep(self._interval)

    def now(self) -> float:
        """The event loop's time, readable from other threads."""
        return time.monotonic()

    def check(self) -> str | None:
        silent = time.monotonic() - self._last
        return f"the event loop stood still for {silent:.0f} s" if silent > self._limit else None


class HealthServer:
    """Answers 200 while all checks of a path pass, else 503; the body says which failed."""

    def __init__(
        self, address: str, port: int, *, live: dict[str, Check], ready: dict[str, Check]
    ) -> None:
        checks = {"/healthz": live, "/livez": live, "/readyz": ready}

        def answer(path: str) -> tuple[int, str, bytes]:
            chosen = checks.get(path)
            if chosen is None:
                return 404, "text/plain", b"not found\n"
            found = {name: check() for name, check in chosen.items()}
            code = 200 if not any(found.values()) else 503
            body = json.dumps({name: wrong or "ok" for name, wrong in found.items()})
            return code, "application/json", body.encode() + b"\n"

        self._server = _Server(address, port, answer, "health")
        self.port = self._server.port

    def close(self) -> None:
        self._server.close()


class MetricsServer:
    """Serves a registry on /metrics."""

    def __init__(self, address: str, port: int, registry: CollectorRegistry) -> None:
        def answer(path: str) -> tuple[int, str, bytes]:
            if path != "/metrics":
                return 404, "text/plain", b"not found\n"
            return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)

        # Times of creation, one more series for each counter, which no dashboard asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client has none
        self._server = _Server(address, port, answer, "metrics")
        self.port = self._server.port

    def close(self) -> None:
        self._server.close()


class _Server:
    """A small HTTP server in daemon threads."""

    def __init__(
        self, address: str, port: int, answer: Callable[[str], tuple[int, str, bytes]], name: str
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, content_type, body = answer(self.path.partition("?")[0])
                self.send_response(code)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                _log.debug("request", server=name, line=format % args)

        try:
            self._server = ThreadingHTTPServer((address, port), Handler)
        except OSError as error:
            raise PortInUseError(
                f"cannot serve {name} on {address}:{port}: {error.strerror}"
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name=name, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
