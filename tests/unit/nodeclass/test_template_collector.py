"""Launch templates that nobody needs are deleted when they are due, not when somebody looks."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from autoctl.aws.tags import NODE_CLASS
from autoctl.controllers.nodeclass.templates import UNUSED_FOR, TemplateCollector, TemplateStore
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import FixedClock

NOW = datetime(2026, 1, 5, tzinfo=UTC)


class Gateway:
    def __init__(self) -> None:
        self.there: list[str] = []
        self.listed = 0

    async def of_cluster(self) -> list[Any]:
        self.listed += 1
        return [SimpleNamespace(name=n, tags={NODE_CLASS: "default"}) for n in self.there]

    async def create(self, name: str, data: Any, tags: Any) -> None:
        self.there.append(name)

    async def delete(self, name: str) -> None:
        self.there.remove(name)


class World:
    def __init__(self, patience: float = 1.0) -> None:
        self.clock, self.gateway = FixedClock(NOW), Gateway()
        self.in_use: set[str] = {"default"}
        gateway: Any = self.gateway
        self.store = TemplateStore(gateway, self.clock, Metrics(), patience=patience)
        self.collector = TemplateCollector(self.store, lambda: self.in_use)

    async def make(self, name: str) -> None:
        template: Any = SimpleNamespace(
            name=name, data={}, tags={NODE_CLASS: "default"}, user_data_bytes=1
        )
        await self.store.ensure(template)

    def wait(self, seconds: float) -> None:
        self.clock.instant += timedelta(seconds=seconds)


async def test_the_next_look_is_when_the_next_template_is_due() -> None:
    world = World()
    await world.make("a")
    world.wait(100)
    await world.make("b")
    assert await world.collector.run_once() == pytest.approx(UNUSED_FOR.total_seconds() - 100)
    world.wait(UNUSED_FOR.total_seconds() - 100)
    assert await world.collector.run_once() == pytest.approx(100)
    assert world.gateway.there == ["b"]


async def test_a_class_without_nodeclaims_gives_its_templates_up_soon() -> None:
    world = World()
    await world.make("a")
    world.in_use.clear()
    assert await world.collector.run_once() == pytest.approx(30)
    world.wait(30)
    await world.collector.run_once()
    assert world.gateway.there == []


async def test_templates_of_others_are_looked_for_in_time_and_patience_makes_it_later() -> None:
    for patience, listings in ((1.0, 3), (4.0, 1)):
        world = World(patience)
        for _ in range(3):
            pause = await world.collector.run_once()
            assert pause <= UNUSED_FOR.total_seconds()
            world.wait(600)
        assert world.gateway.listed == listings


async def test_a_failure_that_nobody_waits_for_any_more_is_told_to_nobody() -> None:
    """A replica that ends leaves what it launched; the event loop would print the error."""
    world, told = World(), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def refuse(*_: Any) -> None:
        await asyncio.sleep(1)
        raise RuntimeError

    gateway: Any = world.gateway
    gateway.create = refuse
    launch = asyncio.create_task(world.make("a"))
    await asyncio.sleep(0)
    launch.cancel()
    del launch
    await asyncio.sleep(2)
    gc.collect()
    assert not told
