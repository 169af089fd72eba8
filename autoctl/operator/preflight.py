"""Looked at before anything is begun: can the operator work here, and is the cluster free for it?

Every check only reads. What it finds is one message that says what to do about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from autoctl.api.labels import COMPUTE_TYPE, COMPUTE_TYPE_AUTO, UNREGISTERED_TAINT
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import (
    CAPACITY_BUFFERS,
    CUSTOM_RESOURCE_DEFINITIONS,
    FIELD_MANAGER,
    LEASES,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_OVERLAYS,
    NODE_POOLS,
    NODES,
    ApiError,
    Forbidden,
    KubernetesApi,
    NotFound,
    Object,
    Resource,
    Unauthorized,
    Unavailable,
)

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

REQUIRED_RESOURCES = (NODE_POOLS, NODE_CLAIMS, NODE_CLASSES, NODE_OVERLAYS, CAPACITY_BUFFERS)
"""Without one of them the mirror would wait for it, and never be complete."""
KARPENTER_LEASE = "karpenter-leader-election"
_STALE = 4
"""Lease durations after which a holder that renewed nothing is taken for gone. Generous: the times
in a Lease are the holder's, whose clock may differ from ours."""


class PreflightError(Exception):
    """The operator must not, or cannot, work on this cluster."""


async def preflight(api: KubernetesApi, clock: Clock, *, server: str) -> None:
    """Raise `PreflightError` unless the API server answers, the CRDs are there and served, and no
    other controller owns them. `server` is the API server's URL, for messages.
    """
    try:
        await check_definitions(api)
        await check_karpenter(api, clock)
        await check_auto_mode(api)
    except PreflightError:
        raise
    except Unauthorized as error:
        raise PreflightError(
            f"the API server {server} does not accept the credentials: {error}"
        ) from error
    except Forbidden as error:
        raise PreflightError(
            f"the credentials lack a right that the operator needs: {error}; "
            "install the chart's ClusterRole and its binding"
        ) from error
    except Unavailable as error:
        raise PreflightError(f"the API server {server} does not answer: {error}") from error
    except ApiError as error:
        raise PreflightError(f"the API server {server} answered: {error}") from error


async def check_definitions(api: KubernetesApi) -> None:
    """The CRDs exist, are established, and serve the versions that the operator speaks."""

    async def problem(resource: Resource) -> str | None:
        try:
            definition = await api.get(CUSTOM_RESOURCE_DEFINITIONS, str(resource))
        except NotFound:
            return f"{resource} (missing)"
        served = {v["name"] for v in definition["spec"]["versions"] if v.get("served")}
        if resource.version not in served:
            return f"{resource} (serves {', '.join(sorted(served))}, not {resource.version})"
        conditions = (definition.get("status") or {}).get("conditions") or []
        if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return f"{resource} (not established)"
        return None

    problems = await asyncio.gather(*map(problem, REQUIRED_RESOURCES))
    found = [text for text in problems if text is not None]
    if found:
        raise PreflightError(
            f"custom resource definitions are not in place: {'; '.join(found)}. Install the "
            "autoctl-crds chart, or run `autoctl crds | kubectl apply --server-side -f -`"
        )


async def check_karpenter(api: KubernetesApi, clock: Clock) -> None:
    """No living Karpenter: two controllers of one NodePool would launch everything twice."""
    leases = await api.list(LEASES, field_selector=f"metadata.name={KARPENTER_LEASE}")
    held = [lease for lease in leases.items if _is_held(lease, clock.now())]
    if held:
        meta, spec = held[0]["metadata"], held[0]["spec"]
        raise PreflightError(
            f"Karpenter runs in this cluster: the lease {meta['namespace']}/{KARPENTER_LEASE} is "
            f"held by {spec['holderIdentity']}. Scale it to 0 before starting autoctl"
        )


def _is_held(lease: Object, now: datetime) -> bool:
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return False
    lasts = timedelta(seconds=int(spec.get("leaseDurationSeconds") or 15))
    return now - datetime.fromisoformat(spec["renewTime"]) < lasts * _STALE


async def check_auto_mode(api: KubernetesApi) -> None:
    """No nodes of EKS Auto Mode itself, whose controllers would manage the same objects.

    Nodes of this operator carry Auto Mode's labels too. What tells them apart is who wrote the Node
    or its NodeClaim. A node that nobody registered yet says nothing either way: it may belong to a
    launch whose record an earlier run of the operator could not write down any more.
    """
    nodes = await api.list(NODES, label_selector=f"{COMPUTE_TYPE}={COMPUTE_TYPE_AUTO}")
    foreign = [n for n in nodes.items if not _written_here(n) and not _unregistered(n)]
    if not foreign:
        return
    claims = await api.list(NODE_CLAIMS)
    ours = {
        (claim.get("status") or {}).get("providerID")
        for claim in claims.items
        if _written_here(claim)
    }
    names = sorted(
        node["metadata"]["name"]
        for node in foreign
        if (node.get("spec") or {}).get("providerID") not in ours - {None}
    )
    if names:
        raise PreflightError(
            f"this is an EKS Auto Mode cluster: {_some(names)} with the label "
            f"{COMPUTE_TYPE}={COMPUTE_TYPE_AUTO} were not made by autoctl. "
            "Turn Auto Mode off before starting autoctl"
        )


def _written_here(item: Object) -> bool:
    fields = item["metadata"].get("managedFields") or []
    return any(entry.get("manager") == FIELD_MANAGER for entry in fields)


def _unregistered(node: Object) -> bool:
    taints = (node.get("spec") or {}).get("taints") or []
    return any(taint["key"] == UNREGISTERED_TAINT for taint in taints)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"the nodes {shown}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
