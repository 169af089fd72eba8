"""Thirty days in which everything says that its node must stay: no instance sees its 21st day."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from autoctl.api.labels import NODEPOOL, TERMINATION_FINALIZER
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, Object, Resource
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.simulate.player import Player
from autoctl.simulate.result import SimulationResult
from autoctl.simulate.scenario import load_scenario
from autoctl.simulate.world import World

SCENARIO = Path(__file__).parents[2] / "scenarios" / "month.yaml"
CAP = timedelta(days=21)
FOREIGN = "example.com/nobody-removes-this"


class Onlooker:
    """Puts a foreign finalizer on Nodes and NodeClaims of one pool; notes the age of everything."""

    def __init__(self, stuck_pool: str) -> None:
        self.stuck_pool = stuck_pool
        self.lives: dict[str, list[timedelta]] = defaultdict(list)
        self.stuck: set[str] = set()

    def attach(self, world: World) -> None:
        """See `Watcher.attach`."""
        for resource in (NODE_CLAIMS, NODES):
            world.cluster.store.subscribe(resource, partial(self._hold, world, resource))

    def _hold(self, world: World, resource: Resource, _: Object | None, obj: Object | None) -> None:
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return
        finalizers = obj["metadata"].get("finalizers") or []
        ours = (obj["metadata"].get("labels") or {}).get(NODEPOOL) == self.stuck_pool
        if ours and TERMINATION_FINALIZER in finalizers and FOREIGN not in finalizers:
            self.stuck.add(resource.plural)
            world.cluster.server.mutate(
                resource, obj, metadata={"finalizers": [*finalizers, FOREIGN]}
            )

    def finish(self, world: World) -> None:
        """See `Watcher.finish`."""
        now = world.cloud.now()
        for instance in world.cloud.ec2.instances.history:
            self.lives[_pool(instance)].append(_age(instance, now))


def _age(instance: InstanceRecord, now: datetime) -> timedelta:
    """From the launch to the instance's end, or to now."""
    return (instance.billed_until or now) - instance.launched_at


def _pool(instance: InstanceRecord) -> str:
    return instance.tags[NODEPOOL]


@pytest.fixture(scope="module")
def played() -> tuple[SimulationResult, Onlooker]:
    scenario = load_scenario(str(SCENARIO))
    onlooker = Onlooker("never")
    player = Player(scenario, 1, scenario.objects, with_bound=False, watcher=onlooker)
    return player.play(), onlooker


@pytest.mark.slow
@pytest.mark.looptime(False)
def test_no_instance_is_older_than_the_cap_at_any_moment(
    played: tuple[SimulationResult, Onlooker],
) -> None:
    result, onlooker = played
    assert onlooker.stuck == {"nodeclaims", "nodes"}
    lives = onlooker.lives
    assert lives.keys() == {"ordinary", "longest", "never"}
    assert all(age <= CAP for ages in lives.values() for age in ages), lives
    # What held the nodes did hold them: they went for their age, not before.
    assert min(max(lives["longest"]), max(lives["never"])) >= timedelta(days=20)
    assert not [o for o in result.outcomes if not o.ok and o.name != "orphans"]


@pytest.mark.slow
@pytest.mark.looptime(False)
def test_ordinary_nodes_go_at_fourteen_days(played: tuple[SimulationResult, Onlooker]) -> None:
    _, onlooker = played
    ages = sorted(onlooker.lives["ordinary"])
    assert len(ages) == 6, "two nodes, replaced twice"
    assert all(timedelta(0) <= a - timedelta(days=14) <= timedelta(hours=1) for a in ages[2:])
