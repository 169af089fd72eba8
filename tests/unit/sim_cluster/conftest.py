"""A simulated cluster in virtual time for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from autoctl.ports.clock import LoopClock
from autoctl.sim.cluster import SimCluster

START = datetime(2026, 1, 5, tzinfo=UTC)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "sim_cluster" in item.path.parts:
            item.add_marker(pytest.mark.looptime)


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock(START)


@pytest_asyncio.fixture
async def cluster(clock: LoopClock) -> AsyncIterator[SimCluster]:
    """A started cluster; an error inside it fails the test at `stop`."""
    sim = SimCluster(clock, rng_seed=1)
    await sim.start()
    yield sim
    await sim.stop()


@pytest.fixture(autouse=True)
def _no_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the simulated cluster may read the machine's clock."""
    monkeypatch.setattr("autoctl.ports.clock.SystemClock.now", _refuse)


def _refuse(_: object) -> datetime:
    raise AssertionError("the machine's clock was read")
