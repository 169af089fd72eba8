"""`autoctl bench startup`."""

from __future__ import annotations

import sys

import click

from autoctl.cli.bench_console import show_figures


@click.command(
    epilog="""\b
Examples:
  autoctl bench startup
  autoctl bench startup --nodes 5000 --pods 50000 -o json
"""
)
@click.option("--nodes", type=click.IntRange(0), default=2000, show_default=True)
@click.option("--pods", type=click.IntRange(0), default=20000, show_default=True)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def startup(nodes: int, pods: int, output: str) -> None:
    """Start the operator before a large cluster and wait until it is ready."""
    from rich.console import Console

    from autoctl.simulate.bench_startup import StartupError, bench_startup

    if not sys.platform.startswith("linux"):
        raise click.ClickException("memory is read from /proc: expected Linux")
    error = Console(stderr=True)
    with error.status("starting") as status:
        try:
            result = bench_startup(nodes, pods, status.update)
        except StartupError as problem:
            raise click.ClickException(str(problem)) from problem
    show_figures(result, output)
