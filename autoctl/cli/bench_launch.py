"""`autoctl bench launch`."""

from __future__ import annotations

import click

from autoctl.cli.bench_console import progress_bar, show_figures


@click.command(
    epilog="""\b
Examples:
  autoctl bench launch --claims 1000
  autoctl bench launch --claims 200 --shapes 200 -o json
  autoctl bench launch --claims 5000 --rest 5
"""
)
@click.option("--claims", type=click.IntRange(1), default=1000, show_default=True)
@click.option(
    "--shapes",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="How many different NodeClaims there are among them.",
)
@click.option(
    "--rest",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    help="Minutes for which the cluster is watched at rest, after as many to come to rest.",
)
@click.option("--seed", type=int, default=42, show_default=True)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def launch(claims: int, shapes: int, rest: int, seed: int, output: str) -> None:
    """Launch NodeClaims at once in a simulated account, and count what EC2 is asked."""
    from autoctl.operator.logging import configure_logging
    from autoctl.simulate.bench_launch import bench_launch
    from autoctl.simulate.bench_watch import BenchError

    if shapes > claims:
        raise click.UsageError(f"--shapes {shapes} is more than --claims {claims}")
    configure_logging("error", "console")
    with progress_bar(claims) as progress:
        try:
            result = bench_launch(claims, shapes, seed, progress, rest * 60.0)
        except BenchError as problem:
            raise click.ClickException(str(problem)) from problem
    show_figures(result, output)
