"""Room beside pods: who is asked about in which order, and what becomes of a refusal."""

from __future__ import annotations

from autoctl.api import core
from autoctl.scheduling.problem import (
    ExistingNode,
    NewNode,
    Offer,
    SchedulingProblem,
    Solution,
    Unschedulable,
)
from autoctl.scheduling.reserve import solve_with_reserve, without_placements

FULL = Unschedulable("limit cpu 4 reached")


def pod(name: str) -> core.Pod:
    return core.Pod(metadata=core.ObjectMeta(name=name, namespace="ns", uid=name))


def new_node(*names: str) -> NewNode:
    offer = Offer("m5.large", "us-west-2a", "on-demand", 0.1)
    return NewNode("p", tuple(f"ns/{n}" for n in names), {}, (), ("m5.large",), offer)


PROBLEM = SchedulingProblem(
    pods=(pod("a"), pod("b")),
    nodes=(ExistingNode("n", {}, {}), ExistingNode("m", {}, {})),
    reserve=(pod("r1"), pod("r2"), pod("r3")),
)


class Answers:
    """Gives one answer after the other, and keeps the questions."""

    def __init__(self, *answers: Solution) -> None:
        self.answers = list(answers)
        self.asked: list[SchedulingProblem] = []

    def __call__(self, problem: SchedulingProblem) -> Solution:
        self.asked.append(problem)
        return self.answers.pop(0)


def test_pods_are_asked_about_first_and_what_they_take_is_taken() -> None:
    answers = Answers(
        Solution(new_nodes=(new_node("b"),), placements={"ns/a": "n"}, cost=0.1, work=3),
        Solution(new_nodes=(new_node("b", "r2", "r3"),), placements={"ns/r1": "m"}, work=4),
    )
    found = solve_with_reserve(PROBLEM, answers)
    first, second = answers.asked
    assert ([p.key for p in first.pods], first.reserve) == (["ns/a", "ns/b"], ())
    assert [p.key for p in second.pods] == ["ns/b", "ns/r1", "ns/r2", "ns/r3"]
    assert {n.name: [p.key for p in n.nominated] for n in second.nodes} == {"n": ["ns/a"], "m": []}
    assert found.placements == {"ns/a": "n", "ns/r1": "m"}
    assert found.new_nodes == (new_node("b", "r2", "r3"),)
    assert found.work == 7


def test_a_pod_never_loses_its_node_to_room() -> None:
    """Together they do not fit: the pods' own answer stands; room that is there is kept."""
    alone = Solution(new_nodes=(new_node("b"),), placements={"ns/a": "n"}, cost=0.1)
    together = Solution(
        new_nodes=(new_node("r2", "r3"),),
        placements={"ns/r1": "m"},
        unschedulable={"ns/b": FULL},
    )
    found = solve_with_reserve(PROBLEM, Answers(alone, together))
    assert found.new_nodes == (new_node("b"),)
    assert found.placements == {"ns/a": "n", "ns/r1": "m"}
    assert found.unschedulable == {"ns/r2": FULL, "ns/r3": FULL}
    assert found.cost == 0.1


def test_what_is_said_of_room_can_be_left_out() -> None:
    whole = Solution(
        new_nodes=(new_node("b", "r1"),),
        placements={"ns/a": "n", "ns/r2": "n"},
        unschedulable={"ns/c": FULL, "ns/r3": FULL},
    )
    kept = without_placements(whole, {"ns/r1", "ns/r2", "ns/r3"})
    assert kept.new_nodes == whole.new_nodes
    assert kept.placements == {"ns/a": "n"}
    assert list(kept.unschedulable) == ["ns/c"]
