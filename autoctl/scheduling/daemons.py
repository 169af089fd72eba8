"""DaemonSet pods: the room they will take on nodes before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoctl.api import core
from autoctl.scheduling.taints import PREFER_NO_SCHEDULE, first_untolerated
from autoctl.scheduling.templates import Template, template_of

_ALWAYS_TOLERATED = tuple(
    core.Toleration(key=f"node.kubernetes.io/{name}", operator="Exists", effect=effect)
    for name, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)
"""What the DaemonSet controller adds to its pods (Kubernetes documentation, DaemonSet)."""


@dataclass(frozen=True, slots=True, eq=False)
class Daemon:
    """One DaemonSet: its pods' template and whose they are (namespace, name)."""

    template: Template
    tolerations: tuple[core.Toleration, ...]
    owner: tuple[str, str]

    def tolerates(self, taints: Sequence[core.Taint]) -> bool:
        """Whether its pods run on such nodes; mere preferences do not keep them off."""
        hard = [t for t in taints if t.effect != PREFER_NO_SCHEDULE]
        return first_untolerated(self.tolerations, hard) is None


def daemons_of(pods: Sequence[core.Pod]) -> tuple[Daemon, ...]:
    """The DaemonSets behind their representative pods; those that cannot be read take no room."""
    found = []
    for pod in pods:
        template = template_of(pod)
        if template.error is None:
            found.append(
                Daemon(
                    template,
                    (*template.tolerations, *_ALWAYS_TOLERATED),
                    daemon_owner(pod) or (pod.metadata.namespace or "default", pod.metadata.name),
                )
            )
    return tuple(found)


def told_apart(pods: Sequence[core.Pod]) -> tuple[tuple[tuple[str, str] | None, Template], ...]:
    """All that a solve reads of representative pods: where it is equal, so are the daemons."""
    return tuple((daemon_owner(pod), template_of(pod)) for pod in pods)


def daemon_owner(pod: core.Pod) -> tuple[str, str] | None:
    """(namespace, name) of the DaemonSet a pod belongs to."""
    for owner in pod.metadata.owner_references or ():
        # As `state.pods.is_daemon`: other API groups have DaemonSets of their own.
        if owner.kind == "DaemonSet" and owner.api_version in ("apps/v1", ""):
            return (pod.metadata.namespace or "default", owner.name)
    return None
