"""The lower bound against every way of dividing a few pods among nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_worlds import FAKE6, HOSTNAME, ZONE, affinity, many, pool
from scheduling_worlds import make_pod as pod

from autoctl.api import core
from autoctl.scheduling.bound import problem_bound
from autoctl.scheduling.problem import SchedulingProblem
from autoctl.scheduling.resources import pod_requests
from autoctl.scheduling.solve import solve

APPS = ("web", "db")


def divisions(pods: Sequence[core.Pod]) -> Iterator[list[list[core.Pod]]]:
    """Every way of dividing the pods into sets."""
    if not pods:
        yield []
        return
    first, rest = pods[0], pods[1:]
    for division in divisions(rest):
        yield [[first], *division]
        for i, part in enumerate(division):
            yield [*division[:i], [first, *part], *division[i + 1 :]]


def repels(one: core.Pod, other: core.Pod) -> bool:
    """Whether one pod's anti-affinity keeps another off its node."""
    apart = one.spec.affinity.pod_anti_affinity if one.spec.affinity else None
    terms = apart.required_during_scheduling_ignored_during_execution if apart else None
    return any(
        term.label_selector is not None
        and (term.label_selector.match_labels or {}).items()
        <= (other.metadata.labels or {}).items()
        for term in terms or ()
    )


def node_price(pods: Sequence[core.Pod]) -> float:
    """USD/hour of the cheapest node for all the pods; inf if there is none."""
    if any(a is not b and repels(a, b) for a in pods for b in pods):
        return float("inf")
    each = [pod_requests(p.spec, None) for p in pods]
    need = {name: sum(e.get(name, 0) for e in each) for name in ("cpu", "memory", "pods")}
    return min(
        (
            offering.price
            for t in FAKE6
            for offering in t.offerings
            if all(t.allocatable[name] >= amount for name, amount in need.items())
        ),
        default=float("inf"),
    )


@st.composite
def batches(draw: st.DrawFn) -> tuple[core.Pod, ...]:
    made = []
    for i in range(draw(st.integers(1, 6))):
        app, other = draw(st.sampled_from(APPS)), draw(st.sampled_from(APPS))
        rule = affinity("podAntiAffinity", HOSTNAME, other) if draw(st.booleans()) else {}
        cpu = draw(st.sampled_from(["100m", "900m", "1900m", "3"]))
        memory = draw(st.sampled_from(["100Mi", "1Gi", "3Gi"]))
        made.append(pod(f"p{i}", cpu=cpu, memory=memory, labels={"app": app}, **rule))
    return tuple(made)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(batches())
def test_no_division_of_the_pods_costs_less_than_the_bound(pods: tuple[core.Pod, ...]) -> None:
    best = min(sum(map(node_price, division)) for division in divisions(pods))
    bound = problem_bound(SchedulingProblem(pods, (pool(),)))
    assert 0 < bound <= best * (1 + 1e-9)


def test_pods_that_repel_each_other_need_a_node_each() -> None:
    rule = affinity("podAntiAffinity", HOSTNAME)
    alone = SchedulingProblem(tuple(many(3, labels={"app": "web"}, **rule)), (pool(),))
    together = SchedulingProblem(tuple(many(3, labels={"app": "web"})), (pool(),))
    cheapest = min(o.price for t in FAKE6 for o in t.offerings)
    assert abs(problem_bound(alone) - 3 * cheapest) < 1e-6
    assert problem_bound(together) < cheapest
    assert abs(solve(alone).lower_bound - 3 * cheapest) < 1e-6


def test_pods_that_repel_only_others_may_share_a_node() -> None:
    """As may pods that would stay out of one zone together."""
    for rule in (
        affinity("podAntiAffinity", HOSTNAME, "db"),
        affinity("podAntiAffinity", ZONE, "db"),
    ):
        apart = SchedulingProblem(tuple(many(3, labels={"app": "web"}, **rule)), (pool(),))
        plain = SchedulingProblem(tuple(many(3, labels={"app": "web"})), (pool(),))
        assert problem_bound(apart) == problem_bound(plain)
