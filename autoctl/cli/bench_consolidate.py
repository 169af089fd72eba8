"""`autoctl bench consolidate`."""

from __future__ import annotations

import click

from autoctl.cli.bench_console import progress_bar, show_figures
from autoctl.cli.inputs import FiniteRange


@click.command(
    epilog="""\b
Examples:
  autoctl bench consolidate --nodes 500
  autoctl bench consolidate --nodes 1000 --fill 0.3 -o json
  autoctl bench consolidate --nodes 200 --budget 10%
"""
)
@click.option("--nodes", type=click.IntRange(1), default=500, show_default=True)
@click.option(
    "--fill",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.3,
    show_default=True,
    help="Part of the nodes' CPU or memory, whichever is scarcer, that pods request.",
)
@click.option("--budget", default="100%", show_default=True, help="Disruption budget of the pool.")
@click.option("--seed", type=int, default=42, show_default=True)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def consolidate(nodes: int, fill: float, budget: str, seed: int, output: str) -> None:
    """Consolidate a simulated cluster of badly used nodes until it is at rest."""
    from autoctl.operator.logging import configure_logging
    from autoctl.simulate.bench_consolidate import bench_consolidate
    from autoctl.simulate.bench_watch import BenchError

    configure_logging("error", "console")
    with progress_bar(nodes) as progress:
        try:
            result = bench_consolidate(nodes, fill, seed, budget, progress)
        except BenchError as problem:
            raise click.ClickException(str(problem)) from problem
    show_figures(result, output)
