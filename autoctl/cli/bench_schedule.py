"""`autoctl bench schedule`: pods by the thousand in one solve."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

_MIXES = ("diverse", "uniform", "bimodal", "large", "preferences")
_STAGES = 3


@click.command(
    epilog="""\b
Examples:
  autoctl bench schedule --pods 10000
  autoctl bench schedule --pods 4000 --mix preferences -o json
  autoctl bench schedule --pods 1 --nodes 5000
  autoctl bench schedule --trace pods.csv
"""
)
@click.option("--pods", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--instance-types", type=click.IntRange(min=1), default=400, show_default=True)
@click.option("--seed", type=int, default=42, show_default=True)
@click.option("--mix", type=click.Choice(_MIXES), default="diverse", show_default=True)
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Plan the pods of a CSV trace on the built-in catalog instead.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Nodes that are there, with five pods each, known from the solve before.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def schedule(
    pods: int,
    instance_types: int,
    seed: int,
    mix: str,
    trace: Path | None,
    nodes: int,
    output: str,
) -> None:
    """Make pods, place them all at once, and tell pods a second, cost and lower bound."""
    from autoctl.simulate.bench_schedule import bench_schedule

    with click.progressbar(
        length=_STAGES, label="bench schedule", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def step(stage: str) -> None:
            bar.label = f"bench schedule: {stage}"
            bar.update(1)

        try:
            result = bench_schedule(pods, instance_types, seed, mix, trace, step, nodes)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if output == "json":
        click.echo(json.dumps(result))
    else:
        width = max(map(len, result))
        for key, value in result.items():
            click.echo(f"{key:<{width}}  {value}")
