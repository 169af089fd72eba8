"""Which sets of nodes are worth asking the scheduler about.

Of few candidates every prefix (in the order of savings for the disruption) and every single node is
asked about. Where budgets let only some of them go, the most wasteful sets are asked about too: the
best few need not be next to each other in any order. Of many candidates, or of those that budgets
leave out, the packer's repacking names a set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Final

from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.model import Reason
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.simulation import Simulator
from autoctl.scheduling.repacking import Proposer, Removable

_WASTEFUL: Final = 6
_WASTEFUL_SETS: Final = 3


class Packed:
    """Sets that the packer names, of these candidates and within these budgets."""

    def __init__(
        self,
        simulator: Simulator,
        candidates: Sequence[Candidate],
        ledger: BudgetLedger,
        options: DisruptionOptions,
        stuck: Collection[str] = (),
    ) -> None:
        """`stuck` are names of nodes whose exchange for a single one is known not to pay."""
        self._ledger = ledger
        self._proposer = Proposer(
            simulator.as_it_is(candidates),
            [
                Removable(c.name, c.price, c.movable, c.pool.name, c.name not in stuck)
                for c in candidates
            ],
            {c.pool.name: ledger.allowed(c.pool, Reason.UNDERUTILIZED) for c in candidates},
            moving_cost=options.eviction_price,
            least_saving=options.savings_threshold,
        )

    def wasteful(self, candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
        """The sets, within budgets, that cost most beyond what their pods are worth."""
        by_name = {c.name: c for c in candidates}
        waste = {n: usd for n, usd in self._proposer.waste().items() if n in by_name}
        few = [by_name[n] for n in list(waste)[:_WASTEFUL]]
        allowed = [
            chosen
            for size in range(1, len(few) + 1)
            for chosen in combinations(few, size)
            if len(self._ledger.trim(chosen, Reason.UNDERUTILIZED)) == size
        ]
        allowed.sort(key=lambda chosen: -sum(waste[c.name] for c in chosen))
        return iter([list(chosen) for chosen in allowed[:_WASTEFUL_SETS]])

    def among(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], frozenset[str]]:
        """Those that a cheaper packing would not have, as many as budgets let go.

        With the names of stuck ones that would have been exchanged: others had no turn for them.
        """
        found = self._proposer.propose({c.name for c in candidates})
        going = set(found.going)
        return [c for c in candidates if c.name in going], frozenset(found.spared)


def exhaustive(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Every prefix, by savings and by evictions, every single one, and all but every single one."""
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
