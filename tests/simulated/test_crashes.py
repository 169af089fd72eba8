"""The operator dies at every single write; the next one ends up in the same place.

A crash comes right after a write took effect and before its answer arrives, which is the worst
moment: nothing in memory knows of it.
"""

from __future__ import annotations

import asyncio

import pytest
from harness import AWS_WRITES, Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import DEPLOYMENTS, EVENTS
from autoctl.sim.cluster.faults import Point, Request

RESTART_SECONDS = 3.0
WRITES = 70


class Crash:
    """Kills the operator after its `number`-th write (Kubernetes or AWS) and starts another."""

    def __init__(self, play: Play, number: int) -> None:
        self.writes: list[str] = []
        self._number = number
        self._play = play
        self._watched: set[asyncio.Task[None]] = set()
        cloud = play.world.cloud
        inner = cloud.call

        def call(service: str, method: str, params: dict[str, object]) -> dict[str, object]:
            answer = inner(service, method, params)
            operation = "".join(part.capitalize() for part in method.split("_"))
            if operation.startswith(AWS_WRITES) and "Message" not in operation:
                self._wrote(operation)
            return answer

        cloud.call = call  # type: ignore[method-assign]
        play.world.cluster.faults.observe(self._observe)

    def _observe(self, request: Request, point: Point) -> None:
        mine = request.resource not in (EVENTS, DEPLOYMENTS)
        if point is Point.AFTER and request.mutating and mine:
            self._wrote(f"{request.verb} {request.resource.plural} {request.subresource}")

    def _wrote(self, what: str) -> None:
        if self._play.world.operator is None:
            return
        self.writes.append(what)
        if len(self.writes) == self._number:
            restart = asyncio.get_running_loop().create_task(self._restart())
            self._watched.add(restart)
            raise asyncio.CancelledError("killed")

    async def _restart(self) -> None:
        world = self._play.world
        operator, world.operator = world.operator, None
        assert operator is not None
        await operator.kill()
        await asyncio.sleep(RESTART_SECONDS)
        world.start_operator()


async def _live(number: int) -> list[str]:
    """Up, running, and down again; returns what was written."""
    async with playing(node_class(), node_pool(), deployment(replicas=6)) as play:
        crash = Crash(play, number)
        await play.until(lambda: play.running() == 6, 400)
        assert play.launched == 1, "launched twice"
        assert len(play.claims()) == 1
        await play.scale(0)
        await play.until(play.nothing_left, 600)
        assert play.launched == 1
        return crash.writes


async def test_dying_after_any_write_leaks_nothing_and_launches_once() -> None:
    """The number of writes is found by a run without a crash."""
    calm = await _live(0)
    assert any(w == "CreateFleet" for w in calm)
    assert any(w.startswith("create nodeclaims") for w in calm)
    assert len(calm) <= WRITES, "let the crashes reach every write"


@pytest.mark.parametrize("number", range(1, WRITES + 1))
async def test_crash(number: int) -> None:
    await _live(number)
