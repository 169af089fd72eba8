"""How long replays are sampled, and what is told while they are played."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoctl.cli.simulate import pace
from autoctl.simulate.player import Player
from autoctl.simulate.replay import Replay, trace_objects, trace_scenario
from autoctl.simulate.trace import Trace, TracePod

DAY = 86400.0


@pytest.mark.parametrize(
    ("days", "sample"),
    [(0.5, None), (3, timedelta(minutes=10)), (30, timedelta(hours=1))],
)
def test_long_replays_are_sampled_every_hour(days: float, sample: timedelta | None) -> None:
    trace = Trace((TracePod("a", 100, 128, 0.0, days * DAY),), None, 0)
    assert trace_scenario(trace, "t", "us-west-2").sample == sample


def test_the_pace_is_told_as_soon_as_it_is_known() -> None:
    assert pace(0, 0, 0) == ()
    assert pace(3600, 0.5, 0.1) == ()
    assert pace(3600, 2, 0) == ()
    assert pace(36_000, 2, 0.25) == ("18,000 times as fast as life", "00:00:06 left")
    assert pace(36_000, 2, 1.0)[1] == "00:00:00 left"


def test_what_is_played_of_a_trace_is_counted_by_what_its_pods_do() -> None:
    pods = (
        TracePod("a", 100, 128, 0.0, 590.0),
        TracePod("b", 100, 128, 290.0, None),
        TracePod("c", 100, 128, 500.0, 890.0),
    )
    trace = Trace(pods, None, 0)
    replay = Replay(trace)
    seen: list[float] = []
    scenario = trace_scenario(trace, "t", "us-west-2").model_copy(
        update={"sample": timedelta(minutes=5), "duration": timedelta(minutes=20)}
    )
    objects = trace_objects(trace, [])
    Player(
        scenario, 1, objects, watcher=replay, progress=lambda *_: seen.append(replay.played)
    ).play()
    # At 0, 5, 10, 15 and 20 minutes.
    assert seen == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0])
