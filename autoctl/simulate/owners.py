"""Whose a simulated pod is."""

from __future__ import annotations

from autoctl.ports.kubernetes import DAEMON_SETS, Object


def is_daemon(pod: Object) -> bool:
    """Owned by a DaemonSet of Kubernetes' own, as `state.pods.is_daemon` has it.

    Other API groups have kinds of that name. A reference without a version means Kubernetes' own.
    """
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(
        owner.get("kind") == DAEMON_SETS.kind
        and owner.get("apiVersion", "") in (DAEMON_SETS.api_version, "")
        for owner in owners
    )
