"""Made-up worlds full of faults: what must hold in every world holds in each of them.

`AUTOCTL_RANDOM_SEEDS` sets how many seeds are played (300 unless given), `AUTOCTL_RANDOM_FIRST` the
first one. A failing seed prints the command that plays it again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from autoctl.simulate.chaos import random_scenario
from autoctl.simulate.chaos_extras import Feature, features_of
from autoctl.simulate.fault_fields import CLUSTER_FAULTS
from autoctl.simulate.random_runs import play_random

SEEDS = int(os.environ.get("AUTOCTL_RANDOM_SEEDS", "300"))
FIRST = int(os.environ.get("AUTOCTL_RANDOM_FIRST", "0"))
CHUNK = 5
FOUND = [475]
"""Seeds beyond the first 300 that found something, which is repaired."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """The operator tells of every fault; hundreds of worlds are too much to read."""
    known = structlog.get_config()
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent)
    yield
    structlog.configure(**known)


@pytest.mark.slow
@pytest.mark.looptime(False)
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_every_rule_holds_in_random_worlds(first: int) -> None:
    last = min(first + CHUNK, FIRST + SEEDS)
    broken = [v for v in map(play_random, range(first, last)) if not v.ok]
    assert not broken, "\n".join(v.describe() for v in broken)


@pytest.mark.slow
@pytest.mark.looptime(False)
@pytest.mark.parametrize("seed", FOUND)
def test_what_seeds_found_stays_repaired(seed: int) -> None:
    verdict = play_random(seed)
    assert verdict.ok, verdict.describe()


def test_the_same_seed_is_the_same_world() -> None:
    assert random_scenario(7) == random_scenario(7)
    assert random_scenario(7) != random_scenario(8)


def test_the_seeds_reach_every_fault() -> None:
    """A kind of fault that no seed plays is not tested."""
    from autoctl.sim.cloud.faults import FaultType

    played: set[str] = set()
    written = 0
    for seed in range(300):
        for step in random_scenario(seed).steps:
            if step.fault is not None:
                played.add(step.fault["type"])
                written += step.fault["type"] == "leader-loss" and "write" in step.fault
    assert played == {f.value for f in FaultType} | set(CLUSTER_FAULTS)
    assert written > 100, "leaders die in the middle of what they do"


def test_the_seeds_have_every_feature_and_many_have_two() -> None:
    found = [features_of(seed) for seed in range(300)]
    assert frozenset().union(*found) == set(Feature)
    assert all(sum(f in features for features in found) > 30 for f in Feature)
    assert sum(len(features) > 1 for features in found) > 60
    assert sum(not features for features in found) > 60


def test_features_are_in_the_worlds_that_have_them() -> None:
    """What a feature adds to a world is there from the start, or comes while it is busy."""
    for seed in range(300):
        features, world = features_of(seed), random_scenario(seed)
        pools = [o for o in world.objects if o["kind"] == "NodePool"]
        faults = [s.fault for s in world.steps if s.fault is not None]
        policies = {p["spec"]["disruption"]["consolidationPolicy"] for p in pools}
        present = {
            Feature.STATIC: any("replicas" in p["spec"] for p in pools),
            Feature.BALANCED: "Balanced" in policies,
            Feature.VOLUMES: any(o["kind"] == "StorageClass" for o in world.objects),
            Feature.RESERVATIONS: bool(world.settings.reservations),
            Feature.STANDBY: world.settings.operators == 2 and any("cutOff" in f for f in faults),
            Feature.CLOCKS: any(f["type"] == "clock-jump" for f in faults),
        }
        assert {f for f, there in present.items() if there} == features
