"""`capacitybuffer`: what every CapacityBuffer comes to now, and whether its room is there.

Shapes and scales are read from the API server one by one, as few buffers refer to few of the many
workloads of a cluster. What is found goes into the mirror, where provisioning and disruption have
it from, and into the buffers' statuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from autoctl.api.capacitybuffer import (
    PROVISIONING,
    READY_FOR_PROVISIONING,
    CapacityBuffer,
    CapacityBufferStatus,
    PodTemplateReference,
)
from autoctl.api.meta import Condition, Conditions, set_condition
from autoctl.controllers.objects import write_status
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import (
    CAPACITY_BUFFERS,
    ApiError,
    Forbidden,
    KubernetesApi,
    NotFound,
    Object,
)
from autoctl.state.buffers import (
    RESOLVED,
    Buffer,
    Reference,
    is_active,
    reference_of,
    refused,
    resolve,
)
from autoctl.state.cluster import ClusterState
from autoctl.state.held import find_room
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS: Final = 30.0
"""How soon a workload's new scale or template is seen."""
REST_SECONDS: Final = 10.0
"""Between two looks at what room there is, however much pods and nodes change."""
NOTICE_SECONDS: Final = 0.5
"""Between two looks at whether a buffer is new or its spec another, which is looked at at once."""
_UNSYNCED_SECONDS = 1.0
_RETRY_SECONDS = 5.0

Search = Callable[[Callable[[], Mapping[str, str]]], Awaitable[Mapping[str, str]]]
"""Runs a search for room where it holds up nothing."""


def status_of(
    before: CapacityBufferStatus,
    strategy: str,
    generation: int,
    buffer: Buffer,
    there: int,
    now: datetime,
) -> CapacityBufferStatus:
    """The status of a resolved buffer, for `there` of whose pods there is room on ready nodes."""
    resolved = buffer.reason == RESOLVED
    missing = buffer.replicas - there
    if not resolved:
        provisioning = ("False", buffer.reason, "there is nothing to provision")
    elif missing:
        text = f"{missing} of {buffer.replicas} pods would find no room yet"
        provisioning = ("False", "CapacityNotAvailable", text)
    else:
        provisioning = ("True", "CapacityAvailable", "")
    conditions = before.conditions
    for kind, (state, reason, message) in (
        (READY_FOR_PROVISIONING, ("True" if resolved else "False", buffer.reason, buffer.message)),
        (PROVISIONING, provisioning),
    ):
        conditions = _with(conditions, kind, state, reason, message, generation, now)
    template = buffer.pod_template
    return before.model_copy(
        update={
            "conditions": conditions,
            "provisioning_strategy": strategy,
            "replicas": buffer.replicas,
            "pod_template_ref": None if template is None else PodTemplateReference(name=template),
            "pod_template_generation": buffer.generation,
        }
    )


def _with(
    conditions: Conditions,
    kind: str,
    state: str,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> Conditions:
    condition = Condition.model_validate(
        {
            "type": kind,
            "status": state,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
        }
    )
    return set_condition(conditions, condition, now)


@dataclass
class CapacityBufferController:
    """Periodic, as buffers share the room of one cluster; others' strategies are left alone.

    Pods and nodes change all the time, and wake it no more often than every `REST_SECONDS`. Who
    makes a buffer or changes one waits for its status, so that is no reason to rest.
    """

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    search: Search
    name: str = "capacitybuffer"
    _asked: Mapping[str, tuple[str | None, int]] = field(default_factory=dict)
    """Buffer -> its uid and generation at the last look."""
    _rested: float = 0.0
    """Loop time from which on changes of others are a reason to look again."""

    async def run_once(self) -> float:
        if not self.state.synced:
            return _UNSYNCED_SECONDS
        known = self.state.capacity_buffers.copy()
        asked = {k: (b.metadata.uid, b.metadata.generation) for k, b in known.items()}
        rest = self._rested - asyncio.get_running_loop().time()
        if rest > 0 and asked == self._asked:
            return rest
        delay = await self._look(known)
        self._asked = asked
        self._rested = asyncio.get_running_loop().time() + min(delay, REST_SECONDS)
        return delay

    async def _look(self, known: Mapping[str, CapacityBuffer]) -> float:
        """Resolve all buffers and tell of their room; the seconds until the next look."""
        found: dict[str, Buffer] = {}
        unread: set[str] = set()
        for key, buffer in known.items():
            if not is_active(buffer):
                continue
            try:
                found[key] = resolve(buffer, await self._read(reference_of(buffer)))
            except Forbidden as error:
                found[key] = refused(buffer, str(error))
            except ApiError as error:
                _log.warning("buffer not resolved", buffer=key, error=str(error))
                unread.add(key)
                if key in self.state.buffers:
                    found[key] = self.state.buffers[key]
        # What has never been read counts as unknown: no node is taken away meanwhile.
        self.state.set_buffers(found, known.keys() - (unread - found.keys()))
        if found:
            await self._tell(known, self.state.snapshot())
        return _RETRY_SECONDS if unread else PERIOD_SECONDS

    async def _read(self, reference: Reference | None) -> Object | None:
        if reference is None:
            return None
        try:
            return await self.api.get(reference.resource, reference.name, reference.namespace)
        except NotFound:
            return None

    async def _tell(self, known: Mapping[str, CapacityBuffer], snapshot: Snapshot) -> None:
        homes = await self.search(lambda: find_room(snapshot))
        ready = {n.name for n in snapshot.state_nodes.values() if n.initialized}
        for key, buffer in snapshot.buffers.items():
            there = sum(homes.get(pod.key) in ready for pod in buffer.pods)
            old = known[key]
            status = status_of(
                old.status,
                old.spec.provisioning_strategy,
                old.metadata.generation,
                buffer,
                there,
                self.clock.now(),
            )
            try:
                await write_status(self.api, CAPACITY_BUFFERS, old, status)
            except NotFound:
                continue
