"""What the answers to an eviction mean, and how long it takes to ask again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from autoctl.api import core
from autoctl.controllers.runtime.events import Event
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.termination.eviction import Evictor
from autoctl.ports.kubernetes import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)

POD = msgspec.convert(
    {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {}, "status": {}}, core.Pod
)
TWO_BUDGETS = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
    "support."
)


@dataclass
class Api:
    """Answers evictions with these errors, then with success."""

    answers: list[ApiError]
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def evict(self, name: str, namespace: str, *, uid: str) -> None:
        self.asked.append((name, namespace, uid))
        if self.answers:
            raise self.answers.pop(0)


@dataclass
class Told:
    events: list[Event] = field(default_factory=list)

    def publish(self, *events: Event) -> None:
        self.events += events


def count(metrics: Metrics, code: int) -> float:
    name = "karpenter_pods_eviction_requests_total"
    return metrics.registry.get_sample_value(name, {"code": str(code)}) or 0.0


def evict(*answers: ApiError, times: int = 1) -> tuple[list[str | None], float, Metrics, Told]:
    """The answers, the wait after the last of them, and what was counted and told."""
    told, metrics = Told(), Metrics()

    async def ask() -> tuple[list[str | None], float]:
        evictor = Evictor(cast("Any", Api(list(answers))), cast("Any", told), metrics)
        found = [await evictor.evict(POD, "Drifted") for _ in range(times)]
        return found, evictor.wait(POD)

    found, wait = asyncio.run(ask())
    return found, wait, metrics, told


def test_an_evicted_pod_is_told_and_counted() -> None:
    found, wait, metrics, told = evict()
    assert (found, wait) == ([None], 0.0)
    assert count(metrics, 201) == 1
    assert [(e.about.name, e.reason, e.message) for e in told.events] == [
        ("p", "Evicted", "Evicted pod: Drifted")
    ]


@pytest.mark.parametrize("gone", [NotFound("no pod"), Conflict("another uid")])
def test_a_pod_that_is_gone_needs_no_eviction(gone: ApiError) -> None:
    found, wait, metrics, told = evict(gone)
    assert (found, wait, told.events) == ([None], 0.0, [])
    assert count(metrics, gone.code) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget."),
        Unavailable(TWO_BUDGETS, code=500),
        Forbidden("admission webhook denied the request"),
        BadRequest("admission webhook denied the request"),
        Invalid("no"),
    ],
)
def test_what_is_refused_for_this_pod_waits_for_itself(refusal: ApiError) -> None:
    found, wait, metrics, told = evict(refusal)
    assert found == [refusal.message]
    assert 0.0 < wait <= 0.1
    assert count(metrics, refusal.code) == 1
    assert told.events == []


@pytest.mark.parametrize("failure", [Unavailable("503"), Unauthorized("who?"), ApiError("cut")])
def test_what_says_nothing_of_the_pod_is_raised(failure: ApiError) -> None:
    with pytest.raises(ApiError):
        evict(failure)


@pytest.mark.parametrize(
    ("refusals", "longest"), [(1, 0.1), (2, 0.2), (4, 0.8), (7, 6.4), (30, 10)]
)
def test_each_refusal_doubles_the_wait_up_to_ten_seconds(refusals: int, longest: float) -> None:
    _, wait, _, _ = evict(*[TooManyRequests("no")] * refusals, times=refusals)
    assert longest * 0.9 < wait <= longest


def test_success_ends_the_patience() -> None:
    found, wait, _, _ = evict(*[TooManyRequests("no")] * 5, times=6)
    assert (found[-1], wait) == (None, 0.0)
