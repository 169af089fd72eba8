"""One pass of disruption: every command that may start now, and why other nodes stay.

Methods in Karpenter's order: empty nodes, drifted nodes, then consolidation. Unlike there one
method's success does not end the pass: commands on disjoint nodes are made together, as far as
every pool's budgets allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from autoctl.api import core
from autoctl.api.nodeclaim import DRIFTED
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.candidates import (
    Candidate,
    find_candidates,
    unquiet,
)
from autoctl.controllers.disruption.consolidation import consolidate, disabled, eligible
from autoctl.controllers.disruption.drift import drift_reason, recorded_drift
from autoctl.controllers.disruption.model import (
    Blocked,
    Command,
    ConsolidationType,
    Decision,
    PoolBlocked,
    Reason,
)
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.pdbs import EvictionLimits
from autoctl.controllers.disruption.settled import Settled
from autoctl.controllers.disruption.simulation import Simulator
from autoctl.controllers.disruption.split import split
from autoctl.controllers.disruption.static import (
    STATIC_AT_LIMIT,
    is_at_limit,
    may_replace,
    replacement,
)
from autoctl.state.held import with_held_room
from autoctl.state.pods import Protection, do_not_disrupt, is_active, is_evictable
from autoctl.state.snapshot import Snapshot

_EPOCH = datetime.fromtimestamp(0, UTC)


def decide(snapshot: Snapshot, options: DisruptionOptions | None = None) -> Decision:
    """Decide a whole pass over `snapshot`, with the room of CapacityBuffers as if it were used."""
    return decide_knowing(snapshot, options or DisruptionOptions(), None)[0]


def decide_knowing(
    snapshot: Snapshot, options: DisruptionOptions, settled: Settled | None
) -> tuple[Decision, Settled]:
    """As `decide`, without asking again what `settled` answers; and what is settled after it.

    `settled` is the second value of the pass before, or an empty one; None notes nothing.
    """
    room = frozenset(p.key for p in snapshot.reserve)
    snapshot = with_held_room(snapshot, options.solver)
    selection = find_candidates(snapshot)
    graceful, eventual = selection.graceful, selection.eventual
    ledger = BudgetLedger(snapshot)
    pools_blocked, pools_spent = ledger.blocked(), ledger.spent()
    simulator = Simulator(snapshot, options)
    unconsolidatable: dict[str, str] = {}

    empty = _quiet_and_empty(graceful, snapshot)
    commands = _emptiness(empty, ledger, simulator)
    taken = {name for command in commands for name in command.nodes}
    drifted = [c for c in eventual if c.name not in taken and is_drifted(c, snapshot)]
    drift_commands, drift_blocked = _drift(drifted, snapshot, ledger, simulator, options)
    commands += drift_commands
    static_commands, static_blocked = _static_drift(drifted, snapshot, ledger)
    commands += static_commands
    # A drifted node is replaced as drifted, when budgets come to it: consolidation leaves it alone.
    taken.update(c.name for c in drifted)

    idle = [c for c in graceful if c.name not in taken and c.empty and not c.pool.is_static]
    unconsolidatable.update(
        (c.name, disabled(c)) for c in idle if c.pool.spec.disruption.quiet_period is None
    )
    remaining = [c for c in graceful if c.name not in taken and not c.empty]
    chosen, reasons = eligible(remaining, snapshot)
    unconsolidatable.update(reasons)
    staying = [c for c in graceful if c.name not in taken]
    unasked = _unasked(staying, snapshot, ledger, (*pools_blocked, *pools_spent))
    consolidation = consolidate(simulator, chosen, ledger, options, settled)
    commands += consolidation.commands
    unconsolidatable.update(consolidation.unconsolidatable)
    going = {name for command in commands for name in command.nodes}
    unconsolidatable.update(
        (c.name, f'Node "{c.name}" has buffer pods')
        for c in remaining
        if c.holds_room_only and c.name not in going
    )
    decision = Decision(
        commands=tuple(_without(c, room) for c in commands) if room else tuple(commands),
        blocked=(*selection.blocked, *drift_blocked, *static_blocked),
        pools=tuple(pools_blocked),
        unconsolidatable=unconsolidatable,
        spent=tuple(pools_spent),
        unasked=unasked,
        eligible={
            Reason.EMPTY: len(empty),
            Reason.DRIFTED: len(drifted),
            Reason.UNDERUTILIZED: len(chosen),
        },
    )
    return decision, consolidation.settled


def _unasked(
    staying: Iterable[Candidate],
    snapshot: Snapshot,
    ledger: BudgetLedger,
    told: Iterable[PoolBlocked],
) -> dict[str, str]:
    """Nodes that consolidation may not be asked about now, whatever it would answer, and why.

    Of pools that are `told` to be blocked as a whole no node is named for that.
    """
    blocked = {(p.pool, p.reason) for p in told}
    room: dict[tuple[str, Reason], int] = {}
    found = {}
    for c in staying:
        name = c.pool.metadata.name
        reason = Reason.EMPTY if c.empty else Reason.UNDERUTILIZED
        if (name, reason) not in room:
            room[name, reason] = ledger.allowed(c.pool, reason)
        allowed = room[name, reason]
        if c.pool.is_static:
            found[c.name] = f'NodePool "{name}" is static'
        elif (why := unquiet(c, snapshot.now)) is not None:
            found[c.name] = why
        elif allowed < ledger.total(name) and (name, reason) not in blocked:
            more = f"{allowed} more nodes" if allowed else "no more nodes"
            found[c.name] = f'budgets of NodePool "{name}" let {more} go now, others come first'
    return found


def _without(command: Command, room: frozenset[str]) -> Command:
    """The command without pods that stand for room only: nobody sends them anywhere."""
    return replace(
        command,
        moves={k: home for k, home in command.moves.items() if k not in room},
        waiting=command.waiting - room,
    )


def is_drifted(candidate: Candidate, snapshot: Snapshot) -> bool:
    """Whether the node drifted: its condition says so, or the snapshot shows it."""
    if recorded_drift(candidate.claim) is not None:
        return True
    name = candidate.pool.spec.template.spec.node_class_ref.name
    return (
        drift_reason(
            candidate.claim,
            candidate.pool,
            snapshot.given_class(name),
            snapshot.types_by_name.get(name, {}),
            snapshot.now,
        )
        is not None
    )


def _quiet_and_empty(candidates: Sequence[Candidate], snapshot: Snapshot) -> list[Candidate]:
    """The empty nodes that have been quiet for long enough, the dearest first."""
    empty = [c for c in candidates if c.empty and not c.pool.is_static and c.is_quiet(snapshot.now)]
    return sorted(empty, key=lambda c: (-c.price, c.name))


def _emptiness(
    empty: Sequence[Candidate], ledger: BudgetLedger, simulator: Simulator
) -> list[Command]:
    """All empty nodes that budgets let go, in one command."""
    going = ledger.trim(empty, Reason.EMPTY)
    if not going:
        return []
    ledger.take(going)
    simulator.commit(going)
    return [
        Command(
            reason=Reason.EMPTY,
            nodes=tuple(c.name for c in going),
            savings=sum(c.price for c in going),
            evictions=sum(c.evictions for c in going),
            consolidation_type=ConsolidationType.EMPTY,
        )
    ]


def _drift(
    drifted: Sequence[Candidate],
    snapshot: Snapshot,
    ledger: BudgetLedger,
    simulator: Simulator,
    options: DisruptionOptions,
) -> tuple[list[Command], list[Blocked]]:
    """One command for each drifted node, empty ones first, then by when they drifted."""
    ordered = sorted(drifted, key=lambda c: (not c.empty, _drifted_since(c), c.name))
    limits = EvictionLimits(snapshot.disruption_budgets)
    commands: list[Command] = []
    blocked: list[Blocked] = []
    for candidate in ordered:
        if len(commands) >= options.drift_per_pass:
            break
        if candidate.pool.is_static or not ledger.allows([candidate], Reason.DRIFTED):
            continue
        movable = replace(candidate, movable=_moving(candidate, limits, snapshot.now))
        solution = simulator.solve([movable], quiet_only=False)
        if solution.unschedulable:
            pod, why = next(iter(sorted(solution.unschedulable.items())))
            blocked.append(Blocked(candidate.name, f"Pod would not schedule: {why.reason}", pod))
            continue
        ledger.take([candidate])
        simulator.commit([candidate], solution)
        (move,) = split([movable], solution)
        commands.append(
            Command(
                reason=Reason.DRIFTED,
                nodes=(candidate.name,),
                replacements=move.replacements,
                savings=move.savings,
                evictions=move.evictions,
                moves=move.destinations,
                waiting=frozenset(p.key for p in candidate.movable) - set(move.destinations),
            )
        )
    return commands, blocked


def _static_drift(
    drifted: Sequence[Candidate], snapshot: Snapshot, ledger: BudgetLedger
) -> tuple[list[Command], list[Blocked]]:
    """One command for each drifted node of a static pool: another like it, then its end."""
    left: dict[str, int] = {}
    commands: list[Command] = []
    blocked: list[Blocked] = []
    for candidate in sorted(drifted, key=lambda c: (_drifted_since(c), c.name)):
        pool = candidate.pool
        if not pool.is_static:
            continue
        room = left.setdefault(pool.name, may_replace(snapshot, pool))
        if not ledger.allows([candidate], Reason.DRIFTED):
            continue
        if room <= 0:
            if is_at_limit(snapshot, pool):
                blocked.append(Blocked(candidate.name, STATIC_AT_LIMIT))
            continue
        new = replacement(candidate, snapshot.types_of_pool(pool.name))
        if new is None:
            continue
        left[pool.name] = room - 1
        ledger.take([candidate])
        commands.append(
            Command(
                reason=Reason.DRIFTED,
                nodes=(candidate.name,),
                replacements=(new,),
                savings=candidate.price - new.offer.price,
                evictions=candidate.evictions,
                waiting=frozenset(p.key for p in candidate.movable),
            )
        )
    return commands, blocked


def _drifted_since(candidate: Candidate) -> datetime:
    since = candidate.node.claim_condition_since(DRIFTED)
    return since or candidate.node.created or _EPOCH


def _moving(candidate: Candidate, limits: EvictionLimits, now: datetime) -> tuple[core.Pod, ...]:
    """The pods that get their new room before the node is drained.

    Rule: Karpenter's `IsCurrentlyReschedulable`. Left out is what stays until the node's grace
    period ends, as room bought for it would stand empty: pods under an active do-not-disrupt, and
    pods whose budgets never allow an eviction. A budget that allows none just now is no such: in a
    rolling drift it has been used up by the node before, and its pods still need room first. Pods
    that nobody evicts (terminating ones, those that tolerate the disruption) are held by neither.
    """
    return tuple(
        p
        for p in candidate.movable
        if not (is_active(p) and do_not_disrupt(p, now).protection is Protection.ACTIVE)
        and not (is_evictable(p, now) and limits.always_blocks(p))
    )
