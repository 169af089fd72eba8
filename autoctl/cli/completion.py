"""`autoctl completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell completion script.

    \b
    Examples:
      source <(autoctl completion bash)
      autoctl completion zsh > "${fpath[1]}/_autoctl"
      autoctl completion fish > ~/.config/fish/completions/autoctl.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(ctx.find_root().command, {}, "autoctl", "_AUTOCTL_COMPLETE").source())
