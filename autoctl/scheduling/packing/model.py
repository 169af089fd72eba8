"""What the packing kernel is asked and what it answers: plain arrays, no Kubernetes objects.

Letters used for array shapes, here and in the whole package:

- ``C`` shapes (groups of pods the scheduler cannot tell apart),
- ``O`` offers (instance type x zone x capacity type x NodePool, with a price),
- ``N`` bins (nodes that exist or are in flight, with free room),
- ``D`` resources, ``L`` limit rows, ``R`` capacity reservations.

Quantities are whole numbers in base units (millicores, bytes, pods, devices) held as float64,
which is exact up to 2**53. "pods" is a resource like any other. A limit on a *group* of shapes per
node (hostname spread over several shapes, an anti-affinity group) may also be given as one more
resource: each member requests 1, every offer and bin has the limit as its capacity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Method = Literal["none", "existing", "exact", "greedy", "lp", "lp+greedy"]

UNLIMITED = -1
"""In ``available``, ``node_cap``, ``bin_cap``: no bound. In ``reservation_index``: none."""


@dataclass(frozen=True, slots=True)
class PackingOptions:
    """How hard to search, and how far to prefer few large nodes.

    Attributes:
        work_budget: most work units a solve may spend; one unit is about a microsecond of one core,
            counted from array sizes and simplex iterations, never from a clock. When they are used
            up the rest is packed by the cheapest method that still gives a valid answer.
        work_cap: what an answer may cost in the end, None for no end. `work_budget` ends the search
            for a better answer; near the cap even greedy gives way to one pass over the shapes.
        work_base, work_per_pod: a batch of P pods may spend work_base + work_per_pod * P units, so
            that a small batch is answered at once; at most `work_budget`.
        good_enough: stop searching once the cost is within this fraction of the lower bound.
        spread_share: one new node should be loaded with at most this share of the batch (of any
            resource), so that a node's death does not take the batch with it. 1.0 turns it off.
        spread_min_pods: batches of fewer pods than this are packed without regard to the spread.
        spread_premium: the spread is given up when it would raise the cost by more than this
            fraction: among plans of equal price, prefer the one that survives a dead node.
        prove: raise the lower bound of a plan that is further from it than `good_enough`, in the
            work that the search left over.
    """

    work_budget: int = 4_000_000
    work_cap: int | None = None
    work_base: int = 100_000
    work_per_pod: int = 60
    good_enough: float = 0.002
    spread_share: float = 0.25
    spread_min_pods: int = 50
    spread_premium: float = 0.005
    prove: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class PackingInput:
    """One packing question. Every array is read only to the kernel.

    Attributes:
        requests: (C, D) whole numbers >= 0, what one pod of the shape needs.
        counts: (C,) pods of the shape.
        allocatable: (O, D) what pods may use on one node of the offer, daemon overhead taken off.
        price: (O,) USD/hour, >= 0.
        feasible: (C, O) the shape may run on the offer (labels, taints, zones...). The kernel
            itself checks that the requests fit.
        tier_index: (O,) 0 is the most preferred tier (the highest NodePool weight). A shape is
            placed on the first tier that has any offer for it; on a later one only when limits,
            availability or reservations leave no room for it. None: one tier.
        available: (O,) nodes that may still be had of the offer, or UNLIMITED.
        reservation_index: (O,) row of `reservation_capacity` the offer draws on, or UNLIMITED.
        reservation_capacity: (R,) nodes left in each reservation, shared by its offers.
        limit_usage: (O, L) what one node of the offer takes from each NodePool limit row.
        limit_remaining: (L,) what is left of it.
        node_cap: (C,) most pods of the shape on one new node, or UNLIMITED.
        conflict: (C, C) symmetric; pods of the two shapes may not share a node (host ports,
            anti-affinity). The diagonal means at most one pod of the shape per node.
        priority: (C,) higher is placed first when room is short.
        bin_free: (N, D) room on nodes that exist or are in flight, may be negative.
        bin_feasible: (C, N) the shape may go to the bin. False where a pod already there conflicts.
        bin_cap: (C, N) pods of the shape that may still be added to the bin, or UNLIMITED.
            None: `node_cap` for every bin.
        bin_order: (N,) bins with a lower number are filled first; among equals the fullest bin that
            has room. None: all equal.
    """

    requests: FloatArray
    counts: IntArray
    allocatable: FloatArray
    price: FloatArray
    feasible: BoolArray
    tier_index: IntArray | None = None
    available: IntArray | None = None
    reservation_index: IntArray | None = None
    reservation_capacity: IntArray | None = None
    limit_usage: FloatArray | None = None
    limit_remaining: FloatArray | None = None
    node_cap: IntArray | None = None
    conflict: BoolArray | None = None
    priority: IntArray | None = None
    bin_free: FloatArray | None = None
    bin_feasible: BoolArray | None = None
    bin_cap: IntArray | None = None
    bin_order: IntArray | None = None
    options: PackingOptions = field(default_factory=PackingOptions)

    def __post_init__(self) -> None:
        """Check the arrays against each other.

        Raises:
            ValueError: an array has the wrong shape, a negative or fractional quantity, or only one
                array of a pair was given.
        """
        shapes, resources = self.requests.shape
        offers = len(self.price)
        expected: list[tuple[str, NDArray[np.generic] | None, tuple[int, ...]]] = [
            ("counts", self.counts, (shapes,)),
            ("allocatable", self.allocatable, (offers, resources)),
            ("feasible", self.feasible, (shapes, offers)),
            ("tier_index", self.tier_index, (offers,)),
            ("available", self.available, (offers,)),
            ("reservation_index", self.reservation_index, (offers,)),
            ("node_cap", self.node_cap, (shapes,)),
            ("conflict", self.conflict, (shapes, shapes)),
            ("priority", self.priority, (shapes,)),
        ]
        if (self.limit_usage is None) != (self.limit_remaining is None):
            raise ValueError("limit_usage and limit_remaining go together")
        if self.limit_remaining is not None:
            limits = len(self.limit_remaining)
            expected.append(("limit_usage", self.limit_usage, (offers, limits)))
        if (self.reservation_index is None) != (self.reservation_capacity is None):
            raise ValueError("reservation_index and reservation_capacity go together")
        if (self.bin_free is None) != (self.bin_feasible is None):
            raise ValueError("bin_free and bin_feasible go together")
        if self.bin_free is not None:
            bins = len(self.bin_free)
            expected += [
                ("bin_free", self.bin_free, (bins, resources)),
                ("bin_feasible", self.bin_feasible, (shapes, bins)),
                ("bin_cap", self.bin_cap, (shapes, bins)),
                ("bin_order", self.bin_order, (bins,)),
            ]
        for name, array, shape in expected:
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        if (self.requests < 0).any() or (self.requests != np.floor(self.requests)).any():
            raise ValueError("requests must be whole numbers >= 0")
        if (self.counts < 0).any():
            raise ValueError("counts must be >= 0")
        if not (self.price >= 0).all():
            raise ValueError("prices must be >= 0")
        if self.conflict is not None and (self.conflict != self.conflict.T).any():
            raise ValueError("conflict must be symmetric")


@dataclass(frozen=True, slots=True)
class NodePattern:
    """`multiplicity` new nodes of one offer that each hold the same pods.

    Attributes:
        offer: index into the input's offers.
        pods: (shape, count) pairs with count > 0, by ascending shape.
        multiplicity: number of nodes, > 0.
    """

    offer: int
    pods: tuple[tuple[int, int], ...]
    multiplicity: int


@dataclass(frozen=True, slots=True, eq=False)
class PackingResult:
    """A complete answer: every pod is on a bin, on a new node, or unplaced.

    Attributes:
        existing: (bin, shape, count) with count > 0, by ascending bin and shape.
        nodes: new nodes.
        unplaced: (C,) pods no bin and no offer could take.
        cost: USD/hour of the new nodes.
        lower_bound: USD/hour no plan can go below that puts the same pods on new nodes.
        method: what produced the new nodes.
        work: work units used (see `PackingOptions.work_budget`).
    """

    existing: tuple[tuple[int, int, int], ...]
    nodes: tuple[NodePattern, ...]
    unplaced: IntArray
    cost: float
    lower_bound: float
    method: Method
    work: int
