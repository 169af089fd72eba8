"""What the gauges say of a running cluster, and that they say nothing of what is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness import Play, deployment, node_class, node_pool, playing

from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import DEPLOYMENTS
from autoctl.sim.cloud.faults import Fault, FaultType, parse_fault

LABELS = {"nodepool": "general-purpose"}


def metrics(play: Play) -> Metrics:
    operator = play.world.operator
    assert operator is not None
    return operator.assembly.reporter.metrics


def samples(play: Play, name: str, **labels: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The series of a metric that have the labels."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in metrics(play).registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


def value(play: Play, name: str, **labels: str) -> float:
    (found,) = samples(play, name, **labels).values()
    return found


def detailed(level: str) -> dict[str, Any]:
    return {"operator": {"metrics_detail": level}}


async def test_nodes_and_pools_are_measured_and_forgotten() -> None:
    pool = node_pool(limits={"cpu": "100"})
    objects = (node_class(), pool, deployment(replicas=3, cpu="500m"))
    async with playing(*objects, **detailed("node")) as play:
        await play.until(lambda: play.running() == 3)
        await asyncio.sleep(31)
        (node,) = play.nodes()
        name = node["metadata"]["name"]
        mine = {"node_name": name, "resource_type": "cpu"}
        assert value(play, "karpenter_nodes_total_pod_requests", **mine) == 1.5
        assert value(play, "karpenter_nodes_allocatable", **mine, **LABELS) > 1.5
        shown = dict(next(iter(samples(play, "karpenter_nodes_allocatable", **mine))))
        assert shown["managed"] == "true"
        assert (
            shown["instance_type"] == node["metadata"]["labels"]["node.kubernetes.io/instance-type"]
        )
        assert shown["zone"].startswith("us-west-2")
        assert shown["arch"] == "amd64"
        assert value(play, "karpenter_nodes_current_lifetime_seconds", node_name=name) > 30
        cap = value(play, "autoctl_nodeclaims_lifetime_cap_remaining_seconds", node_name=name)
        assert 20 * 86400 < cap < 21 * 86400
        assert value(play, "karpenter_nodepools_limit", resource_type="cpu", **LABELS) == 100
        assert value(play, "karpenter_nodepools_usage", resource_type="nodes", **LABELS) == 1
        assert 0 < value(play, "karpenter_nodepools_cost_total", **LABELS) < 1
        assert 0 < value(play, "karpenter_cluster_utilization_percent", resource_type="cpu") < 100
        condition = {"type": "Initialized", "status": "True"}
        assert value(play, "operator_nodeclaim_status_condition_count", **condition) == 1
        assert (
            value(play, "operator_nodeclaim_status_condition_transitions_total", **condition) == 1
        )
        whose = {"group": "karpenter.sh", "kind": "NodeClaim"}
        assert value(play, "operator_status_condition_count", **whose, **condition) == 1
        age = value(play, "operator_status_condition_current_status_seconds", **whose, **condition)
        assert 0 < age < 120
        total = value(play, "operator_status_condition_transitions_total", **whose, **condition)
        assert total == 1
        assert value(play, "karpenter_ec2nodeclasses_userdata_bytes", nodeclass="default") > 500
        launches = {"service": "EC2", "action": "CreateFleet", "code": "200"}
        assert value(play, "aws_sdk_go_request_total", **launches) == 1
        assert value(play, "aws_sdk_go_request_attempt_total", **launches) == 1
        assert value(play, "aws_sdk_go_request_retry_count_sum", **launches) == 0
        assert value(play, "aws_sdk_go_request_duration_seconds_count", **launches) == 1
        assert not samples(play, "karpenter_pods_state"), "not at this level of detail"
        await play.scale(0)
        await play.until(play.nothing_left)
        await asyncio.sleep(31)
        assert not samples(play, "karpenter_nodes_allocatable", node_name=name)
        assert not samples(play, "autoctl_nodeclaims_lifetime_cap_remaining_seconds")
        assert not samples(play, "operator_nodeclaim_status_condition_count")
        assert value(play, "karpenter_nodepools_cost_total", **LABELS) == 0
        assert value(play, "operator_nodeclaim_termination_duration_seconds_count") == 1
        assert value(play, "operator_termination_duration_seconds_count", **whose) == 1
        assert not samples(play, "operator_status_condition_count", **whose)


async def test_pods_times_and_states() -> None:
    objects = (node_class(), node_pool(), deployment(replicas=2))
    async with playing(*objects, **detailed("pod")) as play:
        await asyncio.sleep(31)
        waiting = samples(play, "karpenter_pods_unbound_time_seconds", namespace="default")
        assert len(waiting) == 2
        assert all(20 < seconds < 40 for seconds in waiting.values())
        assert len(samples(play, "karpenter_pods_provisioning_unbound_time_seconds")) == 2
        assert not samples(play, "karpenter_pods_provisioning_scheduling_undecided_time_seconds"), (
            "decided, waiting for the node"
        )
        await play.until(lambda: play.running() == 2)
        await asyncio.sleep(31)
        for kind in ("bound", "startup", "provisioning_bound", "provisioning_startup"):
            assert value(play, f"karpenter_pods_{kind}_duration_seconds_count") == 2, kind
            total = value(play, f"karpenter_pods_{kind}_duration_seconds_sum")
            assert 60 < total < 180, kind
        assert not samples(play, "karpenter_pods_unstarted_time_seconds")
        states = samples(play, "karpenter_pods_state", namespace="default", **LABELS)
        assert len(states) == 2
        shown = dict(next(iter(states)))
        assert (shown["phase"], shown["ready"], shown["scheduled"]) == ("Running", "true", "true")
        assert shown["owner"].startswith("/apis/apps/v1/namespaces/default/replicasets/web-")


async def test_without_detail_nothing_is_measured() -> None:
    objects = (node_class(), node_pool(), deployment(replicas=2))
    async with playing(*objects, **detailed("none")) as play:
        await play.until(lambda: play.running() == 2)
        await asyncio.sleep(31)
        assert not samples(play, "karpenter_nodepools_usage")
        assert not samples(play, "operator_nodeclaim_status_condition_transitions_total")


@pytest.mark.parametrize("level", ["pool", "node"])
async def test_less_detail_has_no_series_of_objects(level: str) -> None:
    objects = (node_class(), node_pool(), deployment(replicas=2))
    async with playing(*objects, **detailed(level)) as play:
        await play.until(lambda: play.running() == 2)
        await asyncio.sleep(31)
        assert not samples(play, "karpenter_pods_state")
        assert bool(samples(play, "karpenter_nodes_allocatable")) == (level == "node")
        assert value(play, "karpenter_nodepools_usage", resource_type="nodes", **LABELS) == 1
        price = samples(
            play,
            "karpenter_cloudprovider_instance_type_offering_price_estimate",
            instance_type="m5.large",
            capacity_type="on-demand",
        )
        assert price
        assert all(0.05 < p < 0.2 for p in price.values())


async def test_pods_that_move_for_a_disruption_are_counted() -> None:
    async with playing(node_class(), node_pool(), deployment(replicas=3)) as play:
        await play.until(lambda: play.running() == 3)
        (old,) = play.instances()
        play.world.cloud.inject(Fault(FaultType.AMI_RELEASE))
        await play.until(lambda: not old.alive, 1800)
        labels = {"reason": "drifted", "termination_mode": "eventual", **LABELS}
        counted = samples(play, "karpenter_pods_disruption_initiated_total", **labels)
        assert list(counted.values()) == [3]
        (shown,) = counted
        assert dict(shown)["consolidation_policy"] == "WhenEmpty"
        assert dict(shown)["capacity_type"] == "on-demand"


async def test_requests_that_were_tried_again_are_counted() -> None:
    async with playing(node_class(), node_pool()) as play:
        await asyncio.sleep(60)
        throttle = {"type": "api-throttle", "operations": ["ec2:CreateFleet"], "for": "1s"}
        play.world.cloud.inject(parse_fault(throttle | {"for": "3s"}))
        await play.world.cluster.users.create(DEPLOYMENTS, deployment(replicas=1), "default")
        await play.until(lambda: play.running() == 1, 300)
        mine = {"service": "EC2", "action": "CreateFleet"}
        requests = sum(samples(play, "aws_sdk_go_request_total", **mine).values())
        attempts = sum(samples(play, "aws_sdk_go_request_attempt_total", **mine).values())
        retries = sum(samples(play, "aws_sdk_go_request_retry_count_sum", **mine).values())
        assert attempts == requests + retries
        assert retries > 0
        refused = samples(play, "aws_sdk_go_request_attempt_total", **mine, code="503")
        assert sum(refused.values()) == retries


async def test_a_node_without_a_known_price_is_an_error_of_the_cost_once() -> None:
    types = ["m6i.large", "c6i.large"]
    settings: dict[str, Any] = {"instanceTypes": types, **detailed("pool")}
    async with playing(node_class(), node_pool(), deployment(), **settings) as play:
        await play.until(lambda: play.running() == 3)
        await asyncio.sleep(31)
        name = "karpenter_nodepools_cost_tracker_errors_total"
        assert not samples(play, name)
        (instance,) = play.instances()
        left = play.world.cloud.ec2.types
        kept = {n: left.get(n) for n in types if n != instance.instance_type}
        assert play.world.operator is not None
        play.world.operator.assembly.gateways.types.refresh(types=kept)
        await asyncio.sleep(120)
        assert value(play, name, **LABELS) == 1
        await asyncio.sleep(120)
        assert value(play, name, **LABELS) == 1
