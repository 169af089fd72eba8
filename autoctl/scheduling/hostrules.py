"""Rules within one node: what its gauges and ports say to a demand's pods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autoctl.scheduling.feasibility import Demand, Ints
from autoctl.scheduling.hostports import HostPort
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.topology import Gauge


@dataclass(slots=True, eq=False)
class HostRules:
    """A demand's rules within one node, as columns of `Board.host`.

    `zero` columns must be 0; in `caps`, (column, most, moved by own pods); in `minded`,
    (owners' column, column, most); `need` columns must not be 0. `moves` go up by one a pod.
    """

    zero: list[int] = field(default_factory=list)
    caps: list[tuple[int, int, bool]] = field(default_factory=list)
    minded: list[tuple[int, int, int]] = field(default_factory=list)
    need: list[int] = field(default_factory=list)
    moves: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    most: int | None = None
    """Most pods of the demand on one node."""


class HostColumns:
    """The columns of `Board.host`: for each node, pods by hostname gauge and by host port.

    Attributes:
        ports: the host ports that pods to be placed ask for.
    """

    def __init__(self, gauges: Sequence[Gauge], shapes: Sequence[Shape]) -> None:
        self.ports = tuple(sorted({p for s in shapes for p in s.template.ports}))
        self._numbers: dict[object, int] = {}
        hosts = [g for g in gauges if g.host]
        for key in (*(g.index for g in hosts), *self.ports):
            self._numbers[key] = len(self._numbers)
        for gauge in hosts:
            if not gauge.owners:
                self._numbers["spread", gauge.index] = len(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, gauge: Gauge) -> int:
        """Pods that a hostname gauge counts."""
        return self._numbers[gauge.index]

    def owners(self, gauge: Gauge) -> int:
        """Pods with a spread constraint over it."""
        return self._numbers["spread", gauge.index]

    def meeting(self, port: HostPort) -> list[int]:
        """Columns of the ports that a pod with this port keeps others from."""
        return [self._numbers[p] for p in self.ports if p.meets(port)]

    def rules(self, demand: Demand) -> HostRules:
        """The demand's rules within a node."""
        rules = HostRules()
        constraints = demand.constraints
        moved = {g.index for g in constraints.moves}
        moves: list[int] = []
        for gauge in constraints.apart:
            if gauge.host:
                rules.zero.append(self.of(gauge))
                if gauge.index in moved:
                    rules.most = 1
        for spread in constraints.spread:
            if spread.gauge.host:
                column = self.of(spread.gauge)
                rules.caps.append((column, spread.max_skew, spread.self_match))
                moves.append(self.owners(spread.gauge))
        for spread in constraints.mind:
            if spread.gauge.host:
                rules.minded.append(
                    (
                        self.owners(spread.gauge),
                        self.of(spread.gauge),
                        spread.max_skew,
                    )
                )
        rules.need = [self.of(g) for g in constraints.together if g.host]
        moves += [self.of(g) for g in constraints.moves if g.host]
        if demand.shape.template.ports:
            rules.most = 1
            rules.zero += [self._numbers[p] for p in demand.shape.template.ports]
            met = {c for p in demand.shape.template.ports for c in self.meeting(p)}
            moves += sorted(met)
        rules.moves = np.array(sorted(moves), np.int64)
        return rules
