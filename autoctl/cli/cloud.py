"""`autoctl cloud`: the simulated AWS account as a server, for real boto3 clients."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
from contextlib import AsyncExitStack, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoctl.cli.inputs import FiniteRange

if TYPE_CHECKING:
    from autoctl.kube.config import ConnectionConfig
    from autoctl.sim.cloud import CloudSettings


def _address(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(
            f"{value!r}: expected an address such as 127.0.0.1:4566", ctx=ctx, param=param
        )
    return host, int(port)


_SECONDS = FiniteRange(min=0)


@click.command(
    epilog="""\b
Examples:
  autoctl cloud --listen 127.0.0.1:4566
  AWS_ENDPOINT_URL=http://127.0.0.1:4566 aws ec2 describe-subnets
  autoctl cloud --kubeconfig dev.yaml --ready-file cloud.json --boot-seconds 5
"""
)
@click.option(
    "--listen",
    callback=_address,
    metavar="HOST:PORT",
    default="127.0.0.1:0",
    show_default=True,
    help="Where to serve; port 0 takes a free one.",
)
@click.option(
    "--kubeconfig",
    metavar="FILE",
    help="Cluster whose Nodes follow the instances. Without it instances only exist in EC2.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file written once the server answers: endpoint, region, cluster, queue.",
)
@click.option("--region", default="us-west-2", show_default=True, help="Region of the account.")
@click.option("--cluster-name", default="autoctl", show_default=True, help="EKS cluster's name.")
@click.option(
    "--kubernetes-version", default="1.34", show_default=True, help="EKS cluster's minor version."
)
@click.option("--running-seconds", type=_SECONDS, default=2.0, show_default=True)
@click.option("--boot-seconds", type=_SECONDS, default=5.0, show_default=True)
@click.option("--shutdown-seconds", type=_SECONDS, default=3.0, show_default=True)
@click.option(
    "--consistency-seconds",
    type=_SECONDS,
    default=1.0,
    show_default=True,
    help="Time until Describe calls know of a new resource.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of ids and chances.")
@click.option(
    "--limits/--no-limits",
    default=True,
    show_default=True,
    help="Enforce EC2's request limits of a default account.",
)
def cloud(
    listen: tuple[str, int],
    kubeconfig: str | None,
    ready_file: Path | None,
    region: str,
    cluster_name: str,
    kubernetes_version: str,
    running_seconds: float,
    boot_seconds: float,
    shutdown_seconds: float,
    consistency_seconds: float,
    seed: int,
    limits: bool,
) -> None:
    """Serve the simulated cloud over HTTP until interrupted.

    Any AWS client works with it when AWS_ENDPOINT_URL names its address and some credentials are
    set. With a kubeconfig a Node appears for every instance that boots, as its kubelet would
    register it, and goes when the instance ends.
    """
    try:
        from autoctl.sim.cloud.http import CloudServer
    except ModuleNotFoundError as error:
        click.echo(f"autoctl: {error}; install autoctl[cloud]", err=True)
        sys.exit(1)
    from autoctl.catalog.embedded import regions
    from autoctl.kube.config import load_config
    from autoctl.kube.credentials import ConfigError
    from autoctl.sim.cloud import CloudSettings, Timings

    if region not in regions():
        click.echo(f"autoctl: --region {region}: expected one of {', '.join(regions())}", err=True)
        sys.exit(2)
    settings = CloudSettings(
        region=region,
        cluster=cluster_name,
        kubernetes=kubernetes_version,
        seed=seed,
        enforce_limits=limits,
        timings=Timings(
            running=running_seconds,
            boot=boot_seconds,
            shutting_down=shutdown_seconds,
            visible=consistency_seconds,
        ),
    )
    try:
        connection = load_config(kubeconfig) if kubeconfig else None
        asyncio.run(_serve(settings, listen, connection, ready_file, CloudServer))
    except (ConfigError, _UnusableError) as error:
        click.echo(f"autoctl: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"autoctl: {error}", err=True)
        sys.exit(1)


class _UnusableError(Exception):
    """What an option names cannot be used; the text is for the person who gave it."""


async def _serve(
    settings: CloudSettings,
    listen: tuple[str, int],
    connection: ConnectionConfig | None,
    ready_file: Path | None,
    server_class: Any,
) -> None:
    from autoctl.kube.client import KubeClient
    from autoctl.ports.clock import SystemClock
    from autoctl.sim.cloud import SimulatedCloud
    from autoctl.sim.cloud.kubelets import KubeletFleet

    clock = SystemClock()
    simulated = SimulatedCloud(clock, settings)
    async with AsyncExitStack() as stack:
        if connection is not None:
            simulated.eks.endpoint = connection.server
            simulated.eks.certificate_authority = connection.ca or ""
            api = await stack.enter_async_context(KubeClient(connection))
            kubelets = KubeletFleet(api, settings.region)
            simulated.on_boot = kubelets.register
            simulated.on_gone = kubelets.remove
        server = _bound(server_class, simulated, listen)
        server.start()
        stack.callback(server.stop)
        _announce(server.url, settings, ready_file)
        run = asyncio.ensure_future(simulated.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, run.cancel)
        try:
            await run
        except asyncio.CancelledError:
            click.echo("stopped", err=True)


def _bound(server_class: Any, simulated: Any, listen: tuple[str, int]) -> Any:
    """The server at its address.

    Where werkzeug cannot have it, it says so in words of its own, and ends the process.
    """
    try:
        with redirect_stderr(io.StringIO()):
            return server_class(simulated, *listen)
    except (SystemExit, OSError) as end:
        cause = end.__context__ if isinstance(end, SystemExit) else end
        if not isinstance(cause, OSError):
            raise
        host, port = listen
        why = cause.strerror or str(cause)
        raise _UnusableError(f"--listen {host}:{port}: cannot serve there: {why}") from cause


def _announce(url: str, settings: CloudSettings, ready_file: Path | None) -> None:
    facts = {
        "endpoint": url,
        "region": settings.region,
        "cluster": settings.cluster,
        "queue": settings.cluster,
    }
    if ready_file is not None:
        # Readers poll for the file, so it must appear whole.
        partial = ready_file.with_name(ready_file.name + ".partial")
        try:
            partial.write_text(json.dumps(facts) + "\n")
            partial.replace(ready_file)
        except OSError as error:
            why = error.strerror or str(error)
            raise _UnusableError(f"--ready-file {ready_file}: cannot be written: {why}") from error
    click.echo(f"serving {settings.region} at {url} (AWS_ENDPOINT_URL={url})", err=True)
