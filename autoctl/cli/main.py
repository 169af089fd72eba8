"""`autoctl`: the group of all commands.

Commands are imported when they are called: `autoctl version` must not wait for the packer, and a
completion not for boto3.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from autoctl import __version__
from autoctl.cli.ends import INTERRUPTED, drop_output, unread

_COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("autoctl.cli.run:run", "Run the operator."),
    "plan": ("autoctl.cli.plan:plan", "Show what the operator would do."),
    "explain": ("autoctl.cli.explain:explain", "Tell why a pod waits or a node stays."),
    "simulate": ("autoctl.cli.simulate:simulate", "Play hours of a cluster in seconds."),
    "bench": ("autoctl.cli.bench:bench", "Measure speed and quality of decisions."),
    "doctor": ("autoctl.cli.doctor:doctor", "Check what the operator needs, say what to fix."),
    "cloud": ("autoctl.cli.cloud:cloud", "Serve the simulated cloud over HTTP."),
    "crds": ("autoctl.cli.crds:crds", "Write the custom resource definitions."),
    "completion": ("autoctl.cli.completion:completion", "Print a shell completion script."),
    "version": ("autoctl.cli.version:version", "Print the version."),
}
"""Command -> where its object is, and its line in the help (as its own docstring's first)."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is looked at."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name in _COMMANDS if _exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS or not _exists(cmd_name):
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with _ends():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _ends():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@contextmanager
def _ends() -> Iterator[None]:
    """Exit codes of what click would end with 1, which commands have a meaning for."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        unread()


def _exists(name: str) -> bool:
    """Whether the command's module is installed; found without importing it."""
    return importlib.util.find_spec(_COMMANDS[name][0].partition(":")[0]) is not None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autoctl", message="%(prog)s %(version)s")
def cli() -> None:
    """An open-source EKS Auto Mode: right-sized nodes for pending pods, explained beforehand.

    \b
    Examples:
      autoctl simulate                  a tour of what the operator does, in seconds
      autoctl plan -f manifests/        what it would do with these objects
      autoctl run --cluster-name prod   the operator itself
    """


def main() -> None:
    """The entry point of the console script."""
    # numpy reads it when it is imported, which no command is before here. Threads would cost more
    # than they save on matrices of these sizes, and their number could show in the last digit.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that is not UTF-8 gets question marks, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        try:
            cli(prog_name="autoctl")
        finally:
            # Here a full disk can still be told; when the interpreter ends it could not.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        unread()
    except OSError as error:
        if error.errno not in _NOT_WRITTEN or error.filename is not None:
            raise
        _output_lost(error)


_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _output_lost(error: OSError) -> NoReturn:
    """End because what was to be printed cannot be written where it goes."""
    click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
    drop_output()
    sys.exit(os.EX_IOERR)
