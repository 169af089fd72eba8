"""Interruption messages, impaired instances and unwell nodes, as the whole operator takes them."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from harness import Play, budget, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import DEPLOYMENTS, NODE_CLAIMS, NODES, Object
from autoctl.sim.cloud.faults import Fault, FaultType
from autoctl.sim.cluster.faults import ErrorRule

WARNING = "EC2 Spot Instance Interruption Warning"
STATE = "EC2 Instance State-change Notification"
DEADLINE = "karpenter.sh/nodeclaim-termination-timestamp"


def _send(play: Play, body: str) -> None:
    (queue,) = play.world.cloud.sqs.queues.values()
    play.world.cloud.sqs.send_message({"QueueUrl": queue.url, "MessageBody": body})


def _ec2(detail_type: str, **detail: Any) -> str:
    told = {key.replace("_", "-"): value for key, value in detail.items()}
    return json.dumps({"source": "aws.ec2", "detail-type": detail_type, "detail": told})


def _waiting(play: Play) -> int:
    (queue,) = play.world.cloud.sqs.queues.values()
    return len(queue.messages)


def _samples(play: Play, name: str) -> dict[tuple[str, ...], float]:
    """The metric's values by those of its labels."""
    operator = play.world.operator
    assert operator is not None
    registry = operator.assembly.reporter.metrics.registry
    return {
        tuple(sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name and sample.value
    }


def _ids(play: Play) -> list[str]:
    return [i.instance_id for i in play.instances()]


async def test_poison_and_strangers_are_dropped_and_the_rest_is_acted_on_once() -> None:
    """Fifteen messages are more than a batch of ten; seven of them are about one instance."""
    async with playing(node_class(), node_pool("static", replicas=2)) as play:
        await play.until(lambda: len(play.nodes()) == 2)
        first, second = _ids(play)
        health = {"service": "EC2", "eventTypeCategory": "scheduledChange"}
        odd = {"source": "aws.health", "detail": health | {"affectedEntities": ["i-1"]}}
        for body in ("", "{", '{"detail": []}', "[" * 100_000, _ec2(WARNING), json.dumps(odd)):
            _send(play, body)
        _send(play, _ec2(WARNING, instance_id="i-0123456789abcdef0"))
        _send(play, _ec2("EC2 Instance Rebalance Recommendation", instance_id=second))
        for _ in range(5):
            _send(play, _ec2(STATE, instance_id=first, state="stopping"))
        for _ in range(2):
            _send(play, _ec2(WARNING, instance_id=first))
        await play.until(lambda: _waiting(play) == 0, 60)
        received = _samples(play, "karpenter_interruption_received_messages_total")
        instances_start = received.pop(("no_op",))
        assert received == {
            ("unparseable",): 6,
            ("spot_interrupted",): 3,
            ("instance_stopped",): 5,
            ("rebalance_recommendation",): 1,
        }
        deleted = _samples(play, "karpenter_interruption_deleted_messages_total")
        assert deleted == {(): 15 + instances_start}
        await play.until(lambda: first not in _ids(play), 300)
        assert second in _ids(play), "a recommendation is no order"
        assert play.events("SpotRebalanceRecommendation")
        gone = _samples(play, "karpenter_nodeclaims_disrupted_total")
        assert sum(gone.values()) == 1, "one NodeClaim went, however often that was told"


async def test_a_message_is_deleted_only_after_it_was_acted_on() -> None:
    async with playing(node_class(), node_pool("static", replicas=1)) as play:
        await play.until(lambda: len(play.nodes()) == 1)
        (instance,) = _ids(play)
        (claim,) = (c["metadata"]["name"] for c in play.claims())
        refusal = ErrorRule(
            verbs=frozenset({"delete"}), resources=frozenset({NODE_CLAIMS}), count=3
        )
        play.world.cluster.faults.fail(refusal)
        _send(play, _ec2(WARNING, instance_id=instance))
        await play.until(lambda: refusal.matched > 0, 60)
        assert _waiting(play) == 1
        assert claim in [c["metadata"]["name"] for c in play.claims()]
        await play.until(lambda: _waiting(play) == 0, 300)
        leaving = await play.api.get(NODE_CLAIMS, claim)
        assert leaving["metadata"]["deletionTimestamp"]


async def test_a_node_says_that_its_reservation_has_ended_as_soon_as_it_has() -> None:
    """Consolidation prices it by its label, and may be about to end others for it (seed 11)."""
    declared = node_class(capacityReservationSelectorTerms=[{"tags": {"team": "a"}}])
    pool = node_pool(capacity_types=("reserved", "on-demand"))
    async with playing(declared, pool) as play:
        ends = play.world.clock.now() + timedelta(seconds=625)
        facts: dict[str, Any] = {"match": "targeted", "tags": {"team": "a"}}
        play.world.cloud.ec2.capacity.add_reservation(
            "m5.xlarge", "us-west-2a", 1, ends_at=ends, **facts
        )
        await asyncio.sleep(70)
        await play.api.create(DEPLOYMENTS, deployment(replicas=2), "default")
        await play.until(lambda: play.running() == 2, 300)

        def markets() -> list[str]:
            return [n["metadata"]["labels"]["karpenter.sh/capacity-type"] for n in play.nodes()]

        assert markets() == ["reserved"]
        await asyncio.sleep((ends - play.world.clock.now()).total_seconds() + 2)
        assert markets() == ["on-demand"]


async def test_the_end_of_a_capacity_block_drains_all_its_nodes_when_the_queue_tells() -> None:
    """The NodeClass would tell a minute later at most; here it still thinks the block is long."""
    declared = node_class(capacityReservationSelectorTerms=[{"tags": {"team": "a"}}])
    async with playing(declared, node_pool(capacity_types=("reserved",))) as play:
        reserve = play.world.cloud.ec2.capacity.add_reservation
        facts: dict[str, Any] = {"match": "targeted", "tags": {"team": "a"}}
        ends = play.world.clock.now() + timedelta(hours=12)
        block = reserve("m5.xlarge", "us-west-2a", 2, ends_at=ends, kind="capacity-block", **facts)
        other = reserve("m5.2xlarge", "us-west-2b", 1, ends_at=ends, kind="capacity-block", **facts)
        await asyncio.sleep(70)
        await play.api.create(DEPLOYMENTS, deployment(replicas=2, cpu="3"), "default")
        await play.api.create(DEPLOYMENTS, deployment("big", replicas=1, cpu="7"), "default")
        await play.until(lambda: len(play.nodes()) == 3, 300)
        mine = [i.instance_id for i in play.instances() if i.reservation_id == block.reservation_id]
        assert len(mine) == 2
        warning = "Capacity Block Reservation Expiration Warning"
        _send(play, _ec2(warning, capacity_reservation_id=block.reservation_id))
        await play.until(lambda: not set(mine) & set(_ids(play)), 300)
        assert [i.reservation_id for i in play.instances()] == [other.reservation_id] * len(
            play.instances()
        )
        assert play.events("CapacityBlockEnding")


@pytest.mark.parametrize("trouble", ["impaired", "unwell"])
async def test_a_drain_that_hangs_is_forced_when_its_node_turns_out_broken(trouble: str) -> None:
    """The NodeClaim is being deleted already, and a PodDisruptionBudget holds its drain."""
    guard = budget("web", minAvailable=3)
    pool = node_pool(template={"terminationGracePeriod": "24h"})
    # Two pools' worth of nodes would trip the breaker; five static ones keep one below a fifth.
    fleet = node_pool("static", replicas=5)
    objects = (node_class(), pool, fleet, deployment(), guard)
    async with playing(*objects) as play:
        await play.until(lambda: play.running() == 3 and len(play.nodes()) >= 5)
        homes = {p["spec"]["nodeName"] for p in play.pods()}
        name = min(homes)
        node = await play.api.get(NODES, name)
        (claim,) = [
            c for c in play.claims() if c["status"]["providerID"] == node["spec"]["providerID"]
        ]
        await play.api.delete(NODE_CLAIMS, claim["metadata"]["name"])
        await asyncio.sleep(60)
        assert name in [n["metadata"]["name"] for n in play.nodes()], "the budget holds the drain"
        asked = play.world.clock.now()
        if trouble == "impaired":
            instance = node["spec"]["providerID"].rpartition("/")[2]
            play.world.cloud.inject(Fault(FaultType.INSTANCE_IMPAIRED, instance_ids=(instance,)))
            patience = timedelta(minutes=6)
        else:
            conditions = _with_condition(node, "KernelReady", "False", asked)
            await play.api.patch(
                NODES, name, {"status": {"conditions": conditions}}, subresource="status"
            )
            patience = timedelta(minutes=33)
        await play.until(
            lambda: name not in [n["metadata"]["name"] for n in play.nodes()],
            patience.total_seconds(),
        )
        assert play.world.clock.now() - asked < timedelta(hours=1)


def _with_condition(node: Object, kind: str, status: str, since: datetime) -> list[Object]:
    kept = [c for c in node["status"]["conditions"] if c["type"] != kind]
    stamp = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [*kept, {"type": kind, "status": status, "lastTransitionTime": stamp}]


async def test_a_scheduled_event_drains_gracefully_and_one_that_is_over_does_nothing() -> None:
    async with playing(node_class(), node_pool("static", replicas=2)) as play:
        await play.until(lambda: len(play.nodes()) == 2)
        first, second = play.instances()
        instances = play.world.cloud.ec2.instances
        instances.schedule_event(first, "instance-retirement")
        instances.schedule_event(second, "system-reboot")
        for event in second.events:
            event["Description"] = "[Completed] " + event["Description"]
        _drain_queue(play)
        await play.until(lambda: first.instance_id not in _ids(play), 300)
        await asyncio.sleep(300)
        assert second.instance_id in _ids(play)
        unhealthy = _samples(play, "karpenter_interruption_instance_status_unhealthy_total")
        assert unhealthy == {("event_status",): 1}
        gone = _samples(play, "karpenter_nodeclaims_disrupted_total")
        assert [labels[0] for labels in gone] == ["event_status"]


def _drain_queue(play: Play) -> None:
    """Forget what EC2 has told: the status checks alone are to tell."""
    (queue,) = play.world.cloud.sqs.queues.values()
    queue.messages.clear()


async def test_nodes_that_never_initialize_are_given_up_where_a_setting_says_so() -> None:
    """A startup taint that nobody takes off: for ever by default, as Karpenter has it."""
    pool = node_pool(
        template={"startupTaints": [{"key": "example.com/never", "effect": "NoSchedule"}]}
    )
    for timeout, given_up in (("0s", False), ("10m", True)):
        settings = {"operator": {"initialization_timeout": timeout}}
        async with playing(node_class(), pool, deployment(), **settings) as play:
            await play.until(lambda p=play: bool(p.nodes()))  # type: ignore[misc]
            first = set(_ids(play))
            await asyncio.sleep(20 * 60)
            assert bool(first & set(_ids(play))) is not given_up
            gone = _samples(play, "karpenter_nodeclaims_disrupted_total")
            reasons = {labels[0] for labels in gone}
            assert reasons == ({"initialization_timeout"} if given_up else set())


async def test_the_share_of_unwell_nodes_that_stops_repair_is_a_setting() -> None:
    settings = {"operator": {"node_repair_threshold": 0.5}}
    async with playing(node_class(), node_pool("static", replicas=4), **settings) as play:
        await play.until(lambda: len(play.nodes()) == 4)
        unwell = [n["metadata"]["name"] for n in play.nodes()[:2]]
        for name in unwell:
            node = await play.api.get(NODES, name)
            conditions = _with_condition(node, "KernelReady", "False", play.world.clock.now())
            await play.api.patch(
                NODES, name, {"status": {"conditions": conditions}}, subresource="status"
            )
        await play.until(
            lambda: not set(unwell) & {n["metadata"]["name"] for n in play.nodes()}, 40 * 60
        )
        repaired = _samples(play, "karpenter_nodeclaims_unhealthy_disrupted_total")
        assert sum(repaired.values()) == 2
        assert {labels[0] for labels in repaired} == {"KernelReady"}
