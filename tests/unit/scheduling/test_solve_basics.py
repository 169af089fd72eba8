"""Single rules through `solve`: sizes, selectors, taints, existing nodes, pools, limits."""

from __future__ import annotations

from dataclasses import replace
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
    fake_type,
    make_pod,
    many,
    node,
    pool,
    shapes_of,
    spread,
)

from autoctl.api import core
from autoctl.catalog.model import Offering
from autoctl.scheduling.problem import MinValuesPolicy, RequirementSpec, Solution, SolverOptions


@pytest.mark.parametrize(
    ("pod", "instance_type"),
    [
        ({"memory": "100M"}, "small"),
        ({"memory": "2000M"}, "small"),
        ({"cpu": "1", "overhead": {"cpu": "2"}}, "default"),
        (
            {
                "cpu": "1",
                "initContainers": [
                    {"name": "i", "resources": {"requests": {"cpu": "2"}}},
                ],
            },
            "default",
        ),
        ({"requests": {"fake.com/a": "1"}}, "gpu-a"),
        ({"requests": {"foo.com/x": "0"}}, "small"),
        ({"nodeSelector": {ARCH: "arm64"}}, "arm"),
        ({"nodeSelector": {"beta.kubernetes.io/arch": "arm64"}}, "arm"),
    ],
)
def test_the_cheapest_type_that_holds_a_pod(pod: dict[str, Any], instance_type: str) -> None:
    solution = answer([make_pod("p", **pod)])
    assert [n.offer.instance_type for n in solution.new_nodes] == [instance_type]


def test_pod_limits_fill_nodes() -> None:
    solution = answer(many(25, cpu="1m", memory="1m", **AMD64))
    assert shapes_of(solution) == {("small", 5): 5}


def test_more_small_pods_fit_beside_large_ones() -> None:
    large = many(40, "l", cpu="1m", memory="1.8G", **AMD64)
    assert len(answer(large).new_nodes) == 20
    small = many(20, "s", cpu="1m", memory="400M", **AMD64)
    assert len(answer([*large, *small]).new_nodes) == 20


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        ({"memory": "2Ti"}, "too small"),
        (
            {"initContainers": [{"name": "i", "resources": {"requests": {"memory": "1Ti"}}}]},
            "too small",
        ),
        ({"cpu": "1x"}, r"spec\.containers\[0\]\.resources\.requests\[cpu\]"),
        ({"nodeSelector": {"team": "a"}}, 'label "team" does not have known values'),
        ({"nodeSelector": {ARCH: "riscv"}}, "30 of 30 offers lack riscv"),
        ({"resourceClaims": [{"name": "gpu"}]}, r"spec\.resourceClaims\[gpu\]"),
        (
            {
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "rack",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"app": "web"}},
                    }
                ]
            },
            'topology key "rack"',
        ),
    ],
)
def test_a_hopeless_pod_says_why_and_stops_nobody(pod: dict[str, Any], reason: str) -> None:
    solution = answer([make_pod("hopeless", **pod), make_pod("fine")])
    assert list(solution.unschedulable) == ["default/hopeless"]
    import re

    assert re.search(reason, solution.unschedulable["default/hopeless"].reason)
    assert [n.pods for n in solution.new_nodes] == [("default/fine",)]


def test_all_types_that_hold_the_pod_are_named_cheapest_first() -> None:
    one = [Offering("test-zone-1", "on-demand", 3.0)]
    types = (
        fake_type("medium", 2, 4, offerings=one),
        fake_type("small", 1, 4, offerings=[Offering("test-zone-1", "on-demand", 2.0)]),
        fake_type("large", 4, 4, offerings=[Offering("test-zone-1", "on-demand", 1.0)]),
    )
    (new,) = answer([make_pod("p")], pool(types=types)).new_nodes
    assert new.offer.instance_type == "large"
    assert new.instance_types == ("large", "small", "medium")
    assert new.requirements[-1].values == new.instance_types


def test_prices_of_excluded_capacity_types_do_not_count() -> None:
    def priced(name: str, on_demand: float, spot: float) -> Any:
        return fake_type(
            name,
            2,
            4,
            offerings=[
                Offering("test-zone-1", "on-demand", on_demand),
                Offering("test-zone-1", "spot", spot),
            ],
        )

    types = (priced("a", 1.0, 0.2), priced("b", 1.3, 0.1))
    only = RequirementSpec(CAPACITY_TYPE, "In", ("on-demand",))
    (new,) = answer([make_pod("p")], pool("default", only, types=types)).new_nodes
    assert new.offer.instance_type == "a"
    (new,) = answer([make_pod("p")], pool(types=types)).new_nodes
    assert (new.offer.instance_type, new.offer.capacity_type) == ("b", "spot")


@pytest.mark.parametrize(
    ("key", "operator", "values", "placed"),
    [
        ("test", "In", ["value"], True),
        ("test", "In", ["other"], False),
        ("undefined", "In", ["x"], False),
        ("undefined", "NotIn", ["x"], True),
        ("undefined", "DoesNotExist", [], True),
        ("undefined", "Exists", [], False),
        ("test", "Exists", [], True),
    ],
)
def test_custom_labels(key: str, operator: str, values: list[str], placed: bool) -> None:
    expression = {"key": key, "operator": operator, "values": values}
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
    solution = answer([make_pod("p", affinity=affinity)], pool(labels={"test": "value"}))
    assert bool(solution.new_nodes) is placed


def test_a_label_the_pool_leaves_open_takes_the_value_pods_ask_for() -> None:
    open_pool = pool("default", RequirementSpec("team", "In", ("a", "b")))
    pods = [make_pod(t, nodeSelector={"team": t}) for t in ("a", "b")]
    solution = answer(pods, open_pool)
    found = {
        n.pods[0]: next(r.values for r in n.requirements if r.key == "team")
        for n in solution.new_nodes
    }
    assert found == {"default/a": ("a",), "default/b": ("b",)}


def test_any_term_of_a_required_affinity_will_do_and_the_cheapest_is_taken() -> None:
    terms = [
        {"matchExpressions": [{"key": ARCH, "operator": "In", "values": [arch]}]}
        for arch in ("arm64", "amd64")
    ]
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
        }
    }
    (new,) = answer([make_pod("p", affinity=affinity)]).new_nodes
    assert new.offer.instance_type == "small"


def test_architectures_apart_and_together() -> None:
    apart = [make_pod(a, nodeSelector={ARCH: a}) for a in ("amd64", "arm64")]
    assert len(answer(apart).new_nodes) == 2
    assert len(answer(many(2, **AMD64)).new_nodes) == 1


def test_existing_room_first_initialized_first_then_by_name() -> None:
    room = {"cpu": 300, "memory": GIB, "pods": 5}
    nodes = [
        node("c", allocatable=room, initialized=False),
        node("b", allocatable=room),
        node("a", allocatable=room),
    ]
    solution = answer(many(7), nodes=nodes)
    assert list(solution.placements.values()) == ["a"] * 3 + ["b"] * 3 + ["c"]
    assert not solution.new_nodes


def test_cordoned_nodes_take_nothing_and_nominated_pods_take_room() -> None:
    full = node("full", allocatable={"cpu": 150, "memory": GIB, "pods": 5})
    promised = node(
        "promised",
        allocatable={"cpu": 150, "memory": GIB, "pods": 5},
        nominated=(make_pod("earlier"),),
    )
    cordoned = node("cordoned", schedulable=False)
    solution = answer([make_pod("p")], nodes=[full, promised, cordoned])
    assert solution.placements == {"default/p": "full"}
    assert len(answer([make_pod("p")], nodes=[promised, cordoned]).new_nodes) == 1


def test_taints_keep_pods_off_pools_and_nodes() -> None:
    taint = core.Taint(key="dedicated", value="x", effect="NoSchedule")
    tainted = pool("tainted", taints=(taint,))
    solution = answer([make_pod("p")], tainted)
    assert solution.unschedulable["default/p"].detail == {
        "tainted": "taint dedicated=x:NoSchedule is not tolerated"
    }
    tolerating = make_pod("p", tolerations=[{"key": "dedicated", "operator": "Exists"}])
    assert answer([tolerating], tainted).new_nodes
    assert not answer([make_pod("p")], tainted, nodes=[node("n", taints=(taint,))]).placements


def test_startup_taints_are_ignored() -> None:
    taint = core.Taint(key="starting", effect="NoSchedule")
    assert answer([make_pod("p")], pool(startup_taints=(taint,))).new_nodes


def test_the_heavier_pool_comes_first_whatever_it_costs() -> None:
    dear = pool("dear", types=(fake_type("dear", 2, 2, price=9.0),), weight=10)
    assert answer([make_pod("p")], pool("cheap"), dear).new_nodes[0].pool == "dear"
    equal = pool("dear", types=(fake_type("dear", 2, 2, price=9.0),))
    assert answer([make_pod("p")], pool("cheap"), equal).new_nodes[0].pool == "cheap"


@pytest.mark.parametrize(
    ("limits", "usage", "nodes"),
    [({"nodes": 2}, {}, 2), ({"nodes": 3}, {"nodes": 2}, 1), ({"cpu": 4000}, {}, 2)],
)
def test_limits_hold_and_are_named(
    limits: dict[str, int], usage: dict[str, int], nodes: int
) -> None:
    pods = many(20, cpu="1m", **AMD64)
    small = (fake_type("small", 2, 2),)
    solution = answer(pods, pool(types=small, limits=limits, usage=usage))
    assert len(solution.new_nodes) == nodes
    reasons = {u.reason for u in solution.unschedulable.values()}
    (name,) = limits
    assert len(reasons) == 1
    assert f"NodePool limit {name}" in next(iter(reasons))


def test_fallback_types_keep_the_limits_too() -> None:
    (new,) = answer([make_pod("p", **AMD64)], pool(limits={"cpu": 2000})).new_nodes
    assert new.instance_types == ("small",)


def test_higher_priority_first_when_limits_bind() -> None:
    pods = many(5, "low", cpu="1m", **AMD64)
    pods += many(5, "high", cpu="1m", priority=100, **AMD64)
    solution = answer(pods, pool(types=(fake_type("small", 2, 2),), limits={"nodes": 1}))
    assert all(key.startswith("default/low") for key in solution.unschedulable)
    assert len(solution.unschedulable) == 5


def test_unavailable_offerings_are_skipped_and_counted() -> None:
    gone = [Offering("test-zone-1", "spot", 0.1, available=False)]
    solution = answer([make_pod("p")], pool(types=(fake_type("gone", 2, 2, offerings=gone),)))
    assert "1 of 1 offers have no capacity now" in solution.unschedulable["default/p"].reason


def test_host_ports_need_a_node_each() -> None:
    pods = many(2, ports=[{"containerPort": 80, "hostPort": 80}])
    assert len(answer(pods).new_nodes) == 2
    taken = node("n", pods=(make_pod("old", ports=[{"containerPort": 80, "hostPort": 80}]),))
    assert not answer([pods[0]], nodes=[taken]).placements


def daemon(name: str = "agent", **kwargs: Any) -> core.Pod:
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": name, "uid": name}
    return make_pod(name, metadata={"ownerReferences": [owner]}, **kwargs)


def test_daemons_take_their_room_on_new_nodes() -> None:
    pods = [make_pod("p", cpu="1", **AMD64)]
    (new,) = answer(pods, daemons=(daemon(cpu="1500m"),)).new_nodes
    assert new.offer.instance_type == "default"
    assert new.requests["cpu"] == 2500


def test_daemons_that_do_not_tolerate_the_pool_take_nothing() -> None:
    taint = core.Taint(key="t", effect="NoSchedule")
    pod = make_pod("p", cpu="1", tolerations=[{"operator": "Exists"}], **AMD64)
    (new,) = answer([pod], pool(taints=(taint,)), daemons=(daemon(cpu="1500m"),)).new_nodes
    assert new.offer.instance_type == "small"


def test_a_running_daemon_is_not_counted_twice() -> None:
    room = {"cpu": 1100, "memory": GIB, "pods": 5}
    runs = node("n", allocatable=room, pods=(daemon(cpu="500m"),))
    pending = node("n", allocatable=room)
    pods = [make_pod("p", cpu="600m")]
    assert answer(pods, nodes=[runs], daemons=(daemon(cpu="500m"),)).placements
    assert answer(pods, nodes=[pending], daemons=(daemon(cpu="500m"),)).placements
    pods = [make_pod("p", cpu="700m")]
    assert not answer(pods, nodes=[pending], daemons=(daemon(cpu="500m"),)).placements


def families(*names: str) -> tuple[Any, ...]:
    return tuple(
        fake_type(
            f"{n}.{size}", 2 * size, 2 * size, labels={"eks.amazonaws.com/instance-family": n}
        )
        for n in names
        for size in (1, 2, 4)
    )


UNREADABLE: dict[str, dict[str, Any]] = {
    # The DaemonSet controller pins its pods so.
    "pinned by field": {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchFields": [
                                {"key": "metadata.name", "operator": "In", "values": ["n"]}
                            ]
                        }
                    ]
                }
            }
        }
    },
    "restricted label": {"nodeSelector": {"karpenter.sh/no-such-label": "x"}},
    "topology without a key": spread(""),
    "claims of devices": {"resourceClaims": [{"name": "gpu"}]},
}


@pytest.mark.parametrize("fields", UNREADABLE.values(), ids=UNREADABLE)
def test_a_running_pod_takes_room_though_nobody_could_place_it(fields: dict[str, Any]) -> None:
    running = make_pod("running", cpu="3", **fields)
    assert answer([running]).unschedulable.keys() == {"default/running"}
    solution = answer([make_pod("p", cpu="1")], nodes=[node("n", pods=(running,))])
    assert solution.placements == {}
    solution = answer([make_pod("p", cpu="900m")], nodes=[node("n", pods=(running,))])
    assert solution.placements == {"default/p": "n"}


def test_min_values_keep_enough_choice() -> None:
    key = "eks.amazonaws.com/instance-family"
    wanted = RequirementSpec(key, "Exists", (), 3)
    solution = answer(many(30), pool("default", wanted, types=families("a", "b", "c")))
    assert not solution.unschedulable
    for new in solution.new_nodes:
        assert len({name.partition(".")[0] for name in new.instance_types}) >= 3


def test_min_values_larger_than_the_choice() -> None:
    key = "eks.amazonaws.com/instance-family"
    wanted = RequirementSpec(key, "Exists", (), 3)
    world = pool("default", wanted, types=families("a", "b"))
    (reason,) = {u.reason for u in answer([make_pod("p")], world).unschedulable.values()}
    assert f"requirements[{key}].minValues 3" in reason
    options = SolverOptions(min_values_policy=MinValuesPolicy.BEST_EFFORT)
    (new,) = answer([make_pod("p")], world, options=options).new_nodes
    assert new.min_values_relaxed
    assert next(r.min_values for r in new.requirements if r.key == key) == 2


FAMILY = "eks.amazonaws.com/instance-family"


def in_family(name: str, family: str, *zones: int, cpu: int = 4, **kwargs: Any) -> Any:
    offerings = [Offering(f"test-zone-{z}", "on-demand", kwargs["price"]) for z in zones]
    return fake_type(name, cpu, 4, labels={FAMILY: family}, offerings=offerings, **kwargs)


def two_families(**kwargs: Any) -> Any:
    return pool("default", RequirementSpec(FAMILY, "Exists", (), 2), **kwargs)


def assert_no_choice(solution: Solution) -> None:
    assert not solution.new_nodes
    (why,) = solution.unschedulable.values()
    assert f"requirements[{FAMILY}].minValues 2: only 1 values" in why.reason


def test_min_values_count_no_type_beyond_a_limit() -> None:
    types = (in_family("a", "a", 1, price=1.0), in_family("b", "b", 1, price=2.0, cpu=64))
    assert_no_choice(answer([make_pod("p")], two_families(types=types, limits={"cpu": 8000})))


def test_min_values_hold_in_the_zone_that_pods_share() -> None:
    types = (in_family("a", "a", 1, price=1.0), in_family("b", "b", 2, price=1.0))
    pod = make_pod("p", labels={"app": "web"}, **affinity("podAffinity", ZONE))
    assert_no_choice(answer([pod], two_families(types=types)))
    types += (in_family("c", "c", 2, price=1.5),)
    (new,) = answer([pod], two_families(types=types)).new_nodes
    assert new.instance_types == ("b", "c")
    assert new.offer.zone == "test-zone-2"


def test_a_reservation_leaves_no_choice_for_min_values() -> None:
    reserved = [
        Offering("test-zone-1", "reserved", 0.0, reservation_id="cr-1", reservation_capacity=9),
        Offering("test-zone-1", "on-demand", 1.0),
    ]
    types = (
        fake_type("a", 4, 4, labels={FAMILY: "a"}, offerings=reserved),
        in_family("b", "b", 1, price=2.0),
    )
    (new,) = answer([make_pod("p")], two_families(types=types)).new_nodes
    assert (new.offer.capacity_type, new.instance_types) == ("on-demand", ("a", "b"))


def test_types_that_hold_the_pods_count_for_min_values_though_none_is_larger() -> None:
    types = (
        in_family("a", "a", 1, price=1.0, cpu=8),
        fake_type("b", 4, 64, labels={FAMILY: "b"}, price=2.0),
    )
    solution = answer(many(3, cpu="2500m", memory="1Gi"), two_families(types=types))
    assert not solution.unschedulable
    assert [new.instance_types for new in solution.new_nodes] == [("a", "b")] * 3


def test_pods_that_accept_different_families_do_not_share_a_node_at_the_cost_of_choice() -> None:
    types = tuple(in_family(f, f, 1, price=1.0) for f in "abc")
    pods = [
        make_pod(f"{first}{second}", **families_of(first, second))
        for first, second in ("ab", "bc", "ca")
    ]
    solution = answer(pods, two_families(types=types))
    assert not solution.unschedulable
    assert [len(new.instance_types) for new in solution.new_nodes] == [2, 2, 2]


def families_of(*names: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": FAMILY, "operator": "In", "values": list(names)}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}


def test_a_node_is_right_sized_though_the_limit_is_spent() -> None:
    types = (
        fake_type("cheap", 2, 8, 8, price=0.132),
        replace(fake_type("dense", 2, 8, 29, price=0.142), overhead={}),
        replace(fake_type("large", 8, 16, 8, price=0.404), overhead={}),
    )
    pods = [
        *many(4, "a", cpu="100m", memory="3Gi"),
        *many(4, "b", cpu="1900m", memory="128Mi"),
        *many(8, "c", cpu="1", memory="1Gi"),
        make_pod("d", cpu="0", labels={"app": "web"}, **affinity("podAffinity", HOSTNAME)),
    ]
    solution = answer(pods, pool(types=types, limits={"cpu": 16000}))
    price = {t.name: t.offerings[0].price for t in types}
    for new in solution.new_nodes:
        assert new.offer.price == min(price[name] for name in new.instance_types)


def test_reservations_are_never_promised_twice() -> None:
    offerings = [
        Offering(
            "test-zone-1",
            "reserved",
            0.001,
            reservation_id="cr-1",
            reservation_capacity=2,
            labels={"eks.amazonaws.com/capacity-reservation-id": "cr-1"},
        ),
        Offering("test-zone-1", "on-demand", 1.0),
    ]
    types = (fake_type("only", 2, 2, offerings=offerings),)
    solution = answer(many(4, cpu="1500m"), pool(types=types))
    kinds = sorted(n.offer.capacity_type for n in solution.new_nodes)
    assert kinds == ["on-demand", "on-demand", "reserved", "reserved"]
    for new in solution.new_nodes:
        asked = next(r.values for r in new.requirements if r.key == CAPACITY_TYPE)
        assert asked == (new.offer.capacity_type,)


def test_unusual_hardware_is_the_last_resort() -> None:
    cheap = replace(fake_type("gpu", 4, 4, price=0.01), exotic=True)
    plain = fake_type("plain", 4, 4)
    assert answer([make_pod("p")], pool(types=(cheap, plain))).new_nodes[0].offer.instance_type == (
        "plain"
    )
    assert answer([make_pod("p")], pool(types=(cheap,))).new_nodes


def test_ordinary_pods_share_unusual_hardware_that_is_bought_anyway() -> None:
    gpu = replace(fake_type("gpu", 8, 16, price=1.0, fake__gpu=1), exotic=True)
    plain = fake_type("plain", 4, 8, price=0.5)
    pods = [
        make_pod("needs", cpu="2", requests={"fake.com/gpu": "1"}),
        make_pod("ordinary", cpu="3"),
    ]
    solution = answer(pods, pool(types=(gpu, plain)))
    assert [(n.offer.instance_type, len(n.pods)) for n in solution.new_nodes] == [("gpu", 2)]
    assert solution.lower_bound == pytest.approx(1.0)


def test_unusual_hardware_is_not_bought_for_ordinary_pods_beside_others() -> None:
    """However cheap it is: only what room is left on the node of the pod that needs it."""
    gpu = replace(fake_type("gpu", 8, 16, price=0.1, fake__gpu=1), exotic=True)
    plain = fake_type("plain", 4, 8, price=0.5)
    pods = [
        make_pod("needs", cpu="2", requests={"fake.com/gpu": "1"}),
        *many(4, "ordinary", cpu="3"),
    ]
    solution = answer(pods, pool(types=(gpu, plain)))
    bought = [n for n in solution.new_nodes if n.offer.instance_type == "gpu"]
    assert len(bought) == 1
    assert "default/needs" in bought[0].pods
    assert not solution.unschedulable


def test_the_same_problem_has_the_same_answer_whatever_its_order() -> None:
    pods = [*many(20, "a", cpu="300m"), *many(10, "b", memory="1G", **AMD64)]
    nodes = [node("n1"), node("n2", "test-zone-2")]
    first = answer(pods, nodes=nodes)
    again = answer(list(reversed(pods)), nodes=list(reversed(nodes)))
    assert first == again


def test_without_new_nodes() -> None:
    options = SolverOptions(allow_new_nodes=False)
    solution = answer(many(6, cpu="1"), nodes=[node("n")], options=options)
    assert len(solution.placements) == 3
    assert not solution.new_nodes
    assert {u.reason for u in solution.unschedulable.values()} == {
        "no existing node has room for the pod"
    }


def test_zone_of_a_claim_is_free_unless_something_asks() -> None:
    (free,) = answer([make_pod("p")]).new_nodes
    assert ZONE not in {r.key for r in free.requirements}
    (held,) = answer([make_pod("p", nodeSelector={ZONE: "test-zone-2"})]).new_nodes
    assert next(r.values for r in held.requirements if r.key == ZONE) == ("test-zone-2",)


def test_a_preference_that_contradicts_the_selector_opens_no_unlabelled_node() -> None:
    """On-demand and spot together are nothing, not "without the label"."""
    term = {"matchExpressions": [{"key": CAPACITY_TYPE, "operator": "In", "values": ["spot"]}]}
    liked = [{"weight": 50, "preference": term}]
    pod = make_pod(
        "p",
        nodeSelector={CAPACITY_TYPE: "on-demand"},
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": liked}},
    )
    theirs = node("theirs")
    bare = replace(theirs, labels={k: v for k, v in theirs.labels.items() if k != CAPACITY_TYPE})
    solution = answer([pod], nodes=[bare])
    assert not solution.placements
    assert solution.new_nodes[0].offer.capacity_type == "on-demand"
    assert answer([pod], nodes=[theirs]).placements == {"default/p": "theirs"}
    assert answer([pod], nodes=[bare], options=SolverOptions(allow_new_nodes=False)).unschedulable


def test_a_node_that_was_refused_is_left_out_for_that_pod_alone() -> None:
    pods = [make_pod(name, cpu="1") for name in "ab"]
    solution = answer(pods, nodes=[node("n")], refused={pods[0].key: frozenset({"n"})})
    assert solution.placements == {pods[1].key: "n"}
    assert [new.pods for new in solution.new_nodes] == [(pods[0].key,)]
    alone = answer(pods[:1], nodes=[node("m"), node("n")], refused={pods[0].key: frozenset({"m"})})
    assert alone.placements == {pods[0].key: "n"}
