"""A scripted API server: each test says what the wire answers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kube_wire import Wire

from autoctl.kube.client import KubeClient
from autoctl.kube.config import ConnectionConfig


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    held: list[Wire] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        wire = held[0]
        wire.requests.append((request.method, request.path, dict(request.query)))
        wire.headers.append(request.headers)
        wire.bodies.append(await request.json() if request.can_read_body else None)
        assert wire.handler is not None
        return await wire.handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    config = ConnectionConfig(server=f"http://127.0.0.1:{server.port}")
    async with KubeClient(config, rng=random.Random(1), timeout=5) as client:
        held.append(Wire(client))
        yield held[0]
    await server.close()
