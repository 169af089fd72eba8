"""Standard output for people."""

from __future__ import annotations

from rich.console import Console

from autoctl.cli.ends import unread


class Output(Console):
    """rich's console, but for what happens when nobody reads it any more."""

    def on_broken_pipe(self) -> None:
        # rich ends with 1, which `simulate` has a meaning for. To raise an exception would not do:
        # where decisions are shown as they are played, the operator would take it for its own.
        unread()
