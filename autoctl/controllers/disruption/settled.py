"""Questions of consolidation that need no asking, because one that offered more had no answer.

Whether a move pays depends on the nodes it takes with their pods, on the room of others, and on
what may be bought. When nothing paid, and since then nodes only left, filled up or became young,
nothing pays now: every move that could be made now could have been made then. That is most of what
happens in a cluster whose pods come and go.

Where more than room decides where pods may go (topology, ports, volumes, preferences), more nodes
or fewer pods may also forbid a move. There only the very same question is answered from memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from autoctl.controllers.disruption import balanced
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.model import Reason
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.simulation import Simulator
from autoctl.scheduling.daemons import told_apart
from autoctl.scheduling.nodes import node_info
from autoctl.scheduling.problem import ExistingNode, Pool, SchedulingProblem
from autoctl.scheduling.taints import PREFER_NO_SCHEDULE
from autoctl.scheduling.templates import Template, template_of

K = TypeVar("K", bound=Hashable)

_REMEMBERED: Final = 4
"""Questions kept: nodes come and go in turns, so that an older one often has the answer."""


@dataclass(frozen=True, slots=True)
class _Going:
    """A candidate: its price, what part of it has to be saved, and the pods it moves."""

    price: float
    least: float
    pods: Mapping[Template, int]
    uids: frozenset[str]
    source: Candidate = field(compare=False, repr=False)

    def offers_no_more_than(self, other: _Going) -> bool:
        return self is other or (
            self.price <= other.price
            and self.least >= other.least
            and _at_least(self.pods, other.pods)
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """A node: what it is and has (`kind`), what of it is taken, and by what pods."""

    schedulable: bool
    kind: tuple[object, ...]
    used: Mapping[str, int]
    pods: tuple[object, ...]
    source: ExistingNode = field(compare=False, repr=False)

    def offers_no_more_than(self, other: _Place) -> bool:
        return self is other or (self.kind == other.kind and _at_least(self.used, other.used))


@dataclass(frozen=True, slots=True)
class Question:
    """All that the answer of a consolidation depends on."""

    going: Mapping[str, _Going]
    places: Mapping[str, _Place]
    allowed: Mapping[str, int]
    """NodePool -> how many of its candidates budgets let go."""
    pools: tuple[Pool, ...]
    usage: Mapping[str, Mapping[str, int]]
    """NodePool with limits -> what is used of them."""
    market: tuple[object, ...]
    storage: tuple[object, ...]
    exhaustive: bool
    """Few enough candidates for every one of them to be tried."""
    plain: bool
    """Room alone decides where pods may go."""

    def offers_no_more_than(self, other: Question) -> bool:
        """Whether every move that this question allows was looked for when `other` was asked."""
        return (
            self.going.keys() <= other.going.keys()
            and (other.exhaustive or not self.exhaustive)
            and all(n <= other.allowed.get(pool, 0) for pool, n in self.allowed.items())
            and self.market == other.market
            and self.pools == other.pools
            and (self._is_part_of(other) or self._equals(other))
        )

    def _is_part_of(self, other: Question) -> bool:
        """Fewer nodes, fuller ones, no more room in limits."""
        return (
            self.plain
            and other.plain
            and all(going.offers_no_more_than(other.going[n]) for n, going in self.going.items())
            and all(
                n in other.places
                and other.places[n].schedulable
                and place.offers_no_more_than(other.places[n])
                for n, place in self.places.items()
                if place.schedulable
            )
            and all(_at_least(usage, other.usage[pool]) for pool, usage in self.usage.items())
        )

    def _equals(self, other: Question) -> bool:
        return (
            self.going == other.going
            and self.places == other.places
            and self.usage == other.usage
            and self.storage == other.storage
        )


@dataclass(frozen=True)
class Settled:
    """Questions to which the answer was to leave everything, the last one first."""

    questions: tuple[Question, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Node name -> why it stays, as last told."""
    stuck: Mapping[str, tuple[_Going, str]] = field(default_factory=dict)
    """Node name -> what it was when its exchange for a single node did not pay, and why."""
    asked: datetime | None = None
    """When the last question was asked, to no avail."""
    due: datetime | None = None
    """When the question that waits may be asked."""

    def answers(self, question: Question) -> bool:
        """Whether `question` needs no asking."""
        return any(question.offers_no_more_than(q) for q in self.questions)

    def waiting(self, now: datetime, rest: timedelta) -> Settled | None:
        """With the question left for later, where the last one was asked in vain a moment ago."""
        due = None if self.asked is None else self.asked + rest
        return replace(self, due=due) if due is not None and now < due else None

    def stuck_in(self, question: Question) -> dict[str, str]:
        """What is known in `question` of nodes that do not pay to be exchanged for a single one.

        Such an exchange is between the node with its pods and the market. Where more counts for
        pods, or NodePools have limits, nothing is known.
        """
        if not self._stuck_still(question):
            return {}
        return {n: why for n, (was, why) in self.stuck.items() if question.going.get(n) == was}

    def _stuck_still(self, question: Question) -> bool:
        last = self.questions[0] if self.questions else None
        return (
            last is not None
            and question.plain
            and last.plain
            and not question.usage
            and question.market == last.market
            and question.pools == last.pools
        )

    def with_answer(
        self,
        question: Question,
        reasons: Mapping[str, str],
        now: datetime,
        stuck: Mapping[str, str],
    ) -> Settled:
        """With one more; those that it makes superfluous are forgotten."""
        older = (q for q in self.questions if not q.offers_no_more_than(question))
        kept = (question, *older)[:_REMEMBERED]
        told = {**self.reasons, **reasons}
        known = {n: why for n, why in told.items() if any(n in q.going for q in kept)}
        # Nodes that are no candidates for the moment keep what is known of them.
        here = self.stuck if self._stuck_still(question) else {}
        here = {n: entry for n, entry in here.items() if n in question.places}
        noted = {n: (question.going[n], why) for n, why in stuck.items()}
        return Settled(kept, known, {**here, **noted}, asked=now)


def question_of(
    simulator: Simulator,
    candidates: Sequence[Candidate],
    ledger: BudgetLedger,
    options: DisruptionOptions,
    settled: Settled,
) -> Question:
    """What `consolidate` with these arguments is asked; `settled` has what is as it was."""
    problem, snapshot = simulator.as_it_is(()), simulator.snapshot
    last = settled.questions[0] if settled.questions else None
    goers = last.going if last is not None else {}
    places = last.places if last is not None else {}
    going = {
        c.name: _going(c, goers.get(c.name), least=simulator.least_saving(c)) for c in candidates
    }
    counts = Counter(c.pool.name for c in candidates)
    pools = {c.pool.name: c.pool for c in candidates}
    weighed = any(p.spec.disruption.consolidation_policy == "Balanced" for p in pools.values())
    moving = {p.key for c in candidates for p in c.movable} if problem.refused else ()
    return Question(
        going=going,
        places={n.name: _place(n, places.get(n.name)) for n in problem.nodes},
        allowed={
            name: min(ledger.allowed(pool, Reason.UNDERUTILIZED), counts[name])
            for name, pool in pools.items()
        },
        pools=tuple(replace(p, usage={}) for p in problem.pools),
        usage={p.name: p.usage for p in problem.pools if p.limits},
        market=(
            options,
            told_apart(problem.daemons),
            {name: pool.spec.disruption.consolidation_policy for name, pool in pools.items()},
            balanced.pool_totals(snapshot) if weighed else None,
            {pod: problem.refused[pod] for pod in moving if pod in problem.refused},
        ),
        storage=(
            snapshot.namespaces,
            snapshot.volume_claims,
            snapshot.volumes,
            snapshot.storage_classes,
        ),
        exhaustive=len(candidates) <= options.exhaustive,
        plain=_plain(problem, going.values()),
    )


def _going(candidate: Candidate, known: _Going | None, *, least: float) -> _Going:
    if known is not None and known.source is candidate and known.least == least:
        return known
    return _Going(
        price=candidate.price,
        least=least,
        pods=Counter(map(template_of, candidate.movable)),
        uids=frozenset(p.metadata.uid for p in candidate.movable),
        source=candidate,
    )


def _place(node: ExistingNode, known: _Place | None) -> _Place:
    if known is not None and known.source is node:
        return known
    info = node_info(node)
    return _Place(
        schedulable=node.schedulable,
        kind=(
            node.labels,
            node.taints,
            node.allocatable,
            node.csi_limits,
            node.initialized,
            info.daemons,
        ),
        used=info.used,
        pods=(
            info.counted,
            info.repelling,
            info.ports,
            tuple((pod.metadata.uid, template) for pod, template in info.with_volumes),
        ),
        source=node,
    )


def _plain(problem: SchedulingProblem, going: Iterable[_Going]) -> bool:
    templates = {t for g in going for t in g.pods}
    taints = (*(n.taints for n in problem.nodes), *(p.taints for p in problem.pools))
    return (
        not problem.options.default_spread
        and all(map(_minds_room_alone, templates))
        and not any(node_info(n).repelling for n in problem.nodes)
        and not any(t.effect == PREFER_NO_SCHEDULE for these in taints for t in these)
    )


def _minds_room_alone(template: Template) -> bool:
    return not (
        template.topological
        or template.preferred
        or template.ports
        or template.claims
        or template.ephemeral
    )


def _at_least(amounts: Mapping[K, int], least: Mapping[K, int]) -> bool:
    return all(amounts.get(key, 0) >= amount for key, amount in least.items())
