"""Spread constraints and pod (anti-)affinity through `solve`."""

from __future__ import annotations

from typing import Any

import pytest
from scheduling_worlds import (
    AMD64,
    ARCH,
    CAPACITY_TYPE,
    GIB,
    HOSTNAME,
    ZONE,
    affinity,
    answer,
    domains,
    make_pod,
    many,
    node,
    pool,
    spread,
)

from autoctl.api import core
from autoctl.scheduling.problem import RequirementSpec, SolverOptions

WEB = {"labels": {"app": "web"}}
FULL = {"cpu": 0, "memory": 0, "pods": 0}


def zones(*names: str) -> RequirementSpec:
    return RequirementSpec(ZONE, "In", tuple(f"test-zone-{n}" for n in names))


def running(number: int, **kwargs: Any) -> tuple[core.Pod, ...]:
    return tuple(many(number, "old", **{**WEB, **kwargs}))


def full_node(name: str, zone: str, pods: tuple[core.Pod, ...], **kwargs: Any) -> Any:
    return node(name, f"test-zone-{zone}", pods=pods, allocatable=FULL, **kwargs)


def test_zones_level() -> None:
    solution = answer(many(4, **WEB, **spread(ZONE)))
    assert sorted(domains(solution).values()) == [1, 1, 2]


def test_capacity_types_level() -> None:
    solution = answer(many(4, **WEB, **spread(CAPACITY_TYPE)))
    assert domains(solution, CAPACITY_TYPE) == {"spot": 2, "on-demand": 2}


def test_hostname_skew_bounds_pods_of_a_node() -> None:
    assert len(answer(many(4, **WEB, **spread(HOSTNAME, 4))).new_nodes) == 1
    assert len(answer(many(4, **WEB, **spread(HOSTNAME, 2))).new_nodes) == 2


def two_apps(**archs: str) -> list[core.Pod]:
    return [
        pod
        for app in ("a", "b")
        for pod in many(
            2,
            app,
            labels={"app": app},
            **spread(HOSTNAME, app=app),
            **({"nodeSelector": {ARCH: archs[app]}} if archs else {}),
        )
    ]


def test_two_apps_share_the_nodes_their_spread_asks_for() -> None:
    assert len(answer(two_apps()).new_nodes) == 2
    assert len(answer(two_apps(a="amd64", b="arm64")).new_nodes) == 4


def test_a_zone_nobody_can_use_holds_the_others_back() -> None:
    old = full_node("old", "3", running(1))
    solution = answer(
        many(6, cpu="1100m", **WEB, **spread(ZONE)), pool("default", zones("1", "2")), nodes=[old]
    )
    assert domains(solution) == {"test-zone-1": 2, "test-zone-2": 2}
    assert len(solution.unschedulable) == 2


def test_skew_is_measured_from_the_least_domain() -> None:
    old = [full_node("n1", "1", running(1)), full_node("n2", "2", running(1))]
    pods = many(10, cpu="1100m", **WEB, **spread(ZONE, 5))
    solution = answer(pods, pool("default", zones("3")), nodes=old)
    assert domains(solution) == {"test-zone-3": 6}


def test_new_pods_go_where_few_are() -> None:
    old = [full_node("n1", "1", running(3))]
    solution = answer(many(3, **WEB, **spread(ZONE)), nodes=old)
    assert sorted(domains(solution).items()) in (
        [("test-zone-2", 1), ("test-zone-3", 2)],
        [("test-zone-2", 2), ("test-zone-3", 1)],
    )


@pytest.mark.parametrize(
    "ignored",
    [
        {"labels": {}},
        {"namespace": "other"},
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"status": {"phase": "Failed"}},
        {"status": {"phase": "Succeeded"}},
    ],
    ids=["labels", "namespace", "terminating", "failed", "succeeded"],
)
def test_pods_that_do_not_count(ignored: dict[str, Any]) -> None:
    old = [full_node("n1", "1", running(3, **ignored))]
    solution = answer(many(3, **WEB, **spread(ZONE)), nodes=old)
    assert domains(solution) == {f"test-zone-{z}": 1 for z in (1, 2, 3)}


@pytest.mark.parametrize(
    ("zone_names", "least", "number", "expected"),
    [
        (("1", "2"), 3, 3, [1, 1]),
        (("1", "2", "3"), 3, 11, [3, 4, 4]),
        (("1", "2", "3"), 2, 11, [3, 4, 4]),
    ],
)
def test_min_domains(
    zone_names: tuple[str, ...], least: int, number: int, expected: list[int]
) -> None:
    pods = many(number, **WEB, **spread(ZONE, minDomains=least))
    solution = answer(pods, pool("default", zones(*zone_names)))
    assert sorted(domains(solution).values()) == expected


def test_pods_their_own_selector_does_not_match_are_not_spread() -> None:
    assert len(answer(many(5, labels={"app": "x"}, **spread(HOSTNAME))).new_nodes) == 1
    assert len(answer(many(5, **WEB, **spread(HOSTNAME, labelSelector=None))).new_nodes) == 1


def test_pools_that_share_a_domain_but_not_their_pods() -> None:
    def tainted(name: str, *values: str) -> Any:
        taint = core.Taint(key="taint", value=name, effect="NoSchedule")
        return pool(name, RequirementSpec("fake-label", "In", values), taints=(taint,))

    def tolerating(number: int, name: str) -> list[core.Pod]:
        toleration = {"key": "taint", "value": name, "effect": "NoSchedule"}
        rule = spread("fake-label", nodeTaintsPolicy="Honor")
        return many(number, name, **WEB, **rule, tolerations=[toleration])

    solution = answer(
        [*tolerating(2, "one"), *tolerating(4, "two")],
        tainted("one", "foo", "bar"),
        tainted("two", "foo", "baz"),
    )
    assert not solution.unschedulable
    assert sorted(domains(solution, "fake-label").values()) == [1, 2, 3]


@pytest.mark.parametrize(("policy", "placed"), [("Ignore", 1), ("Honor", 2)])
def test_domains_of_pools_that_pods_do_not_tolerate(policy: str, placed: int) -> None:
    taint = core.Taint(key="taint", effect="NoSchedule")
    mine = pool("mine", RequirementSpec("fake-label", "In", ("foo",)))
    theirs = pool("theirs", RequirementSpec("fake-label", "In", ("bar",)), taints=(taint,))
    rule = spread("fake-label", nodeTaintsPolicy=policy)
    solution = answer(many(2, **WEB, **rule), mine, theirs)
    assert sum(len(n.pods) for n in solution.new_nodes) == placed


@pytest.mark.parametrize(("policy", "placed"), [("Ignore", 1), ("Honor", 5)])
def test_domains_of_nodes_that_pods_cannot_use(policy: str, placed: int) -> None:
    old = [
        full_node(value, "1", (), labels={"fake-label": value, "selector": "mismatch"})
        for value in ("foo", "bar")
    ]
    mine = pool("mine", labels={"fake-label": "baz", "selector": "value"})
    rule = spread("fake-label", nodeAffinityPolicy=policy)
    pods = many(5, **WEB, **rule, nodeSelector={"selector": "value"})
    solution = answer(pods, mine, nodes=old)
    assert sum(len(n.pods) for n in solution.new_nodes) == placed


def test_revisions_are_spread_apart_by_match_label_keys() -> None:
    rule = spread(HOSTNAME, matchLabelKeys=["pod-template-hash"])
    pods = [
        pod
        for revision in ("r1", "r2")
        for pod in many(2, revision, labels={"app": "web", "pod-template-hash": revision}, **rule)
    ]
    assert len(answer(pods).new_nodes) == 2


def test_zone_and_hostname_together() -> None:
    rules = [*spread(ZONE)["topologySpreadConstraints"]]
    rules += spread(HOSTNAME, 3)["topologySpreadConstraints"]
    solution = answer(many(10, **WEB, topologySpreadConstraints=rules))
    assert sorted(domains(solution).values()) == [3, 3, 4]
    assert max(len(n.pods) for n in solution.new_nodes) <= 3


def test_zone_and_capacity_type_together() -> None:
    rules = [*spread(ZONE)["topologySpreadConstraints"]]
    rules += spread(CAPACITY_TYPE)["topologySpreadConstraints"]
    solution = answer(many(6, **WEB, topologySpreadConstraints=rules))
    assert sorted(domains(solution).values()) == [2, 2, 2]
    assert sorted(domains(solution, CAPACITY_TYPE).values()) == [3, 3]


def test_schedule_anyway_yields_only_where_it_must() -> None:
    rules = [
        *spread(ZONE, whenUnsatisfiable="ScheduleAnyway")["topologySpreadConstraints"],
        *spread(HOSTNAME)["topologySpreadConstraints"],
    ]
    pods = many(4, **WEB, topologySpreadConstraints=rules)
    held = answer(pods)
    assert sorted(domains(held).values()) == [1, 1, 2]
    assert not held.relaxed
    old = full_node("old", "3", ())
    given_up = answer(pods, pool("default", zones("1", "2")), nodes=[old])
    assert not given_up.unschedulable
    assert len(given_up.new_nodes) == 4
    assert set().union(*given_up.relaxed.values()) == {f"ScheduleAnyway spread over {ZONE}"}


def test_affinity_gathers_in_one_zone() -> None:
    solution = answer(many(12, **WEB, **affinity("podAffinity", ZONE)))
    assert list(domains(solution).values()) == [12]


def test_affinity_follows_pods_that_run_or_come() -> None:
    friend = full_node("friend", "3", running(1))
    rule = affinity("podAffinity", ZONE)
    solution = answer(many(2, labels={"app": "other"}, **rule), nodes=[friend])
    assert domains(solution) == {"test-zone-3": 2}
    coming = [*many(2, "a", labels={"app": "other"}, **rule), make_pod("z", **WEB)]
    solution = answer(coming)
    assert len(domains(solution)) == 1
    assert not solution.unschedulable


def test_affinity_to_nobody_waits_and_says_so() -> None:
    solution = answer(many(2, labels={"app": "other"}, **affinity("podAffinity", ZONE)))
    assert len(solution.unschedulable) == 2
    assert "pod affinity over" in solution.unschedulable["default/p000"].reason


def test_hostname_affinity_shares_a_node() -> None:
    solution = answer(many(5, **WEB, **affinity("podAffinity", HOSTNAME)))
    assert [len(n.pods) for n in solution.new_nodes] == [5]


def test_hostname_anti_affinity() -> None:
    solution = answer(many(6, **WEB, **affinity("podAntiAffinity", HOSTNAME)))
    assert [len(n.pods) for n in solution.new_nodes] == [1] * 6


def test_zone_anti_affinity_uses_every_zone_at_once() -> None:
    solution = answer(many(4, **WEB, **affinity("podAntiAffinity", ZONE)))
    assert domains(solution) == {f"test-zone-{z}": 1 for z in (1, 2, 3)}
    assert len(solution.unschedulable) == 1


def test_anti_affinity_of_running_pods_is_symmetric() -> None:
    hermit = running(1, labels={"app": "hermit"}, **affinity("podAntiAffinity", ZONE))
    solution = answer([make_pod("p", **WEB)], nodes=[node("n", "test-zone-1", pods=hermit)])
    assert not solution.placements
    assert next(iter(domains(solution))) != "test-zone-1"


def test_anti_affinity_of_coming_pods_is_symmetric() -> None:
    pods = [make_pod("hermit", **affinity("podAntiAffinity", HOSTNAME)), make_pod("p", **WEB)]
    assert len(answer(pods).new_nodes) == 2


def test_namespaces_of_affinity_terms() -> None:
    hermit = node("n", pods=(make_pod("old", namespace="blue", **WEB),))

    def placed(**more: Any) -> bool:
        pod = make_pod("p", **affinity("podAntiAffinity", HOSTNAME, **more))
        spaces = {"blue": {"team": "b"}, "default": {}}
        return bool(answer([pod], nodes=[hermit], namespaces=spaces).placements)

    assert placed()
    assert not placed(namespaces=["blue"])
    assert not placed(namespaceSelector={})
    assert not placed(namespaceSelector={"matchLabels": {"team": "b"}})
    assert placed(namespaceSelector={"matchLabels": {"team": "c"}})


def test_mismatch_label_keys_keep_tenants_apart() -> None:
    rule = affinity("podAntiAffinity", HOSTNAME, mismatchLabelKeys=["tenant"])
    pods = [
        pod
        for tenant in ("t1", "t2")
        for pod in many(2, tenant, labels={"app": "web", "tenant": tenant}, **rule)
    ]
    solution = answer(pods)
    assert sorted(n.pods for n in solution.new_nodes) == [
        ("default/t1000", "default/t1001"),
        ("default/t2000", "default/t2001"),
    ]


def test_pods_others_spread_by_do_not_unbalance_them() -> None:
    plain = many(3, "plain", **WEB, **AMD64)
    owners = many(3, "owner", **WEB, **spread(HOSTNAME), **AMD64)
    solution = answer([*plain, *owners])
    for new in solution.new_nodes:
        if any(pod.startswith("default/owner") for pod in new.pods):
            assert len(new.pods) == 1


def test_preferred_anti_affinity_holds_where_it_can() -> None:
    term = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "web"}}}
    rule = {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "podAffinityTerm": term}
            ]
        }
    }
    pods = many(4, **WEB, affinity=rule)
    assert len(answer(pods).new_nodes) == 4
    limited = answer(pods, pool(limits={"nodes": 2}))
    assert len(limited.new_nodes) == 2
    assert not limited.unschedulable
    assert len(limited.relaxed) == 2


@pytest.mark.parametrize(("weights", "arch"), [((1, 50), "amd64"), ((50, 1), "arm64")])
def test_of_preferences_that_exclude_each_other_the_heavier_is_kept(
    weights: tuple[int, int], arch: str
) -> None:
    preferred = [
        {
            "weight": weight,
            "preference": {"matchExpressions": [{"key": ARCH, "operator": "In", "values": [a]}]},
        }
        for weight, a in zip(weights, ("arm64", "amd64"), strict=True)
    ]
    rule = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    (new,) = answer([make_pod("p", affinity=rule)]).new_nodes
    assert (new.offer.instance_type == "arm") is (arch == "arm64")


def test_prefer_no_schedule_is_avoided_where_it_can() -> None:
    taint = core.Taint(key="meh", effect="PreferNoSchedule")
    tainted = pool("tainted", taints=(taint,), weight=10)
    assert answer([make_pod("p")], tainted, pool("clean")).new_nodes[0].pool == "clean"
    solution = answer([make_pod("p")], tainted)
    assert solution.new_nodes[0].pool == "tainted"
    assert solution.relaxed == {"default/p": ("avoiding PreferNoSchedule taints",)}


def test_existing_nodes_without_room_leave_spread_to_new_ones() -> None:
    nodes = [
        node(f"n{z}", f"test-zone-{z}", allocatable={"cpu": 250, "memory": GIB, "pods": 5})
        for z in (1, 2)
    ]
    solution = answer(many(6, **WEB, **spread(ZONE)), nodes=nodes)
    assert sorted(solution.placements.values()) == ["n1", "n1", "n2", "n2"]
    assert domains(solution) == {"test-zone-3": 2}


def test_default_spread_is_for_pods_of_a_controller_without_their_own() -> None:
    (rule,) = make_pod("x", **spread(ZONE)).spec.topology_spread_constraints or ()
    options = SolverOptions(default_spread=(rule,))
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs"}
    owned = many(4, **WEB, metadata={"ownerReferences": [owner]})
    assert sorted(domains(answer(owned, options=options)).values()) == [1, 1, 2]
    assert len(answer(many(4, **WEB), options=options).new_nodes) == 1


def test_pods_that_gather_are_not_levelled_for_those_that_spread() -> None:
    spreading = make_pod("a", **WEB, **spread(ZONE))
    gathering = many(2, memory="900Mi", **WEB, **affinity("podAffinity", ZONE))
    solution = answer([spreading, *gathering])
    homes = {pod: n.offer.zone for n in solution.new_nodes for pod in n.pods}
    assert homes["default/p000"] == homes["default/p001"]


def test_a_node_for_pods_that_gather_is_chosen_for_all_of_them() -> None:
    pods = many(2, cpu="1500m", **WEB, **affinity("podAffinity", HOSTNAME))
    solution = answer(pods)
    assert [len(n.pods) for n in solution.new_nodes] == [2]


def test_a_preferred_term_beside_a_required_one_counts_by_itself() -> None:
    rule = affinity("podAffinity", ZONE)
    liked = {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": "db"}}}
    rule["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = [
        {"weight": 1, "podAffinityTerm": liked}
    ]
    web = full_node("web", "1", running(1))
    both = full_node("both", "3", (*running(1), *many(1, "db", labels={"app": "db"})))
    solution = answer([make_pod("p", labels={"app": "other"}, **rule)], nodes=[web, both])
    assert domains(solution) == {"test-zone-3": 1}
    (given_up,) = answer([make_pod("p", **WEB, **rule)]).relaxed.values()
    assert given_up == ("preferred pod affinity (weight 1)",)


def test_nodes_outside_of_all_domains_take_a_pod_once() -> None:
    outside = node("outside", labels={"rack": "r1"})
    watched = make_pod("a", cpu="100", **WEB, **spread("rack"))
    solution = answer([watched, make_pod("b", **WEB)], nodes=[outside, node("other")])
    assert list(solution.placements) == ["default/b"]
    assert list(solution.unschedulable) == ["default/a"]
    assert not solution.new_nodes


@pytest.mark.parametrize("key", [ZONE, HOSTNAME])
def test_pods_held_together_do_not_count_on_other_domains_to_level(key: str) -> None:
    rule = {**spread(ZONE), **affinity("podAffinity", key)}
    solution = answer(many(6, **WEB, **rule))
    assert list(domains(solution).values()) == [1]
    assert len(solution.unschedulable) == 5


@pytest.mark.parametrize("keys", [(ZONE,), (ZONE, "rack")])
def test_pods_that_only_others_want_level_go_wherever_there_is_room(keys: tuple[str, ...]) -> None:
    both = [spread(key)["topologySpreadConstraints"][0] for key in keys]
    watching = make_pod("big", cpu="100", **WEB, topologySpreadConstraints=both)
    labels = {"rack": "r1"}
    nodes = [node("full", "test-zone-1", pods=running(2), allocatable=FULL, labels=labels)]
    roomy = {"cpu": 3900, "memory": GIB, "pods": 20}
    nodes.append(node("free", "test-zone-2", pods=running(9), labels=labels, allocatable=roomy))
    options = SolverOptions(allow_new_nodes=False)
    solution = answer([watching, make_pod("small", **WEB)], nodes=nodes, options=options)
    assert solution.placements == {"default/small": "free"}


def test_pods_follow_others_of_lower_priority() -> None:
    first = make_pod("first", priority=10, labels={"app": "a"}, **affinity("podAffinity", ZONE))
    pods = [first, make_pod("second", **WEB), make_pod("never", cpu="100")]
    solution = answer(pods)
    assert list(solution.unschedulable) == ["default/never"]


def test_changed_nodes_are_read_anew() -> None:
    rule = affinity("podAffinity", ZONE)
    pods = [make_pod("p", labels={"app": "other"}, **rule)]
    nodes = [node(name, f"test-zone-{i}") for i, name in enumerate("abc", start=1)]
    options = SolverOptions(allow_new_nodes=False)
    assert answer(pods, nodes=nodes, options=options).unschedulable
    assert answer(pods, nodes=nodes, options=options).unschedulable
    for position, name in enumerate("abc"):
        changed = [*nodes]
        changed[position] = node(name, f"test-zone-{position + 1}", pods=running(1))
        for _ in range(2):
            solution = answer(pods, nodes=changed, options=options)
            assert solution.placements == {"default/p": name}


def test_nodes_that_lack_the_key_of_another_constraint_are_bypassed() -> None:
    """Kubernetes: their pods do not count, and they are no domain of any of the constraints."""
    rack = "example.com/rack"
    both = {
        "topologySpreadConstraints": [
            *spread(ZONE)["topologySpreadConstraints"],
            *spread(rack)["topologySpreadConstraints"],
        ]
    }
    bypassed = full_node("n0", "1", running(3))
    room = [node(f"n{z}", f"test-zone-{z}", labels={rack: f"r{z}"}) for z in (1, 2)]
    pods = many(4, **WEB, **both)
    solution = answer(pods, nodes=[bypassed, *room], options=SolverOptions(allow_new_nodes=False))
    assert sorted(solution.placements.values()) == ["n1", "n1", "n2", "n2"]
    empty = full_node("n0", "3", ())
    assert answer(pods, nodes=[empty, *room]).placements == solution.placements
