"""A scripted API server: each test says what the wire answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from autoctl.kube.client import KubeClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Wire:
    """The requests that came, and the handler that answers them."""

    client: KubeClient
    handler: Handler | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)


def status(code: int, reason: str, message: str = "", **extra: Any) -> web.Response:
    """A metav1.Status as the API server answers it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message or reason,
    }
    headers = extra.pop("headers", None)
    return web.json_response(body | extra, status=code, headers=headers)
