"""The plan as tables, for a person."""

from __future__ import annotations

import os
from collections.abc import Sized

from rich.console import Console
from rich.table import Table

from autoctl.cli.console import Output
from autoctl.cli.inputs import ReadSnapshot
from autoctl.cli.rendering import reason_lines
from autoctl.controllers.disruption.model import Command
from autoctl.operator.planning import Plan, resources_json
from autoctl.scheduling.problem import NewNode

_PODS_SHOWN = 4
_PIPE_WIDTH = 200


def render_plan(plan: Plan, read: ReadSnapshot, console: Console | None = None) -> None:
    """Print the plan on standard output."""
    out = console or _console()
    out.print(_headline(plan, read), soft_wrap=True)
    if plan.solution.new_nodes:
        out.print(_launches(plan.solution.new_nodes))
    if plan.solution.placements:
        out.print(_placements(plan))
    if plan.solution.unschedulable:
        out.print(_unschedulable(plan))
    if plan.decision.commands:
        out.print(_disruptions(plan.decision.commands))
    blocked = [(b.node, b.reason + (f" ({b.pod})" if b.pod else "")) for b in plan.decision.blocked]
    blocked += plan.decision.left_alone
    pools = (*plan.decision.pools, *plan.decision.spent)
    blocked += [(f"NodePool {p.pool}", p.message) for p in pools]
    for pool, why in plan.shortfalls:
        out.print(f"NodePool {pool} is full: {why}.")
    for overlay in plan.overlays:
        if overlay.refusal is not None:
            out.print(f"NodeOverlay {overlay.name} is not in force: {overlay.refusal.message}.")
    for buffer in plan.buffers:
        why = "" if buffer.why is None else f": {buffer.why}"
        out.print(
            f"CapacityBuffer {buffer.buffer} keeps room for {_pods(buffer.replicas)}: "
            f"{buffer.there} on nodes that are there, {buffer.bought} on nodes to launch{why}.",
            soft_wrap=True,
        )
    if blocked:
        table = Table("Stays", "Why", title="Not disrupted", title_justify="left")
        for name, why in blocked:
            table.add_row(name, why)
        out.print(table)
    out.print(
        f"Cost: ${plan.cost.before:.4f}/h now, ${plan.cost.after:.4f}/h after; "
        f"no plan goes below ${plan.cost.lower_bound:.4f}/h."
    )
    if read.ignored:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(read.ignored.items()))
        out.print(f"Not read for planning: {kinds}.", style="dim")


def _console() -> Console:
    """Standard output; names are not cut short in a pipe or a file, where nobody set a width."""
    out = Output(highlight=False)
    if out.is_terminal or "COLUMNS" in os.environ:
        return out
    return Output(highlight=False, width=_PIPE_WIDTH)


def _headline(plan: Plan, read: ReadSnapshot) -> str:
    snapshot = read.snapshot
    parts = [
        _count(snapshot.nodes, "node"),
        _count(snapshot.pods, "pod"),
        _count(snapshot.node_pools, "NodePool"),
    ]
    todo = [
        f"{_count(plan.solution.new_nodes, 'node')} to launch",
        _count(plan.decision.commands, "disruption"),
    ]
    if plan.solution.unschedulable:
        todo.append(f"{_count(plan.solution.unschedulable, 'pod')} that cannot be placed")
    return f"{read.source}: {', '.join(parts)}. Plan: {', '.join(todo)}."


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _pods(number: int) -> str:
    return f"{number} pod{'' if number == 1 else 's'}"


def _launches(nodes: tuple[NewNode, ...]) -> Table:
    table = Table(title="Launch", title_justify="left")
    table.add_column("NodePool")
    table.add_column("Offer")
    table.add_column("USD/h", justify="right")
    table.add_column("Pods", justify="right")
    table.add_column("Requests")
    table.add_column("Or")
    for node in nodes:
        requests = resources_json(node.requests)
        others = len(node.instance_types) - 1
        table.add_row(
            node.pool,
            f"{node.offer.instance_type} {node.offer.zone} {node.offer.capacity_type}",
            f"{node.offer.price:.4f}",
            str(len(node.pods)),
            " ".join(f"{k}={v}" for k, v in requests.items() if k != "pods"),
            f"{others} other type{'s' if others != 1 else ''}" if others > 0 else "",
        )
    return table


def _placements(plan: Plan) -> Table:
    table = Table("Node", "Pods", title="Onto nodes that are there", title_justify="left")
    by_node: dict[str, list[str]] = {}
    for pod, node in plan.solution.placements.items():
        by_node.setdefault(node, []).append(pod)
    for node in sorted(by_node):
        table.add_row(node, _some(by_node[node]))
    return table


def _unschedulable(plan: Plan) -> Table:
    table = Table("Pod", "Why", title="Cannot be placed", title_justify="left")
    for pod, why in sorted(plan.solution.unschedulable.items()):
        table.add_row(pod, "\n".join(reason_lines(why.reason, why.detail)))
    return table


def _disruptions(commands: tuple[Command, ...]) -> Table:
    table = Table(title="Disrupt", title_justify="left")
    table.add_column("Reason")
    table.add_column("Nodes")
    table.add_column("Replaced by")
    table.add_column("Saves USD/h", justify="right")
    table.add_column("Evictions", justify="right")
    for command in commands:
        table.add_row(
            command.reason.value,
            _some(list(command.nodes)),
            ", ".join(n.offer.instance_type for n in command.replacements) or "nothing",
            f"{command.savings:.4f}",
            str(command.evictions),
        )
    return table


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_PODS_SHOWN])
    rest = len(names) - _PODS_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
