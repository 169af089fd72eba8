"""Playing a scenario: steps at their times, samples in between, expectations at theirs."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, pairwise
from typing import Final, Protocol

from autoctl.controllers.disruption.model import Command
from autoctl.operator.assembly import Assembly
from autoctl.operator.planning import world_lower_bound
from autoctl.ports.kubernetes import Object
from autoctl.sim.loop import VirtualLoop
from autoctl.simulate.leaks import find_leaks, orphans
from autoctl.simulate.recorder import DecisionRecord, Recorder, Sample
from autoctl.simulate.result import Outcome, SimulationResult, Totals, percentiles
from autoctl.simulate.scenario import Expectation, Range, Scenario
from autoctl.simulate.steps import Action, Steps
from autoctl.simulate.world import World
from autoctl.state.snapshot import Snapshot

MOST_SAMPLES: Final = 720
SHORTEST_SAMPLE: Final = timedelta(seconds=10)

Progress = Callable[[float, Recorder], None]
"""Hears of every sample: the part of the duration that is played, and the recorder."""


class Watcher(Protocol):
    """Looks on while a scenario is played."""

    def attach(self, world: World) -> None:
        """The world is about to start."""

    def finish(self, world: World) -> None:
        """The scenario is at its end; the world still runs."""


_LEVELS: Final = 16
"""Tasks that wait for tasks that wait ...: more than there are."""


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """End what Ctrl-C, or output that nobody reads any more, left in the middle of things."""
    for _ in range(_LEVELS):
        left = asyncio.all_tasks(loop)
        if not left:
            return
        for task in left:
            task.cancel()
        # A task that was interrupted passes that on to those that wait for it.
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            loop.run_until_complete(asyncio.wait(left))


@dataclass
class Player:
    """Plays one scenario once."""

    scenario: Scenario
    seed: int
    objects: Sequence[Object]
    progress: Progress | None = None
    on_decision: Callable[[DecisionRecord], None] | None = None
    with_bound: bool = True
    watcher: Watcher | None = None
    _world: World = field(init=False)
    _recorder: Recorder = field(init=False)
    _steps: Steps = field(init=False)
    _samples: list[Sample] = field(default_factory=list)
    _outcomes: list[Outcome] = field(default_factory=list)
    _bounded: tuple[object, float] | None = None
    """The lower bound and the state it was computed for."""

    def play(self) -> SimulationResult:
        """Run to the end in virtual time. Raises `StepError` and `ApiError` for bad input."""
        loop = VirtualLoop()
        try:
            return loop.run_until_complete(self._run())
        finally:
            _end_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _run(self) -> SimulationResult:
        self._world = World(self.scenario, self.seed)
        self._recorder = Recorder(
            self._world.cluster, self._world.cloud, self.scenario.start, self.on_decision
        )
        self._recorder.attach()
        self._world.on_assembly.append(self._listen)
        if self.watcher is not None:
            self.watcher.attach(self._world)
        objects = self._simulated()
        self._steps = Steps(self._world, self._recorder)
        self._steps.began_with(objects)
        await self._world.start(objects)
        try:
            await self._play_agenda()
            if self.watcher is not None:
                self.watcher.finish(self._world)
            return self._result()
        finally:
            await self._steps.stop()
            await self._world.stop()

    def _listen(self, assembly: Assembly) -> None:
        assembly.reporter.listeners.append(self._disrupted)

    def _disrupted(self, _: Snapshot, command: Command) -> None:
        into = ", ".join(n.offer.instance_type for n in command.replacements)
        self._recorder.decide(
            DecisionRecord(
                at=self._recorder.elapsed(),
                kind=command.decision,
                reason=command.reason.value,
                subjects=command.nodes,
                detail=f"replaced by {into}" if into else "",
                usd_per_hour=-command.savings,
            )
        )

    async def _play_agenda(self) -> None:
        for at, _, _, action in self._agenda():
            await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
            self._world.check()
            await action()
        self._world.check()

    def _agenda(self) -> Iterable[tuple[float, int, int, Action]]:
        """What to do, by time; at one instant steps come before samples, expectations last."""
        scenario, number = self.scenario, count()
        end = scenario.duration.total_seconds()
        agenda: list[tuple[float, int, int, Action]] = []

        def plan(at: float, order: int, action: Action) -> None:
            heapq.heappush(agenda, (at, order, next(number), action))

        for index, step in enumerate(scenario.steps):
            at = step.at.total_seconds()
            for action in self._steps.actions(step, index):
                plan(at, 0, action)
        interval = self._interval().total_seconds()
        for sample in range(int(end / interval) + 1):
            plan(sample * interval, 1, self._sample)
        if end % interval:
            plan(end, 1, self._sample)
        for expectation in scenario.expect:
            at = end if expectation.at == "end" else expectation.at.total_seconds()
            plan(at, 2, self._expecting(expectation))
        return (heapq.heappop(agenda) for _ in range(len(agenda)))

    def _simulated(self) -> list[Object]:
        """The objects of simulated kinds; a note tells of the others, which dumps have too."""
        cluster = self._world.cluster
        others = Counter(str(o.get("kind")) for o in self.objects if not cluster.knows(o))
        if others:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(others.items()))
            self._world.notes.append(f"Not simulated: {kinds}.")
        return [o for o in self.objects if cluster.knows(o)]

    def _interval(self) -> timedelta:
        return self.scenario.sample or max(SHORTEST_SAMPLE, self.scenario.duration / MOST_SAMPLES)

    async def _sample(self) -> None:
        self._samples.append(self._recorder.sample(self._bound()))
        self._recorder.begin_interval()
        if self.progress is not None:
            done = self._recorder.elapsed() / self.scenario.duration.total_seconds()
            self.progress(min(1.0, done), self._recorder)

    def _bound(self) -> float | None:
        operator = self._world.operator
        if not self.with_bound or operator is None or not operator.assembly.state.synced:
            return None
        state = operator.assembly.state
        revision = (id(operator), state.revision())
        if self._bounded is None or self._bounded[0] != revision:
            self._bounded = (revision, world_lower_bound(state.snapshot()))
        return self._bounded[1]

    def _expecting(self, expectation: Expectation) -> Action:
        async def judge() -> None:
            found = self._measures()
            for name, bound in expectation.bounds().items():
                actual = found[name]
                self._outcomes.append(
                    Outcome(
                        at=self._recorder.elapsed(),
                        name=name,
                        expected=_shown(bound),
                        actual=actual,
                        ok=bound.holds(actual),
                    )
                )

        return judge

    def _measures(self) -> dict[str, float]:
        """What expectations may name, as it is now."""
        recorder = self._recorder
        now = recorder.sample(self._bound())
        over = 0.0
        if now.bound:
            over = now.usd_per_hour / now.bound - 1
        return {
            "nodes": now.nodes,
            "pods": now.pods_pending + now.pods_running,
            "pendingPods": now.pods_pending,
            "runningPods": now.pods_running,
            "usdPerHour": now.usd_per_hour,
            "costOverBound": over,
            "orphans": orphans(self._world.cluster, self._world.cloud),
            "launched": now.launched,
            "terminated": now.terminated,
            "evictions": now.evictions,
            "evictionsPerPod": self._evictions_per_pod(),
            "oldestInstanceHours": self._oldest_hours(),
        }

    def _evictions_per_pod(self) -> float:
        """Evictions for each pod that users asked for (their replacements not counted)."""
        recorder = self._recorder
        asked = recorder.pods_created - recorder.evictions
        return recorder.evictions / asked if asked > 0 else 0.0

    def _oldest_hours(self) -> float:
        """The greatest age any instance has reached, in hours."""
        now = self._world.cloud.now()
        return max(
            (
                ((i.billed_until or now) - i.launched_at).total_seconds() / 3600
                for i in self._recorder.instances()
            ),
            default=0.0,
        )

    def _result(self) -> SimulationResult:
        recorder, world = self._recorder, self._world
        now = world.cloud.now()
        hours, usd = 0.0, 0.0
        for instance in recorder.instances():
            lived = ((instance.billed_until or now) - instance.launched_at).total_seconds() / 3600
            hours += lived
            usd += lived * recorder.price(instance)
        leaks = find_leaks(world.cluster, world.cloud)
        last = self._samples[-1]
        waits = percentiles([*recorder.pending_seconds, *recorder.still_pending()])
        return SimulationResult(
            name=self.scenario.name,
            region=self.scenario.region,
            start=self.scenario.start,
            duration_seconds=self.scenario.duration.total_seconds(),
            seed=self.seed,
            samples=tuple(self._samples),
            totals=Totals(
                launched=last.launched,
                terminated=last.terminated,
                evictions=recorder.evictions,
                evictions_per_pod=self._evictions_per_pod(),
                node_hours=hours,
                usd=usd,
                usd_bound=_integral(self._samples),
                oldest_instance_hours=self._oldest_hours(),
                pending_seconds=waits,
                leaks=leaks.count,
            ),
            decisions=tuple(recorder.decisions),
            outcomes=tuple(self._outcomes),
            leaks=leaks,
            notes=tuple(world.notes),
        )


def _integral(samples: Sequence[Sample]) -> float | None:
    """USD of the lower bound over the run: each sample's bound holds until the next."""
    total, known = 0.0, False
    for sample, following in pairwise(samples):
        if sample.bound is not None:
            known = True
            total += sample.bound * (following.at - sample.at) / 3600
    return total if known else None


def _shown(bound: Range) -> str:
    if bound.min == bound.max:
        return f"{bound.min:g}"
    parts = []
    if bound.min is not None:
        parts.append(f">= {bound.min:g}")
    if bound.max is not None:
        parts.append(f"<= {bound.max:g}")
    return " and ".join(parts)
