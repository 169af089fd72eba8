"""Ending an instance, asked for from two sides at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.instance import Terminator
from autoctl.ports.clock import FixedClock

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass
class _Found:
    ended: bool
    ending: bool = True


@dataclass
class _Instances:
    """An instance that has ended by the time that anybody looks."""

    asked: list[str] = field(default_factory=list)

    async def terminate(self, name: str) -> None:
        self.asked.append(name)
        await asyncio.sleep(0)

    async def get(self, _: str) -> _Found:
        await asyncio.sleep(0)
        return _Found(ended=True)


def test_both_see_the_end_and_it_is_measured_once() -> None:
    """The Node's termination and its NodeClaim's wait for the same instance (found by seed 27)."""
    metrics = Metrics()
    instances = _Instances()
    terminator = Terminator(cast("Any", instances), FixedClock(NOW), metrics)

    async def both() -> list[bool]:
        end = terminator.end
        return await asyncio.gather(*(end("aws:///us-west-2a/i-1", "general") for _ in range(2)))

    assert asyncio.run(both()) == [True, True]
    name = "karpenter_nodeclaims_instance_termination_duration_seconds_count"
    assert metrics.registry.get_sample_value(name, {"nodepool": "general"}) == 1
    assert set(instances.asked) == {"i-1"}


def test_an_instance_that_shuts_down_is_not_lost_yet() -> None:
    """Its containers may still write to volumes that their successors get with its Node's end."""

    async def lost(found: _Found | None) -> bool:
        class Instances:
            async def get(self, _: str) -> _Found | None:
                return found

        terminator = Terminator(cast("Any", Instances()), FixedClock(NOW), Metrics())
        return await terminator.lost("aws:///us-west-2a/i-1")

    assert asyncio.run(lost(None))
    assert asyncio.run(lost(_Found(ended=True)))
    assert not asyncio.run(lost(_Found(ended=False, ending=True)))
