"""`provisioner.steering`: new nodes take the pods they were bought for before any others.

A node that others want too is registered with the taint `autoctl.io/awaiting-pods`. As soon as its
kubelet is ready, its pods get it as their nominated node, and the taint goes: kube-scheduler then
keeps their room from pods of the same or lower priority. Nobody is bound past kube-scheduler; a pod
that does not land in time has its nomination taken back.

What was begun stands on the Node (taint and annotation), so that a process that takes over ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from autoctl.api import core
from autoctl.api.labels import AWAITING_PODS_TAINT, STEERED
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.marks import REPLACES
from autoctl.controllers.lifecycle.initialization import waits_for
from autoctl.controllers.provisioning.rivalry import could_use, in_turn, is_contested, is_outranked
from autoctl.controllers.steering import nominate, set_taint
from autoctl.ports.kubernetes import NODES, EventType, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState
from autoctl.state.pods import is_pending
from autoctl.state.reflector import Change

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

MOST_STEERED: Final = 1_000
"""Waiting pods beyond which nobody is steered: every one costs a write, and a stray node is a small
part of such a batch."""
OPEN_SECONDS: Final = 3.0
"""A ready node whose nominations are missing for this long takes pods all the same."""
TOGETHER_SECONDS: Final = 15.0
"""How long a ready node waits for the nodes of pods from which nominations do not keep its room."""
LANDING_SECONDS: Final = 20.0
"""How long a pod may take to be bound once it could be; then its nomination is taken back."""
RENEW_SECONDS: Final = 0.5
"""kube-scheduler clears the nomination of a pod that it tries too early; it is made again then."""
_UNSYNCED_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 0.2
_REST_SECONDS: Final = 600.0
_WRITES_AT_ONCE: Final = 20


@dataclass(eq=False)
class _Arrival:
    """One new node and the pods sent to it. Times are the loop's."""

    claim: str
    node: str = ""
    gone: bool = False
    inherited: bool = False
    """Begun by another process: which pods it sent is not known."""
    sent: dict[str, float] = field(default_factory=dict)
    """UID -> when the pod was nominated last."""
    ready: float | None = None
    shown: float | None = None
    """When all nominations were there last, since the kubelet was ready."""
    usable: float | None = None
    """Since when nothing but the taint keeps pods away."""
    opened: float | None = None
    own: list[core.Pod] = field(default_factory=list)
    """The waiting pods that the node is meant for, as of this pass."""


class ProvisionSteering:
    """Periodic, woken by changes; asleep while no new node is contested."""

    name = "provisioner.steering"

    def __init__(self, api: KubernetesApi, state: ClusterState) -> None:
        self._api = api
        self._state = state
        self._arrivals: dict[str, _Arrival] = {}
        self._marked: set[str] = set()
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)
        state.nodes.reflector.subscribe(self._nodes_changed)

    def steers(self, claim: NodeClaim, node: core.Node) -> bool:
        """Whether pods are to be sent to the claim's node, which is about to be registered."""
        if REPLACES in claim.metadata.annotations:
            return False
        if claim.name not in self._arrivals:
            waiting = self._waiting()
            if len(waiting) > MOST_STEERED:
                return False
            promised = self._state.nominations.promises()
            own = [pod for pod in waiting if promised.get(pod.key) == claim.name]
            others = [pod for pod in waiting if promised.get(pod.key) != claim.name]
            if not is_contested(own, others, claim, node):
                return False
            self._arrivals[claim.name] = _Arrival(claim.name)
        return True

    async def run_once(self) -> float:
        if not self._state.synced:
            return _UNSYNCED_SECONDS
        self._inherit()
        if not self._arrivals:
            return _REST_SECONDS
        waiting = self._waiting()
        now = asyncio.get_running_loop().time()
        steps = [self._prepare(a, waiting, now) for a in self._arrivals.values()]
        outcomes = await asyncio.gather(*steps, return_exceptions=True)
        for opening in _in_order(self._to_open(waiting, now)):
            outcomes += await asyncio.gather(
                *(self._open(a, now) for a in opening), return_exceptions=True
            )
        over = [a for a in self._arrivals.values() if _is_over(a, now)]
        outcomes += await asyncio.gather(
            *(self._end(a, waiting) for a in over), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        busy = any(a.ready is not None for a in self._arrivals.values())
        return _BUSY_SECONDS if busy else _REST_SECONDS

    def _waiting(self) -> list[core.Pod]:
        """Pods that kube-scheduler may bind."""
        return [pod for pod in self._state.unbound_pods() if is_pending(pod)]

    def _nodes_changed(self, changes: Sequence[Change[core.Node]]) -> None:
        for change in changes:
            name = change.object.metadata.name
            marked = STEERED in (change.object.metadata.annotations or {})
            if marked and change.type is not EventType.DELETED:
                self._marked.add(name)
            else:
                self._marked.discard(name)

    def _inherit(self) -> None:
        """Take over the nodes that another process has not done with."""
        known = {arrival.node for arrival in self._arrivals.values()}
        for name in sorted(self._marked - known):
            node = self._state.node(name)
            claim = None if node is None else self._state.claim_of_node(node)
            if claim is not None and claim.name not in self._arrivals:
                self._arrivals[claim.name] = _Arrival(claim.name, name, inherited=True)

    async def _prepare(self, arrival: _Arrival, waiting: Sequence[core.Pod], now: float) -> None:
        """Nominate what may be nominated, once the node is ready."""
        claim = self._state.claim(arrival.claim)
        node = self._node_of(claim)
        if claim is None or claim.deleting or (node is None and arrival.node):
            arrival.gone = True
            return
        if node is None or (not arrival.inherited and not _is_ready(node)):
            return
        arrival.node = node.metadata.name
        arrival.ready = now if arrival.ready is None else arrival.ready
        if arrival.usable is None and waits_for(claim, node) is None:
            arrival.usable = now
        arrival.own = self._own(arrival, waiting)
        if arrival.shown is None or _all_shown(arrival):
            arrival.shown = now
        if not arrival.inherited:
            await self._send(arrival, now)

    async def _open(self, arrival: _Arrival, now: float) -> None:
        await set_taint(self._api, arrival.node, AWAITING_PODS_TAINT, present=False)
        arrival.opened = now
        _log.info(
            "open to pods",
            node=arrival.node,
            nominated=sum(bool(pod.status.nominated_node_name) for pod in arrival.own),
            pods=len(arrival.own),
            seconds=round(now - (now if arrival.ready is None else arrival.ready), 2),
        )

    def _node_of(self, claim: NodeClaim | None) -> core.Node | None:
        return self._state.node(claim.status.node_name or "") if claim is not None else None

    def _own(self, arrival: _Arrival, waiting: Sequence[core.Pod]) -> list[core.Pod]:
        """The waiting pods that the node is meant for."""
        promised = self._state.nominations.promises()
        names = (arrival.claim, arrival.node)
        return [
            pod
            for pod in waiting
            if promised.get(pod.key) in names
            or (pod.key not in promised and pod.metadata.uid in arrival.sent)
        ]

    async def _send(self, arrival: _Arrival, now: float) -> None:
        """Nominate those that are not yet, and again those that lost it before they could land."""
        again = now - RENEW_SECONDS
        unsent = [
            pod
            for pod in in_turn(arrival.own)
            if not pod.status.nominated_node_name
            and arrival.sent.get(pod.metadata.uid, again) <= again
        ]
        arrival.sent.update((pod.metadata.uid, now) for pod in unsent)
        await asyncio.gather(*(self._write(nominate(self._api, p, arrival.node)) for p in unsent))

    def _to_open(self, waiting: Sequence[core.Pod], now: float) -> list[_Arrival]:
        """The nodes to open now.

        Where nominations do not keep the room of all pods of a node, it opens together with the
        nodes of those that would take it, if these come in time.
        """
        opening = [a for a in self._arrivals.values() if _is_prepared(a, now)]
        while True:
            names = {a.claim for a in opening}
            kept = [
                arrival
                for arrival in opening
                if arrival.inherited
                or arrival.ready is None
                or now >= arrival.ready + TOGETHER_SECONDS
                or not self._is_exposed(arrival, self._homeless(waiting, names))
            ]
            if len(kept) == len(opening):
                return kept
            opening = kept

    def _homeless(self, waiting: Sequence[core.Pod], opening: Collection[str]) -> list[core.Pod]:
        """Pods whose own nodes are still to come, or still closed."""
        promised = self._state.nominations.promises()
        return [
            pod
            for pod in waiting
            if pod.key in promised and not self._is_open(promised[pod.key], opening)
        ]

    def _is_open(self, target: str, opening: Collection[str]) -> bool:
        """Whether the Node or NodeClaim takes its pods now; one that is gone never will."""
        arrival = self._arrivals.get(target)
        if arrival is not None:
            return target in opening or arrival.opened is not None
        claim = self._state.claim(target)
        return claim is None or claim.initialized

    def _is_exposed(self, arrival: _Arrival, others: Sequence[core.Pod]) -> bool:
        """Whether some of the others could take room that nominations do not keep."""
        claim, node = self._state.claim(arrival.claim), self._state.node(arrival.node)
        if claim is None or node is None:
            return False
        mine = {pod.metadata.uid for pod in arrival.own}
        rivals = [p for p in others if p.metadata.uid not in mine and could_use(p, claim, node)]
        return bool(rivals) and (
            len(in_turn(arrival.own)) < len(arrival.own) or is_outranked(arrival.own, rivals)
        )

    async def _end(self, arrival: _Arrival, waiting: Iterable[core.Pod]) -> None:
        """Take nominations back that came to nothing, and the mark off the node."""
        lost = [
            pod
            for pod in waiting
            if arrival.node
            and pod.status.nominated_node_name == arrival.node
            and (arrival.inherited or pod.metadata.uid in arrival.sent)
        ]
        await asyncio.gather(*(self._write(nominate(self._api, pod, None)) for pod in lost))
        if arrival.node and self._state.node(arrival.node) is not None:
            body = {"metadata": {"annotations": {STEERED: None}}}
            try:
                await self._api.patch(NODES, arrival.node, body)
            except NotFound:
                _log.debug("steered node is gone", node=arrival.node)
        self._marked.discard(arrival.node)
        self._arrivals.pop(arrival.claim, None)

    async def _write(self, request: Coroutine[Any, Any, None]) -> None:
        async with self._writes:
            await request


def _all_shown(arrival: _Arrival) -> bool:
    """Whether all nominations have come out again on the watch."""
    return all(pod.status.nominated_node_name for pod in in_turn(arrival.own))


def _is_prepared(arrival: _Arrival, now: float) -> bool:
    """Whether all nominations are there, or have been missing for long enough."""
    if arrival.gone or arrival.ready is None or arrival.opened is not None:
        return False
    assert arrival.shown is not None, "looked at since the kubelet is ready"
    return arrival.inherited or _all_shown(arrival) or now >= arrival.shown + OPEN_SECONDS


def _in_order(opening: Sequence[_Arrival]) -> tuple[list[_Arrival], list[_Arrival]]:
    """First the nodes whose room nominations keep, so that others' pods are at home by then."""
    kept = [a for a in opening if len(in_turn(a.own)) == len(a.own)]
    return kept, [a for a in opening if a not in kept]


def _is_over(arrival: _Arrival, now: float) -> bool:
    if arrival.gone:
        return True
    if arrival.opened is None:
        return False
    if not arrival.own and not arrival.inherited:
        return True
    since = arrival.opened if arrival.inherited else arrival.usable
    return since is not None and now >= max(since, arrival.opened) + LANDING_SECONDS


def _is_ready(node: core.Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions or ())
