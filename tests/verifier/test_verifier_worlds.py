"""Made-up worlds, each solved and checked by the naive verifier.

`AUTOCTL_WORLDS` (default 2000) says how many. They are the same ones every time. A world that
fails is shrunk, and written to a file that `verifier_replay.py` reads.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, seed
from verifier_check import violations
from verifier_kinds import ALL_KINDS, kinds_of
from verifier_replay import describe, dump
from verifier_worlds import examples, worlds

from autoctl.scheduling.problem import SchedulingProblem
from autoctl.scheduling.solve import solve

WORLDS = int(os.environ.get("AUTOCTL_WORLDS", "2000"))
SLICES = 4
SHARE = 0.1
"""Every kind of constraint appears in at least this share of the worlds."""


def saved(problem: SchedulingProblem, part: int) -> Path:
    """Where the failing world is written; shrinking overwrites it until the smallest is there."""
    path = Path(tempfile.gettempdir()) / f"autoctl-world-{part}.json"
    path.write_bytes(dump(problem))
    return path


def check(problem: SchedulingProblem, part: int) -> None:
    try:
        solution = solve(problem)
    except Exception:
        saved(problem, part)
        raise
    found = violations(problem, solution)
    if found:
        path = saved(problem, part)
        pytest.fail(
            "\n".join(
                [
                    *found,
                    "",
                    describe(solution),
                    "",
                    f"replay: python tests/verifier/verifier_replay.py {path}",
                ]
            )
        )


@pytest.mark.parametrize("part", range(SLICES))
def test_solutions_of_made_up_worlds_break_no_rule(part: int) -> None:
    seen: Counter[str] = Counter()
    made = 0

    @seed(part)
    @examples(-(-WORLDS // SLICES))
    @given(worlds())
    def run(problem: SchedulingProblem) -> None:
        nonlocal made
        made += 1
        seen.update(kinds_of(problem))
        check(problem, part)

    run()
    rare = {kind: seen[kind] for kind in ALL_KINDS if seen[kind] < SHARE * made}
    assert not rare, f"of {made} worlds too few have {rare}"
