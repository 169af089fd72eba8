"""`autoctl run`: the operator process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from autoctl.operator.settings import Setting, SettingsError, describe_settings, load_settings

F = TypeVar("F", bound=Callable[..., Any])

USAGE_EXIT_CODE = 2


def _settings_options(function: F) -> F:
    """One option for each setting, in the order of the model."""
    for setting in reversed(list(describe_settings())):
        function = _option(setting)(function)
    return function


def _option(setting: Setting) -> Callable[[F], F]:
    default = "required" if setting.required else f"default {setting.default or 'none'}"
    choices = f" [{'|'.join(setting.choices)}]" if setting.choices else ""
    text = f"{setting.description}{choices} [{setting.variable}; {default}]"
    if setting.kind == "boolean":
        negative = "--no-" + setting.flag.removeprefix("--")
        return click.option(f"{setting.flag}/{negative}", setting.field, default=None, help=text)
    return click.option(setting.flag, setting.field, metavar=setting.kind.upper(), help=text)


@click.command()
@click.option("--kubeconfig", metavar="FILE", help="Kubeconfig file. [KUBECONFIG]")
@click.option("--context", "kube_context", metavar="NAME", help="Context of the kubeconfig.")
@_settings_options
def run(kubeconfig: str | None, kube_context: str | None, **values: Any) -> None:
    """Run the operator.

    Settings come from flags and from AUTOCTL_* variables; flags win. Durations are written as in
    Go: 10s, 1m30s. The process ends with 0 when told to stop, with 2 for a wrong setting, with 1
    when it cannot or must not run here, or has lost its lease.

    \b
    Examples:
      autoctl run --cluster-name prod
      AUTOCTL_CLUSTER_NAME=prod autoctl run --log-format console --no-leader-elect
    """
    try:
        settings = load_settings({k: v for k, v in values.items() if v is not None})
    except SettingsError as error:
        for line in str(error).splitlines():
            click.echo(f"autoctl: {line}", err=True)
        sys.exit(USAGE_EXIT_CODE)
    # The operator imports everything there is; wrong flags should not wait for that.
    from autoctl.operator.process import run_operator

    code = run_operator(settings, kubeconfig=kubeconfig, context=kube_context)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may hang in a long poll or a solve for seconds; nothing that they do matters now, and
    # a replica that lost the lease must be gone.
    os._exit(code)
