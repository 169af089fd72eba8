"""Large moves come in parts: the same nodes and evictions, in commands that stand on their own."""

from __future__ import annotations

from collections import Counter

import pytest

from autoctl.controllers.disruption import division
from autoctl.controllers.disruption.decide import decide
from autoctl.controllers.disruption.model import Command, Reason
from autoctl.simulate.bench_disrupt import make_snapshot
from autoctl.state.snapshot import Snapshot


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """Ninety nodes with at most two pods each: nearly all of them can be replaced."""
    return make_snapshot(90, 2, "100%", 1)


def consolidated(snapshot: Snapshot) -> list[Command]:
    return [c for c in decide(snapshot).commands if c.reason is Reason.UNDERUTILIZED]


def test_parts_do_what_the_whole_would_do(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = consolidated(snapshot)
    monkeypatch.setattr(division, "MOST_REPLACEMENTS", 1000)
    (whole,) = consolidated(snapshot)
    assert len(parts) > 1
    assert sorted(n for c in parts for n in c.nodes) == sorted(whole.nodes)
    assert Counter(n.offer for c in parts for n in c.replacements) == Counter(
        n.offer for n in whole.replacements
    )
    assert sum(c.evictions for c in parts) == whole.evictions
    assert sum(c.savings for c in parts) == pytest.approx(whole.savings)


def test_each_part_stands_on_its_own(snapshot: Snapshot) -> None:
    """It saves, moves the pods of its own nodes only, and its replacements have room for them."""
    catalog = snapshot.types_by_name["default"]
    for command in consolidated(snapshot):
        assert command.savings > 0
        pods = {p.key for n in command.nodes for p in snapshot.state_nodes[n].pods}
        assert set(command.moves) == pods
        for index, node in enumerate(command.replacements):
            assert {
                p for p, home in command.moves.items() if home == f"replacement:{index}"
            } == set(node.pods)
            millicores = sum(_millicores(snapshot, p) for p in node.pods)
            assert millicores <= catalog[node.offer.instance_type].allocatable["cpu"]


def _millicores(snapshot: Snapshot, pod: str) -> int:
    (container,) = snapshot.pods[pod].spec.containers
    assert container.resources is not None
    assert container.resources.requests is not None
    return int(str(container.resources.requests["cpu"]).removesuffix("m"))
