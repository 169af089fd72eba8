"""A world on file: written when a test fails, read to look at it again.

python tests/verifier/verifier_replay.py WORLD.json
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from verifier_check import violations

from autoctl.scheduling.problem import SchedulingProblem, Solution
from autoctl.scheduling.solve import solve


def dump(problem: SchedulingProblem) -> bytes:
    """The problem as JSON that `load` reads."""
    return msgspec.json.encode(problem, enc_hook=dict)


def load(data: bytes) -> SchedulingProblem:
    return msgspec.json.decode(data, type=SchedulingProblem)


def describe(solution: Solution) -> str:
    """What a solution does with each pod, for people."""
    lines = [f"{solution.method}: {solution.cost} USD/hour, bound {solution.lower_bound}"]
    for index, node in enumerate(solution.new_nodes):
        lines.append(f"new-{index} ({node.pool}, {node.offer}): {', '.join(node.pods)}")
        lines += [f"    {r.key} {r.operator} {list(r.values)}" for r in node.requirements]
    lines += [f"{pod} -> {node}" for pod, node in solution.placements.items()]
    lines += [f"{pod}: {why.reason}" for pod, why in solution.unschedulable.items()]
    return "\n".join(lines)


def main(path: str) -> int:
    problem = load(Path(path).read_bytes())
    solution = solve(problem)
    found = violations(problem, solution)
    sys.stdout.write("\n".join([describe(solution), "", *(found or ["no violation"])]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
