"""A plan under construction: new nodes as (offer, pods per class, how many)."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoctl.scheduling.packing.model import IntArray


@dataclass(slots=True)
class Row:
    """`nodes` equal nodes of `offer` (index in the question), each with `pods` (K,)."""

    offer: int
    price: float
    pods: IntArray
    nodes: int


@dataclass(slots=True)
class Plan:
    """Rows and the pods nothing was found for.

    Attributes:
        left: (K,) pods not on any row.
    """

    left: IntArray
    rows: list[Row] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """USD/hour of all rows."""
        return float(sum(row.price * row.nodes for row in self.rows))

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return sum(row.nodes for row in self.rows)

    def add(self, offer: int, price: float, pods: IntArray, nodes: int) -> None:
        """Append `nodes` equal nodes and take their pods off `left`."""
        self.left -= pods * nodes
        if (self.left < 0).any():
            raise AssertionError("a plan holds more pods than there are")
        self.rows.append(Row(offer, price, pods, nodes))

    def copy(self) -> Plan:
        """A plan that can grow on its own (rows are never changed in place)."""
        return Plan(self.left.copy(), list(self.rows))

    def rank(self) -> tuple[float, float, int]:
        """Sort key: fewest pods left, then cost (to a millionth of a cent), then nodes."""
        return (float(self.left.sum()), round(self.cost, 8), self.nodes)


def repeats(pods: IntArray, left: IntArray) -> int:
    """How many times the pods of one node can be taken from `left`."""
    some = pods > 0
    if not some.any():
        return 0
    return int((left[some] // pods[some]).min())
