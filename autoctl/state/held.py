"""Where the room of CapacityBuffers is: on which of the nodes that are there their pods would fit.

Disruption sees the pods of buffers there, as if they ran, so that a node that holds such room is
not taken for empty, and goes only when the room is elsewhere or comes with its replacement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from autoctl.api import core
from autoctl.scheduling.problem import SolverOptions
from autoctl.scheduling.reserve import promised
from autoctl.scheduling.solve import solve
from autoctl.state.pods import is_reschedulable
from autoctl.state.problem import scheduling_problem
from autoctl.state.snapshot import Snapshot


def find_room(snapshot: Snapshot, options: SolverOptions | None = None) -> Mapping[str, str]:
    """Pod of a buffer -> the Node, or NodeClaim on its way, that has room for it.

    Nodes in use are taken before empty ones, so that no more nodes are held than need be.
    """
    pods = snapshot.reserve
    if not pods:
        return {}
    only_there = replace(options or SolverOptions(), allow_new_nodes=False)
    problem = scheduling_problem(snapshot, pods, options=only_there)
    empty = {
        name
        for name, node in snapshot.state_nodes.items()
        if not any(is_reschedulable(p) for p in node.pods)
    }
    busy = tuple(
        replace(n, schedulable=n.schedulable and n.name not in empty) for n in problem.nodes
    )
    first = solve(replace(problem, nodes=busy))
    if not first.unschedulable:
        return first.placements
    nodes = promised(problem.nodes, first.placements, {p.key: p for p in pods})
    left = tuple(p for p in pods if p.key in first.unschedulable)
    second = solve(replace(problem, pods=left, nodes=nodes))
    if not second.unschedulable:
        return {**first.placements, **second.placements}
    # Filling nodes in use first may have cut the room into pieces.
    whole = solve(problem).placements
    parts = {**first.placements, **second.placements}
    return whole if len(whole) > len(parts) else parts


def with_held_room(snapshot: Snapshot, options: SolverOptions | None = None) -> Snapshot:
    """The snapshot with the pods of buffers on the Nodes that have room for them."""
    homes = find_room(snapshot, options)
    if not homes:
        return snapshot
    found = {
        pod.key: msgspec.structs.replace(
            pod,
            spec=msgspec.structs.replace(pod.spec, node_name=homes[pod.key]),
            status=core.PodStatus(phase="Running"),
        )
        for pod in snapshot.reserve
        if homes.get(pod.key) in snapshot.nodes
    }
    return snapshot.but(pods={**snapshot.pods, **found}, buffers={})
