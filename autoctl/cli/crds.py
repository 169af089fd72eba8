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
    Examples:
      autoctl crds | kubectl apply --server-side -f -
      autoctl crds --output crds
    """
    from autoctl.api import crd

    files = crd.files()
    if output is None:
        documents = [text.removeprefix(crd.HEADER) for text in files.values()]
        click.echo("---\n".join(documents), nl=False)
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (output / name).write_text(text, encoding="utf-8")
            click.echo(output / name, err=True)
    except OSError as error:
        raise click.ClickException(f"cannot write to {output}: {error.strerror}") from error
