"""Which pods could spoil a plan by taking the room of a new node, and who may be nominated."""

from __future__ import annotations

from typing import Any

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import ZONE, Object, node, node_pool, pod, spread

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.lifecycle.registration import registration_patch
from autoctl.controllers.provisioning.rivalry import (
    could_use,
    in_turn,
    is_contested,
    keeps_all,
    takers,
)

TAINT = {"key": "team", "value": "a", "effect": "NoSchedule"}
HOST = "kubernetes.io/hostname"
APP, WEB = {"app": "a"}, {"app": "web"}


def world(*pods: Object, taints: tuple[Object, ...] = ()) -> tuple[NodeClaim, core.Node]:
    snapshot = snapshot_of_objects(node_pool(), node("new", taints=list(taints)), *pods)
    (found,) = snapshot.state_nodes.values()
    assert found.claim is not None
    assert found.node is not None
    return found.claim, found.node


def parsed(*pods: Object) -> list[core.Pod]:
    return list(snapshot_of_objects(node_pool(), *pods).pods.values())


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        pytest.param({"cpu": "1"}, True, id="fits"),
        pytest.param({"cpu": "64"}, False, id="too large"),
        pytest.param({"requests": {"vendor-a.com/gpu": "1"}}, False, id="asks what it lacks"),
        pytest.param({"nodeSelector": {ZONE: "test-zone-1"}}, True, id="right zone"),
        pytest.param({"nodeSelector": {ZONE: "elsewhere"}}, False, id="wrong zone"),
    ],
)
def test_pods_that_could_run_on_a_node(spec: dict[str, Any], allowed: bool) -> None:
    claim, new = world()
    (one,) = parsed(pod("p", **spec))
    assert could_use(one, claim, new) is allowed


@pytest.mark.parametrize(
    ("own", "others", "contested"),
    [
        pytest.param([{"cpu": "1"}], [], False, id="nobody else waits"),
        pytest.param([], [{"cpu": "1"}], False, id="nobody is meant for it"),
        pytest.param([{"cpu": "1"}], [{"cpu": "1"}], False, id="one is as good as the other"),
        pytest.param([{"cpu": "1"}], [{"cpu": "2"}], True, id="other sizes"),
        pytest.param([{"cpu": "1"}], [{"cpu": "99"}], False, id="too large to be a rival"),
        pytest.param([{"cpu": "1"}, {"cpu": "2"}], [{"cpu": "1"}], True, id="for one of its own"),
        pytest.param(
            [{"cpu": "1", "labels": APP}],
            [{"cpu": "1", "labels": WEB}],
            False,
            id="labels that nobody asks for",
        ),
        pytest.param(
            [{"cpu": "1", "labels": APP}],
            [{"cpu": "1", "labels": WEB, "topologySpreadConstraints": [spread(HOST, labels=WEB)]}],
            True,
            id="other rules",
        ),
        pytest.param(
            [{"cpu": "1", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}],
            [{"cpu": "1", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}],
            True,
            id="volumes tie pods to places",
        ),
    ],
)
def test_contested_nodes(own: list[Object], others: list[Object], contested: bool) -> None:
    claim, new = world()
    mine = parsed(*(pod(f"own-{i}", **spec) for i, spec in enumerate(own)))
    rivals = parsed(*(pod(f"other-{i}", **spec) for i, spec in enumerate(others)))
    assert is_contested(mine, rivals, claim, new) is contested


def together(number: int, skew: int | None, **more: Any) -> list[core.Pod]:
    rules = [] if skew is None else [spread(ZONE, skew=skew, labels=WEB)]
    return parsed(
        *(pod(f"p{i}", labels=WEB, topologySpreadConstraints=rules, **more) for i in range(number))
    )


@pytest.mark.parametrize(
    ("pods", "names"),
    [
        pytest.param(together(3, None), ["p0", "p1", "p2"], id="no rule"),
        pytest.param(together(3, 1), ["p0"], id="one ahead"),
        pytest.param(together(3, 2), ["p0", "p1"], id="two ahead"),
        pytest.param(
            together(3, 1, metadata={"labels": {**WEB, "apps.kubernetes.io/pod-index": "7"}}),
            ["p0"],
            id="labels of one pod alone do not make a group",
        ),
    ],
)
def test_pods_that_are_spread_take_turns(pods: list[core.Pod], names: list[str]) -> None:
    assert [p.metadata.name for p in in_turn(pods)] == names


def test_whose_turn_it_is_keeps_it() -> None:
    objects = [
        pod(name, labels=WEB, topologySpreadConstraints=[spread(ZONE, labels=WEB)])
        for name in ("a", "b")
    ]
    objects[1]["status"]["nominatedNodeName"] = "new"
    assert [p.metadata.name for p in in_turn(parsed(*objects))] == ["b"]


SPREAD = {"topologySpreadConstraints": [spread(ZONE, labels=WEB)], "labels": WEB}


@pytest.mark.parametrize(
    ("own", "highest", "kept"),
    [
        pytest.param([{}], 0, True, id="of equal rank"),
        pytest.param([{}, {"priority": 5}], 5, False, id="one outranked"),
        pytest.param([{}], 5, False, id="outranked"),
        pytest.param([], 5, True, id="nobody's room"),
        pytest.param([SPREAD], 0, True, id="each has a turn"),
        pytest.param([SPREAD, SPREAD], 0, False, id="one has none"),
    ],
)
def test_whether_nominations_keep_all_room(
    own: list[dict[str, Any]], highest: int, kept: bool
) -> None:
    pods = parsed(*(pod(f"p{i}", **spec) for i, spec in enumerate(own)))
    assert keeps_all(pods, highest) is kept


@pytest.mark.parametrize(
    ("own", "others", "running", "taking"),
    [
        pytest.param([{"cpu": "3"}], [{"cpu": "1"}], [], [], id="all room is kept"),
        pytest.param(
            [{"cpu": "1500m", **SPREAD}] * 2,
            [{"cpu": "1500m"}],
            [],
            ["o0"],
            id="room of one without a turn",
        ),
        pytest.param(
            [{"cpu": "500m", **SPREAD}] * 2, [{"cpu": "1500m"}], [], [], id="there is room for both"
        ),
        pytest.param(
            [{"cpu": "500m", **SPREAD}] * 2,
            [{"cpu": "1500m"}] * 3,
            [],
            ["o0", "o1", "o2"],
            id="not for all",
        ),
        pytest.param(
            [{"cpu": "1500m", **SPREAD}] * 2,
            [{"cpu": "1500m", **SPREAD}],
            [],
            [],
            id="of the same kind",
        ),
        pytest.param(
            [{"cpu": "1500m", **SPREAD}] * 2,
            [{"cpu": "2500m"}],
            [],
            [],
            id="too large beside who has a turn",
        ),
        pytest.param(
            [{"cpu": "1", **SPREAD}] * 2,
            [{"cpu": "1500m"}],
            [{"cpu": "1500m"}],
            [],
            id="too large beside who runs",
        ),
        pytest.param([{"cpu": "2"}], [{"cpu": "2", "priority": 5}], [], ["o0"], id="outranked"),
        pytest.param(
            [{"cpu": "1"}], [{"cpu": "2", "priority": 5}], [], [], id="room for both ranks"
        ),
        pytest.param(
            [{"cpu": "1"}, {"cpu": "1500m", "priority": 5}],
            [{"cpu": "2", "priority": 5}],
            [],
            ["o0"],
            id="outranks one, whose room it takes",
        ),
        pytest.param(
            [{"cpu": "1500m"}, {"cpu": "2", "priority": 5}],
            [{"cpu": "2", "priority": 5}],
            [],
            [],
            id="outranks one whose room is too small",
        ),
        pytest.param([], [{"cpu": "1", "priority": 5}], [], [], id="nobody's room"),
    ],
)
def test_who_could_take_room_that_is_not_kept(
    own: list[dict[str, Any]],
    others: list[dict[str, Any]],
    running: list[dict[str, Any]],
    taking: list[str],
) -> None:
    claim, new = world()

    def made(prefix: str, specs: list[dict[str, Any]]) -> list[core.Pod]:
        return parsed(*(pod(f"{prefix}{i}", **spec) for i, spec in enumerate(specs)))

    there = made("r", [{**spec, "node": "new"} for spec in running])
    found = takers(made("p", own), made("o", others), claim, new, there)
    assert [p.metadata.name for p in found] == taking


@pytest.mark.parametrize(
    ("steered", "startup", "labels", "marked", "held"),
    [
        pytest.param(False, (), {}, False, False, id="not steered"),
        pytest.param(True, (), {}, True, True, id="steered"),
        pytest.param(True, (TAINT,), {}, True, False, id="a startup taint holds it already"),
        pytest.param(
            True,
            (),
            {"karpenter.sh/do-not-sync-taints": "true"},
            True,
            False,
            id="somebody else minds the taints",
        ),
    ],
)
def test_registration_of_steered_nodes(
    steered: bool,
    startup: tuple[Object, ...],
    labels: dict[str, str],
    marked: bool,
    held: bool,
) -> None:
    claim, new = world()
    claim = NodeClaim.from_dict(
        {**claim.to_dict(), "spec": {**claim.to_dict()["spec"], "startupTaints": list(startup)}}
    )
    new.metadata.labels.update(labels)
    patch = registration_patch(new, claim, steered=steered)
    assert ("autoctl.io/steered" in patch["metadata"]["annotations"]) is marked
    keys = {t["key"] for t in patch["spec"]["taints"] or ()}
    assert ("autoctl.io/awaiting-pods" in keys) is held
