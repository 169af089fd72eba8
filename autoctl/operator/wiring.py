"""Small joints between controllers that do not know each other."""

from __future__ import annotations

from collections.abc import Iterable

from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.fleet import FleetError
from autoctl.aws.instance_types import InstanceTypes
from autoctl.aws.instances import Instances, instance_id
from autoctl.controllers.disruption.drift import InstanceFacts
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.state.cluster import ClusterState


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

    def nodes_of_claim(self, _: str | None, name: str) -> Iterable[str]:
        claim = self._state.claim(name)
        return () if claim is None else [n.metadata.name for n in self._state.nodes_of_claim(claim)]


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
    """What EC2 says of a NodeClaim's instance, as drift looks at it."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def __call__(self, claim: NodeClaim) -> InstanceFacts | None:
        provider_id = claim.status.provider_id
        found = await self._instances.get(instance_id(provider_id)) if provider_id else None
        if found is None:
            return None
        return InstanceFacts(
            subnet_id=found.subnet_id, security_group_ids=frozenset(found.security_group_ids)
        )
