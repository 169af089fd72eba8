"""Playing random worlds, one seed after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from autoctl.ports.kubernetes import ApiError
from autoctl.simulate.chaos import random_scenario
from autoctl.simulate.invariants import Invariants, Violation
from autoctl.simulate.player import Player
from autoctl.simulate.result import Totals


@dataclass(frozen=True)
class Verdict:
    """What came of one seed; `crash` tells what ended the world before its time."""

    seed: int
    violations: tuple[Violation, ...]
    totals: Totals | None
    crash: str | None = None

    @property
    def ok(self) -> bool:
        return not self.violations and self.crash is None

    @property
    def replay(self) -> str:
        """The command that plays the same world again."""
        return f"autoctl simulate --random {self.seed}"

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "ok": self.ok,
            "violations": [
                {"at": v.at, "rule": v.rule, "detail": v.detail} for v in self.violations
            ],
            "crash": self.crash,
            "totals": self.totals.to_json() if self.totals is not None else None,
            "replay": self.replay,
        }

    def describe(self) -> str:
        """What was found, and how to see it again."""
        found = [str(v) for v in self.violations]
        if self.crash is not None:
            found.append(self.crash)
        return "\n  ".join([f"seed {self.seed} failed; replay: {self.replay}", *found])


def play_random(seed: int) -> Verdict:
    """Play the world of a seed to its end."""
    scenario = random_scenario(seed)
    invariants = Invariants()
    player = Player(scenario, seed, scenario.objects, with_bound=False, watcher=invariants)
    try:
        result = player.play()
    except (RuntimeError, AssertionError, ApiError) as error:
        # A part of the world or of the operator broke: as much a finding as a broken rule.
        cause = error.__cause__ or error
        return Verdict(
            seed, tuple(invariants.violations), None, f"{error}: {type(cause).__name__}: {cause}"
        )
    return Verdict(seed, tuple(invariants.violations), result.totals)


def play_many(seeds: Iterable[int]) -> Iterator[Verdict]:
    """The verdicts of many seeds, in order."""
    for seed in seeds:
        yield play_random(seed)
