"""What this process wrote is waited for until the mirror has it, and no longer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from autoctl.api import core
from autoctl.ports.clock import SystemClock
from autoctl.ports.kubernetes import NODES, Conflict, EventType, Object
from autoctl.sim.loop import VirtualLoop
from autoctl.state.cluster import ClusterState
from autoctl.state.own_writes import LAG_SECONDS, NotedApi


def node(version: str) -> core.Node:
    return core.Node(
        metadata=core.ObjectMeta(name="a", uid="a", resource_version=version),
        spec=core.NodeSpec(),
        status=core.NodeStatus(),
    )


class Api:
    """Answers with the next version; `meanwhile` happens before the answer comes."""

    def __init__(self) -> None:
        self.version = 1
        self.meanwhile: Callable[[str], None] = lambda _: None
        self.refuses = False

    async def patch(self, *arguments: Any, **options: Any) -> Object:
        if self.refuses:
            raise Conflict("somebody was first")
        self.version += 1
        version = str(self.version)
        self.meanwhile(version)
        await asyncio.sleep(0)
        return {"metadata": {"name": "a", "resourceVersion": version}}


class World:
    def __init__(self) -> None:
        self.plain: Any = Api()
        self.state = ClusterState(self.plain, SystemClock(), rng=random.Random(1))
        self.api = NotedApi(self.plain, self.state.own_writes)
        self.tell(EventType.ADDED, "1")

    def tell(self, kind: EventType, version: str) -> None:
        self.state.reflectors()[NODES]._apply(kind, node(version))

    async def write(self) -> str:
        answer = await self.api.patch(NODES, "a", {})
        return str(answer["metadata"]["resourceVersion"])

    @property
    def lags(self) -> bool:
        return self.state.lags(NODES, "a")


def played(scene: Callable[[World], Awaitable[None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(_scene(scene))
    finally:
        loop.close()


async def _scene(scene: Callable[[World], Awaitable[None]]) -> None:
    await scene(World())


def test_until_the_watch_tells_of_it() -> None:
    async def scene(world: World) -> None:
        assert not world.lags
        first = await world.write()
        second = await world.write()
        assert world.lags
        world.tell(EventType.MODIFIED, first)
        assert world.lags, "the later one is still to come"
        world.tell(EventType.MODIFIED, second)
        assert not world.lags

    played(scene)


@pytest.mark.parametrize("later", [(), ("7",)], ids=["it", "it and a later one"])
def test_not_where_the_watch_was_faster_than_the_answer(later: tuple[str, ...]) -> None:
    async def scene(world: World) -> None:
        def meanwhile(version: str) -> None:
            for each in (version, *later):
                world.tell(EventType.MODIFIED, each)

        world.plain.meanwhile = meanwhile
        await world.write()
        assert not world.lags

    played(scene)


@pytest.mark.parametrize("early", [True, False])
def test_what_is_gone_is_not_waited_for(early: bool) -> None:
    async def scene(world: World) -> None:
        if early:
            world.plain.meanwhile = lambda _: world.tell(EventType.DELETED, "9")
        await world.write()
        if not early:
            assert world.lags
            world.tell(EventType.DELETED, "9")
        assert not world.lags

    played(scene)


def test_no_longer_than_a_few_seconds_as_a_list_may_skip_it() -> None:
    async def scene(world: World) -> None:
        await world.write()
        world.tell(EventType.MODIFIED, "99")
        await asyncio.sleep(LAG_SECONDS - 0.1)
        assert world.lags
        await asyncio.sleep(0.1)
        assert not world.lags

    played(scene)


def test_a_refused_write_and_one_that_changed_nothing_are_not_waited_for() -> None:
    async def scene(world: World) -> None:
        world.plain.refuses = True
        with pytest.raises(Conflict):
            await world.write()
        assert not world.lags
        world.plain.refuses = False
        world.plain.version = 0
        assert await world.write() == "1", "the version that the mirror has"
        assert not world.lags

    played(scene)


def test_what_the_mirror_leaves_out_is_not_waited_for() -> None:
    async def scene(world: World) -> None:
        world.tell(EventType.DELETED, "1")
        await world.write()
        assert not world.lags

    played(scene)


def test_writes_side_by_side() -> None:
    async def scene(world: World) -> None:
        versions = await asyncio.gather(world.write(), world.write())
        assert world.lags
        for version in versions:
            world.tell(EventType.MODIFIED, version)
        assert not world.lags
        assert not world.state.own_writes._under_way

    played(scene)
