"""Nodes that kube-scheduler does not take: when they are left out, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from autoctl.state.nominations import Nomination, Nominations
from autoctl.state.refusals import LONGEST_PAUSE, PAUSE, Outcome, Refusals

NOW = datetime(2026, 1, 5, tzinfo=UTC)
POD = ("default/a", "uid-a")
KEYS = {"uid-a": "default/a"}


def lapse(
    refusals: Refusals,
    target: str,
    *minutes: float,
    seen: Iterable[bool] = (),
    others: tuple[str, ...] = (),
) -> datetime:
    """Promises of `target` that lapse at these minutes; the last one's time."""
    verdicts = list(seen) or [True] * len(minutes)
    for minute, verdict in zip(minutes, verdicts, strict=True):
        at = NOW + timedelta(minutes=minute)
        refusals.lapsed(POD, target, at, seen=verdict, others=others)
    return at


@pytest.mark.parametrize(
    ("minutes", "seen", "out"),
    [
        pytest.param((0,), (True,), False, id="once may be chance"),
        pytest.param((0, 1), (True, True), True, id="twice"),
        pytest.param((0, 1), (False, True), True, id="once in view of the scheduler"),
        pytest.param((0, 1, 2, 3), (False,) * 4, False, id="the scheduler may be down"),
        pytest.param((0, 3, 6), (False,) * 3, True, id="long enough in any case"),
    ],
)
def test_a_node_is_left_out_after_lapses(
    minutes: tuple[float, ...], seen: tuple[bool, ...], out: bool
) -> None:
    refusals = Refusals()
    at = lapse(refusals, "n1", *minutes, seen=seen)
    assert (refusals.left_out("uid-a", at) == {"n1"}) is out
    assert bool(refusals) is out
    assert [n.outcome for n in refusals.news()] == ([Outcome.NODE] if out else [])


def test_lapses_of_different_nodes_are_counted_apart() -> None:
    refusals = Refusals()
    at = lapse(refusals, "n1", 0)
    lapse(refusals, "n2", 1)
    assert refusals.left_out("uid-a", at) == frozenset()


def test_what_is_left_out_comes_back_and_pauses_grow() -> None:
    refusals = Refusals()
    at = lapse(refusals, "n1", 0, 0)
    assert refusals.affected(at, KEYS) == {"default/a": {"n1"}}
    assert refusals.affected(at + PAUSE, KEYS) == {}
    later = lapse(refusals, "n1", 10, 10)
    assert refusals.left_out("uid-a", later + PAUSE) == {"n1"}
    assert refusals.left_out("uid-a", later + 2 * PAUSE) == frozenset()
    for hour in range(1, 20):
        last = lapse(refusals, "n1", *(60 * 5 * hour,) * 2)
    assert refusals.left_out("uid-a", last + LONGEST_PAUSE) == frozenset()


def test_after_two_nodes_all_are_left_out() -> None:
    refusals = Refusals()
    lapse(refusals, "n1", 0, 0, others=("n1", "n2", "n3"))
    assert refusals.left_out("uid-a", NOW) == {"n1"}
    lapse(refusals, "n2", 1, 1, others=("n1", "n2", "n3"))
    assert refusals.left_out("uid-a", NOW + timedelta(minutes=1)) == {"n1", "n2", "n3"}
    assert [n.outcome for n in refusals.news()] == [Outcome.NODE, Outcome.ALL_NODES]
    assert refusals.news() == [], "news is told once"


def test_nodes_are_bought_for_a_pod_a_few_times_and_then_not_for_a_while() -> None:
    refusals = Refusals()
    refusals.buy(["uid-a"], "c1")
    at = lapse(refusals, "c1", 0, 0)
    assert not refusals.is_resting("uid-a", at)
    refusals.buy(["uid-a"], "c2")
    at = lapse(refusals, "c2", 2, 2)
    assert refusals.resting(at, KEYS) == {"default/a"}
    pause = 2 * PAUSE
    assert refusals.is_resting("uid-a", at + pause - timedelta(seconds=1))
    assert not refusals.is_resting("uid-a", at + pause)
    assert [n.outcome for n in refusals.news()] == [Outcome.NODE, Outcome.NO_NEW_NODE]


def test_a_pod_that_is_bound_or_gone_is_forgotten() -> None:
    refusals = Refusals()
    at = lapse(refusals, "n1", 0, 0)
    refusals.forget("uid-a")
    assert not refusals
    assert refusals.left_out("uid-a", at) == frozenset()
    assert refusals.affected(at, KEYS) == {}


def test_only_promises_that_could_have_been_kept_lapse() -> None:
    nominations = Nominations()
    nominations.nominate([("default/a", "a"), ("default/gone", "g")], "n1", NOW)
    nominations.nominate([("default/b", "b")], "vanished", NOW)
    nominations.await_node([("default/c", "c")], "booting")
    states = {"n1": True, "booting": False}
    uids = {"default/a": "a", "default/b": "b", "default/c": "c"}
    told: list[tuple[str, Nomination]] = []
    for seconds, expected in (
        (0, {"default/a": "n1", "default/c": "booting"}),
        (30, {"default/c": "booting"}),
        (60, {"default/c": "booting"}),
    ):
        current = nominations.current(
            NOW + timedelta(seconds=seconds),
            uids.get,
            states.get,
            lambda key, promise: told.append((key, promise)),
        )
        assert current == expected
    assert [(key, promise.target, promise.since) for key, promise in told] == [
        ("default/a", "n1", NOW)
    ]


def test_bought_nodes_that_go_after_one_lapse_each_count_together() -> None:
    """An empty node may be taken away before a second promise of it lapses."""
    refusals = Refusals()
    for number in range(4):
        refusals.buy(["uid-a"], f"n{number}")
        assert not refusals.is_resting("uid-a", NOW)
        at = lapse(refusals, f"n{number}", number)
    assert refusals.is_resting("uid-a", at)
    assert [n.outcome for n in refusals.news()] == [Outcome.NO_NEW_NODE]
