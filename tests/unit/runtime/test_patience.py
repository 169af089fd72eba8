"""Routine looks are slowed down by a factor, waits for something under way are not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from autoctl.controllers.runtime.controller import Registration
from autoctl.controllers.runtime.patience import Patient, patient


@dataclass
class _Controller:
    name: str
    delay: float

    async def run_once(self) -> float:
        return self.delay


@pytest.mark.parametrize(("delay", "waited"), [(60.0, 600.0), (10.0, 100.0), (9.0, 9.0), (0, 0)])
def test_only_long_waits_are_stretched(delay: float, waited: float) -> None:
    assert asyncio.run(Patient(_Controller("x", delay), 10).run_once()) == waited


def test_only_named_controllers_are_slowed_down() -> None:
    given = [Registration(_Controller("a", 60.0)), Registration(_Controller("b", 60.0))]
    slow, kept = patient(given, frozenset({"a"}), 2)
    assert isinstance(slow.controller, Patient)
    assert slow.controller.name == "a"
    assert kept is given[1]


def test_a_factor_of_one_changes_nothing() -> None:
    given = [Registration(_Controller("a", 60.0))]
    assert patient(given, frozenset({"a"}), 1) == given
