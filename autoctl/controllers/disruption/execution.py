"""Carrying commands out: mark and taint, buy, wait, delete; or take everything back.

Every step can be repeated, and the process may die between any two: `marks` say what was begun.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from autoctl.api.labels import AWAITING_PODS_TAINT, DISRUPTED_TAINT
from autoctl.api.meta import Condition, set_condition
from autoctl.api.nodeclaim import DISRUPTION_REASON, NodeClaim, Taint
from autoctl.api.nodepool import NodePool
from autoctl.controllers.disruption.marks import COMMAND, REPLACES, InFlight, Mark
from autoctl.controllers.disruption.model import Command, Reason
from autoctl.controllers.disruption.steering import (
    HOLD_SECONDS,
    LANDING_SECONDS,
    SETTLE_SECONDS,
    Crowd,
    Steering,
    assign,
    homes,
    plan_of,
    stranded,
)
from autoctl.controllers.disruption.youth import IN_A_ROW
from autoctl.controllers.lifecycle.removal import TerminationMode, count_disrupted, count_moving
from autoctl.controllers.objects import reference, write_status
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.steering import HOLD, nominate, set_taint
from autoctl.controllers.termination.eviction import Evictor
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import (
    NODE_CLAIMS,
    NODES,
    ApiError,
    Conflict,
    KubernetesApi,
    NotFound,
)
from autoctl.scheduling.problem import NewNode
from autoctl.scheduling.rehearsal import size
from autoctl.scheduling.resources import pod_requests
from autoctl.state.cluster import ClusterState
from autoctl.state.pods import (
    Protection,
    do_not_disrupt,
    is_critical,
    is_evictable,
    is_reschedulable,
)
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

COOL_DOWN: Final = timedelta(minutes=2)
"""A node whose command failed is left alone this long, doubled each time, up to an hour."""
LONGEST_COOL_DOWN: Final = timedelta(hours=1)
_TRIES: Final = 5
_EVICTIONS_AT_ONCE: Final = 20
_MIRROR_LAG: Final = timedelta(seconds=30)
"""A mirror further behind than this is resynced, and shows the mark then."""

Launch = Callable[
    [NewNode, NodePool, str, Mapping[str, str], Sequence[Taint]], Awaitable[NodeClaim]
]
"""Creates the NodeClaim of a node to buy: node, its NodePool, the reason, annotations, taints."""


@dataclass
class CoolDown:
    """Which nodes' commands failed lately, and until when they are left alone."""

    _until: dict[str, datetime] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def failed(self, claims: Iterable[str], now: datetime) -> None:
        """Count a failure of each NodeClaim."""
        for name in claims:
            count = self._failures[name] = self._failures.get(name, 0) + 1
            pause = min(LONGEST_COOL_DOWN, COOL_DOWN * 2 ** (count - 1))
            self._until[name] = now + pause

    def active(self, now: datetime, known: Iterable[str]) -> frozenset[str]:
        """The NodeClaims to leave alone now; those no longer `known` are forgotten."""
        names = set(known)
        self._until = {n: t for n, t in self._until.items() if n in names}
        self._failures = {n: c for n, c in self._failures.items() if n in names}
        return frozenset(n for n, until in self._until.items() if now < until)

    def next_end(self, now: datetime) -> datetime | None:
        """When the next of them is left alone no longer."""
        return min((until for until in self._until.values() if until > now), default=None)


@dataclass
class Execution:
    """Acts on commands. Raises `ApiError` where the API server refuses; calling again goes on."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    launch: Launch
    evictor: Evictor
    cool_down: CoolDown = field(default_factory=CoolDown)
    starting: set[str] = field(default_factory=set)
    """Commands whose replacements this process is still making."""
    steering: dict[str, Steering] = field(default_factory=dict)
    """By command: where the pods of those this process has started are to go."""
    _begun: dict[str, datetime] = field(default_factory=dict)

    def unseen(self, snapshot: Snapshot) -> frozenset[str]:
        """NodeClaims that were marked just now, as long as the mirror does not show it."""
        claims = snapshot.node_claims
        self._begun = {
            name: since
            for name, since in self._begun.items()
            if name in claims
            and COMMAND not in claims[name].metadata.annotations
            and snapshot.now < since + _MIRROR_LAG
        }
        return frozenset(self._begun)

    async def start(self, command: Command, claims: list[NodeClaim]) -> None:
        """Mark and taint the nodes, then buy the replacements; roll back if that fails."""
        now = self.clock.now()
        mark = Mark(
            id=f"{claims[0].name}-{int(now.timestamp()):x}",
            reason=command.reason,
            replacements=len(command.replacements),
            started=now,
            consolidation_type=command.consolidation_type,
            nodes=len(claims),
        )
        self.starting.add(mark.id)
        self._begun.update({claim.name: now for claim in claims})
        marked: list[NodeClaim] = []
        bought: list[NodeClaim] = []
        try:
            for claim in claims:
                marked += [await self._mark(claim, mark)]
            await asyncio.gather(*(self._taint(claim) for claim in marked))
            await self._buy(command, mark, bought)
            self.steering[mark.id] = plan_of(
                command,
                (c.name for c in bought),
                self.state.snapshot(),
                seen_by=self._now() + _MIRROR_LAG.total_seconds(),
            )
        except ApiError as error:
            _log.warning("command not started", command=mark.id, error=str(error))
            await self.roll_back(
                InFlight(mark, tuple(marked), tuple(bought)), f"it could not be started: {error}"
            )
            return
        finally:
            self.starting.discard(mark.id)
        self._count_start(command, claims)

    async def advance(self, command: InFlight) -> None:
        """Evict the pods that go to nodes that are there: their room needs no replacement.

        When those of several commands move at once, before any pod that waits for a replacement,
        they find what was planned for them.
        """
        self.events.publish(
            *(
                Event(
                    reference(NODE_CLAIMS, claim),
                    "DisruptionWaitingReadiness",
                    "Waiting on readiness to continue disruption",
                )
                for claim in command.replacements
                if not claim.initialized
            )
        )
        steering = self.steering.get(command.mark.id)
        if steering is None or steering.ahead.until is not None or self._wave_under_way():
            return
        steering.ahead.begin(self.state.snapshot(), self._now() + SETTLE_SECONDS)
        await self._evict(command, steering.ahead)

    async def finish(self, command: InFlight) -> None:
        """Evict the pods, wave by wave, and then delete the NodeClaims.

        What an eviction leaves behind is left to the nodes' drains. Without a plan (another leader
        made it) all pods go at once.
        """
        steering = self.steering.get(command.mark.id)
        if steering is None:
            await self._evict(command, None)
        else:
            await self.advance(command)
            if steering.ahead.until is None or self._must_wait(steering):
                return
            if steering.begun < len(steering.waves):
                wave = steering.begin_wave(self.state.snapshot(), self._now() + HOLD_SECONDS)
                await self._evict(command, wave)
                return
        for claim in command.candidates:
            if claim.deleting:
                continue
            self._tell_terminating(claim, command.mark.reason)
            try:
                await self.api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid)
            except NotFound:
                continue
            self._count_disrupted(claim, command.mark.reason)

    def committed(self, command: InFlight) -> bool:
        """Whether pods have moved to replacements already: the command is not taken back."""
        steering = self.steering.get(command.mark.id)
        return steering is not None and steering.begun > 0

    def leave(self, command: InFlight) -> None:
        """Somebody else terminates all nodes of the command: pods come from their drains."""
        steering = self.steering.get(command.mark.id)
        if steering is None:
            return
        if steering.ahead.until is None:
            steering.ahead.begin(self.state.snapshot(), self._now() + SETTLE_SECONDS)
        while steering.begun < len(steering.waves):
            steering.begin_wave(self.state.snapshot(), self._now() + HOLD_SECONDS)

    def forget(self, under_way: Container[str]) -> None:
        """Steer no more for commands that have gone, and that this process did not end."""
        for name, steering in list(self.steering.items()):
            gone = name not in under_way and name not in self.starting
            unended = steering.ahead.until is None or steering.begun < len(steering.waves)
            if gone and unended and self._now() >= steering.seen_by:
                del self.steering[name]

    def _must_wait(self, steering: Steering) -> bool:
        """Whether pods are on their way, of any command, that the next step would get in between.

        Pods for replacements would take the room of those for nodes that are there.
        """
        if not steering.waves:
            return False
        snapshot, now = self.state.snapshot(), self._now()
        settling = any(s.ahead.settling(snapshot, now) for s in self.steering.values())
        return settling or self._wave_under_way()

    def _wave_under_way(self) -> bool:
        snapshot, now = self.state.snapshot(), self._now()
        return any(s.under_way(snapshot, now) for s in self.steering.values())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _evict(self, command: InFlight, crowd: Crowd | None) -> None:
        """Evict the pods of `crowd` (None: all), the largest of all nodes first.

        The order is what lets kube-scheduler find the room that was planned: large pods come to
        nodes that are still empty.
        """
        going = {c.name for c in command.candidates if not c.deleting}
        snapshot = self.state.snapshot()
        pods = [
            pod
            for node in snapshot.state_nodes.values()
            if node.claim is not None and node.claim.name in going
            for pod in node.pods
            if (crowd is None or pod.key in crowd.keys)
            and is_reschedulable(pod)
            and is_evictable(pod, snapshot.now)
            and not is_critical(pod)
            and do_not_disrupt(pod, snapshot.now).protection is not Protection.ACTIVE
        ]
        pods.sort(key=lambda p: (-size(pod_requests(p.spec)), p.key))
        reason = command.mark.reason.value
        moving: Counter[str] = Counter()
        for start in range(0, len(pods), _EVICTIONS_AT_ONCE):
            batch = pods[start : start + _EVICTIONS_AT_ONCE]
            answers = await asyncio.gather(*(self.evictor.evict(p, reason) for p in batch))
            for pod, refusal in zip(batch, answers, strict=True):
                if refusal is None:
                    moving[pod.spec.node_name or ""] += 1
                elif crowd is not None:
                    crowd.refused(pod)
        mode = _mode(command.mark.reason)
        for claim in command.candidates:
            count = moving[claim.status.node_name or ""]
            count_moving(self.state, self.metrics, claim, reason.lower(), mode, count)

    async def steer(self) -> bool:
        """Send pods that have come to their replacements; whether any are still waited for."""
        now = self._now()
        for name, steering in list(self.steering.items()):
            if steering.ahead.until is None:
                continue
            if steering.landing is None:
                await self._receive(steering, now)
            elif now >= steering.landing:
                del self.steering[name]
        return any(s.begun and s.landing is None for s in self.steering.values())

    async def _receive(self, steering: Steering, now: float) -> None:
        """Open the replacements whose pods have all come, to these first."""
        assign(steering, self.state.snapshot())
        wave = steering.wave
        if wave is not None and wave.until is not None and now >= wave.until:
            for owner in list(steering.slots):
                steering.give_up(owner)
        nodes = homes(steering, self.state.snapshot())
        await asyncio.gather(
            *(self._open_for(steering, index, nodes.get(index)) for index in steering.ready)
        )
        ended = steering.begun == len(steering.waves) and not steering.slots
        if ended and not steering.ahead.settling(self.state.snapshot(), now):
            steering.landing = now + LANDING_SECONDS if steering.claims else now

    async def _open_for(self, steering: Steering, index: int, node: str | None) -> None:
        """Nominate the replacement's pods to it and let pods in.

        They are nominated twice: kube-scheduler may have tried a pod in between, and forgotten the
        nomination to a node that was still closed. Its room would then go to whoever comes first.
        """
        pods = steering.assigned.get(index, ()) if node is not None else ()
        await asyncio.gather(*(nominate(self.api, pod, node) for pod in pods))
        await self.open([steering.claims[index]])
        steering.opened.add(index)
        await asyncio.gather(*(nominate(self.api, pod, node) for pod in pods))

    async def take_back(self) -> None:
        """Leave pods that never landed where they were sent to themselves, and to provisioning."""
        steered = {name for s in self.steering.values() for name in s.claims}
        lost = stranded(self.state.snapshot(), steered)
        await asyncio.gather(*(nominate(self.api, pod, None) for pod in lost))

    async def open(self, claims: Iterable[str]) -> None:
        """Let pods onto these replacements."""
        for name in claims:
            claim = self.state.claim(name)
            for node in self.state.nodes_of_claim(claim) if claim is not None else ():
                await set_taint(self.api, node.metadata.name, AWAITING_PODS_TAINT, present=False)

    async def roll_back(self, command: InFlight, why: str) -> None:
        """Leave the nodes as they were and delete what was bought."""
        self.steering.pop(command.mark.id, None)
        _log.info("command taken back", command=command.mark.id, why=why)
        for claim in command.replacements:
            if not claim.deleting:
                await self._delete(claim)
        for claim in command.candidates:
            if not claim.deleting:
                await self.release(claim)
        self.cool_down.failed((c.name for c in command.candidates), self.clock.now())
        self.metrics.disruption_queue_failures.labels(
            command.decision, command.mark.reason.value.lower(), command.mark.consolidation_type
        ).inc()

    async def release(self, claim: NodeClaim) -> None:
        """Take taint, condition and mark off a node that stays after all, the mark last."""
        for node in self.state.nodes_of_claim(claim):
            await set_taint(self.api, node.metadata.name, DISRUPTED_TAINT, present=False)
        await self._set_reason(claim, None)
        if COMMAND in claim.metadata.annotations:
            body = {"metadata": {"annotations": {COMMAND: None}}}
            await self._gone_is_fine(self.api.patch(NODE_CLAIMS, claim.name, body))

    async def _mark(self, claim: NodeClaim, mark: Mark) -> NodeClaim:
        body = {"metadata": {"annotations": {COMMAND: mark.encode()}}}
        marked = NodeClaim.from_dict(await self.api.patch(NODE_CLAIMS, claim.name, body))
        await self._set_reason(marked, mark.reason)
        return marked

    async def _taint(self, claim: NodeClaim) -> None:
        for node in self.state.nodes_of_claim(claim):
            await set_taint(self.api, node.metadata.name, DISRUPTED_TAINT, present=True)

    async def _buy(self, command: Command, mark: Mark, bought: list[NodeClaim]) -> None:
        for node in command.replacements:
            pool = self.state.pool(node.pool)
            if pool is None or pool.deleting:
                raise NotFound(f"NodePool {node.pool} is gone")
            reason = command.reason.value.lower()
            annotations = {REPLACES: mark.id}
            if command.in_a_row:
                annotations[IN_A_ROW] = str(command.in_a_row)
            claim = await self.launch(node, pool, reason, annotations, (HOLD,))
            bought.append(claim)
            self.events.publish(
                Event(
                    reference(NODE_CLAIMS, claim),
                    "DisruptionLaunching",
                    f"Launching NodeClaim: {command.reason.value}",
                )
            )

    async def _set_reason(self, claim: NodeClaim, reason: Reason | None) -> None:
        now = self.clock.now()
        for _ in range(_TRIES):
            try:
                current = NodeClaim.from_dict(await self.api.get(NODE_CLAIMS, claim.name))
            except NotFound:
                return
            conditions = tuple(c for c in current.status.conditions if c.type != DISRUPTION_REASON)
            if reason is not None:
                conditions = set_condition(
                    current.status.conditions,
                    Condition(
                        type=DISRUPTION_REASON,
                        status="True",
                        reason=reason.value,
                        message=reason.value,
                        observed_generation=current.metadata.generation,
                    ),
                    now,
                )
            status = current.status.model_copy(update={"conditions": conditions})
            try:
                await write_status(self.api, NODE_CLAIMS, current, status)
            except Conflict:
                continue
            except NotFound:
                return
            return
        raise Conflict(f"NodeClaim {claim.name} changed {_TRIES} times under the status write")

    async def _delete(self, claim: NodeClaim) -> None:
        await self._gone_is_fine(self.api.delete(NODE_CLAIMS, claim.name, uid=claim.metadata.uid))

    async def _gone_is_fine(self, request: Awaitable[Any]) -> None:
        try:
            await request
        except NotFound:
            return

    def _tell_terminating(self, claim: NodeClaim, reason: Reason) -> None:
        self.events.publish(
            Event(
                reference(NODE_CLAIMS, claim),
                "DisruptionTerminating",
                f"Disrupting NodeClaim: {reason.value}",
            ),
            *(
                Event(
                    ObjectReference.of(NODES, n.metadata.name, uid=n.metadata.uid),
                    "DisruptionTerminating",
                    f"Disrupting Node: {reason.value}",
                )
                for n in self.state.nodes_of_claim(claim)
            ),
        )

    def _count_start(self, command: Command, claims: list[NodeClaim]) -> None:
        labels = (command.decision, command.reason.value.lower(), command.consolidation_type.value)
        self.metrics.disruption_decisions.labels(*labels).inc()
        for name in sorted({c.node_pool or "" for c in claims}):
            self.metrics.disruption_decisions_by_nodepool.labels(name, *labels).inc()
            pool = self.state.pool(name)
            if command.reason is not Reason.UNDERUTILIZED or pool is None:
                continue
            judged = ("approved", name, pool.spec.disruption.consolidation_policy)
            self.metrics.consolidation_moves.labels(*judged).inc()
            if command.score is not None:
                self.metrics.consolidation_score.labels(*judged).observe(command.score)

    def _count_disrupted(self, claim: NodeClaim, reason: Reason) -> None:
        count_disrupted(self.state, self.metrics, claim, reason.value.lower(), _mode(reason))


def _mode(reason: Reason) -> TerminationMode:
    return "eventual" if reason is Reason.DRIFTED else "graceful"
