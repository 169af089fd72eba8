"""Whose time counts when clocks disagree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from autoctl.ports.steady import CONFIRM_SECONDS, Origin, SteadyClock

START = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass
class _World:
    """True time, and clocks that may be off it."""

    seconds: float = 0.0
    wall_off: timedelta = timedelta(0)
    server_off: timedelta = timedelta(0)
    asleep: float = 0.0

    def now(self) -> datetime:
        """The machine's clock."""
        return self.true + self.wall_off

    def mono(self) -> float:
        """Stands still while the machine sleeps, as Linux' CLOCK_MONOTONIC does."""
        return self.seconds - self.asleep

    @property
    def true(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    @property
    def date(self) -> datetime:
        return (self.true + self.server_off).replace(microsecond=0)


def _run(world: _World, clock: SteadyClock, seconds: float, *, hear: bool = True) -> None:
    """Let time pass; the API server answers every two seconds."""
    for _ in range(int(seconds / 2)):
        world.seconds += 2
        clock.now()
        if hear:
            clock.heard(world.date)


def _clock() -> tuple[_World, SteadyClock]:
    world = _World()
    clock = SteadyClock(world, world.mono)
    _run(world, clock, 60)
    assert clock.now() == world.true
    assert clock.take_jumps() == []
    return world, clock


@pytest.mark.parametrize("days", [30, -1])
@pytest.mark.parametrize("hear", [True, False], ids=["answers", "silence"])
def test_a_step_of_the_machines_clock_moves_nothing(days: int, hear: bool) -> None:
    world, clock = _clock()
    world.wall_off = timedelta(days=days)
    _run(world, clock, 600, hear=hear)
    assert clock.now() == world.true
    assert not clock.skipped(world.true - timedelta(seconds=300))
    (jump,) = clock.take_jumps()
    assert (jump.origin, jump.seconds) == (Origin.MACHINE, timedelta(days=days).total_seconds())
    assert clock.take_jumps() == []
    assert clock.correction == -timedelta(days=days)
    world.wall_off = timedelta(0)
    _run(world, clock, 10)
    assert clock.now() == world.true
    assert clock.correction == timedelta(0)


def test_a_clock_that_is_slewed_is_followed() -> None:
    world, clock = _clock()
    for _ in range(1000):
        world.wall_off += timedelta(milliseconds=2)
        _run(world, clock, 2)
    assert clock.now() == world.true + timedelta(seconds=2)
    assert clock.take_jumps() == []


def test_a_clock_that_was_wrong_from_the_start_is_corrected_by_the_first_answer() -> None:
    world = _World(wall_off=timedelta(days=30))
    clock = SteadyClock(world, world.mono)
    clock.heard(world.date)
    assert abs(clock.now() - world.true) < timedelta(seconds=1)
    (jump,) = clock.take_jumps()
    assert (jump.origin, jump.seconds) == (Origin.MACHINE, timedelta(days=30).total_seconds())
    assert not clock.skipped(world.true), "nothing was decided by the wrong time"


def test_a_machine_that_slept_learns_the_time_from_the_server() -> None:
    world, clock = _clock()
    asleep_at = world.true
    gap = timedelta(days=3)
    world.seconds += gap.total_seconds()
    world.asleep += gap.total_seconds()
    _run(world, clock, CONFIRM_SECONDS / 2)
    assert clock.now() < asleep_at + timedelta(minutes=1), "one answer proves nothing"
    _run(world, clock, 2 * CONFIRM_SECONDS)
    assert abs(clock.now() - world.true) < timedelta(seconds=2)
    assert clock.skipped(asleep_at + timedelta(days=1))
    assert not clock.skipped(asleep_at - timedelta(days=1))
    assert not clock.skipped(world.true + timedelta(days=1))
    assert [j.origin for j in clock.take_jumps()] == [Origin.MACHINE, Origin.SERVER]


def test_one_wrong_server_of_several_is_not_believed() -> None:
    world, clock = _clock()
    for turn in range(300):
        world.server_off = timedelta(days=30) if turn % 3 == 0 else timedelta(0)
        _run(world, clock, 2)
    assert clock.now() == world.true
    assert clock.take_jumps() == []


@pytest.mark.parametrize("days", [30, -1])
def test_a_server_whose_answers_agree_is_believed(days: int) -> None:
    world, clock = _clock()
    world.server_off = timedelta(days=days)
    _run(world, clock, 60)
    expected = world.true + world.server_off
    assert abs(clock.now() - expected) < timedelta(seconds=2)
    assert clock.skipped(world.true + timedelta(hours=1)) == (days > 0)
    (jump,) = clock.take_jumps()
    assert jump.origin is Origin.SERVER
    assert jump.seconds == pytest.approx(timedelta(days=days).total_seconds(), abs=5)
