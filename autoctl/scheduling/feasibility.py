"""Which nodes and offers a shape may use by itself: labels, taints, volumes' zones, size, ports.

What other pods have to say is topology's business (`board`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoctl.api import core
from autoctl.scheduling.daemons import Daemon
from autoctl.scheduling.hostports import HostPort, conflict
from autoctl.scheduling.nodes import Nodes, free_room
from autoctl.scheduling.offers import Offers
from autoctl.scheduling.problem import Volumes
from autoctl.scheduling.requirements import Requirements
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.tables import Mask
from autoctl.scheduling.taints import PREFER_NO_SCHEDULE, first_untolerated
from autoctl.scheduling.topology import Constraints, Kept

Ints = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Demand:
    """A shape with a decision which of its preferences hold; what the packers place.

    Attributes:
        requests: (D,) base units; `dims` are the resources it asks for at all.
        nodes: (N,) existing nodes it may use.
        rows: (O,) offers it may use and fits on.
        static: (O,) offers that labels, taints and daemons' ports allow, whatever the size; equal
            masks are one object.
        terms: alternatives of requirements, preferences included.
        domains: topology keys (hostname aside) on which the decision about its pods depends.
        kind: demands with the same kind may use the same offers by labels and taints and ask for
            the same resources.
        pinned: topology domains decided beforehand (key, code).
    """

    index: int
    shape: Shape
    kept: Kept
    constraints: Constraints
    requests: Ints
    dims: Ints
    nodes: Mask
    rows: Mask
    static: Mask
    terms: tuple[Requirements, ...]
    domains: tuple[str, ...]
    kind: int
    pinned: tuple[tuple[str, int], ...] = ()


@dataclass(eq=False)
class Feasibility:
    """Static masks and room for one problem.

    Attributes:
        resources: D names, the columns of every resource array.
        net: (O, D) allocatable of an offer's node less its daemons.
        free: (N, D) free room of existing nodes.
    """

    offers: Offers
    nodes: Nodes
    daemons: Sequence[Daemon]
    volumes: Volumes
    resources: tuple[str, ...]
    net: Ints
    free: Ints
    daemon_rows: tuple[Mask, ...]
    allow_new: bool
    _kinds: dict[object, int] = field(default_factory=dict)
    _rows: dict[object, Mask] = field(default_factory=dict)
    _large: dict[tuple[int, bytes], Mask] = field(default_factory=dict)
    _nodes: dict[object, Mask] = field(default_factory=dict)

    @cached_property
    def twins(self) -> Ints:
        """(O,) numbers from 0 on, equal for offers whose nodes differ in zone or price alone."""
        kind = self.offers.kinds(self.daemon_rows)
        return np.unique(kind, return_inverse=True)[1].astype(np.int64)

    def demand(self, index: int, shape: Shape, kept: Kept, constraints: Constraints) -> Demand:
        """The shape's demand with `kept` preferences as requirements."""
        requests = np.array([shape.requests.get(r, 0) for r in self.resources], np.int64)
        dims = np.flatnonzero(requests)
        terms = self.terms(shape, kept)
        tolerations = shape.template.tolerations
        static = self.static_rows(terms, tolerations, kept.taints)
        if shape.template.ports:
            static = self._without_ports(static, shape.template.ports)
        rows = self._fitting(static, requests, dims)
        nodes = self.static_nodes(terms, tolerations, kept.taints)
        if shape.refused:
            nodes = nodes & np.array([n.name not in shape.refused for n in self.nodes.nodes])
        kind = self._kinds.setdefault((id(static), dims.tobytes()), len(self._kinds))
        return Demand(
            index=index,
            shape=shape,
            kept=kept,
            constraints=constraints,
            requests=requests,
            dims=dims,
            nodes=nodes,
            rows=rows,
            static=static,
            terms=terms,
            domains=constraints.domains(),
            kind=kind,
        )

    def _fitting(self, static: Mask, requests: Ints, dims: Ints) -> Mask:
        """(O,) those of the offers that are large enough; equal questions get the same object."""
        key = (id(static), requests.tobytes())
        found = self._large.get(key)
        if found is None:
            found = static
            for d in dims.tolist():
                found = found & (self.net[:, d] >= requests[d])
            self._large[key] = found
        return found

    def _without_ports(self, static: Mask, ports: tuple[HostPort, ...]) -> Mask:
        key = (id(static), ports)
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = static & ~self.daemon_port_rows(ports)
        return found

    @staticmethod
    def terms(shape: Shape, kept: Kept) -> tuple[Requirements, ...]:
        """The alternatives of which a node must satisfy one, preferences included.

        None at all where a preference contradicts what is required: nothing satisfies both, not
        even a node without the label.
        """
        terms = shape.terms
        for i in kept.node:
            wanted = shape.template.preferred[i][1]
            terms = tuple(t.add(*wanted.values()) for t in terms if t.intersects(wanted) is None)
        return terms

    def static_rows(
        self,
        terms: tuple[Requirements, ...],
        tolerations: tuple[core.Toleration, ...],
        mind_preferences: bool,
    ) -> Mask:
        """(O,) offers that labels and taints allow and that can be had now."""
        key = (terms, _toleration_key(tolerations), mind_preferences)
        found = self._rows.get(key)
        if found is None:
            if not self.allow_new:
                found = np.zeros(len(self.offers), np.bool_)
            else:
                found = (
                    self.offers.table.any_mask(terms)
                    & self.offers.available
                    & self.tolerated_rows(tolerations, mind_preferences)
                )
            self._rows[key] = found
        return found

    def tolerated_rows(
        self, tolerations: Sequence[core.Toleration], mind_preferences: bool
    ) -> Mask:
        """(O,) offers of pools whose taints the tolerations cover."""
        each = np.array(
            [
                first_untolerated(tolerations, _minded(p.taints, mind_preferences)) is None
                for p in self.offers.pools
            ]
            or [False]
        )
        return each[self.offers.pool]

    def static_nodes(
        self,
        terms: tuple[Requirements, ...],
        tolerations: tuple[core.Toleration, ...],
        mind_preferences: bool,
    ) -> Mask:
        """(N,) nodes that labels and taints allow and that take pods."""
        key = (terms, _toleration_key(tolerations), mind_preferences)
        found = self._nodes.get(key)
        if found is None:
            each = np.array(
                [
                    first_untolerated(tolerations, _minded(t, mind_preferences)) is None
                    for t in self.nodes.taint_sets
                ]
                or [False]
            )
            found = (
                self.nodes.table.any_mask(terms)
                & self.nodes.schedulable
                & each[self.nodes.taint_class]
            )
            self._nodes[key] = found
        return found

    def daemon_port_rows(self, ports: tuple[HostPort, ...]) -> Mask:
        """(O,) offers on which a daemon holds one of the ports."""
        taken = np.zeros(len(self.offers), np.bool_)
        for daemon, rows in zip(self.daemons, self.daemon_rows, strict=True):
            if daemon.template.ports and conflict(ports, daemon.template.ports):
                taken |= rows
        return taken


def build_feasibility(
    offers: Offers,
    nodes: Nodes,
    daemons: Sequence[Daemon],
    volumes: Volumes,
    resources: tuple[str, ...],
    allow_new: bool,
) -> Feasibility:
    """Room and masks of a problem."""
    net = np.zeros((len(offers), len(resources)), np.int64, order="F")  # read by column
    for d, name in enumerate(resources):
        net[:, d] = offers.amount(name)
    daemon_rows = []
    for daemon in daemons:
        each = np.array([daemon.tolerates(p.taints) for p in offers.pools] or [False])
        rows = offers.table.any_mask(daemon.template.terms) & each[offers.pool]
        daemon_rows.append(rows)
        wanted = np.array([daemon.template.requests.get(r, 0) for r in resources], np.int64)
        net -= rows[:, None] * wanted
    return Feasibility(
        offers=offers,
        nodes=nodes,
        daemons=daemons,
        volumes=volumes,
        resources=resources,
        net=net,
        free=free_room(nodes, resources, daemons, volumes),
        daemon_rows=tuple(daemon_rows),
        allow_new=allow_new,
    )


def _minded(taints: Sequence[core.Taint], mind_preferences: bool) -> Sequence[core.Taint]:
    if mind_preferences:
        return taints
    return [t for t in taints if t.effect != PREFER_NO_SCHEDULE]


def _toleration_key(tolerations: Sequence[core.Toleration]) -> object:
    return tuple((t.key, t.operator, t.value, t.effect) for t in tolerations)
