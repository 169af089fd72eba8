"""Consolidation: the same pods in a cheaper world, for the disruption it takes.

One question: which of the nodes that may go should go, and what is bought instead, so that the
world that is left is the cheapest? Sets of nodes are proposed (`proposals`), each is judged by the
scheduler itself, split into disjoint moves, and moves that do not pay are dropped. Any number of
nodes may become any number of nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from autoctl.api.labels import CAPACITY_TYPE, ZONE
from autoctl.controllers.disruption import balanced
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.division import divided
from autoctl.controllers.disruption.launch_filter import Rejected, restrict
from autoctl.controllers.disruption.model import Command, ConsolidationType, Reason
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.proposals import Packed, exhaustive
from autoctl.controllers.disruption.settled import Settled, question_of
from autoctl.controllers.disruption.simulation import Simulator
from autoctl.controllers.disruption.split import Move, split
from autoctl.scheduling.problem import Solution
from autoctl.scheduling.templates import template_of
from autoctl.state.snapshot import Snapshot

CANNOT_BE_CHEAPER = "Can't replace with a cheaper node"
WOULD_NOT_FIT = "Pods would not fit as kube-scheduler spreads them"
_ROUNDS = 4
"""How often moves are planned again without those that do not pay, before only those are made that
nothing bears on."""


@dataclass(frozen=True)
class Consolidation:
    """The moves to make now, and why other nodes stay."""

    commands: tuple[Command, ...]
    unconsolidatable: Mapping[str, str]
    settled: Settled = field(default_factory=Settled)
    """What needs no asking as long as nothing else is done."""


@dataclass(frozen=True)
class _World:
    """What is left when `moves` are made; worlds are compared by value, then by evictions."""

    moves: tuple[Move, ...]
    value: float

    @property
    def rank(self) -> tuple[float, int]:
        return (self.value, -sum(m.evictions for m in self.moves))


def eligible(
    candidates: Sequence[Candidate], snapshot: Snapshot
) -> tuple[list[Candidate], dict[str, str]]:
    """The candidates consolidation may take, best savings for the disruption first; others' why."""
    chosen: list[Candidate] = []
    reasons: dict[str, str] = {}
    for candidate in candidates:
        disruption = candidate.pool.spec.disruption
        name = candidate.pool.metadata.name
        if candidate.pool.is_static:
            reasons[candidate.name] = f'NodePool "{name}" is static'
        elif disruption.quiet_period is None:
            reasons[candidate.name] = disabled(candidate)
        elif disruption.consolidation_policy == "WhenEmpty":
            reasons[candidate.name] = (
                f'NodePool "{name}" has consolidation policy WhenEmpty, but node is not empty'
            )
        elif candidate.instance_type is None:
            reasons[candidate.name] = (
                f'Instance Type "{candidate.node.instance_type or ""}" not found'
            )
        elif (label := _missing_label(candidate)) is not None:
            reasons[candidate.name] = f'Node does not have label "{label}"'
        elif candidate.is_quiet(snapshot.now):
            chosen.append(candidate)
    chosen.sort(key=lambda c: (-c.savings_ratio, c.name))
    return chosen, reasons


def disabled(candidate: Candidate) -> str:
    """What is told of a node whose pool has `consolidateAfter: Never`."""
    return f'NodePool "{candidate.pool.metadata.name}" has consolidation disabled'


def consolidate(
    simulator: Simulator,
    candidates: Sequence[Candidate],
    ledger: BudgetLedger,
    options: DisruptionOptions,
    settled: Settled | None = None,
) -> Consolidation:
    """Choose the moves. `candidates` are eligible and in order (see `eligible`).

    `settled` is what earlier calls answered; without it everything is asked, and nothing is noted.
    """
    question, now = None, simulator.snapshot.now
    if settled is not None and candidates:
        question = question_of(simulator, candidates, ledger, options, settled)
        told = {c.name: settled.reasons.get(c.name) for c in candidates}
        why = {name: reason for name, reason in told.items() if reason is not None}
        if settled.answers(question):
            within = ledger.trim(candidates, Reason.UNDERUTILIZED)
            why = {c.name: CANNOT_BE_CHEAPER for c in within} | why
            return Consolidation((), why, replace(settled, due=None))
        waiting = settled.waiting(now, options.consolidation_rest)
        if waiting is not None:
            return Consolidation((), why, waiting)
    reasons: dict[str, str] = {}
    stuck = settled.stuck_in(question) if settled is not None and question is not None else {}
    reasons.update(stuck)
    judge = _Judge(simulator, options)
    within = ledger.trim(candidates, Reason.UNDERUTILIZED)
    best = _best(simulator, candidates, within, ledger, options, judge, reasons, stuck)
    commands = _commands(judge.divided(best.moves), judge)
    taken = {name for command in commands for name in command.nodes}
    for candidate in within:
        if candidate.name not in taken:
            reasons.setdefault(candidate.name, CANNOT_BE_CHEAPER)
    reasons = {name: why for name, why in reasons.items() if name not in taken}
    if settled is None or question is None or commands:
        return Consolidation(commands, reasons)
    return Consolidation(
        commands, reasons, settled.with_answer(question, reasons, now, {**stuck, **judge.stuck})
    )


def _best(
    simulator: Simulator,
    candidates: Sequence[Candidate],
    within: Sequence[Candidate],
    ledger: BudgetLedger,
    options: DisruptionOptions,
    judge: _Judge,
    reasons: dict[str, str],
    stuck: Collection[str],
) -> _World:
    """The best world found; `within` are the leading candidates that budgets would let go.

    The packer does not know all rules that moves must keep. Where they forbid every move of the set
    it names, it is asked again without those nodes, lest they stand before all others for ever.
    Nodes that are `stuck` go in company only.
    """
    best = _World((), 0.0)
    if not within:
        return best
    few = len(candidates) <= options.exhaustive
    left = list(candidates)
    packed = None
    if not few or len(within) < len(candidates):
        packed = Packed(simulator, candidates, ledger, options, stuck)
    if few:
        asked: set[frozenset[str]] = set()
        for proposals in (exhaustive(within), packed.wasteful(candidates) if packed else ()):
            for proposal in proposals:
                names = frozenset(c.name for c in proposal)
                if names in asked:
                    continue
                asked.add(names)
                world = judge.world(proposal, reasons)
                if world.rank > best.rank:
                    best = world
            if best.moves:
                break
        tried = {c.name for c in within}
        left = [c for c in candidates if c.name not in tried]
    if packed is None or best.moves or not left:
        return best
    named = few
    for _ in range(options.attempts):
        proposal, spared = packed.among(left)
        left = [c for c in left if c.name not in spared]
        if not proposal:
            if spared and left:
                continue
            if not named:
                proposal = [c for c in within if c.name not in stuck][: options.exhaustive]
            if not proposal:
                break
        named = True
        best = judge.world(proposal, reasons)
        tried = {c.name for c in proposal}
        left = [c for c in left if c.name not in tried]
        if best.moves or not left:
            break
    return best


def _missing_label(candidate: Candidate) -> str | None:
    """A label without which the node's offering, and so its price, is not known."""
    labels = candidate.node.labels
    return next((key for key in (CAPACITY_TYPE, ZONE) if key not in labels), None)


class _Judge:
    """Turns a set of nodes into the moves that are worth making."""

    def __init__(self, simulator: Simulator, options: DisruptionOptions) -> None:
        self._simulator = simulator
        self._options = options
        snapshot = simulator.snapshot
        self._types = snapshot.types_by_pool
        self.stuck: dict[str, str] = {}
        """Node name -> why it may not be exchanged for one that holds just its pods."""

    def world(self, candidates: Sequence[Candidate], reasons: dict[str, str]) -> _World:
        """The moves of taking `candidates` that pay, after leaving out those that cannot go."""
        for slack in self._options.slacks:
            remaining, solution, world = self._agreed(candidates, slack, reasons)
            if solution is None or not world.moves:
                return world
            if self._simulator.comes_true(remaining, solution):
                return world
        for candidate in candidates:
            reasons.setdefault(candidate.name, WOULD_NOT_FIT)
        return _World((), 0.0)

    def _agreed(
        self, candidates: Sequence[Candidate], slack: float, reasons: dict[str, str]
    ) -> tuple[list[Candidate], Solution | None, _World]:
        """The candidates that were asked about, where their pods go, and the moves that pay.

        Where a move does not pay, its pods stay, and others may have counted on their going: a
        spread, an affinity or a limit would be broken. Such moves are planned again without it.
        """
        remaining = list(candidates)
        world = _World((), 0.0)
        for _ in range(_ROUNDS):
            remaining, solution = self._placed(remaining, slack, reasons)
            if solution is None:
                return [], None, _World((), 0.0)
            world = self._paying(remaining, solution, reasons, roomy=slack > 0)
            going = {c.name for m in world.moves for c in m.candidates}
            if len(going) in (0, len(remaining)) or not any(map(self._minds_others, world.moves)):
                return remaining, solution, world
            remaining = [c for c in remaining if c.name in going]
        free = tuple(m for m in world.moves if not self._minds_others(m))
        return remaining, solution, _World(free, sum(self.value(m) for m in free))

    def _minds_others(self, move: Move) -> bool:
        """Whether what other nodes' pods do bears on where the move's may go."""
        pools = self._simulator.snapshot.node_pools
        return any(template_of(p).topological for c in move.candidates for p in c.movable) or any(
            pools[n.pool].spec.limits for n in move.replacements
        )

    def _placed(
        self, candidates: Sequence[Candidate], slack: float, reasons: dict[str, str]
    ) -> tuple[list[Candidate], Solution | None]:
        """The candidates whose pods all find a place elsewhere, and where."""
        remaining = list(candidates)
        while remaining:
            solution = self._simulator.solve(remaining, quiet_only=True, slack=slack)
            if not solution.unschedulable:
                return remaining, solution
            homeless = set(solution.unschedulable)
            staying = {
                c.name: next(p.key for p in c.movable if p.key in homeless)
                for c in remaining
                if any(p.key in homeless for p in c.movable)
            }
            assert staying, "only pods of candidates were to be placed"
            if len(remaining) == 1:
                for name, pod in staying.items():
                    reasons.setdefault(name, f"Pod {pod}: {solution.unschedulable[pod].reason}")
            remaining = [c for c in remaining if c.name not in staying]
        return [], None

    def _paying(
        self,
        candidates: Sequence[Candidate],
        solution: Solution,
        reasons: dict[str, str],
        *,
        roomy: bool,
    ) -> _World:
        """The moves that pay; `roomy`: nodes were taken for smaller than they are."""
        moves = []
        for move in split(candidates, solution):
            judged = self._judge(move)
            if isinstance(judged, Move):
                moves.append(judged)
            elif len(move.candidates) == 1:
                reasons.setdefault(move.candidates[0].name, judged.reason)
                if not roomy and move.is_exchange:
                    self.stuck[move.candidates[0].name] = judged.reason
        return _World(tuple(moves), sum(self.value(m) for m in moves))

    def divided(self, moves: Sequence[Move]) -> tuple[Move, ...]:
        """The moves with large ones in parts, each of which pays."""

        def judged(part: Move) -> Move | None:
            found = self._judge(part)
            return None if isinstance(found, Rejected) else found

        return tuple(
            part
            for move in moves
            for part in divided(
                move,
                partial(self._simulator.shapes, move.candidates),
                self._threshold(move),
                judged,
            )
        )

    @cached_property
    def _totals(self) -> Mapping[str, balanced.PoolTotals]:
        return balanced.pool_totals(self._simulator.snapshot)

    def value(self, move: Move) -> float:
        """USD/hour the move is worth, evictions paid."""
        return move.savings - self._options.eviction_price * move.evictions

    def score(self, move: Move) -> float | None:
        """The Balanced score, where a pool of the move asks for it."""
        if any(_is_balanced(c) for c in move.candidates):
            return balanced.score(move, self._totals)
        return None

    def in_a_row(self, moves: Sequence[Move]) -> int:
        """How many consolidations in a row these moves are."""
        return self._simulator.in_a_row(c for m in moves for c in m.candidates)

    def _threshold(self, move: Move) -> float:
        """The least share of its price the move must save, were it to buy anything."""
        return max(map(self._simulator.least_saving, move.candidates))

    def _judge(self, move: Move) -> Move | Rejected:
        judged = restrict(
            move,
            self._types,
            threshold=self._threshold(move),
            spot_alternatives=self._options.spot_alternatives,
        )
        if isinstance(judged, Rejected):
            return judged
        if self.value(judged) <= 0:
            return Rejected(CANNOT_BE_CHEAPER)
        score = self.score(judged)
        if score is not None and score < balanced.THRESHOLD:
            return Rejected(
                f"score {score:.2f} < threshold {balanced.THRESHOLD:.2f} "
                f"(k: {balanced.BALANCED_K:g})"
            )
        return judged


def _is_balanced(candidate: Candidate) -> bool:
    return candidate.pool.spec.disruption.consolidation_policy == "Balanced"


def _commands(moves: Sequence[Move], judge: _Judge) -> tuple[Command, ...]:
    """One command for all plain deletions, one for each move that buys; dearest first."""
    deletions = [m for m in moves if not m.replacements]
    commands = [_command([m], judge) for m in moves if m.replacements]
    if deletions:
        commands.append(_command(deletions, judge))
    return tuple(sorted(commands, key=lambda c: (-c.savings, c.nodes)))


def _command(moves: Sequence[Move], judge: _Judge) -> Command:
    nodes = tuple(c.name for m in moves for c in m.candidates)
    scores = [s for s in (judge.score(m) for m in moves) if s is not None]
    return Command(
        reason=Reason.UNDERUTILIZED,
        nodes=nodes,
        replacements=tuple(n for m in moves for n in m.replacements),
        savings=sum(m.savings for m in moves),
        evictions=sum(m.evictions for m in moves),
        moves={pod: home for m in moves for pod, home in m.destinations.items()},
        consolidation_type=(
            ConsolidationType.SINGLE if len(nodes) == 1 else ConsolidationType.MULTI
        ),
        score=min(scores, default=None),
        in_a_row=judge.in_a_row(moves),
    )
