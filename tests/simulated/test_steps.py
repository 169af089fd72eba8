"""Steps of a scenario change the world as the commands of kubectl do."""

from __future__ import annotations

import pytest
from harness import node_class, node_pool

from autoctl.ports.kubernetes import NODE_POOLS
from autoctl.simulate.player import Player
from autoctl.simulate.scenario import Scenario
from autoctl.simulate.steps import apply_patch
from autoctl.simulate.world import World


def test_what_a_manifest_no_longer_has_goes() -> None:
    before = {"spec": {"limits": {"cpu": "8"}, "weight": 3, "list": [1, 2]}, "old": {"a": 1}}
    after = {"spec": {"weight": 4, "list": [2]}, "new": {"b": None}}
    assert apply_patch(before, after) == {
        "spec": {"limits": None, "weight": 4, "list": [2]},
        "old": None,
        "new": {"b": None},
    }


def test_a_first_apply_removes_nothing() -> None:
    assert apply_patch({}, {"spec": {"weight": 4}}) == {"spec": {"weight": 4}}


class _Seen:
    """Keeps what the pool was at the end."""

    def __init__(self) -> None:
        self.pool: dict[str, object] = {}

    def attach(self, world: World) -> None:
        """Nothing is looked at before the end."""

    def finish(self, world: World) -> None:
        (self.pool,) = (o["spec"] for o in world.cluster.objects(NODE_POOLS))


@pytest.mark.looptime(False)
def test_limits_end_when_a_pool_is_applied_without_them() -> None:
    limited = node_pool()
    limited["spec"]["limits"] = {"cpu": "8"}
    heavier = node_pool()
    heavier["spec"]["weight"] = 7
    scenario = Scenario.model_validate(
        {
            "apiVersion": "simulate.autoctl.io/v1",
            "kind": "Scenario",
            "name": "limits",
            "duration": "2m",
            "objects": [node_class(), limited],
            "steps": [{"at": "1m", "apply": [heavier]}],
        }
    )
    seen = _Seen()
    Player(scenario, 0, scenario.objects, with_bound=False, watcher=seen).play()
    assert seen.pool["weight"] == 7
    assert "limits" not in seen.pool
    assert seen.pool["disruption"], "what the API server defaulted stays"
