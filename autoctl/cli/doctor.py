"""`autoctl doctor`: what keeps the operator from working here, and how to mend it."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING

import click

from autoctl.cli.inputs import kubeconfig_options, output_option
from autoctl.cli.rendering import write_structured

if TYPE_CHECKING:
    from autoctl.operator.doctor.report import Report

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "error": ("FAIL", "red")}


@click.command(
    epilog="""\b
Examples:
  autoctl doctor --cluster-name prod            the cluster of your kubeconfig and its account
  autoctl doctor --cluster-name prod -o json    for a pipe
  autoctl doctor --cluster-name prod --no-kubernetes   the account alone
"""
)
@click.option("--cluster-name", required=True, envvar="AUTOCTL_CLUSTER_NAME", help="EKS cluster.")
@click.option(
    "--region",
    default="",
    envvar="AUTOCTL_REGION",
    help="AWS region; else AUTOCTL_REGION, then AWS_REGION.",
)
@click.option(
    "--interruption-queue", default="", envvar="AUTOCTL_INTERRUPTION_QUEUE", help="SQS queue."
)
@click.option("--kubernetes/--no-kubernetes", default=True, help="Look at the cluster's objects.")
@kubeconfig_options
@output_option
def doctor(
    cluster_name: str,
    region: str,
    interruption_queue: str,
    kubernetes: bool,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Check credentials, IAM actions, quotas, subnets, tags, CRDs; say what to fix.

    Nothing is changed anywhere. Exit code 1: something keeps the operator from working. 2: the
    checks could not be begun.
    """
    from autoctl.kube.credentials import ConfigError
    from autoctl.operator.preflight import PreflightError

    try:
        report = asyncio.run(
            _examine(cluster_name, region, interruption_queue, kubernetes, kubeconfig, context)
        )
    except (ConfigError, PreflightError) as error:
        click.echo(f"autoctl: {error}", err=True)
        sys.exit(2)
    if output == "text":
        _render(report)
    else:
        write_structured(report.to_json(), output, sys.stdout)
    sys.exit(0 if report.healthy else 1)


async def _examine(
    cluster: str,
    region: str,
    queue: str,
    kubernetes: bool,
    kubeconfig: str | None,
    context: str | None,
) -> Report:
    from contextlib import AsyncExitStack

    from autoctl.aws.clients import make_clients
    from autoctl.aws.executor import ThreadExecutor
    from autoctl.kube.client import KubeClient
    from autoctl.kube.config import load_config
    from autoctl.operator.doctor.run import Patient, examine
    from autoctl.operator.preflight_aws import find_region
    from autoctl.ports.clock import SystemClock

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        api = None
        if kubernetes:
            config = load_config(kubeconfig, context, clock=clock)
            api = await stack.enter_async_context(KubeClient(config))
        executor = ThreadExecutor()
        stack.callback(executor.shutdown)
        return await examine(
            Patient(
                api=api,
                clients=make_clients(find_region(region)),
                executor=executor,
                clock=clock,
                rng=random.Random(),  # noqa: S311 - spreads repetitions
                cluster_name=cluster,
                interruption_queue=queue,
            )
        )


def _render(report: Report) -> None:
    width = max((len(f.check) for f in report.findings), default=0)
    for finding in report.findings:
        text, colour = _MARKS[finding.level.value]
        mark = click.style(f"{text:>4}", fg=colour)
        click.echo(f"{mark}  {finding.check:<{width}}  {finding.subject}: {finding.message}")
        if finding.fix:
            click.echo(f"{'':>{width + 8}}-> {finding.fix}")
    broken = sum(f.level.value == "error" for f in report.findings)
    click.echo("Nothing keeps the operator from working." if not broken else f"{broken} to fix.")
