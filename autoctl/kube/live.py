"""Reading a live cluster once, for `plan` and `explain`."""

from __future__ import annotations

import asyncio
from typing import Final

from autoctl.kube.client import KubeClient
from autoctl.kube.config import load_config
from autoctl.ports.clock import SystemClock
from autoctl.ports.kubernetes import (
    CSI_NODES,
    DAEMON_SETS,
    NAMESPACES,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_OVERLAYS,
    NODE_POOLS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    NotFound,
    Resource,
)
from autoctl.state.manifests import Document

READ: Final = (
    NODE_POOLS,
    NODE_CLASSES,
    NODE_CLAIMS,
    NODES,
    PODS,
    DAEMON_SETS,
    POD_DISRUPTION_BUDGETS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    CSI_NODES,
    VOLUME_ATTACHMENTS,
    NAMESPACES,
    NODE_OVERLAYS,
)
_OPTIONAL: Final = frozenset({NODE_OVERLAYS})
"""Kinds that a cluster of EKS Auto Mode or an older Karpenter does not know."""


async def live_documents(
    kubeconfig: str | None = None, context: str | None = None
) -> tuple[list[Document], str]:
    """Every object planning reads, and the server's URL.

    Raises `ApiError` when the server refuses or cannot be reached, `ConfigError` for a kubeconfig
    that cannot be used.
    """
    config = load_config(kubeconfig, context, clock=SystemClock())
    async with KubeClient(config) as client:
        lists = await asyncio.gather(*(_objects(client, r) for r in READ))
    server = config.server
    return [
        Document(f"{server} {resource}", 1, obj)
        for resource, objects in zip(READ, lists, strict=True)
        for obj in objects
    ], server


async def _objects(client: KubeClient, resource: Resource) -> list[dict[str, object]]:
    try:
        found = await client.list(resource)
    except NotFound as error:
        if not resource.group.endswith((".sh", ".amazonaws.com")):
            raise
        raise NotFound(
            f"{resource} are not known to the cluster: install the CRDs (autoctl crds | kubectl "
            "apply --server-side -f -)"
        ) from error
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return [{**head, **obj} for obj in found.items]
