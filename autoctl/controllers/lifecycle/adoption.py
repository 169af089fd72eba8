"""Instances that an operator launched and did not live to write down.

NodeClaims share CreateFleet requests, so that an instance carries no NodeClaim's name at first, but
the digests of what was asked (tag `autoctl.io/launch`): any NodeClaim that asked for one of these
may take it. A NodeClaim that this process has not created may have one: it takes an instance nobody
owns before it launches another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.fleet import DIGESTS_APART
from autoctl.aws.instances import Instance, Instances
from autoctl.aws.tags import KARPENTER_CLAIM, LAUNCH
from autoctl.controllers.lifecycle.launch_plan import launch_digest
from autoctl.ports.clock import Clock
from autoctl.state.cluster import ClusterState

SETTLE = timedelta(seconds=5)
"""DescribeInstances may not know an instance for some seconds after its launch."""


class Adoption:
    """Finds the instances of NodeClaims that somebody else created."""

    def __init__(self, instances: Instances, state: ClusterState, clock: Clock) -> None:
        self._instances = instances
        self._state = state
        self._clock = clock
        self._begun: datetime | None = None
        self._listing: asyncio.Task[list[Instance]] | None = None
        self._taken: set[str] = set()
        self._asked: set[str] = set()

    async def find(self, claim: NodeClaim) -> Instance | None:
        """An instance that the claim may take, or None when it has to launch one."""
        if self._state.born_here(claim) or claim.metadata.uid in self._asked:
            return None
        now = self._clock.now()
        if self._begun is None:
            self._begun = now
        wait = (self._begun + SETTLE - now).total_seconds()
        if wait > 0:
            await asyncio.sleep(wait)
        if self._listing is None or self._listing.cancelled() or _failed(self._listing):
            self._listing = asyncio.create_task(self._instances.of_cluster())
        instances = await asyncio.shield(self._listing)
        self._asked.add(claim.metadata.uid)
        return self._choose(claim, instances)

    def give_back(self, instance: Instance) -> None:
        """The instance is not wanted after all; garbage collection ends it."""
        self._taken.discard(instance.id)

    def awaited(self, instance: Instance) -> bool:
        """Whether a NodeClaim without an instance may still turn out to own this one."""
        return any(_fits(claim, instance) for claim in self._unlaunched())

    def _unlaunched(self) -> Iterable[NodeClaim]:
        return (
            c
            for c in self._state.node_claims.reflector
            if not c.status.provider_id and not c.deleting
        )

    def _choose(self, claim: NodeClaim, instances: Iterable[Instance]) -> Instance | None:
        # Nothing is awaited between looking and taking: no two claims get one instance.
        free = [
            i
            for i in instances
            if not i.ending
            and i.id not in self._taken
            and not self._state.claims_by_provider[i.provider_id]
            and _fits(claim, i)
        ]
        if not free:
            return None
        chosen = min(free, key=lambda i: (i.tags.get(KARPENTER_CLAIM) != claim.name, i.id))
        self._taken.add(chosen.id)
        return chosen


def _fits(claim: NodeClaim, instance: Instance) -> bool:
    owner = instance.tags.get(KARPENTER_CLAIM)
    if owner is not None:
        return owner == claim.name
    return launch_digest(claim) in instance.tags.get(LAUNCH, "").split(DIGESTS_APART)


def _failed(task: asyncio.Task[list[Instance]]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
