"""Nodes that kube-scheduler has chosen for pods whose volumes are still being made.

It writes the node on the volume claim and waits for the provisioner, which may take minutes. Until
then the pod is on no node and says what it said before, but its place is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from autoctl.api import core
from autoctl.scheduling.templates import template_of

SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""On a volume claim: the node that was chosen for its pod."""

FindClaim = Callable[[str, str | None], core.PersistentVolumeClaim | None]
"""The volume claim of a name and namespace."""


def claims_of(pod: core.Pod, find: FindClaim) -> Iterable[core.PersistentVolumeClaim]:
    """The pod's volume claims that are there, those of ephemeral volumes included."""
    template = template_of(pod)
    names = (
        *template.claims,
        *(f"{pod.metadata.name}-{name}" for name, _ in template.ephemeral),
    )
    found = (find(name, pod.metadata.namespace) for name in names)
    return (claim for claim in found if claim is not None)


def selected_node(claim: core.PersistentVolumeClaim) -> str | None:
    """The node for which the claim's volume is being made, None if it is not."""
    if claim.spec.volume_name:
        return None
    return (claim.metadata.annotations or {}).get(SELECTED_NODE) or None


def chosen_node(pod: core.Pod, find: FindClaim) -> str | None:
    """The node on which a volume of the pod is being made, None if there is none."""
    if not pod.spec.volumes:
        return None
    return next(filter(None, map(selected_node, claims_of(pod, find))), None)
