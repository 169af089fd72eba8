"""Which volumes a node's end waits for: a pure decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from autoctl.api import core
from autoctl.state.pods import is_drainable, is_terminal


def awaited_attachments(
    attachments: Iterable[core.VolumeAttachment],
    pods: Iterable[core.Pod],
    claims: Mapping[str, core.PersistentVolumeClaim],
    now: datetime,
) -> tuple[str, ...]:
    """Names of the node's attachments that still have to go.

    Volumes of pods that a drain leaves alone stay until the instance ends.
    """
    kept = {
        volume
        for pod in pods
        if not is_terminal(pod) and not is_drainable(pod, now)
        for volume in _volumes(pod, claims)
    }
    return tuple(
        a.metadata.name
        for a in attachments
        if a.spec.source.persistent_volume_name is not None
        and a.spec.source.persistent_volume_name not in kept
    )


def _volumes(pod: core.Pod, claims: Mapping[str, core.PersistentVolumeClaim]) -> Iterable[str]:
    namespace = pod.metadata.namespace or "default"
    for volume in pod.spec.volumes or ():
        if volume.persistent_volume_claim is not None:
            name = volume.persistent_volume_claim.claim_name
        elif volume.ephemeral is not None:
            name = f"{pod.metadata.name}-{volume.name}"
        else:
            continue
        claim = claims.get(f"{namespace}/{name}")
        if claim is not None and claim.spec.volume_name:
            yield claim.spec.volume_name
