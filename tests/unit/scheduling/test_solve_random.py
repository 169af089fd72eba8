"""Made-up clusters: every rule is read off the final state, pod by pod, node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scheduling_worlds import (
    ARCH,
    CAPACITY_TYPE,
    FAKE6,
    GIB,
    HOSTNAME,
    ZONE,
    affinity,
    make_pod,
    node,
    pool,
    spread,
)

from autoctl.api import core
from autoctl.api.matching import matches
from autoctl.catalog.model import Resources
from autoctl.scheduling.problem import SchedulingProblem, Solution
from autoctl.scheduling.resources import pod_requests, total
from autoctl.scheduling.solve import solve
from autoctl.scheduling.taints import first_untolerated

TYPES = {t.name: t for t in FAKE6}
APPS = ("web", "db", "batch")
TAINT = core.Taint(key="dedicated", value="x", effect="NoSchedule")


@st.composite
def pod_groups(draw: st.DrawFn, index: int) -> list[core.Pod]:
    app = draw(st.sampled_from(APPS))
    other = draw(st.sampled_from(APPS))
    key = draw(st.sampled_from([ZONE, HOSTNAME, CAPACITY_TYPE]))
    rules: list[dict[str, Any]] = [
        {},
        spread(key, draw(st.integers(1, 2)), draw(st.sampled_from([app, other]))),
        affinity("podAntiAffinity", draw(st.sampled_from([ZONE, HOSTNAME])), other),
        affinity("podAffinity", draw(st.sampled_from([ZONE, HOSTNAME])), app),
        {"ports": [{"containerPort": 80, "hostPort": 80}]},
    ]
    extra: list[dict[str, Any]] = [
        {},
        {},
        {"nodeSelector": {ARCH: "amd64"}},
        {"nodeSelector": {ZONE: "test-zone-2"}},
        {"tolerations": [{"key": "dedicated", "operator": "Exists"}]},
        {"priority": 10},
    ]
    fields = {**draw(st.sampled_from(rules)), **draw(st.sampled_from(extra))}
    cpu = draw(st.sampled_from(["50m", "600m", "1500m", "3"]))
    memory = draw(st.sampled_from(["10Mi", "900Mi", "3Gi"]))
    number = draw(st.integers(1, 7))
    return [
        make_pod(f"g{index}-{i}", cpu, memory, labels={"app": app}, **fields) for i in range(number)
    ]


@st.composite
def problems(draw: st.DrawFn) -> SchedulingProblem:
    pods = [p for i in range(draw(st.integers(1, 6))) for p in draw(pod_groups(i))]
    limits = draw(st.sampled_from([{}, {}, {"nodes": 3}, {"cpu": 9000}]))
    pools = [pool("first", limits=limits)]
    if draw(st.booleans()):
        pools.append(pool("second", taints=(TAINT,), weight=draw(st.sampled_from([0, 5]))))
    nodes = [
        node(
            f"n{i}",
            f"test-zone-{draw(st.integers(1, 3))}",
            pods=tuple(
                make_pod(
                    f"old{i}{j}",
                    labels={"app": draw(st.sampled_from(APPS))},
                    **draw(st.sampled_from([{}, affinity("podAntiAffinity", HOSTNAME, "db")])),
                )
                for j in range(draw(st.integers(0, 3)))
            ),
            allocatable={"cpu": 2000, "memory": 2 * GIB, "pods": 6},
        )
        for i in range(draw(st.integers(0, 3)))
    ]
    return SchedulingProblem(tuple(pods), tuple(pools), tuple(nodes))


@dataclass
class Place:
    """A node of the final state."""

    labels: Mapping[str, str]
    room: list[Resources]
    taints: tuple[core.Taint, ...]
    old: tuple[core.Pod, ...] = ()
    new: list[core.Pod] = field(default_factory=list)

    def everyone(self) -> Iterator[core.Pod]:
        yield from self.old
        yield from self.new


def final_state(problem: SchedulingProblem, solution: Solution) -> list[Place]:
    pods = {p.key: p for p in problem.pods}
    places = {n.name: Place(n.labels, [n.allocatable], n.taints, n.pods) for n in problem.nodes}
    for key, name in solution.placements.items():
        places[name].new.append(pods[key])
    by_name = {p.name: p for p in problem.pools}
    for i, new in enumerate(solution.new_nodes):
        labels = {
            **by_name[new.pool].labels,
            ZONE: new.offer.zone,
            CAPACITY_TYPE: new.offer.capacity_type,
            HOSTNAME: f"new{i}",
            ARCH: TYPES[new.offer.instance_type].architecture,
        }
        places[f"new{i}"] = Place(
            labels,
            [TYPES[name].allocatable for name in new.instance_types],
            by_name[new.pool].taints,
            new=[pods[key] for key in new.pods],
        )
    return list(places.values())


def check_places(places: list[Place]) -> None:
    for place in places:
        used = total(pod_requests(p.spec) for p in place.everyone())
        for room in place.room:
            assert all(room.get(name, 0) >= amount for name, amount in used.items()), (room, used)
        for pod in place.new:
            for key, value in (pod.spec.node_selector or {}).items():
                assert place.labels.get(key) == value
            assert first_untolerated(pod.spec.tolerations or [], place.taints) is None
        ports = Counter(
            port.host_port
            for pod in place.everyone()
            for container in pod.spec.containers or ()
            for port in container.ports or ()
            if port.host_port
        )
        assert all(n == 1 for n in ports.values())


def selected(selector: core.LabelSelector | None, pods: Iterable[core.Pod]) -> list[core.Pod]:
    return [p for p in pods if matches(selector, p.metadata.labels)]


def check_affinity(places: list[Place]) -> None:
    everyone = [(place, pod) for place in places for pod in place.everyone()]
    for place, pod in everyone:
        rules = pod.spec.affinity
        if rules is None:
            continue
        apart = rules.pod_anti_affinity
        for term in (
            apart.required_during_scheduling_ignored_during_execution if apart else None
        ) or ():
            domain = place.labels.get(term.topology_key)
            for other_place, other in everyone:
                if other is pod or other_place.labels.get(term.topology_key) != domain:
                    continue
                if pod in place.old and other in other_place.old:
                    continue
                assert not matches(term.label_selector, other.metadata.labels), (pod.key, other.key)
        together = rules.pod_affinity
        for term in (
            together.required_during_scheduling_ignored_during_execution if together else None
        ) or ():
            domain = place.labels[term.topology_key]
            near = [p for q, p in everyone if q.labels.get(term.topology_key) == domain]
            assert selected(term.label_selector, near)
            lonely = selected(term.label_selector, near) == [pod]
            # pods without the term may have come later, wherever they liked
            far = [
                p
                for q, p in everyone
                if q.labels.get(term.topology_key) != domain
                and (p in q.old or p.spec.affinity == pod.spec.affinity)
            ]
            if term.topology_key != HOSTNAME:
                assert not (lonely and selected(term.label_selector, far))


def check_spread(places: list[Place], *, scarce: bool) -> None:
    """No owner's domain is ahead of the least one by more than the skew.

    Pods that do not own the rule may have joined an owner's domain later where they had no choice:
    where nodes are `scarce`, or to be near others.
    """
    for place in places:
        for pod in place.new:
            for rule in pod.spec.topology_spread_constraints or ():
                key = rule.topology_key
                wanted = (pod.spec.node_selector or {}).items()
                usable = [p for p in places if all(p.labels.get(k) == v for k, v in wanted)]
                least = min(
                    sum(
                        len(selected(rule.label_selector, q.everyone()))
                        for q in usable
                        if q.labels[key] == domain
                    )
                    for domain in {p.labels[key] for p in usable}
                )
                there = [
                    (q, p)
                    for q in usable
                    if q.labels[key] == place.labels[key]
                    for p in selected(rule.label_selector, q.everyone())
                ]
                own = sum(
                    p in q.old
                    or rule in (p.spec.topology_spread_constraints or ())
                    or not (scarce or p.spec.affinity)
                    for q, p in there
                )
                floor = 0 if key == HOSTNAME else least
                assert own - floor <= rule.max_skew, (pod.key, key, own, floor)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(problems())
def test_every_rule_holds_in_the_end(problem: SchedulingProblem) -> None:
    solution = solve(problem)
    placed = [*solution.placements, *(key for n in solution.new_nodes for key in n.pods)]
    assert sorted([*placed, *solution.unschedulable]) == sorted(p.key for p in problem.pods)
    places = final_state(problem, solution)
    check_places(places)
    check_affinity(places)
    check_spread(places, scarce=any(p.limits for p in problem.pools))
    for each in problem.pools:
        mine = [n for n in solution.new_nodes if n.pool == each.name]
        largest = [max(TYPES[t].capacity["cpu"] for t in n.instance_types) for n in mine]
        if "nodes" in each.limits:
            assert len(mine) <= each.limits["nodes"]
        if "cpu" in each.limits:
            assert sum(largest) <= each.limits["cpu"]
    assert solution.lower_bound <= solution.cost + 1e-9
    assert solve(problem) == solution
