"""`NodeRegistrationHealthy`: whether the nodes that a pool launches join the cluster.

The last four outcomes are kept; the pool is unhealthy when half of them failed. A change of the
pool's or the class's specification starts anew.
"""

from __future__ import annotations

from collections import deque

from autoctl.api.meta import Condition, find_condition, set_condition
from autoctl.api.nodepool import NODE_REGISTRATION_HEALTHY, NodePool
from autoctl.controllers.objects import write_status
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_POOLS, Conflict, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState

_REMEMBERED = 4
_UNHEALTHY_SHARE = 0.5


class RegistrationHealth:
    """Remembers outcomes by NodePool, and writes the condition when it changes."""

    def __init__(self, api: KubernetesApi, state: ClusterState, clock: Clock) -> None:
        self._api = api
        self._state = state
        self._clock = clock
        self._outcomes: dict[str, deque[bool]] = {}

    async def record(self, pool_name: str, *, succeeded: bool) -> None:
        """A node of the pool registered, or did not in time."""
        outcomes = self._outcomes.setdefault(pool_name, deque(maxlen=_REMEMBERED))
        outcomes.append(succeeded)
        pool = self._state.pool(pool_name)
        if pool is None:
            return
        failed = outcomes.count(False)
        if failed and failed >= _UNHEALTHY_SHARE * _REMEMBERED:
            await self._write(pool, "False", "RegistrationFailed", "Failed to register node")
        elif succeeded:
            await self._write(pool, "True", NODE_REGISTRATION_HEALTHY, "")

    def reset(self, pool_name: str) -> None:
        """The pool or its class changed: what came before says nothing."""
        self._outcomes.pop(pool_name, None)

    async def _write(self, pool: NodePool, status: str, reason: str, message: str) -> None:
        current = find_condition(pool.status.conditions, NODE_REGISTRATION_HEALTHY)
        if current is not None and current.status == status:
            return
        condition = Condition.model_validate(
            {
                "type": NODE_REGISTRATION_HEALTHY,
                "status": status,
                "reason": reason,
                "message": message,
                "observedGeneration": pool.metadata.generation,
            }
        )
        conditions = set_condition(pool.status.conditions, condition, self._clock.now())
        try:
            await write_status(
                self._api,
                NODE_POOLS,
                pool,
                pool.status.model_copy(update={"conditions": conditions}),
            )
        except (Conflict, NotFound):
            # Somebody else wrote at the same time; the next outcome says the same again.
            return
