"""Periodic controllers slowed down, for worlds in which weeks pass in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from autoctl.controllers.runtime.controller import Periodic, Registration

REGULAR_SECONDS = 10.0
"""Shorter waits are not routine: the controller is waiting for something it began."""


@dataclass(frozen=True)
class Patient:
    """A periodic controller whose routine looks are `factor` times as far apart."""

    controller: Periodic
    factor: float

    @property
    def name(self) -> str:
        return self.controller.name

    async def run_once(self) -> float:
        delay = await self.controller.run_once()
        return delay * self.factor if delay >= REGULAR_SECONDS else delay


def patient(
    registrations: Iterable[Registration], names: frozenset[str], factor: float
) -> list[Registration]:
    """The registrations with the periodic controllers of these names slowed down."""
    if factor == 1:
        return list(registrations)
    return [
        replace(r, controller=Patient(r.controller, factor))
        if r.controller.name in names and isinstance(r.controller, Periodic)
        else r
        for r in registrations
    ]
