"""Events: told once, not too often, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import LoopClock
from autoctl.ports.kubernetes import NODES, PODS, Forbidden, NotFound, Object

pytestmark = pytest.mark.looptime

POD = ObjectReference.of(PODS, "p", "ns", "uid-1")


class Api:
    """Notes what is written; `error` is raised instead."""

    def __init__(self) -> None:
        self.created: list[Object] = []
        self.patched: list[tuple[str, Object]] = []
        self.error: Exception | None = None

    async def create(self, _: Any, body: Object, namespace: str) -> Object:
        if self.error is not None:
            raise self.error
        assert body["metadata"]["namespace"] == namespace
        self.created.append(body)
        return body

    async def patch(self, _: Any, name: str, body: Object, __: str) -> Object:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.patched.append((name, body))
        return body


class World:
    def __init__(self) -> None:
        self.api = Api()
        self.metrics = Metrics()
        self.recorder = EventRecorder(
            self.api,  # type: ignore[arg-type]
            LoopClock(datetime(2026, 1, 5, tzinfo=UTC)),
            metrics=self.metrics,
        )

    def dropped(self, cause: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "autoctl_events_dropped_total", {"cause": cause}
        )
        return value or 0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.recorder.run())
    yield world
    task.cancel()


async def test_what_is_written(world: World) -> None:
    world.recorder.publish(Event(POD, "FailedScheduling", "x" * 2000, "Warning"))
    await world.recorder.flush()
    event = world.api.created[0]
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "namespace": "ns",
        "uid": "uid-1",
    }
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "FailedScheduling", 1)
    assert len(event["message"]) == 1024
    assert event["source"]["component"] == event["reportingComponent"] == "eks-auto-mode/compute"
    assert event["firstTimestamp"] == "2026-01-05T00:00:00Z"


async def test_events_about_cluster_scoped_objects_live_in_default(world: World) -> None:
    world.recorder.publish(Event(ObjectReference.of(NODES, "n"), "DisruptionBlocked", "m"))
    await world.recorder.flush()
    assert world.api.created[0]["metadata"]["namespace"] == "default"
    assert "namespace" not in world.api.created[0]["involvedObject"]


async def test_repetitions_wait_two_minutes_and_then_count(world: World) -> None:
    event = Event(POD, "Evicted", "m")
    for _ in range(3):
        world.recorder.publish(event)
        await asyncio.sleep(50)
    await world.recorder.flush()
    assert len(world.api.created) == 1
    assert world.api.patched == []
    world.recorder.publish(event)
    await world.recorder.flush()
    name, patch = world.api.patched[0]
    assert name == world.api.created[0]["metadata"]["name"]
    assert (patch["count"], patch["lastTimestamp"]) == (2, "2026-01-05T00:02:30Z")


async def test_an_event_that_ran_out_on_the_server_is_made_anew(world: World) -> None:
    world.recorder.publish(Event(POD, "Evicted", "m"))
    await asyncio.sleep(130)
    world.api.error = NotFound("expired")
    world.recorder.publish(Event(POD, "Evicted", "m"))
    await world.recorder.flush()
    assert len(world.api.created) == 2


async def test_dedupe_values_stand_for_the_message(world: World) -> None:
    for number in range(3):
        world.recorder.publish(
            Event(POD, "FailedScheduling", f"attempt {number}", dedupe_values=("p",))
        )
    for number in range(3):
        world.recorder.publish(Event(POD, "Evicted", f"attempt {number}"))
    await world.recorder.flush()
    assert [e["reason"] for e in world.api.created] == ["FailedScheduling", *["Evicted"] * 3]


async def test_nominations_have_a_rate_of_their_own_over_all_pods(world: World) -> None:
    def nominate(start: int, count: int) -> None:
        for number in range(start, start + count):
            pod = ObjectReference.of(PODS, f"p{number}", "ns")
            world.recorder.publish(Event(pod, "Nominated", "m"))

    nominate(0, 25)
    await world.recorder.flush()
    assert len(world.api.created) == 10
    assert world.dropped("rate") == 15
    await asyncio.sleep(1)
    nominate(100, 25)
    await world.recorder.flush()
    assert len(world.api.created) == 15
    world.recorder.publish(Event(POD, "Evicted", "another reason is not held up"))
    await world.recorder.flush()
    assert len(world.api.created) == 16


async def test_a_server_that_refuses_is_nobodys_problem(world: World) -> None:
    world.api.error = Forbidden("no events for you")
    world.recorder.publish(Event(POD, "Evicted", "m"))
    await world.recorder.flush()
    assert world.dropped("error") == 1
    world.api.error = None
    world.recorder.publish(Event(POD, "Evicted", "n"))
    await world.recorder.flush()
    assert len(world.api.created) == 1
