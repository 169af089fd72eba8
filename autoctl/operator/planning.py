"""`plan`: what the operator would do with a snapshot, as data.

Observe and decide are the operator's own functions; only acting is left out. The JSON form is a
contract (`autoctl.plan/v1`, see `docs/plan.md`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from autoctl.api import core
from autoctl.catalog.model import Resources
from autoctl.catalog.units import format_amount
from autoctl.controllers.disruption.decide import decide
from autoctl.controllers.disruption.model import Command, Decision
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.operator.upkeep import endings, static_launches, static_shortfalls, without
from autoctl.scheduling.bound import problem_bound
from autoctl.scheduling.overlays import Refusal
from autoctl.scheduling.problem import NewNode, RequirementSpec, Solution
from autoctl.scheduling.solve import solve
from autoctl.state.buffers import RESOLVED
from autoctl.state.pods import is_pending, is_reschedulable, unbound
from autoctl.state.pricing import node_prices
from autoctl.state.problem import displaced_pods, pending_pods, scheduling_problem
from autoctl.state.snapshot import Snapshot

SCHEMA = "autoctl.plan/v1"

Only: TypeAlias = Literal["provision", "disrupt"]


@dataclass(frozen=True)
class Cost:
    """USD/hour of all managed nodes: now, after the plan, and what no plan could go below."""

    before: float
    after: float
    lower_bound: float


@dataclass(frozen=True)
class OverlayReport:
    """A NodeOverlay: why it is not in force, or what it changes, counted over all NodePools.

    `offerings` have the price it sets, `instance_types` the capacity.
    """

    name: str
    refusal: Refusal | None
    offerings: int
    instance_types: int

    def to_json(self) -> dict[str, Any]:
        if self.refusal is not None:
            told = {"reason": self.refusal.reason, "message": self.refusal.message}
            return {"name": self.name, "inForce": False, **told}
        reach = {"offerings": self.offerings, "instanceTypes": self.instance_types}
        return {"name": self.name, "inForce": True, **reach}


@dataclass(frozen=True)
class BufferReport:
    """A CapacityBuffer: for how many pods it keeps room, and where that room is.

    `there` counts those that fit on nodes that are there or coming, `bought` those for which the
    plan launches nodes; `why` tells why the others have none, or why the buffer keeps nothing.
    """

    buffer: str
    replicas: int
    there: int
    bought: int
    why: str | None

    def to_json(self) -> dict[str, Any]:
        counts = {"replicas": self.replicas, "there": self.there, "bought": self.bought}
        return {"name": self.buffer, **counts, **({} if self.why is None else {"why": self.why})}


@dataclass(frozen=True)
class Plan:
    """What would be done: the solution for pending pods and the disruptions after it."""

    solution: Solution
    decision: Decision
    cost: Cost
    overlays: tuple[OverlayReport, ...] = ()
    buffers: tuple[BufferReport, ...] = ()
    shortfalls: tuple[tuple[str, str], ...] = ()
    """Static NodePools that do not come to their replicas, and why."""

    def to_json(self) -> dict[str, Any]:
        """The contract's form: plain dicts, lists, strings and numbers, in a stable order."""
        names = _names(self.solution.new_nodes)
        overlays = [o.to_json() for o in self.overlays]
        buffers = [b.to_json() for b in self.buffers]
        return {
            "schema": SCHEMA,
            "nodeClaims": [
                node_claim_json(node, name)
                for node, name in zip(self.solution.new_nodes, names, strict=True)
            ],
            "placements": dict(sorted(self.solution.placements.items())),
            "unschedulable": [
                {"pod": pod, "reason": why.reason, "detail": dict(sorted(why.detail.items()))}
                for pod, why in sorted(self.solution.unschedulable.items())
            ],
            "disruptions": [
                {
                    "reason": command.reason.value,
                    "nodes": list(command.nodes),
                    "replacements": [
                        node_claim_json(node, name)
                        for node, name in zip(
                            command.replacements, _names(command.replacements), strict=True
                        )
                    ],
                    "savings": round(command.savings, 6),
                    "evictions": command.evictions,
                }
                for command in self.decision.commands
            ],
            "blocked": [
                {"node": b.node, "reason": b.reason, **({"pod": b.pod} if b.pod else {})}
                for b in self.decision.blocked
            ]
            + [{"node": node, "reason": reason} for node, reason in self.decision.left_alone]
            + [
                {"nodePool": p.pool, "reason": p.message, "disruption": p.reason.value}
                for p in (*self.decision.pools, *self.decision.spent)
            ]
            + [{"nodePool": pool, "reason": reason} for pool, reason in self.shortfalls],
            "cost": {
                "before": round(self.cost.before, 6),
                "after": round(self.cost.after, 6),
                "lowerBound": round(self.cost.lower_bound, 6),
            },
            **({"nodeOverlays": overlays} if overlays else {}),
            **({"capacityBuffers": buffers} if buffers else {}),
        }


def make_plan(
    snapshot: Snapshot,
    *,
    only: Only | None = None,
    options: DisruptionOptions | None = None,
) -> Plan:
    """Decide everything the operator would decide at `snapshot.now`.

    Nodes whose time is up, or that a static pool has too many of, go first: their pods are placed
    with the pending ones.

    Pending pods are always placed first, since they take room that consolidation would otherwise
    count on; `only` chooses which half is told.
    """
    options = options or DisruptionOptions()
    placed = place_pending(snapshot, options)
    buffers = buffer_reports(placed.snapshot, placed.solution)
    decision = Decision() if only == "provision" else placed.disrupt(options)
    solution = Solution() if only == "disrupt" else _with_static(placed.solution, snapshot)
    cost = _cost(snapshot, solution, decision)
    shortfalls = () if only == "disrupt" else static_shortfalls(snapshot)
    return Plan(solution, decision, cost, overlay_reports(snapshot), buffers, shortfalls)


@dataclass(frozen=True)
class Placed:
    """A cluster whose pending pods have found their places, and what goes from it in any case.

    `snapshot` has the nodes of `ending` leaving and the pods of `solution` promised.
    """

    snapshot: Snapshot
    solution: Solution
    ending: tuple[Command, ...]

    def disrupt(self, options: DisruptionOptions) -> Decision:
        """What disruption does then, `ending` included."""
        decision = decide(self.snapshot, options)
        return replace(decision, commands=(*self.ending, *decision.commands))


def place_pending(snapshot: Snapshot, options: DisruptionOptions) -> Placed:
    """Decide where pending pods go, those of nodes whose time is up among them."""
    ending = endings(snapshot)
    staying = without(snapshot, ending)
    waiting = (*pending_pods(staying), *displaced_pods(staying))
    problem = scheduling_problem(
        staying, pods=waiting, reserve=staying.reserve, options=options.solver
    )
    solution = solve(problem)
    return Placed(nominate(staying, solution), solution, tuple(ending))


def buffer_reports(snapshot: Snapshot, solution: Solution) -> tuple[BufferReport, ...]:
    """Every CapacityBuffer of the snapshot, by name, as `solution` keeps its room."""
    bought = {key for node in solution.new_nodes for key in node.pods}
    found = []
    for name, buffer in sorted(snapshot.buffers.items()):
        keys = [pod.key for pod in buffer.pods]
        left = next((w for k in keys if (w := solution.unschedulable.get(k)) is not None), None)
        why = buffer.message if buffer.reason != RESOLVED else None
        found.append(
            BufferReport(
                name,
                buffer.replicas,
                sum(key in solution.placements for key in keys),
                sum(key in bought for key in keys),
                why if left is None else left.reason,
            )
        )
    return tuple(found)


def overlay_reports(snapshot: Snapshot) -> tuple[OverlayReport, ...]:
    """Every NodeOverlay of the snapshot, by name."""
    overlaid = snapshot.overlaid
    offerings: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for found in overlaid.types.values():
        for instance_type in found:
            types.update(instance_type.overlays)
            offerings.update(o.overlay for o in instance_type.offerings if o.overlay is not None)
    return tuple(
        OverlayReport(name, overlaid.refused.get(name), offerings[name], types[name])
        for name in sorted(snapshot.node_overlays)
    )


def _with_static(solution: Solution, snapshot: Snapshot) -> Solution:
    """The solution with the nodes that static pools lack, on which no pods are planned."""
    added = static_launches(snapshot)
    cost = sum(node.offer.price for node in added)
    return replace(solution, new_nodes=(*solution.new_nodes, *added), cost=solution.cost + cost)


def nominate(snapshot: Snapshot, solution: Solution) -> Snapshot:
    """The snapshot with the solution's placements promised, as provisioning promises them."""
    promised = {key: n for key, n in solution.placements.items() if key in snapshot.pods}
    return snapshot.but(nominations={**snapshot.nominations, **promised})


def node_claim_json(node: NewNode, name: str) -> dict[str, Any]:
    """A node to buy, in the contract's form."""
    return {
        "name": name,
        "nodePool": node.pool,
        "pods": sorted(node.pods),
        "requests": resources_json(node.requests),
        "requirements": [_requirement_json(r) for r in node.requirements],
        "offer": {
            "instanceType": node.offer.instance_type,
            "zone": node.offer.zone,
            "capacityType": node.offer.capacity_type,
            "price": node.offer.price,
        },
        "alternatives": [t for t in node.instance_types if t != node.offer.instance_type],
    }


def resources_json(amounts: Resources) -> dict[str, str]:
    """Resource amounts as Kubernetes quantities."""
    return {name: format_amount(name, amount) for name, amount in sorted(amounts.items())}


def _requirement_json(requirement: RequirementSpec) -> dict[str, Any]:
    result: dict[str, Any] = {
        "key": requirement.key,
        "operator": requirement.operator,
        "values": list(requirement.values),
    }
    if requirement.min_values is not None:
        result["minValues"] = requirement.min_values
    return result


def _names(nodes: tuple[NewNode, ...]) -> list[str]:
    """Names as the API server would generate them from the pool's, but stable."""
    return [f"{node.pool}-{index:05d}" for index, node in enumerate(nodes, start=1)]


def _cost(snapshot: Snapshot, solution: Solution, decision: Decision) -> Cost:
    prices = node_prices(snapshot)
    before = sum(prices.values())
    after = before + solution.cost
    for command in decision.commands:
        after += sum(n.offer.price for n in command.replacements)
        after -= sum(prices.get(name, 0.0) for name in command.nodes)
    return Cost(before, after, min(after, world_lower_bound(snapshot)))


def world_lower_bound(snapshot: Snapshot) -> float:
    """USD/hour that no set of managed nodes holding the same pods goes below.

    The bound of the question "place every pod that is on a managed node, or pending, on new
    nodes": what exists is forgotten, what other nodes hold is left to them.
    """
    pods: list[core.Pod] = [p for p in snapshot.pods.values() if is_pending(p)]
    managed = {n.name: n for n in snapshot.state_nodes.values() if n.managed}
    pods += snapshot.reserve
    for node in managed.values():
        pods += [unbound(p) for p in node.pods if is_reschedulable(p)]
    problem = scheduling_problem(snapshot, pods=pods, exclude_nodes=managed)
    return problem_bound(problem)
