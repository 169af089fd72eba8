"""Reading a live cluster once, for `plan` and `explain`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from autoctl.api.capacitybuffer import CapacityBuffer
from autoctl.kube.client import KubeClient
from autoctl.kube.config import load_config
from autoctl.ports.clock import SystemClock
from autoctl.ports.kubernetes import (
    CAPACITY_BUFFERS,
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
from autoctl.state.buffers import reference_of
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
    CAPACITY_BUFFERS,
)
_OPTIONAL: Final = frozenset({NODE_OVERLAYS, CAPACITY_BUFFERS})
"""Kinds that a cluster of EKS Auto Mode or an older Karpenter does not know."""


@dataclass(frozen=True)
class Live:
    """What was read: every object for planning, what CapacityBuffers refer to, the server's URL."""

    documents: list[Document]
    referents: list[Document]
    server: str


async def live_documents(kubeconfig: str | None = None, context: str | None = None) -> Live:
    """Read everything that planning reads.

    Raises `ApiError` when the server refuses or cannot be reached, `ConfigError` for a kubeconfig
    that cannot be used.
    """
    config = load_config(kubeconfig, context, clock=SystemClock())
    async with KubeClient(config) as client:
        lists = await asyncio.gather(*(_objects(client, r) for r in READ))
        buffers = lists[READ.index(CAPACITY_BUFFERS)]
        referents = await asyncio.gather(*(_referent(client, b) for b in buffers))
    server = config.server
    documents = [
        Document(f"{server} {resource}", 1, obj)
        for resource, objects in zip(READ, lists, strict=True)
        for obj in objects
    ]
    found = [Document(server, 1, obj) for obj in referents if obj is not None]
    return Live(documents, found, server)


async def _referent(client: KubeClient, buffer: dict[str, object]) -> dict[str, object] | None:
    """The object that a CapacityBuffer takes its shape from, if there is one."""
    reference = reference_of(CapacityBuffer.from_dict(buffer))
    if reference is None:
        return None
    try:
        found = await client.get(reference.resource, reference.name, reference.namespace)
    except NotFound:
        return None
    resource = reference.resource
    return {"apiVersion": resource.api_version, "kind": resource.kind, **found}


async def _objects(client: KubeClient, resource: Resource) -> list[dict[str, object]]:
    try:
        found = await client.list(resource)
    except NotFound as error:
        if resource in _OPTIONAL:
            return []
        if not resource.group.endswith((".sh", ".amazonaws.com")):
            raise
        raise NotFound(
            f"{resource} are not known to the cluster: install the CRDs (autoctl crds | kubectl "
            "apply --server-side -f -)"
        ) from error
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return [{**head, **obj} for obj in found.items]
