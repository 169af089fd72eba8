"""What the benchmarks show: how far they are while they run, and their figures at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from autoctl.cli.rendering import write_structured


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr where that is a terminal; tell it what is done, how much, and of how much."""
    from rich.console import Console
    from rich.progress import Progress

    error = Console(stderr=True)
    with Progress(console=error, disable=not error.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=total)

        def progress(what: str, done: int, wanted: int) -> None:
            bar.update(task, description=what, completed=done, total=wanted)

        yield progress


def show_figures(figures: Mapping[str, Any], output: str) -> None:
    """Print the figures on stdout, as `json` or for a person."""
    if output == "json":
        write_structured(figures, "json", sys.stdout)
        return
    from rich.table import Table

    from autoctl.cli.console import Output

    table = Table(show_header=False)
    for key, value in figures.items():
        table.add_row(key, str(value))
    Output().print(table)
