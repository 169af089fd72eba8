"""Invariants: the checks of a world together, and what they found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from autoctl.operator.assembly import Assembly
from autoctl.simulate.world import World

QUIET: Final = timedelta(minutes=30)
"""How long before its end a world must have come to rest."""
_MOST: Final = 20
"""Violations of one kind that are kept: one cause often shows many times."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be: when (seconds from the start), which rule, what was seen."""

    at: float
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.at:.1f}s {self.rule}: {self.detail}"


class Report(Protocol):
    """Takes a violation: its rule and what was seen."""

    def __call__(self, rule: str, detail: str) -> None: ...


class Check(Protocol):
    """One check; it sets itself up in the world when it is made."""

    def finish(self) -> None:
        """The world is at its end."""


@dataclass
class Invariants:
    """Watches one world (see `Player.watcher`); `violations` is complete when it has ended."""

    violations: list[Violation] = field(default_factory=list)
    _checks: list[Check] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def attach(self, world: World) -> None:
        """Begin to watch."""
        from autoctl.simulate.invariants.costs import Costs
        from autoctl.simulate.invariants.disruption import Budgets, Taints
        from autoctl.simulate.invariants.evictions import Evictions
        from autoctl.simulate.invariants.ownership import Ownership
        from autoctl.simulate.invariants.rest import Rest
        from autoctl.simulate.invariants.static import Static
        from autoctl.simulate.invariants.workloads import Workloads

        start = world.clock.now()

        def report(rule: str, detail: str) -> None:
            count = self._counts[rule] = self._counts.get(rule, 0) + 1
            if count <= _MOST:
                at = (world.clock.now() - start).total_seconds()
                self.violations.append(Violation(at, rule, detail))

        makers: tuple[Callable[[World, Report], Check], ...] = (
            Ownership,
            Budgets,
            Taints,
            Evictions,
            Costs,
            Workloads,
            Static,
            Rest,
        )
        self._checks = [make(world, report) for make in makers]
        world.on_assembly.append(lambda assembly: _watch_errors(assembly, report))

    def finish(self, world: World) -> None:  # noqa: ARG002 - every check knows its world
        """Judge the end."""
        for check in self._checks:
            check.finish()


def _watch_errors(assembly: Assembly, report: Report) -> None:
    """An exception of a reconcile that no API and no cloud raised is a defect."""
    from autoctl.controllers.runtime.runners import is_defect

    def failed(controller: str, error: Exception) -> None:
        if is_defect(error):
            report("defect", f"{controller}: {type(error).__name__}: {error}")

    assembly.manager.observe_errors(failed)
