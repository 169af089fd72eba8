"""Pods that rare constraints together would leave out, or put where they must not be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scheduling_worlds import (
    CAPACITY_TYPE,
    GIB,
    HOSTNAME,
    ZONE,
    affinity,
    answer,
    domains,
    fake_type,
    make_pod,
    many,
    node,
    pool,
    spread,
)

from autoctl.api import core
from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.problem import (
    MinValuesPolicy,
    RequirementSpec,
    SolverOptions,
    Volumes,
)

RACK = "example.com/rack"
FAMILY = "eks.amazonaws.com/instance-family"
WEB = {"labels": {"app": "web"}}
API = {"labels": {"app": "api"}}


def family_type(family: str, cpu: int, gib: int, price: float, pods: int = 5) -> InstanceType:
    offering = Offering("test-zone-1", "on-demand", price)
    return fake_type(
        f"{family}.{cpu}x{gib}",
        cpu,
        gib,
        pods,
        price=price,
        offerings=[offering],
        labels={FAMILY: family},
    )


def two_families(**limits: int) -> object:
    """A pool that must be able to launch two families."""
    types = (family_type("r7", 4, 8, 0.2), family_type("m8", 4, 16, 0.6))
    return pool("default", RequirementSpec(FAMILY, "Exists", min_values=2), types=types, **limits)


def zonal_volume(zone: str) -> Volumes:
    claim = core.PersistentVolumeClaim(
        metadata=core.ObjectMeta(
            name="data", annotations={"pv.kubernetes.io/bind-completed": "yes"}
        ),
        spec=core.PersistentVolumeClaimSpec(volume_name="data"),
    )
    term = core.NodeSelectorTerm(
        match_expressions=[
            core.NodeSelectorRequirement(key=ZONE, operator="In", values=[zone]),
        ]
    )
    volume = core.PersistentVolume(
        metadata=core.ObjectMeta(name="data"),
        spec=core.PersistentVolumeSpec(
            node_affinity=core.VolumeNodeAffinity(
                required=core.NodeSelector(node_selector_terms=[term])
            )
        ),
    )
    return Volumes({"default/data": claim}, {"data": volume})


def test_a_pod_whose_volume_is_elsewhere_runs_on_no_node_without_a_zone_either() -> None:
    nowhere = node("n1")
    nowhere = replace(nowhere, labels={k: v for k, v in nowhere.labels.items() if k != ZONE})
    pod = make_pod(
        "p",
        nodeSelector={ZONE: "test-zone-1"},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    )
    solution = answer([pod], nodes=[nowhere], volumes=zonal_volume("test-zone-2"))
    assert not solution.placements
    assert "volumes cannot be reached where it may run" in solution.unschedulable[pod.key].reason


def test_new_nodes_with_an_open_label_join_the_domains_there_are() -> None:
    racks = RequirementSpec(RACK, "In", ("r1", "r2"))
    dedicated = core.Taint(key="dedicated", value="yes", effect="NoSchedule")
    solution = answer(
        many(4, **WEB, **spread(RACK)),
        pool("open", RequirementSpec(RACK, "Exists")),
        pool("named", racks, taints=(dedicated,)),
    )
    assert not solution.unschedulable
    found = domains(solution, RACK)
    assert min(found["r1"], found["r2"]) > 0
    assert max(found.values()) - min(found.values()) <= 1


def test_what_one_domain_refuses_another_takes_where_only_others_want_them_level() -> None:
    room = {"cpu": 4000, "memory": 16 * GIB, "pods": 8}
    spot = node("spot", labels={CAPACITY_TYPE: "spot"}, allocatable=room)
    on_demand = node("on-demand", allocatable=room)
    constraint = {
        "maxSkew": 2,
        "topologyKey": CAPACITY_TYPE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    }
    levellers = many(
        2,
        "z",
        cpu="2",
        **WEB,
        nodeSelector={CAPACITY_TYPE: "on-demand"},
        ports=[{"containerPort": 80, "hostPort": 80}],
        topologySpreadConstraints=[constraint],
    )
    level = many(2, **API, **spread(HOSTNAME, app="api"))
    solution = answer(
        [*level, *levellers], nodes=[spot, on_demand], options=SolverOptions(allow_new_nodes=False)
    )
    assert {solution.placements.get(pod.key) for pod in level} == {"spot", "on-demand"}


def test_pods_of_two_zones_that_must_level_take_turns() -> None:
    """Neither zone may be more than one pod ahead of the other, so neither fills up at once."""
    room = {"cpu": 4000, "memory": 4 * GIB, "pods": 9}
    full = {"cpu": 0, "memory": 0, "pods": 0}
    here = [
        node("n1", "test-zone-1", allocatable=room),
        node("n2", "test-zone-2", pods=tuple(many(9, "old", **WEB)), allocatable=full),
        node("n3", "test-zone-3", allocatable=room),
    ]
    rules = {**WEB, **spread(ZONE, nodeAffinityPolicy="Ignore")}
    one = many(8, "a", cpu="200m", nodeSelector={ZONE: "test-zone-1"}, **rules)
    other = many(8, "b", cpu="100m", nodeSelector={ZONE: "test-zone-3"}, **rules)
    solution = answer([*one, *other], nodes=here, options=SolverOptions(allow_new_nodes=False))
    assert not solution.unschedulable


def test_pods_drawn_to_one_host_go_there_though_others_would_rather_spread() -> None:
    room = {"cpu": 8000, "memory": 16 * GIB, "pods": 4}
    apart = make_pod("b", cpu="2", **WEB, **spread(HOSTNAME))
    near = make_pod("a", cpu="1", **WEB, **affinity("podAffinity", HOSTNAME))
    solution = answer(
        [near, apart],
        nodes=[node("n1", allocatable=room)],
        options=SolverOptions(allow_new_nodes=False),
    )
    assert solution.placements == {near.key: "n1", apart.key: "n1"}


def test_each_node_keeps_its_choice_of_types_within_the_limits() -> None:
    """Two nodes of 8 GiB, either of which may become one of 16 GiB, need 32 GiB of the limit."""
    pods = many(2, cpu="3", memory="5Gi")
    roomy = answer(pods, two_families(limits={"memory": 32 * GIB}))
    assert len(roomy.new_nodes) == 2
    tight = answer(pods, two_families(limits={"memory": 24 * GIB}))
    assert len(tight.new_nodes) == 1
    for new in (*roomy.new_nodes, *tight.new_nodes):
        assert len(new.instance_types) == 2
        assert not new.min_values_relaxed


def test_pods_put_out_by_min_values_go_to_another_pool() -> None:
    pods = many(2, cpu="3", memory="5Gi")
    other = pool("other", types=(family_type("c9", 4, 16, 2.0),))
    solution = answer(pods, two_families(limits={"memory": 24 * GIB}), other)
    assert not solution.unschedulable
    assert sorted(n.pool for n in solution.new_nodes) == ["default", "other"]


def test_pods_that_leave_a_choice_each_but_not_together_get_nodes_of_their_own() -> None:
    """The one that would draw others to its host stays where it is."""
    small, large = family_type("r7", 2, 4, 0.2, pods=29), family_type("c6", 8, 64, 0.15)
    chosen = pool(
        "default",
        RequirementSpec("node.kubernetes.io/instance-type", "Exists", min_values=2),
        types=(small, large),
    )
    drawn = make_pod("a", cpu="250m", **WEB, **affinity("podAffinity", HOSTNAME))
    solution = answer([drawn, make_pod("b", cpu="1700m", memory="3Gi")], chosen)
    assert not solution.unschedulable
    assert [len(n.instance_types) for n in solution.new_nodes] == [2, 2]


def test_unusual_hardware_takes_what_limits_keep_off_the_rest() -> None:
    gpu = replace(family_type("g5", 8, 32, 2.6), exotic=True)
    plain = pool("plain", types=(family_type("c6", 4, 8, 0.2),), limits={"cpu": 8000})
    solution = answer(many(3, cpu="3"), plain, pool("gpu", types=(gpu,)))
    assert not solution.unschedulable
    assert sorted(n.pool for n in solution.new_nodes) == ["gpu", "plain", "plain"]


@pytest.mark.parametrize("policy", list(MinValuesPolicy))
def test_a_node_is_of_the_cheapest_type_even_where_min_values_cannot_be_met(
    policy: MinValuesPolicy,
) -> None:
    """The last of the nodes, bought like the others, holds one pod only."""
    types = (family_type("c6", 4, 8, 0.19), family_type("c6", 8, 64, 0.24))
    asked = RequirementSpec(FAMILY, "Exists", min_values=3)
    first = make_pod("a", cpu="2500m", memory="1Gi", **WEB, **spread(ZONE))
    solution = answer(
        [first, *many(6, cpu="2500m", memory="128Mi", **WEB)],
        pool("default", asked, types=types, limits={"cpu": 64_000}),
        options=SolverOptions(min_values_policy=policy),
    )
    if policy is MinValuesPolicy.STRICT:
        assert len(solution.unschedulable) == 7
        return
    assert not solution.unschedulable
    for new in solution.new_nodes:
        small = len(new.pods) == 1
        assert new.offer.price == (0.19 if small else 0.24)
        assert new.min_values_relaxed


def test_pods_whose_nodes_are_chosen_later_count_only_where_the_spread_looks() -> None:
    """A constraint that honours node affinity does not see pods of zones its own pods avoid."""
    offerings = [
        Offering(f"test-zone-{zone}", kind, 0.1)
        for zone, kind in ((1, "on-demand"), (2, "on-demand"), (2, "spot"))
    ]
    one = pool("default", types=(fake_type("only", 2, 8, price=0.1, offerings=offerings),))
    away = {"nodeSelector": {ZONE: "test-zone-2"}}
    elsewhere = many(2, "a", **WEB, nodeSelector={ZONE: "test-zone-1"})
    level = many(4, "b", **WEB, **away, **spread(CAPACITY_TYPE))
    solution = answer([*elsewhere, *level], one)
    kinds = [
        new.offer.capacity_type
        for new in solution.new_nodes
        for key in new.pods
        if key in {pod.key for pod in level}
    ]
    assert sorted(kinds) == ["on-demand", "on-demand", "spot", "spot"]


def test_limits_that_division_frees_go_to_pods_left_over_before() -> None:
    """Four nodes take all of the limit, but the last and smallest has no choice of types."""

    def sized(name: str, cpu: int, pods: int, price: float, *zones: int) -> InstanceType:
        offerings = [Offering(f"test-zone-{z}", "on-demand", price) for z in zones]
        return fake_type(name, cpu, 16, pods, price=price, offerings=offerings)

    chosen = pool(
        "default",
        RequirementSpec("node.kubernetes.io/instance-type", "Exists", min_values=2),
        types=(sized("a", 4, 5, 0.3, 1), sized("b", 2, 9, 2.1, 1, 2), sized("c", 2, 9, 1.5, 2)),
        limits={"cpu": 14_000},
    )
    level = many(4, "a", cpu="1", **WEB, **spread(HOSTNAME), nodeSelector={ZONE: "test-zone-1"})
    last = make_pod("z", cpu="500m", nodeSelector={ZONE: "test-zone-2"})
    solution = answer([*level, last], chosen)
    assert len(solution.unschedulable) == 1
    assert last.key not in solution.unschedulable
