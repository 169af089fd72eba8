"""Ending an instance and making sure of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from autoctl.aws.instances import Instances, instance_id
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock

POLL_SECONDS = 5.0
SETTLE = timedelta(seconds=5)


class Terminator:
    """Ends instances by providerID."""

    def __init__(self, instances: Instances, clock: Clock, metrics: Metrics) -> None:
        self._instances = instances
        self._clock = clock
        self._metrics = metrics
        self._asked: dict[str, datetime] = {}

    async def end(self, provider_id: str, pool: str) -> bool:
        """Tell the instance to end, or look whether it has; true when it is gone.

        An instance that EC2 does not know counts as gone some seconds later only: right after a
        launch EC2 may not know it yet.
        """
        id = instance_id(provider_id)  # noqa: A001 - EC2's word
        asked = self._asked.get(id)
        if asked is None:
            await self._instances.terminate(id)
            asked = self._asked.setdefault(id, self._clock.now())
        found = await self._instances.get(id)
        if found is None and self._clock.now() - asked < SETTLE:
            return False
        if found is not None and not found.ended:
            if not found.ending:
                await self._instances.terminate(id)
            return False
        # The Node's termination and the NodeClaim's may both have waited: it is measured once.
        if self._asked.pop(id, None) is not None:
            took = self._clock.now() - asked
            self._metrics.nodeclaims_instance_termination_duration.labels(pool).observe(
                took.total_seconds()
            )
        return True

    async def lost(self, provider_id: str) -> bool:
        """Whether the instance is gone already, without touching it.

        One that shuts down is not: its containers may still write to what their successors, which
        come as soon as its Node is no more, would share with them.
        """
        found = await self._instances.get(instance_id(provider_id))
        return found is None or found.ended
