"""`nodeclaim.podevents`: writes down when pods last came to a node, ended on it or left it.

`status.lastPodEventTime` is what a NodePool's `consolidateAfter` is counted from. Daemon pods come
and go with the node and do not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim, NodeClaimStatus
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, ApiError, EventType, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState
from autoctl.state.pods import is_daemon, is_terminal, is_terminating
from autoctl.state.reflector import Change

PASS_SECONDS = 10.0
"""Times are written at most this often, as Karpenter takes repeated pod events together."""
_WRITES_AT_ONCE = 50
_QUIET_SECONDS = 3600.0
_RESOLUTION = timedelta(seconds=1)
"""Of a timestamp in the API; and a pod's own times are whole seconds."""


def transition(change: Change[core.Pod], now: datetime) -> tuple[str, datetime] | None:
    """The node on which something happened to the pod, and when; None for all other changes.

    What was missed (before this process began, or while a watch was broken) is dated by what the
    pod tells of it.
    """
    pod, before = change.object, change.previous
    node = pod.spec.node_name
    if not node or is_daemon(pod):
        return None
    if before is None:
        told = _told(pod)
        return None if told is None else (node, min(told, now))
    if change.type is EventType.DELETED:
        # A pod that went by itself was seen ending; this one was taken away at once.
        return None if is_terminal(before) or is_terminating(before) else (node, now)
    bound = not before.spec.node_name
    ended = is_terminal(pod) and not is_terminal(before)
    leaving = is_terminating(pod) and not is_terminating(before)
    return (node, now) if bound or ended or leaving else None


def _told(pod: core.Pod) -> datetime | None:
    """The latest of the pod's transitions that it bears a time of."""
    times = [
        c.last_transition_time
        for c in pod.status.conditions or ()
        if c.type == "PodScheduled" and c.status == "True" and c.last_transition_time is not None
    ]
    deleted = pod.metadata.deletion_timestamp
    if deleted is not None:
        grace = timedelta(seconds=pod.metadata.deletion_grace_period_seconds or 0)
        times.append(deleted - grace)
    return max(times, default=None)


class PodEventsController:
    """Periodic, woken by changed pods; its cost grows with the nodes that something happened on."""

    name = "nodeclaim.podevents"

    def __init__(self, api: KubernetesApi, state: ClusterState, clock: Clock) -> None:
        self._api = api
        self._state = state
        self._clock = clock
        self._latest: dict[str, datetime] = {}
        state.pods.reflector.subscribe(self._changed)

    async def run_once(self) -> float:
        if not self._state.synced:
            return 1.0
        due, self._latest = self._latest, {}
        limit = asyncio.Semaphore(_WRITES_AT_ONCE)

        async def write(node: str, claim: str, when: datetime) -> None:
            # No resourceVersion: nobody else writes this field, and conditions are left alone.
            patch = {"status": NodeClaimStatus(last_pod_event_time=when).to_dict()}
            async with limit:
                try:
                    await self._api.patch(NODE_CLAIMS, claim, patch, subresource="status")
                except NotFound:
                    return
                except ApiError:
                    self._note(node, when)
                    raise

        outcomes = await asyncio.gather(
            *(write(*one) for one in self._claims(due)), return_exceptions=True
        )
        for error in outcomes:
            if error is not None:
                raise error
        return _QUIET_SECONDS

    def _claims(self, due: dict[str, datetime]) -> Iterator[tuple[str, str, datetime]]:
        for name, when in due.items():
            claim = self._claim(name)
            if claim is not None and _is_later(claim, when):
                self._state.note_pod_event(claim.name, when)
                yield name, claim.name, when

    def _claim(self, node_name: str) -> NodeClaim | None:
        node = self._state.node(node_name)
        claim = None if node is None else self._state.claim_of_node(node)
        return None if claim is None or claim.deleting else claim

    def _changed(self, changes: Sequence[Change[core.Pod]]) -> None:
        now = self._clock.now()
        for change in changes:
            found = transition(change, now)
            if found is not None:
                self._note(*found)

    def _note(self, node: str, when: datetime) -> None:
        known = self._latest.get(node)
        self._latest[node] = when if known is None else max(known, when)
        claim = self._claim(node)
        if claim is not None and _is_later(claim, when):
            # Decisions made before it is written must know of it already.
            self._state.note_pod_event(claim.name, when)


def _is_later(claim: NodeClaim, when: datetime) -> bool:
    last = claim.status.last_pod_event_time
    return last is None or when - last > _RESOLUTION
