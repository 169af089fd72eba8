"""`autoctl version`."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import click

from autoctl import __version__

_LIBRARIES = ("kopf", "boto3", "aiohttp", "highspy", "numpy", "pydantic")


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def version(output: str) -> None:
    """Print the version.

    With -o json also those of Python and of the libraries that matter in a bug report.

    \b
    Examples:
      autoctl version
      autoctl version -o json
    """
    if output == "text":
        click.echo(__version__)
        return
    facts = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }
    click.echo(json.dumps(facts, indent=2))
