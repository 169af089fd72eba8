"""Instances nobody wants, NodeClaims whose instance is gone, Nodes that outlived both.

The decisions are pure; the controllers ask EC2 and act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from autoctl.api import core
from autoctl.api.labels import NODEPOOL, TERMINATION_FINALIZER
from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.instances import Instance, Instances, instance_id
from autoctl.controllers.lifecycle.removal import remove_claim
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODES, Conflict, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS = 120.0
EAGER_SECONDS = 10.0
_EAGER_PASSES = 20
"""After a start, when a predecessor may have left something, it looks more often."""

MIN_AGE = timedelta(seconds=30)
"""A younger instance may belong to a NodeClaim whose status is about to say so."""
_REGISTERED_FOR = timedelta(seconds=30)


def orphaned_instances(
    instances: Iterable[Instance],
    owned: Callable[[Instance], bool],
    awaited: Callable[[Instance], bool],
    now: datetime,
) -> tuple[Instance, ...]:
    """Instances of the cluster that no NodeClaim has or may still turn out to have."""
    return tuple(
        i
        for i in instances
        if not i.ending and now - i.launched_at >= MIN_AGE and not owned(i) and not awaited(i)
    )


def bereaved_claims(
    claims: Iterable[NodeClaim],
    instances: Mapping[str, Instance],
    ready: Callable[[NodeClaim], bool],
    now: datetime,
) -> tuple[NodeClaim, ...]:
    """Launched NodeClaims whose instance EC2 no longer has; `instances` is by instance id.

    A Ready node is proof of life whatever EC2 says, and EC2 may not know a young instance.
    """
    found = []
    for claim in claims:
        provider_id = claim.status.provider_id
        launched = next(
            (c.last_transition_time for c in claim.status.conditions if c.type == "Launched"), None
        )
        if claim.deleting or provider_id is None or launched is None:
            continue
        if now - launched < _REGISTERED_FOR or ready(claim):
            continue
        instance = instances.get(instance_id(provider_id))
        if instance is None or instance.ending:
            found.append(claim)
    return tuple(found)


def forsaken_nodes(
    nodes: Iterable[core.Node], has_claim: Callable[[core.Node], bool]
) -> tuple[core.Node, ...]:
    """Nodes with our finalizer and no NodeClaim, which nothing would ever end."""
    return tuple(
        n
        for n in nodes
        if TERMINATION_FINALIZER in (n.metadata.finalizers or ())
        and NODEPOOL in (n.metadata.labels or {})
        and n.metadata.deletion_timestamp is None
        and not has_claim(n)
    )


@dataclass
class GarbageCollector:
    """`nodeclaim.garbagecollection`: both ways, periodic."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    metrics: Metrics
    instances: Instances
    awaited: Callable[[Instance], bool]
    name: str = "nodeclaim.garbagecollection"
    _passes: int = 0

    async def run_once(self) -> float:
        if not self.state.synced:
            return 1.0
        # The mirror first, EC2 afterwards: what is launched in between is young.
        claims = list(self.state.node_claims.reflector)
        found = await self.instances.of_cluster()
        now = self.clock.now()
        for instance in orphaned_instances(found, self._owned, self.awaited, now):
            _log.warning("instance without NodeClaim", instance=instance.id)
            await self.instances.terminate(instance.id)
        by_id = {i.id: i for i in found}
        for claim in bereaved_claims(claims, by_id, self._ready, now):
            _log.warning("NodeClaim without instance", node_claim=claim.name)
            await remove_claim(self.api, self.state, self.metrics, claim, "garbage_collected")
        for node in forsaken_nodes(self.state.nodes.reflector, self._has_claim):
            _log.warning("Node without NodeClaim", node=node.metadata.name)
            try:
                await self.api.delete(NODES, node.metadata.name, uid=node.metadata.uid)
            except (NotFound, Conflict):
                continue
        self._passes += 1
        return EAGER_SECONDS if self._passes <= _EAGER_PASSES else PERIOD_SECONDS

    def _owned(self, instance: Instance) -> bool:
        provider_id = instance.provider_id
        return bool(self.state.claims_by_provider[provider_id]) or self.state.is_foreign(
            provider_id
        )

    def _ready(self, claim: NodeClaim) -> bool:
        return any(
            c.type == "Ready" and c.status == "True"
            for node in self.state.nodes_of_claim(claim)
            for c in node.status.conditions or ()
        )

    def _has_claim(self, node: core.Node) -> bool:
        return self.state.claim_of_node(node) is not None or self.state.is_foreign(
            node.spec.provider_id
        )
