"""`disruption`: decides which nodes go and starts their commands; `disruption.queue` ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final, Protocol, TypeVar

import structlog

from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.candidates import DisruptionClass, find_candidates
from autoctl.controllers.disruption.deadlines import next_deadline
from autoctl.controllers.disruption.decide import decide_knowing
from autoctl.controllers.disruption.execution import Execution
from autoctl.controllers.disruption.marks import (
    REPLACES,
    read_mark,
    under_way,
    unfinished_replacements,
)
from autoctl.controllers.disruption.model import Command, Reason
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.progress import Next, judge, pays
from autoctl.controllers.disruption.relevance import alike
from autoctl.controllers.disruption.reporting import Reporter
from autoctl.controllers.disruption.settled import Settled
from autoctl.controllers.disruption.youth import changes
from autoctl.controllers.provisioning.provisioner import RETRY_SECONDS
from autoctl.ports.kubernetes import ApiError
from autoctl.state.cluster import ClusterState
from autoctl.state.nodes import StateNode
from autoctl.state.pods import is_active, is_reschedulable
from autoctl.state.snapshot import Snapshot

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

UNSYNCED_SECONDS: Final = 1.0
BUSY_SECONDS: Final = 1.0
REJECTED_SECONDS: Final = 10.0
"""Nothing of what was decided held any more: the cluster changes, and gets a moment to settle."""
STEERING_SECONDS: Final = 0.2
LONGEST_IDLE: Final = timedelta(minutes=5)
"""A quiet cluster is looked at again after this long, whatever changed or not."""
PROMISED_AGAIN: Final = timedelta(seconds=RETRY_SECONDS + 1)
"""A pod that kube-scheduler did not bind is planned for anew within that time."""
SETTLE: Final = timedelta(seconds=20)
"""How long a destination is kept for pods a command has sent there."""


class Offload(Protocol):
    """Runs a pure computation off the event loop (in the simulator: at once)."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass
class _Promises:
    """Where commands have sent pods: kept while the command runs, and a little for them to land."""

    _moves: list[tuple[frozenset[str], dict[str, str], datetime]] = field(default_factory=list)

    def add(self, command: Command, claims: Iterable[str], now: datetime) -> None:
        """A command over these NodeClaims starts."""
        homes = {p: h for p, h in command.moves.items() if not h.startswith("replacement:")}
        if homes:
            self._moves.append((frozenset(claims), homes, now + SETTLE))

    def current(self, snapshot: Snapshot, going: Collection[str]) -> dict[str, str]:
        """Pod -> node it is on its way to; `going` are the NodeClaims of commands under way."""
        kept = []
        for claims, homes, until in self._moves:
            if not claims.isdisjoint(going):
                kept.append((claims, homes, snapshot.now + SETTLE))
            elif snapshot.now < until:
                kept.append((claims, homes, until))
        self._moves = kept
        return {pod: home for _, homes, _ in kept for pod, home in homes.items()}

    def next_end(self, now: datetime) -> datetime | None:
        """When the next destination is kept no longer, commands that run aside."""
        return min((until for _, _, until in self._moves if until > now), default=None)


@dataclass(frozen=True, slots=True)
class _Rest:
    """The answer to leave everything: to what, since when, and until when by itself."""

    seen: Snapshot
    since: datetime
    until: datetime

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether nothing that matters has changed, nor any time come that does."""
        return snapshot.now < self.until and alike(self.seen, snapshot)


@dataclass
class DisruptionController:
    """Periodic: one pass decides all commands that may start together, and starts them."""

    state: ClusterState
    execution: Execution
    reporter: Reporter
    offload: Offload
    options: DisruptionOptions = field(default_factory=DisruptionOptions)
    longest_idle: timedelta = LONGEST_IDLE
    name: str = "disruption"
    _promises: _Promises = field(default_factory=_Promises)
    _rest: _Rest | None = None
    _settled: Settled = field(default_factory=Settled)
    """What consolidation need not be asked again."""

    async def run_once(self) -> float:
        if not (self.state.synced and self.state.buffers_known):
            return UNSYNCED_SECONDS
        snapshot = self._observe()
        if self._rest is not None and self._rest.holds(snapshot):
            return self._leave(snapshot, since=self._rest.since)
        self._rest = None
        loop = asyncio.get_running_loop()
        begun = loop.time()
        decision, self._settled = await self.offload(
            lambda: decide_knowing(snapshot, self.options, self._settled)
        )
        self.reporter.decided(snapshot, decision, loop.time() - begun)
        if not decision.commands:
            return self._leave(snapshot, since=snapshot.now)
        started = await self._start(decision.commands)
        return BUSY_SECONDS if started else REJECTED_SECONDS

    def _leave(self, snapshot: Snapshot, *, since: datetime) -> float:
        """Leave everything as it is: the seconds until the answer could change by itself."""
        until = min(self._changes_at(snapshot), since + self.longest_idle)
        self._rest = _Rest(snapshot, since, until)
        return max(BUSY_SECONDS, (until - snapshot.now).total_seconds())

    def _changes_at(self, snapshot: Snapshot) -> datetime:
        """The next deadline, the end of what keeps nodes for now, or less to be saved."""
        now = snapshot.now
        instants = (
            next_deadline(snapshot),
            self._promises.next_end(now),
            self._promise_over(now),
            self.execution.cool_down.next_end(now),
            self._settled.due,
            *(t for n in snapshot.state_nodes.values() for t in changes(n, self.options.young)),
        )
        never = datetime.max.replace(tzinfo=UTC)
        return min((t for t in instants if t is not None and t > now), default=never)

    def _promise_over(self, now: datetime) -> datetime | None:
        """When a promise is over, and provisioning has had the time to make it again."""
        end = self.state.nominations.next_end(now - PROMISED_AGAIN)
        return None if end is None else end + PROMISED_AGAIN

    def _observe(self) -> Snapshot:
        """The snapshot with what is under way taken for granted."""
        snapshot = self.state.snapshot()
        commands = under_way(snapshot)
        going = {c.name for command in commands.values() for c in command.candidates}
        going |= self.execution.unseen(snapshot)
        resting = self.execution.cool_down.active(snapshot.now, snapshot.node_claims)
        kept = unfinished_replacements(snapshot)
        nominations = {
            **self._promises.current(snapshot, going),
            **snapshot.nominations,
            **{f"command/{name}": name for name in sorted(kept)},
            **{f"cool-down/{name}": name for name in sorted(resting)},
        }
        return snapshot.but(disrupting=snapshot.disrupting | going, nominations=nominations)

    async def _start(self, commands: tuple[Command, ...]) -> int:
        """Start the commands that still hold; how many these are.

        Those of one reason start together, the reasons in turn: a budget for one reason counts what
        leaves for any, and has to be kept by the order in which nodes are marked as well.
        """
        snapshot = self._observe()
        ledger = BudgetLedger(snapshot)
        selection = find_candidates(snapshot)
        allowed = {
            disruption_class: {c.name: c for c in selection.of(disruption_class)}
            for disruption_class in DisruptionClass
        }
        starts: list[tuple[Command, list[NodeClaim]]] = []
        for command in commands:
            self.reporter.considered(snapshot, command)
            by_name = allowed[
                DisruptionClass.EVENTUAL
                if command.reason is Reason.DRIFTED
                else DisruptionClass.GRACEFUL
            ]
            candidates = [by_name[name] for name in command.nodes if name in by_name]
            if len(candidates) < len(command.nodes) or self._arrivals(command, snapshot):
                self.reporter.rejected(snapshot, command, "churn")
                continue
            if not ledger.allows(candidates, command.reason):
                self.reporter.rejected(snapshot, command, "budget")
                continue
            ledger.take(candidates)
            self._promises.add(command, (c.claim.name for c in candidates), snapshot.now)
            self.reporter.started(snapshot, command)
            starts.append((command, [c.claim for c in candidates]))
        for _, group in groupby(starts, key=lambda start: start[0].reason):
            await asyncio.gather(*(self.execution.start(*start) for start in group))
        return len(starts)

    def _arrivals(self, command: Command, snapshot: Snapshot) -> bool:
        """Whether a node of the command has got a pod since, or a destination has gone."""
        for name in command.nodes:
            node = snapshot.state_nodes.get(name)
            if node is None:
                return True
            if command.reason is Reason.EMPTY:
                continue
            if any(
                p.key not in command.moves
                and p.key not in command.waiting
                and is_reschedulable(p)
                and is_active(p)
                for p in node.pods
            ):
                return True
        homes = {h for h in command.moves.values() if not h.startswith("replacement:")}
        return any(
            home not in snapshot.state_nodes
            or snapshot.state_nodes[home].deleting
            or snapshot.state_nodes[home].disrupted
            for home in homes
        )


@dataclass
class DisruptionQueue:
    """Periodic: brings every command under way one step further, and frees orphaned nodes."""

    state: ClusterState
    execution: Execution
    longest_idle: timedelta = LONGEST_IDLE
    name: str = "disruption.queue"

    async def run_once(self) -> float:
        if not self.state.synced:
            return UNSYNCED_SECONDS
        snapshot = self.state.snapshot()
        commands = under_way(snapshot)
        nodes = _by_claim(snapshot) if commands else {}
        busy = False
        steps = []
        for command in commands.values():
            verdict = judge(
                command,
                snapshot.now,
                len(commands),
                starting=command.mark.id in self.execution.starting,
                paying=pays(command, snapshot, nodes),
            )
            busy = busy or verdict.next is not Next.NOTHING
            begun = verdict.next is Next.ROLL_BACK and self.execution.committed(command)
            if verdict.next is Next.FINISH or begun:
                steps.append(self.execution.finish(command))
            elif verdict.next is Next.ADVANCE:
                steps.append(self.execution.advance(command))
            elif verdict.next is Next.ROLL_BACK:
                steps.append(self.execution.roll_back(command, verdict.why))
            elif verdict.next is Next.NOTHING:
                self.execution.leave(command)
        self.execution.forget(commands)
        steps += [self.execution.release(claim) for claim in _orphans(snapshot)]
        forgotten = _forgotten(snapshot, self.execution)
        if forgotten:
            steps.append(self.execution.open(forgotten))
        for error in await asyncio.gather(*steps, return_exceptions=True):
            if isinstance(error, ApiError):
                _log.warning("a step of a command failed", error=str(error))
                busy = True
            elif isinstance(error, BaseException):
                raise error
        if await self.execution.steer():
            return STEERING_SECONDS
        await self.execution.take_back()
        busy = busy or bool(self.execution.steering)
        return BUSY_SECONDS if busy else self.longest_idle.total_seconds()


def _by_claim(snapshot: Snapshot) -> dict[str, StateNode]:
    return {n.claim.name: n for n in snapshot.state_nodes.values() if n.claim is not None}


def _orphans(snapshot: Snapshot) -> list[NodeClaim]:
    """Nodes tainted for a disruption that nobody is carrying out: they get their taint off."""
    return [
        node.claim
        for node in snapshot.state_nodes.values()
        if node.claim is not None
        and node.disrupted
        and not node.deleting
        and read_mark(node.claim) is None
    ]


def _forgotten(snapshot: Snapshot, execution: Execution) -> list[str]:
    """Replacements that wait for pods nobody will send any more: their command's leader is gone."""
    steered = {name for s in execution.steering.values() for name in s.claims}
    waiting = unfinished_replacements(snapshot)
    return [
        node.claim.name
        for node in snapshot.state_nodes.values()
        if node.claim is not None
        and node.awaiting_pods
        and REPLACES in node.claim.metadata.annotations
        and node.claim.name not in steered
        and (node.claim.name not in waiting or _all_leaving(snapshot, node.claim))
    ]


def _all_leaving(snapshot: Snapshot, replacement: NodeClaim) -> bool:
    """Whether every node that this one replaces is being terminated."""
    command = under_way(snapshot).get(replacement.metadata.annotations.get(REPLACES, ""))
    return command is None or all(c.deleting for c in command.candidates)
