"""`autoctl bench`: measurements, each a command of its own."""

from __future__ import annotations

import importlib

import click

_BENCHMARKS: dict[str, tuple[str, str]] = {
    "schedule": ("autoctl.cli.bench_schedule:schedule", "Place pods by the thousand in one solve."),
    "consolidate": (
        "autoctl.cli.bench_consolidate:consolidate",
        "Consolidate a cluster of badly used nodes until it is at rest.",
    ),
    "disrupt": (
        "autoctl.cli.bench_disrupt:disrupt",
        "Decide one pass of disruption over a large cluster.",
    ),
    "launch": (
        "autoctl.cli.bench_launch:launch",
        "Launch NodeClaims at once, and count what EC2 is asked.",
    ),
    "startup": (
        "autoctl.cli.bench_startup:startup",
        "Start the operator before a large cluster and wait until it is ready.",
    ),
}
"""Benchmark -> where its command is, and its line in the help. Modules are imported when called."""


class LazyBenchmarks(click.Group):
    """A group that imports a benchmark's module when the benchmark is looked at."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_BENCHMARKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _BENCHMARKS:
            return None
        module, _, attribute = _BENCHMARKS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Benchmarks"):
            formatter.write_dl([(name, text) for name, (_, text) in _BENCHMARKS.items()])


@click.group(cls=LazyBenchmarks)
def bench() -> None:
    """Measure speed and quality of decisions on this machine.

    \b
    Examples:
      autoctl bench schedule --pods 10000
      autoctl bench startup
    """
