"""Commands under way: what their NodeClaims say, and what they need next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import FAKE6, node, node_pool, pod

from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.execution import CoolDown, Execution
from autoctl.controllers.disruption.marks import COMMAND, REPLACES, Mark, in_flight, read_mark
from autoctl.controllers.disruption.model import Command, ConsolidationType, Reason
from autoctl.controllers.disruption.progress import Next, judge, patience, pays
from autoctl.controllers.disruption.steering import plan_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def claim(
    name: str, *, annotations: dict[str, str], initialized: bool = True, deleting: bool = False
) -> NodeClaim:
    metadata: dict[str, Any] = {"name": name, "annotations": annotations}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return NodeClaim.from_dict(
        {
            "metadata": metadata,
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "k", "name": "n"},
                "requirements": [],
            },
            "status": {
                "conditions": [
                    {"type": "Initialized", "status": "True" if initialized else "Unknown"}
                ]
            },
        }
    )


def mark(replacements: int, age: timedelta = timedelta(0)) -> Mark:
    return Mark("c", Reason.UNDERUTILIZED, replacements, NOW - age, ConsolidationType.MULTI)


def test_a_mark_survives_being_written() -> None:
    written = claim("a", annotations={COMMAND: mark(2).encode()})
    assert read_mark(written) == mark(2)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": 1}', "null", '{"id":"x","reason":"Fun"}'])
def test_a_foreign_mark_is_none(text: str) -> None:
    assert read_mark(claim("a", annotations={COMMAND: text})) is None


@pytest.mark.parametrize(
    ("replacements", "age", "bought", "expected"),
    [
        (0, 0, [], Next.FINISH),
        (1, 0, [], Next.WAIT),
        (1, 61, [], Next.ROLL_BACK),
        (1, 61, [{"initialized": False}], Next.WAIT),
        (1, 601, [{"initialized": False}], Next.ROLL_BACK),
        (1, 601, [{"initialized": True}], Next.FINISH),
        (2, 5, [{"initialized": True}, {"deleting": True}], Next.ROLL_BACK),
        (2, 61, [{"initialized": True}], Next.ROLL_BACK),
    ],
)
def test_the_next_step(
    replacements: int, age: int, bought: list[dict[str, Any]], expected: Next
) -> None:
    written = mark(replacements, timedelta(seconds=age))
    claims = [claim("old", annotations={COMMAND: written.encode()})]
    claims += [
        claim(f"new-{i}", annotations={REPLACES: "c"}, **facts) for i, facts in enumerate(bought)
    ]
    assert judge(in_flight(claims)["c"], NOW, 1, starting=False).next is expected


def test_nothing_is_left_to_do_when_all_nodes_are_leaving() -> None:
    leaving = claim("old", annotations={COMMAND: mark(0).encode()}, deleting=True)
    assert judge(in_flight([leaving])["c"], NOW, 1, starting=False).next is Next.NOTHING


def test_a_leader_that_is_still_buying_is_not_rolled_back() -> None:
    late = mark(1, timedelta(seconds=90))
    command = in_flight([claim("old", annotations={COMMAND: late.encode()})])["c"]
    assert judge(command, NOW, 1, starting=True).next is Next.WAIT


def _moving(taints: list[Any], **facts: Any) -> Any:
    """A command that replaces the node `old` by `new`."""
    written = Mark("c", Reason.UNDERUTILIZED, 1, NOW, ConsolidationType.SINGLE, nodes=1)
    written = replace(written, **facts.pop("mark", {}))
    new = {"annotations": {REPLACES: "c"}, "taints": taints, **facts}
    return snapshot_of_objects(
        node_pool(), node("old", annotations={COMMAND: written.encode()}), node("new", **new)
    )


CLOSED = [{"key": "autoctl.io/awaiting-pods", "effect": "NoSchedule"}]
SMALL: dict[str, Any] = {"of": FAKE6[1]}


@pytest.mark.parametrize(
    ("taints", "facts", "expected"),
    [
        (CLOSED, SMALL, True),
        (CLOSED, {}, False),
        ([], {}, True),
        (CLOSED, {"mark": {"reason": Reason.DRIFTED}}, True),
        (CLOSED, {"mark": {"nodes": 2}}, True),
        (CLOSED, {"mark": {"nodes": 0}}, True),
        (CLOSED, {"capacity_type": "unsold"}, True),
    ],
    ids=["cheaper", "no cheaper", "open", "drift", "one went", "an old mark", "of unknown price"],
)
def test_what_came_is_cheaper_or_nothing_goes(
    taints: list[Any], facts: dict[str, Any], expected: bool
) -> None:
    """As long as nothing has gone and no pod may have come to a replacement."""
    snapshot = _moving(taints, **facts)
    command = in_flight(snapshot.node_claims.values())["c"]
    nodes = {n.claim.name: n for n in snapshot.state_nodes.values() if n.claim is not None}
    assert pays(command, snapshot, nodes) == expected
    step = judge(command, NOW, 1, starting=False, paying=expected)
    assert step.next is (Next.FINISH if expected else Next.ROLL_BACK)


def test_patience_grows_with_the_number_of_commands() -> None:
    assert patience(1) == timedelta(minutes=10)
    assert patience(10_000) == timedelta(seconds=800)
    assert patience(10**6) == timedelta(hours=1)


def test_failures_cool_down_longer_each_time() -> None:
    resting = CoolDown()
    resting.failed(["a"], NOW)
    assert resting.active(NOW + timedelta(seconds=119), ["a", "b"]) == {"a"}
    assert resting.active(NOW + timedelta(seconds=121), ["a", "b"]) == frozenset()
    resting.failed(["a"], NOW)
    assert resting.active(NOW + timedelta(seconds=239), ["a"]) == {"a"}
    assert resting.active(NOW, []) == frozenset()


@pytest.mark.parametrize("replacements", [0, 1])
def test_a_command_that_is_being_started_waits(replacements: int) -> None:
    """Its nodes may not all be marked and tainted yet, nor is it known where pods are to go."""
    claims = [claim("old", annotations={COMMAND: mark(replacements).encode()})]
    assert judge(in_flight(claims)["c"], NOW, 1, starting=True).next is Next.WAIT


async def test_commands_that_are_gone_are_forgotten() -> None:
    """One whose node somebody else ended before a pod was moved, too: or the queue never rests."""
    execution = Execution(*[cast("Any", None)] * 7)
    snapshot = snapshot_of_objects(node_pool(), node("old"), pod("a", node="old"))
    command = Command(reason=Reason.EMPTY, nodes=("old",))
    execution.steering["c"] = plan_of(command, (), snapshot)
    execution.forget({"c"})
    assert set(execution.steering) == {"c"}
    execution.forget(())
    assert not execution.steering
