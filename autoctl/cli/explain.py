"""`autoctl explain`: why a pod waits, and why a node stays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from autoctl.cli.inputs import (
    ReadSnapshot,
    SnapshotInput,
    catalog_option,
    fail,
    files_option,
    kubeconfig_options,
    now_option,
    output_option,
    read_snapshot,
    region_option,
    wall_clock,
)
from autoctl.cli.rendering import reason_lines, write_structured

if TYPE_CHECKING:
    from autoctl.operator.explain_node import NodeExplanation
    from autoctl.operator.explain_pod import PodExplanation


@click.group(
    epilog="""\b
Examples:
  autoctl explain pod default/web-0             in the cluster of your kubeconfig
  autoctl explain pod web-0 -f dump.yaml        in a dump (namespace default)
  autoctl explain node i-0123456789abcdef0      why it stays, or when it goes
"""
)
def explain() -> None:
    """Tell why a pod waits or a node stays."""


def _source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (output_option, now_option, kubeconfig_options, region_option, catalog_option):
        function = option(function)
    return files_option(function)


def _read(
    files: tuple[str, ...],
    catalog: str | None,
    region: str,
    kubeconfig: str | None,
    context: str | None,
    now: datetime | None,
) -> ReadSnapshot:
    return read_snapshot(
        SnapshotInput(files, catalog, region, kubeconfig, context, now or wall_clock())
    )


@explain.command()
@click.argument("name", metavar="[NAMESPACE/]NAME")
@_source_options
def pod(name: str, output: str, **source: Any) -> None:
    """Tell where a pod would go, or for each NodePool why not.

    Exit code 2: the input cannot be used, or there is no such pod.

    \b
    Examples:
      autoctl explain pod web-0
      autoctl explain pod batch/train -f manifests/
    """
    from autoctl.operator.explain_pod import UnknownPodError, explain_pod

    read = _read(**source)
    key = name if "/" in name else f"default/{name}"
    try:
        found = explain_pod(read.snapshot, key)
    except UnknownPodError as error:
        fail(f"{error} in {read.source}")
    if output == "text":
        _tell_pod(found)
    else:
        write_structured(found.to_json(), output, sys.stdout)


@explain.command()
@click.argument("name", metavar="NAME")
@_source_options
def node(name: str, output: str, **source: Any) -> None:
    """Tell what keeps a node (or NodeClaim), and when or why it would go.

    Exit code 2: the input cannot be used, or there is no such node.

    \b
    Examples:
      autoctl explain node i-0123456789abcdef0
      autoctl explain node general-purpose-8hq2d -o json
    """
    from autoctl.operator.explain_node import UnknownNodeError, explain_node

    read = _read(**source)
    try:
        found = explain_node(read.snapshot, name)
    except UnknownNodeError as error:
        fail(f"{error} in {read.source}")
    if output == "text":
        _tell_node(found)
    else:
        write_structured(found.to_json(), output, sys.stdout)


def _tell_pod(found: PodExplanation) -> None:
    click.echo(f"Pod {found.pod}: {found.verdict}")
    if found.launched is not None:
        types = ", ".join(found.launched.instance_types[1:6])
        more = len(found.launched.instance_types) - 6
        rest = f" and {more} more" if more > 0 else ""
        click.echo(f"  price: ${found.launched.offer.price:.4f}/h")
        if types:
            click.echo(f"  or, if there is no capacity: {types}{rest}")
    if found.reason is not None:
        for line in reason_lines(found.reason, found.detail):
            click.echo(f"  {line}")
    for preference in found.relaxed:
        click.echo(f"  given up: {preference}")


def _tell_node(found: NodeExplanation) -> None:
    click.echo(f"Node {found.name}: {found.verdict}")
    lines = {
        "NodePool": found.pool,
        "NodeClaim": found.node_claim,
        "instance": " ".join(
            p for p in (found.instance_type, found.zone, found.capacity_type) if p
        ),
        "price": None if found.usd_per_hour is None else f"${found.usd_per_hour:.4f}/h",
        "pods": f"{found.pods}, and {found.daemons} daemons" + (", empty" if found.empty else ""),
        "quiet since": _instant(found.quiet_since),
        "drifted": found.drift,
        "expires": _instant(found.expires),
        "ended at the latest": _instant(found.cap),
        "blocked": found.blocked,
    }
    for label, value in lines.items():
        if value:
            click.echo(f"  {label}: {value}")
    for held in found.holding:
        click.echo(f"  held by {held.pod}: {held.why}")


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%d %H:%M UTC")
