"""Where `plan` and `explain` read from: files or a live cluster, a catalog, an instant."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from autoctl.catalog.model import Catalog
    from autoctl.state.snapshot import Snapshot

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_REGION = "us-west-2"


class _Instant(click.ParamType[datetime]):
    name = "RFC3339"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            instant = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r}: expected an instant such as 2026-01-02T00:00:00Z", param, ctx)
        if instant.tzinfo is None:
            self.fail(f"{value!r}: expected a time zone, such as a Z at the end", param, ctx)
        return instant.astimezone(UTC)


class FiniteRange(click.FloatRange):
    """A range of numbers: NaN, which no comparison turns down, and infinity are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r}: expected a finite number", param, ctx)
        return number


def files_option(function: F) -> F:
    return click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        metavar="FILE_OR_DIR",
        help="Manifests (YAML or JSON; a folder is searched; - is standard input). Repeatable.",
    )(function)


def catalog_option(function: F) -> F:
    return click.option(
        "--catalog",
        metavar="FILE",
        help="Instance types and prices to use instead of the built-in catalog (docs/plan.md).",
    )(function)


def region_option(function: F) -> F:
    return click.option(
        "--region",
        default=DEFAULT_REGION,
        show_default=True,
        envvar=["AUTOCTL_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"],
        help="AWS region of the built-in catalog.",
    )(function)


def kubeconfig_options(function: F) -> F:
    function = click.option(
        "--context", metavar="NAME", help="Context of the kubeconfig; default: the current one."
    )(function)
    return click.option(
        "--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, then ~/.kube/config."
    )(function)


def now_option(function: F) -> F:
    return click.option(
        "--now",
        type=_Instant(),
        help="The instant to decide at; default: now. Budgets, expiry and quiet times read it.",
    )(function)


def output_option(function: F) -> F:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json", "yaml"]),
        default="text",
        show_default=True,
        help="Output format.",
    )(function)


@dataclass(frozen=True)
class SnapshotInput:
    """The options above, as given."""

    files: tuple[str, ...]
    catalog: str | None
    region: str
    kubeconfig: str | None
    context: str | None
    now: datetime


@dataclass(frozen=True)
class ReadSnapshot:
    """What was read, from where, and which kinds were passed over."""

    snapshot: Snapshot
    source: str
    ignored: Mapping[str, int] = field(default_factory=dict)


def read_snapshot(source: SnapshotInput) -> ReadSnapshot:
    """Read the snapshot. What cannot be used ends the process: message on stderr, exit code 2."""
    from autoctl.catalog.file import CatalogError
    from autoctl.state.manifests import ManifestError

    try:
        catalog = load_catalog(source)
        return _offline(source, catalog) if source.files else _live(source, catalog)
    except (ManifestError, CatalogError) as error:
        fail(str(error))


def load_catalog(source: SnapshotInput) -> Catalog:
    """The catalog file, or the built-in catalog of the region."""
    from autoctl.catalog import embedded, file

    if source.catalog is not None:
        try:
            return file.load_catalog_file(source.catalog)
        except RecursionError:
            fail(f"{source.catalog}: expected a catalog, got JSON nested too deeply to be read")
    if source.region not in embedded.regions():
        fail(
            f"--region {source.region}: not in the built-in catalog; expected one of "
            f"{', '.join(sorted(embedded.regions()))}, or give a --catalog"
        )
    return embedded.load_catalog(source.region)


def _offline(source: SnapshotInput, catalog: Catalog) -> ReadSnapshot:
    from autoctl.state.manifests import load_manifests
    from autoctl.state.offline import snapshot_of

    offline = snapshot_of(
        load_manifests(source.files),
        now=source.now,
        catalog=catalog,
        assume_node_class=source.catalog is not None,
    )
    return ReadSnapshot(offline.snapshot, ", ".join(source.files), offline.ignored)


def _live(source: SnapshotInput, catalog: Catalog) -> ReadSnapshot:
    from autoctl.kube.credentials import ConfigError
    from autoctl.kube.live import live_documents
    from autoctl.ports.kubernetes import ApiError
    from autoctl.state.offline import snapshot_of

    try:
        live = asyncio.run(live_documents(source.kubeconfig, source.context))
    except (ApiError, ConfigError) as error:
        fail(f"the cluster cannot be read: {error}")
    offline = snapshot_of(
        live.documents,
        now=source.now,
        catalog=catalog,
        assume_node_class=source.catalog is not None,
        referents=live.referents,
    )
    return ReadSnapshot(offline.snapshot, live.server, offline.ignored)


def wall_clock() -> datetime:
    """Now, where `--now` does not say otherwise."""
    from autoctl.ports.clock import SystemClock

    return SystemClock().now()


def fail(message: str) -> NoReturn:
    """Say what is wrong on stderr and end with exit code 2."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(2)
