"""`autoctl plan`: what would be done, before it is done."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from autoctl.cli.inputs import (
    FiniteRange,
    SnapshotInput,
    catalog_option,
    files_option,
    kubeconfig_options,
    now_option,
    output_option,
    read_snapshot,
    region_option,
    wall_clock,
)
from autoctl.cli.rendering import write_structured


@click.command(
    epilog="""\b
Examples:
  autoctl plan                                  the live cluster of your kubeconfig
  autoctl plan -f cluster.yaml                  a dump: kubectl get ... -o yaml > cluster.yaml
  autoctl plan -f nodepool.yaml -f apps/        manifests that are not applied yet
  autoctl plan -f . --only disrupt -o json      what consolidation would do, for a pipe
"""
)
@files_option
@catalog_option
@region_option
@kubeconfig_options
@now_option
@click.option(
    "--only",
    type=click.Choice(["provision", "disrupt"]),
    help="Tell only what is launched for pending pods, or only which nodes go.",
)
@click.option(
    "--max-pod-share",
    type=FiniteRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Largest share of the pending pods' requests on one new node, where that costs no more.",
)
@output_option
def plan(
    files: tuple[str, ...],
    catalog: str | None,
    region: str,
    kubeconfig: str | None,
    context: str | None,
    now: datetime | None,
    only: Any,
    max_pod_share: float,
    output: str,
) -> None:
    """Show what the operator would do: nodes to launch, pods' places, nodes to take away.

    Without -f the cluster of the current kubeconfig is read; nothing is changed in it. With -f
    neither a cluster nor AWS is needed. Exit code 2: the input cannot be used.
    """
    from autoctl.cli.plan_text import render_plan
    from autoctl.controllers.disruption.options import DisruptionOptions
    from autoctl.operator.planning import make_plan
    from autoctl.scheduling.problem import SolverOptions

    source = SnapshotInput(files, catalog, region, kubeconfig, context, now or wall_clock())
    read = read_snapshot(source)
    options = DisruptionOptions(solver=SolverOptions(max_pod_share=max_pod_share))
    result = make_plan(read.snapshot, options=options, only=only)
    if output == "text":
        render_plan(result, read)
    else:
        write_structured(result.to_json(), output, sys.stdout)
