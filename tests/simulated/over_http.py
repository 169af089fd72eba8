"""A simulated world whose operator reaches its AWS account through boto3 and HTTP.

The loop's time is virtual as ever: boto3's calls block the loop, so that no time passes in them,
while a thread of the server carries them out. Nothing but the wire differs from other worlds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from harness import START, Play

from autoctl.ports.kubernetes import Object
from autoctl.sim.cloud.http import CloudServer
from autoctl.simulate.scenario import Scenario
from autoctl.simulate.world import World, clients_of

READ_TIMEOUT = 0.5
"""Real seconds after which boto3 gives an answer up."""


class SharedClock:
    """The loop's time, also for threads without a loop of their own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time())


class Remote(Play):
    """A world to play with, and the server between the operator and its account."""

    def __init__(self, world: World, server: CloudServer) -> None:
        super().__init__(world)
        self.server = server
        self.said: set[tuple[str, str]] = set()
        """Reason and message of every condition and event seen so far."""

    async def until_running(self, pods: int, seconds: float) -> None:
        """Let time pass until so many pods run, noting what conditions and events say."""

        def there() -> bool:
            self.note()
            return self.running() == pods

        await self.until(there, seconds)

    def note(self) -> None:
        """Remember what NodeClaims, the NodeClass and events say now."""
        for claim in self.claims():
            self.said |= (
                {(c["reason"], c.get("message", "")) for c in claim["status"].get("conditions", ())}
                if "status" in claim
                else set()
            )
        for event in self.every_event():
            self.said.add((event["reason"], str(event.get("note") or event.get("message"))))

    def told(self, reason: str, text: str = "") -> bool:
        """Whether somebody said it at some moment."""
        return any(r == reason and text in message for r, message in self.said)


@asynccontextmanager
async def playing_over_http(
    objects: Iterable[Object], *, instance_types: tuple[str, ...], seed: int = 1
) -> AsyncIterator[Remote]:
    """A started world in which only `instance_types` are sold."""
    scenario = Scenario.model_validate(
        {
            "apiVersion": "simulate.autoctl.io/v1",
            "kind": "Scenario",
            "region": "us-west-2",
            "start": START,
            "duration": "1h",
            "settings": {"instance_types": instance_types},
        }
    )
    world = World(scenario, seed)
    clock: Any = SharedClock(asyncio.get_running_loop())
    world.cloud.clock = clock
    world.cloud.timeline.clock = clock
    server = CloudServer(world.cloud)
    simulated = world.cloud.client
    session: Any = boto3.Session("key", "secret", region_name="us-west-2")

    def client(service: str) -> Any:
        if service == "sqs":
            return simulated(service)  # its long poll would hold the loop up
        return session.client(
            service,
            endpoint_url=server.url,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=READ_TIMEOUT),
        )

    world.clients = clients_of(client)
    server.start()
    try:
        await world.start(objects)
        try:
            yield Remote(world, server)
            world.check()
        finally:
            await world.stop()
    finally:
        server.stop()
