"""What makes weeks of the simulated cloud cheap: polls that last, and a log that forgets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import looptime

from autoctl.ports.clock import LoopClock
from autoctl.sim.cloud.cloud import CloudSettings, SimulatedCloud

_START = datetime(2026, 1, 5, tzinfo=UTC)


def _waited(*, empty_polls: bool, message_after: float) -> float:
    """How long a poll of 20 seconds lasts when a message comes after that many."""

    async def poll() -> float:
        cloud = SimulatedCloud(LoopClock(_START), CloudSettings(empty_polls=empty_polls))
        sqs = cloud.client("sqs")
        url = sqs.get_queue_url(QueueName=cloud.settings.cluster)["QueueUrl"]
        loop = asyncio.get_running_loop()
        loop.call_later(message_after, lambda: sqs.send_message(QueueUrl=url, MessageBody="news"))
        await cloud.sqs.wait(QueueUrl=url, WaitTimeSeconds=20)
        return loop.time()

    loop = looptime.new_event_loop(start=0)
    try:
        found: float = loop.run_until_complete(poll())
    finally:
        loop.close()
    return found


def test_an_empty_poll_ends_in_time() -> None:
    assert _waited(empty_polls=True, message_after=3600) == 20


def test_without_empty_polls_a_poll_lasts_until_there_is_a_message() -> None:
    assert _waited(empty_polls=False, message_after=3600) == 3600
    assert _waited(empty_polls=False, message_after=5) == 5


def test_the_log_keeps_as_many_requests_as_it_is_told() -> None:
    def logged(keep: int | None) -> list[Any]:
        loop = looptime.new_event_loop(start=0)

        async def ask() -> list[Any]:
            cloud = SimulatedCloud(LoopClock(_START), CloudSettings(keep_requests=keep))
            for _ in range(5):
                cloud.client("sts").get_caller_identity()
            return list(cloud.log.requests)

        try:
            found: list[Any] = loop.run_until_complete(ask())
        finally:
            loop.close()
        return found

    assert len(logged(None)) == 5
    assert len(logged(2)) == 2
