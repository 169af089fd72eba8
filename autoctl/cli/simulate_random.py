"""`autoctl simulate --random`: made-up worlds, checked for what must hold in every world."""

from __future__ import annotations

import sys

import click

from autoctl.cli.rendering import write_structured

RULE_BROKEN = 1


def play_random(first: int, runs: int, output: str) -> None:
    """Print a verdict for each of `runs` seeds; exit with 1 when one of them broke a rule."""
    from autoctl.simulate.random_runs import play_many

    failed = []
    verdicts = []
    for verdict in play_many(range(first, first + runs)):
        if not verdict.ok:
            failed.append(verdict.seed)
        if output != "text":
            verdicts.append(verdict.to_json())
        elif verdict.ok and verdict.totals is not None:
            totals = verdict.totals
            click.echo(
                f"seed {verdict.seed} held: {totals.launched} launched, "
                f"{totals.evictions} evictions, ${totals.usd:.2f}"
            )
        else:
            click.echo(verdict.describe())
    if output != "text":
        write_structured({"runs": verdicts, "failed": failed}, output, sys.stdout)
    elif runs > 1:
        click.echo(f"{runs - len(failed)} of {runs} seeds held")
    if failed:
        sys.exit(RULE_BROKEN)
