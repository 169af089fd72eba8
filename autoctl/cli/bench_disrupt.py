"""`autoctl bench disrupt`."""

from __future__ import annotations

import click

from autoctl.cli.bench_console import show_figures


@click.command(
    epilog="""\b
Examples:
  autoctl bench disrupt --nodes 5000
  autoctl bench disrupt --nodes 1000 --pods-per-node 30 --budget 100% -o json
"""
)
@click.option("--nodes", type=click.IntRange(1), default=5000, show_default=True)
@click.option("--pods-per-node", type=click.IntRange(1), default=10, show_default=True)
@click.option("--budget", default="10%", show_default=True, help="Disruption budget of the pool.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def disrupt(nodes: int, pods_per_node: int, budget: str, seed: int, output: str) -> None:
    """Decide one pass of disruption over a large cluster; nothing is carried out."""
    from rich.console import Console

    from autoctl.simulate.bench_disrupt import bench_disrupt

    error = Console(stderr=True)
    with error.status("starting") as status:
        result = bench_disrupt(nodes, pods_per_node, budget, seed, status.update)
    show_figures(result, output)
