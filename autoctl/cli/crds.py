"""`autoctl crds`: the CustomResourceDefinitions, to apply or to keep under version control."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file a definition into DIR (made if missing) instead of to stdout.",
)
def crds(output: Path | None) -> None:
    """Print the CustomResourceDefinitions of NodePool, NodeClass and the others.

    \b
    autoctl crds | kubectl apply --server-side -f -
    """
    from autoctl.api import crd

    if output is None:
        documents = [crd.to_yaml(definition).removeprefix(crd.HEADER) for definition in crd.crds()]
        click.echo("---\n".join(documents), nl=False)
        return
    try:
        written = crd.write_crds(output)
    except OSError as error:
        raise click.ClickException(f"cannot write to {output}: {error.strerror}") from error
    for path in written:
        click.echo(path, err=True)
