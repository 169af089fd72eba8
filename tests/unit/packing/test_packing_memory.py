"""A packing question that was asked before has the answer it had; any other is asked."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from autoctl.scheduling.packing import memory
from autoctl.scheduling.packing.memory import pack_once
from autoctl.scheduling.packing.model import PackingInput, PackingOptions, PackingResult
from autoctl.scheduling.packing.solve import pack


def question(**other: np.ndarray | PackingOptions) -> PackingInput:
    """Made anew each time: equal in content, not in identity."""
    asked = PackingInput(
        requests=np.array([[1.0, 2.0], [2.0, 1.0]]),
        counts=np.array([3, 4]),
        allocatable=np.array([[4.0, 4.0], [8.0, 8.0]]),
        price=np.array([1.0, 1.9]),
        feasible=np.ones((2, 2), np.bool_),
        tier_index=np.array([0, 0]),
        available=np.array([9, 9]),
        reservation_index=np.array([-1, -1]),
        reservation_capacity=np.array([1]),
        limit_usage=np.array([[1.0], [2.0]]),
        limit_remaining=np.array([99.0]),
        node_cap=np.array([-1, -1]),
        conflict=np.zeros((2, 2), np.bool_),
        priority=np.array([0, 0]),
        bin_free=np.array([[1.0, 2.0]]),
        bin_feasible=np.ones((2, 1), np.bool_),
        bin_cap=np.array([[-1], [-1]]),
        bin_order=np.array([0]),
    )
    return replace(asked, **other)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PackingInput]:
    """The questions that came to the packer."""
    found: list[PackingInput] = []

    def packed(given: PackingInput) -> PackingResult:
        found.append(given)
        return pack(given)

    monkeypatch.setattr(memory, "pack", packed)
    monkeypatch.setattr(memory, "_KNOWN", type(memory._KNOWN)())
    return found


def test_an_equal_question_is_not_asked_again(asked: list[PackingInput]) -> None:
    first, second = pack_once(question()), pack_once(question())
    assert first is second
    assert len(asked) == 1
    fresh = pack(question())
    assert (first.existing, first.nodes, first.cost) == (fresh.existing, fresh.nodes, fresh.cost)
    assert (first.lower_bound, first.work) == (fresh.lower_bound, fresh.work)


@pytest.mark.parametrize("name", [f.name for f in fields(PackingInput)])
def test_whatever_differs_makes_another_question(name: str, asked: list[PackingInput]) -> None:
    pack_once(question())
    value = getattr(question(), name)
    if isinstance(value, np.ndarray):
        changed = value.copy()
        changed.flat[0] = not changed.flat[0] if value.dtype == np.bool_ else changed.flat[0] + 1
        if name == "conflict":
            changed[0, 0] = True
    else:
        changed = PackingOptions(good_enough=0.5)
    pack_once(question(**{name: changed}))
    assert len(asked) == 2


def test_only_the_latest_answers_are_kept(asked: list[PackingInput]) -> None:
    for count in range(memory._MOST + 1):
        pack_once(question(counts=np.array([count, 1])))
    assert len(memory._KNOWN) == memory._MOST
    pack_once(question(counts=np.array([memory._MOST, 1])))
    assert len(asked) == memory._MOST + 1, "the last one is known"
    pack_once(question(counts=np.array([0, 1])))
    assert len(asked) == memory._MOST + 2, "the first one is not"
