"""Hashes of a newer algorithm: those that NodeClaims carry are written anew.

Two hashes can be compared only where the same algorithm made both. When a new release brings
another one, NodeClaims of the old would never again be seen to drift. Rule: Karpenter's
`nodepool.hash` and `nodeclass.hash`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.drift import recorded_drift
from autoctl.controllers.objects import write_metadata
from autoctl.ports.kubernetes import NODE_CLAIMS, KubernetesApi, NotFound

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


async def migrate_hashes(
    api: KubernetesApi,
    claims: Iterable[NodeClaim],
    owner: Mapping[str, str],
    hashed: Mapping[str, str],
) -> None:
    """Bring `claims` to the version of `hashed`, where their NodePool or NodeClass is of another.

    `hashed` holds two annotations as the owner is to have them, the hash and then its version;
    `owner` those that it has. It is written after this, so that a migration that was broken off
    begins again. A NodeClaim that has drifted keeps its old hash, which no new one equals: it
    stays drifted.
    """
    (key, current), (version_key, version) = hashed.items()
    if owner.get(version_key, version) == version:
        return
    old = [
        c
        for c in claims
        if key in c.metadata.annotations and c.metadata.annotations.get(version_key) != version
    ]
    _log.info("hashes migrated", annotation=key, version=version, node_claims=len(old))
    await asyncio.gather(*(_migrate(api, c, key, current, version_key, version) for c in old))


async def _migrate(
    api: KubernetesApi, claim: NodeClaim, key: str, current: str, version_key: str, version: str
) -> None:
    annotations = {version_key: version}
    if recorded_drift(claim) is None:
        annotations[key] = current
    try:
        await write_metadata(api, NODE_CLAIMS, claim, annotations=annotations)
    except NotFound:
        return
