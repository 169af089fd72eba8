"""`provisioner.steering`: new nodes take the pods they were bought for before any others.

A node that others want too is registered with the taint `autoctl.io/awaiting-pods`. Once nothing
else keeps pods away, its pods get it as their nominated node, and the taint goes: kube-scheduler
then keeps their room from pods of the same or lower priority. Nodes have their turns one after the
other (see `opening`). Nobody is bound past kube-scheduler; a pod that does not land in time has its
nomination taken back.

What was begun stands on the Node (taint and annotation), so that a process that takes over ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from autoctl.api import core
from autoctl.api.labels import AWAITING_PODS_TAINT, STEERED, ZONE
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.marks import REPLACES
from autoctl.controllers.lifecycle.initialization import waits_for
from autoctl.controllers.lifecycle.registration import is_registered
from autoctl.controllers.provisioning.opening import Closed, next_to_open
from autoctl.controllers.provisioning.rivalry import (
    in_turn,
    is_contested,
    keeps_all,
    priority_of,
    takers,
)
from autoctl.controllers.provisioning.seats import Seats
from autoctl.controllers.steering import nominate, set_taint
from autoctl.ports.kubernetes import NODES, EventType, KubernetesApi, NotFound
from autoctl.state.chosen import SELECTED_NODE, claims_of
from autoctl.state.cluster import ClusterState
from autoctl.state.pods import is_pending
from autoctl.state.reflector import Change, split_key

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

MOST_STEERED: Final = 1_000
"""Waiting pods beyond which nobody is steered: every one costs a write, and a stray node is a small
part of such a batch."""
OPEN_SECONDS: Final = 3.0
"""A node whose turn it is, but whose nominations are missing for this long, takes pods all the
same."""
LANDED_SECONDS: Final = 1.0
"""How long the next node waits for the pods of the one that opened last."""
TOGETHER_SECONDS: Final = 15.0
"""A ready node takes pods after this time, whatever it waited for."""
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
    zone: str = ""
    gone: bool = False
    inherited: bool = False
    """Begun by another process: which pods it sent is not known."""
    held: bool = True
    """Whether the node carries the taint; otherwise others open it (startup taints)."""
    sent: dict[str, float] = field(default_factory=dict)
    """UID -> when the pod was nominated last."""
    ready: float | None = None
    usable: float | None = None
    """Since when nothing but the taint keeps pods away."""
    opened: float | None = None
    own: list[core.Pod] = field(default_factory=list)
    """The waiting pods that the node is meant for, as of this pass."""


@dataclass(eq=False)
class _Turn:
    """The nodes that open next, or opened last."""

    arrivals: list[_Arrival] = field(default_factory=list)
    since: float = 0.0
    opened: float | None = 0.0
    landing: frozenset[str] = frozenset()
    """UIDs of the pods that were nominated when the nodes opened."""


class ProvisionSteering:
    """Periodic, woken by changes; asleep while no new node is contested."""

    name = "provisioner.steering"

    def __init__(self, api: KubernetesApi, state: ClusterState) -> None:
        self._api = api
        self._state = state
        self._arrivals: dict[str, _Arrival] = {}
        self._turn = _Turn()
        self._seats = Seats()
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
        self._trade(waiting)
        self._look(waiting, now)
        steps = [
            self._send(arrival, now)
            for arrival in self._arrivals.values()
            if arrival.opened is not None and not arrival.inherited
        ]
        outcomes = await asyncio.gather(*steps, return_exceptions=True)
        if self._turn.opened is not None and self._has_landed(waiting, now):
            chosen = self._next(waiting, now)
            if chosen:
                self._turn = _Turn(chosen, now, None)
        if self._turn.opened is None:
            outcomes += await self._take_turn(now)
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

    # --- What is to be seen -----------------------------------------------------------------------

    def _trade(self, waiting: Sequence[core.Pod]) -> None:
        """Pods whose room others of their kind have taken go to the room that these left."""
        if len(waiting) > MOST_STEERED:
            return
        nominations = self._state.nominations
        trades = self._seats.trades(waiting, nominations.promises(), self._landed)
        for pod, home in trades:
            nominations.await_node([(pod.key, pod.metadata.uid)], home)
            _log.info("sent elsewhere", pod=pod.key, node_claim=home)

    def _landed(self, key: str) -> str | None:
        """The new node's NodeClaim that the pod was bound to."""
        namespace, name = split_key(key)
        pod = self._state.pods.reflector.get(name, namespace)
        if pod is None:
            return None
        nodes = {arrival.node: arrival.claim for arrival in self._arrivals.values()}
        return nodes.get(pod.spec.node_name or "")

    def _look(self, waiting: Sequence[core.Pod], now: float) -> None:
        """Note how far each node is, and which waiting pods are its own."""
        promised = self._state.nominations.promises()
        by_target: dict[str, list[core.Pod]] = {}
        for pod in waiting:
            by_target.setdefault(promised.get(pod.key, ""), []).append(pod)
        for arrival in self._arrivals.values():
            claim = self._state.claim(arrival.claim)
            node = self._node_of(claim)
            if claim is None or claim.deleting or (node is None and arrival.node):
                arrival.gone = True
                continue
            if node is None or not is_registered(node):
                continue
            if not arrival.inherited and not _is_ready(node):
                continue
            arrival.node = node.metadata.name
            arrival.zone = (node.metadata.labels or {}).get(ZONE, "")
            arrival.ready = now if arrival.ready is None else arrival.ready
            if arrival.usable is None and waits_for(claim, node) is None:
                arrival.usable = now
            taints = node.spec.taints or ()
            arrival.held = any(taint.key == AWAITING_PODS_TAINT for taint in taints)
            if not arrival.held and arrival.opened is None:
                arrival.opened = now
            arrival.own = [
                *by_target.get(arrival.claim, ()),
                *by_target.get(arrival.node, ()),
                *(p for p in by_target.get("", ()) if p.metadata.uid in arrival.sent),
            ]

    def _node_of(self, claim: NodeClaim | None) -> core.Node | None:
        return self._state.node(claim.status.node_name or "") if claim is not None else None

    def _has_landed(self, waiting: Iterable[core.Pod], now: float) -> bool:
        """Whether the pods of the nodes that opened last are at home, or had their time."""
        turn = self._turn
        if turn.opened is None or now >= turn.opened + LANDED_SECONDS:
            return True
        return not any(p.metadata.uid in turn.landing and not self._is_chosen(p) for p in waiting)

    def _is_chosen(self, pod: core.Pod) -> bool:
        """Whether kube-scheduler holds a place for the pod while its volumes are made."""
        claims = claims_of(pod, self._state.volume_claims.reflector.get)
        return any(SELECTED_NODE in (c.metadata.annotations or {}) for c in claims)

    # --- Whose turn it is -------------------------------------------------------------------------

    def _next(self, waiting: Sequence[core.Pod], now: float) -> list[_Arrival]:
        """The nodes to open next."""
        arrivals = [a for a in self._arrivals.values() if not a.gone]
        homeless = self._homeless(waiting)
        highest = max((priority_of(pod) for pod, _ in homeless), default=0)
        closed = [
            Closed(
                arrival.claim,
                arrival.zone,
                exposed_to=(
                    frozenset()
                    if keeps_all(arrival.own, highest)
                    else self._exposed_to(arrival, homeless)
                ),
                overdue=arrival.inherited or now >= arrival.ready + TOGETHER_SECONDS,
            )
            for arrival in arrivals
            if arrival.opened is None and arrival.ready is not None and arrival.held
            if arrival.usable is not None or now >= arrival.ready + TOGETHER_SECONDS
        ]
        opened = [a for a in arrivals if a.opened is not None]
        chosen = next_to_open(
            closed, {a.claim for a in opened}, [a.zone for a in opened], len(arrivals)
        )
        return [self._arrivals[name] for name in chosen]

    def _homeless(self, waiting: Sequence[core.Pod]) -> list[tuple[core.Pod, str]]:
        """Pods whose own nodes do not take pods yet, with these."""
        promised = self._state.nominations.promises()
        homes = ((pod, promised.get(pod.key)) for pod in waiting)
        return [(pod, home) for pod, home in homes if home is not None and not self._is_open(home)]

    def _is_open(self, target: str) -> bool:
        """Whether the Node or NodeClaim takes its pods now; one that is gone never will."""
        arrival = self._arrivals.get(target)
        if arrival is not None:
            return arrival.opened is not None
        claim = self._state.claim(target)
        return claim is None or claim.initialized

    def _exposed_to(
        self, arrival: _Arrival, homeless: Sequence[tuple[core.Pod, str]]
    ) -> frozenset[str]:
        """The homes of those pods that could take room which nominations do not keep."""
        claim, node = self._state.claim(arrival.claim), self._state.node(arrival.node)
        if claim is None or node is None:
            return frozenset()
        names = (arrival.claim, arrival.node)
        homes = {pod.metadata.uid: home for pod, home in homeless if home not in names}
        rivals = (pod for pod, home in homeless if home not in names)
        running = self._state.pods_by_node[arrival.node].values()
        found = takers(arrival.own, rivals, claim, node, running)
        return frozenset(homes[pod.metadata.uid] for pod in found)

    # --- Writes -----------------------------------------------------------------------------------

    async def _take_turn(self, now: float) -> list[BaseException | None]:
        """Nominate pods to the nodes whose turn it is; open these when that shows on the watch."""
        turn = self._turn
        turn.arrivals = [a for a in turn.arrivals if not a.gone and a.opened is None]
        sends = [self._send(arrival, now) for arrival in turn.arrivals if not arrival.inherited]
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        if not all(map(self._all_shown, turn.arrivals)) and now < turn.since + OPEN_SECONDS:
            return outcomes
        turn.opened = now
        turn.landing = frozenset(
            pod.metadata.uid
            for arrival in turn.arrivals
            for pod in arrival.own
            if pod.status.nominated_node_name
        )
        opens = [self._open(arrival, now) for arrival in turn.arrivals]
        return outcomes + await asyncio.gather(*opens, return_exceptions=True)

    def _all_shown(self, arrival: _Arrival) -> bool:
        """Whether all nominations have come out again on the watch."""
        return arrival.inherited or all(self._is_sent(p, arrival) for p in in_turn(arrival.own))

    def _is_sent(self, pod: core.Pod, arrival: _Arrival) -> bool:
        """Whether the pod is nominated to the node, or by others (preemption) to another."""
        name = pod.status.nominated_node_name
        return bool(name) and (name == arrival.node or name not in self._marked)

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

    async def _send(self, arrival: _Arrival, now: float) -> None:
        """Nominate those that are not yet, and again those that lost it before they could land."""
        again = now - RENEW_SECONDS
        unsent = [
            pod
            for pod in in_turn(arrival.own)
            if not self._is_sent(pod, arrival)
            and arrival.sent.get(pod.metadata.uid, again) <= again
        ]
        arrival.sent.update((pod.metadata.uid, now) for pod in unsent)
        await asyncio.gather(*(self._write(nominate(self._api, p, arrival.node)) for p in unsent))

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
