"""Small joints between controllers that do not know each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from autoctl.api.labels import INSTANCE_TAGGED
from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.fleet import FleetError
from autoctl.aws.instance_types import InstanceTypes
from autoctl.aws.instances import Instances, instance_id
from autoctl.controllers.disruption.drift import InstanceFacts
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.state.cluster import ClusterState

_FACTS_FRESH = timedelta(minutes=5)
_FACTS_MISSED = timedelta(minutes=1)
"""An instance that the listing lacks may be newer than the listing."""


class Keys:
    """From a changed object to the keys of those that it concerns."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def class_of_claim(self, _: str | None, name: str) -> Iterable[str]:
        claim = self._state.claim(name)
        if claim is None:
            # Gone, and with it the word of whose it was; one of them may wait for just that.
            return tuple(self._state.node_classes.reflector.store)
        return (claim.spec.node_class_ref.name,)

    def claims_of_node(self, _: str | None, name: str) -> Iterable[str]:
        node = self._state.node(name)
        claim = None if node is None else self._state.claim_of_node(node)
        if claim is not None:
            return (claim.name,)
        return tuple(self._state.claims_by_node[name])

    def claims_of_class(self, _: str | None, name: str) -> Iterable[str]:
        return tuple(self._state.claims_by_class[name])

    def unlaunched_of_class(self, _: str | None, name: str) -> Iterable[str]:
        claims = self._state.claims_by_class[name]
        return [key for key, claim in claims.items() if not claim.launched]

    def claims_of_pool(self, _: str | None, name: str) -> Iterable[str]:
        return tuple(self._state.claims_by_pool[name])

    def pool_of_claim(self, _: str | None, name: str) -> Iterable[str]:
        claim = self._state.claim(name)
        if claim is None:
            return tuple(self._state.node_pools.reflector.store)
        return () if claim.node_pool is None else (claim.node_pool,)

    def pools_of_class(self, _: str | None, name: str) -> Iterable[str]:
        return [
            pool.name
            for pool in self._state.node_pools.reflector
            if pool.spec.template.spec.node_class_ref.name == name
        ]

    def untagged(self, _: str | None, name: str) -> Iterable[str]:
        """The NodeClaim while its instance does not bear its name, and when it goes."""
        claim = self._state.claim(name)
        if claim is None or claim.deleting:
            return (name,)
        tagged = claim.metadata.annotations.get(INSTANCE_TAGGED) == "true"
        return () if tagged or not claim.registered else (name,)

    def leaving_node(self, _: str | None, name: str) -> Iterable[str]:
        """The Node if it is being deleted."""
        node = self._state.node(name)
        return () if node is None or node.metadata.deletion_timestamp is None else (name,)

    def leaving_nodes_of_claim(self, _: str | None, name: str) -> Iterable[str]:
        claim = self._state.claim(name)
        nodes = () if claim is None else self._state.nodes_of_claim(claim)
        return [n.metadata.name for n in nodes if n.metadata.deletion_timestamp is not None]


class LaunchFailures:
    """Counts what EC2 refused to launch."""

    def __init__(self, metrics: Metrics, types: InstanceTypes) -> None:
        self._metrics = metrics
        self._types = types

    def __call__(self, error: FleetError) -> None:
        zone_id = self._types.market.zones.get(error.zone, "")
        self._metrics.launch_failures.labels(
            error.zone, zone_id, error.capacity_type, error.code
        ).inc()


class InstanceDescriber:
    """What EC2 says of a NodeClaim's instance, as drift looks at it.

    One listing of the cluster's instances answers for all of them, for a while: an instance's
    subnet never changes and its security groups hardly do.
    """

    def __init__(self, instances: Instances, clock: Clock) -> None:
        self._instances = instances
        self._clock = clock
        self._listed: datetime | None = None
        self._facts: dict[str, InstanceFacts] = {}
        self._turn = asyncio.Lock()

    async def __call__(self, claim: NodeClaim) -> InstanceFacts | None:
        provider_id = claim.status.provider_id
        if not provider_id:
            return None
        name = instance_id(provider_id)
        async with self._turn:
            now = self._clock.now()
            patience = _FACTS_FRESH if name in self._facts else _FACTS_MISSED
            if self._listed is None or now - self._listed >= patience:
                self._facts = {
                    i.id: InstanceFacts(
                        subnet_id=i.subnet_id, security_group_ids=frozenset(i.security_group_ids)
                    )
                    for i in await self._instances.of_cluster()
                }
                self._listed = now
        return self._facts.get(name)
