"""Every command says what it does, with examples that can be called."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from autoctl.cli.main import cli


def commands(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """The path and the help of a command and of all below it."""
    context = click.Context(command, info_name=name, parent=parent)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from commands(found, below, context)


HELP = dict(commands(cli, "autoctl"))


@pytest.mark.parametrize("path", HELP)
def test_every_command_has_examples_with_options_that_exist(path: str) -> None:
    _, heading, examples = HELP[path].partition("Examples:\n")
    assert heading
    lines = [line.strip() for line in examples.splitlines() if line.startswith("    autoctl ")]
    assert lines
    for line in lines:
        words = shlex.split(re.split(r"  +|\||>", line)[0])
        called = max((p for p in HELP if words[: len(p.split())] == p.split()), key=len)
        known = set(re.findall(r"--?[a-z][a-z-]*", HELP[called]))
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known
