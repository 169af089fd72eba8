"""`autoctl bench launch`."""

from __future__ import annotations

import sys
from typing import Any

import click

from autoctl.cli.rendering import write_structured


@click.command(
    epilog="""\b
Examples:
  autoctl bench launch --claims 1000
  autoctl bench launch --claims 200 --shapes 200 -o json
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
@click.option("--seed", type=int, default=42, show_default=True)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def launch(claims: int, shapes: int, seed: int, output: str) -> None:
    """Launch NodeClaims at once in a simulated account, and count what EC2 is asked."""
    from rich.console import Console
    from rich.progress import Progress

    from autoctl.operator.logging import configure_logging
    from autoctl.simulate.bench_launch import BenchError, bench_launch

    if shapes > claims:
        raise click.UsageError(f"--shapes {shapes} is more than --claims {claims}")
    configure_logging("error", "console")
    error = Console(stderr=True)
    with Progress(console=error, disable=not error.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=claims)

        def progress(what: str, done: int, wanted: int) -> None:
            bar.update(task, description=what, completed=done, total=wanted)

        try:
            result = bench_launch(claims, shapes, seed, progress)
        except BenchError as problem:
            raise click.ClickException(str(problem)) from problem
    if output == "json":
        write_structured(result, "json", sys.stdout)
    else:
        _table(result)


def _table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for key, value in result.items():
        table.add_row(key, str(value))
    Console().print(table)
