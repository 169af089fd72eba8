"""The outcome of a simulation, as data (`autoctl.simulate/v1`, see `docs/simulate.md`).

Nothing in it depends on the wall clock: the same scenario and seed give the same bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from autoctl.simulate.recorder import DecisionRecord, Sample

SCHEMA: Final = "autoctl.simulate/v1"
_NUMBER: Final = re.compile(r"-?\d[\d.]*(?:e[+-]?\d+)?")
"""The numbers of an expectation's text."""
_MOST_DECIMALS: Final = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """One bound of one expectation, and what was found; `at` in seconds."""

    at: float
    name: str
    expected: str
    actual: float
    ok: bool

    @property
    def found(self) -> str:
        """`actual` for people, in as few digits as do not contradict the verdict.

        Three decimals are plenty, except where they would put it on the other side of a bound
        (0.1004 is not `<= 0.1`), or hide all of a small number.
        """
        bounds = [float(number) for number in _NUMBER.findall(self.expected)]
        for decimals in range(3, _MOST_DECIMALS):
            shown = round(self.actual, decimals)
            small = shown == 0 and self.actual != 0
            if not small and all(_side(shown, b) == _side(self.actual, b) for b in bounds):
                return f"{shown:.{decimals}f}".rstrip("0").rstrip(".")
        return repr(self.actual)


def _side(value: float, bound: float) -> int:
    """Below, at or above."""
    return (value > bound) - (value < bound)


@dataclass(frozen=True)
class Leaks:
    """What nobody owns: ids and names."""

    instances: tuple[str, ...] = ()
    network_interfaces: tuple[str, ...] = ()
    launch_templates: tuple[str, ...] = ()
    node_claims: tuple[str, ...] = ()
    load_balancers: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return sum(
            len(found)
            for found in (
                self.instances,
                self.network_interfaces,
                self.launch_templates,
                self.node_claims,
                self.load_balancers,
            )
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "instances": list(self.instances),
            "networkInterfaces": list(self.network_interfaces),
            "launchTemplates": list(self.launch_templates),
            "nodeClaims": list(self.node_claims),
            "loadBalancers": list(self.load_balancers),
        }


@dataclass(frozen=True)
class Totals:
    """Sums over the whole run."""

    launched: int
    terminated: int
    evictions: int
    evictions_per_pod: float
    node_hours: float
    usd: float
    usd_bound: float | None
    oldest_instance_hours: float
    pending_seconds: dict[str, float]
    leaks: int

    def to_json(self) -> dict[str, Any]:
        return {
            "launched": self.launched,
            "terminated": self.terminated,
            "evictions": self.evictions,
            "evictionsPerPod": round(self.evictions_per_pod, 4),
            "nodeHours": round(self.node_hours, 4),
            "usd": round(self.usd, 4),
            "usdLowerBound": None if self.usd_bound is None else round(self.usd_bound, 4),
            "oldestInstanceHours": round(self.oldest_instance_hours, 4),
            "pendingSeconds": self.pending_seconds,
            "leaks": self.leaks,
        }


@dataclass(frozen=True)
class SimulationResult:
    """Everything a run gives."""

    name: str
    region: str
    start: datetime
    duration_seconds: float
    seed: int
    samples: tuple[Sample, ...]
    totals: Totals
    decisions: tuple[DecisionRecord, ...]
    outcomes: tuple[Outcome, ...]
    leaks: Leaks
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every expectation held."""
        return all(o.ok for o in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Plain values in a stable order."""
        return {
            "schema": SCHEMA,
            "scenario": {
                "name": self.name,
                "region": self.region,
                "start": self.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "durationSeconds": self.duration_seconds,
                "seed": self.seed,
            },
            "series": _series(self.samples),
            "totals": self.totals.to_json(),
            "decisions": [
                {
                    "at": round(d.at, 3),
                    "kind": d.kind,
                    "reason": d.reason,
                    "subjects": list(d.subjects),
                    "detail": d.detail,
                    "usdPerHour": round(d.usd_per_hour, 6),
                }
                for d in self.decisions
            ],
            "expectations": [
                {
                    "at": o.at,
                    "name": o.name,
                    "expected": o.expected,
                    "actual": round(o.actual, 6),
                    "ok": o.ok,
                }
                for o in self.outcomes
            ],
            "leaks": self.leaks.to_json(),
            "notes": list(self.notes),
        }


def _series(samples: Sequence[Sample]) -> dict[str, list[Any]]:
    return {
        "at": [round(s.at, 3) for s in samples],
        "nodes": [s.nodes for s in samples],
        "podsPending": [s.pods_pending for s in samples],
        "podsRunning": [s.pods_running for s in samples],
        "usdPerHour": [round(s.usd_per_hour, 6) for s in samples],
        "lowerBound": [None if s.bound is None else round(s.bound, 6) for s in samples],
        "cpuRequested": [s.cpu_requested for s in samples],
        "cpuProvided": [s.cpu_provided for s in samples],
        "memoryRequested": [s.memory_requested for s in samples],
        "memoryProvided": [s.memory_provided for s in samples],
        "evictions": [s.evictions for s in samples],
        "longestWait": [
            None if s.longest_wait is None else round(s.longest_wait, 3) for s in samples
        ],
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and max by nearest rank; zeros for no values. Seconds, to the millisecond."""
    ordered = sorted(values)

    def rank(share: float) -> float:
        if not ordered:
            return 0.0
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return {"p50": rank(0.5), "p90": rank(0.9), "p99": rank(0.99), "max": rank(1.0)}
