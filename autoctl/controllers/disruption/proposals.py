"""Which sets of nodes are worth asking the scheduler about.

For few candidates every prefix (in the order of savings for the disruption) and every single node
is asked. For many, the packer's repacking names the set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.simulation import Simulator


def propose(
    simulator: Simulator, candidates: Sequence[Candidate], options: DisruptionOptions
) -> Iterator[list[Candidate]]:
    """Yield sets of candidates, the same ones for the same snapshot."""
    if not candidates:
        return
    if len(candidates) <= options.exhaustive:
        yield from _exhaustive(candidates)


def _exhaustive(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    for size in range(len(candidates), 0, -1):
        yield list(candidates[:size])
    by_evictions = sorted(candidates, key=lambda c: (len(c.movable), -c.price, c.name))
    for size in range(len(candidates) - 1, 0, -1):
        yield by_evictions[:size]
    for candidate in candidates[1:]:
        yield [candidate]
    for left_out in range(len(candidates)):
        rest = [c for i, c in enumerate(candidates) if i != left_out]
        if len(rest) > 1:
            yield rest
