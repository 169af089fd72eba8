"""Which changes of a cluster lead to a new decision, and which cannot matter."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.api.meta import Condition
from autoctl.api.nodeclaim import CONSOLIDATABLE, DRIFTED, INSTANCE_TERMINATING
from autoctl.controllers.disruption.relevance import alike
from autoctl.simulate.bench_disrupt import make_snapshot
from autoctl.state.snapshot import Snapshot

BASE = make_snapshot(3, 3, "100%", 1)
NAME = min(BASE.nodes)
POD = min(k for k, p in BASE.pods.items() if p.spec.node_name == NAME)
POOL = BASE.node_pools["default"]


def with_pod(snapshot: Snapshot, **parts: Any) -> Snapshot:
    pod = msgspec.structs.replace(snapshot.pods[POD], **parts)
    return replace(snapshot, pods={**snapshot.pods, POD: pod})


def with_pod_metadata(snapshot: Snapshot, **fields: Any) -> Snapshot:
    metadata = msgspec.structs.replace(snapshot.pods[POD].metadata, **fields)
    return with_pod(snapshot, metadata=metadata)


def with_node(snapshot: Snapshot, part: str, **fields: Any) -> Snapshot:
    node = snapshot.nodes[NAME]
    changed = msgspec.structs.replace(getattr(node, part), **fields)
    return replace(
        snapshot,
        nodes={**snapshot.nodes, NAME: msgspec.structs.replace(node, **{part: changed})},
    )


def with_claim(snapshot: Snapshot, part: str, **fields: Any) -> Snapshot:
    claim = snapshot.node_claims[NAME]
    changed = getattr(claim, part).model_copy(update=fields)
    return replace(
        snapshot,
        node_claims={**snapshot.node_claims, NAME: claim.model_copy(update={part: changed})},
    )


def with_condition(snapshot: Snapshot, kind: str) -> Snapshot:
    kept = snapshot.node_claims[NAME].status.conditions
    made = Condition(type=kind, status="True", reason=kind, last_transition_time=snapshot.now)
    return with_claim(snapshot, "status", conditions=(*kept, made))


def with_pool_status(snapshot: Snapshot) -> Snapshot:
    status = POOL.status.model_copy(update={"nodes": 17})
    return replace(snapshot, node_pools={"default": POOL.model_copy(update={"status": status})})


def with_pool_weight(snapshot: Snapshot) -> Snapshot:
    spec = POOL.spec.model_copy(update={"weight": 7})
    return replace(snapshot, node_pools={"default": POOL.model_copy(update={"spec": spec})})


def with_new_claim(snapshot: Snapshot) -> Snapshot:
    """A NodeClaim that is being launched, and the pod that was promised its room."""
    claim = snapshot.node_claims[NAME]
    metadata = claim.metadata.model_copy(update={"name": "coming", "uid": "coming"})
    status = type(claim.status)()
    coming = claim.model_copy(update={"metadata": metadata, "status": status})
    return replace(
        snapshot,
        node_claims={**snapshot.node_claims, "coming": coming},
        nominations={"default/waiting": "coming"},
    )


def with_limits(snapshot: Snapshot) -> Snapshot:
    spec = POOL.spec.model_copy(update={"limits": {"cpu": "1000"}})
    return replace(snapshot, node_pools={"default": POOL.model_copy(update={"spec": spec})})


def with_pending_pod(snapshot: Snapshot, nominated: str | None = None) -> Snapshot:
    pod = snapshot.pods[POD]
    waiting = msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(pod.metadata, name="waiting", uid="waiting"),
        spec=msgspec.structs.replace(pod.spec, node_name=None),
        status=core.PodStatus(nominated_node_name=nominated),
    )
    return replace(snapshot, pods={**snapshot.pods, waiting.key: waiting})


def without_pod(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, pods={k: p for k, p in snapshot.pods.items() if k != POD})


def with_budget(snapshot: Snapshot) -> Snapshot:
    budget = core.PodDisruptionBudget(metadata=core.ObjectMeta(name="b", namespace="default"))
    return replace(snapshot, disruption_budgets={"default/b": budget})


def with_daemons(snapshot: Snapshot, version: str = "1", *cpu: str) -> Snapshot:
    """A DaemonSet in some state of its status, and pods of it that wait, the newest one last."""
    metadata = core.ObjectMeta(
        name="agent", namespace="default", uid="ds", resource_version=version
    )
    owner = core.OwnerReference(
        api_version="apps/v1", kind="DaemonSet", name="agent", uid="ds", controller=True
    )
    pods = [
        core.Pod(
            metadata=core.ObjectMeta(
                name=f"agent-{i}", namespace="default", uid=f"a{i}", owner_references=[owner]
            ),
            spec=core.PodSpec(
                containers=[
                    core.Container(resources=core.ResourceRequirements(requests={"cpu": each}))
                ]
            ),
        )
        for i, each in enumerate(cpu)
    ]
    return replace(
        snapshot,
        daemon_sets={"default/agent": core.DaemonSet(metadata=metadata)},
        pods={**snapshot.pods, **{p.key: p for p in pods}},
    )


RUNNING = core.PodStatus(
    phase="Running", conditions=[core.Condition(type="Ready", status="True")], start_time=BASE.now
)

NOTHING: dict[str, Callable[[Snapshot], Snapshot]] = {
    "the same": lambda s: replace(s),
    "later": lambda s: replace(s, now=s.now + timedelta(minutes=1)),
    "a pod starts to run": lambda s: with_pod(s, status=RUNNING),
    "a pod's resourceVersion": lambda s: with_pod_metadata(s, resource_version="9"),
    "a pod waits for room": with_pending_pod,
    "a heartbeat": lambda s: with_node(
        s,
        "status",
        conditions=[
            core.Condition(type="Ready", status="True", reason="KubeletReady"),
            core.Condition(type="DiskPressure", status="False"),
        ],
    ),
    "Consolidatable": lambda s: with_condition(s, CONSOLIDATABLE),
    "a NodePool's count": with_pool_status,
    "a node on its way": with_new_claim,
}

SOMETHING: dict[str, Callable[[Snapshot], Snapshot]] = {
    "a pod ends": without_pod,
    "a pod is deleted": lambda s: with_pod_metadata(s, deletion_timestamp=s.now),
    "a pod's labels": lambda s: with_pod_metadata(s, labels={"other": "label"}),
    "a pod is protected": lambda s: with_pod_metadata(
        s, annotations={"karpenter.sh/do-not-disrupt": "true"}
    ),
    "a pod is resized": lambda s: with_pod(
        s,
        status=core.PodStatus(
            phase="Running",
            container_statuses=[
                core.ContainerStatus(
                    name="load", resources=core.ResourceRequirements(requests={"cpu": "7"})
                )
            ],
        ),
    ),
    "a node is cordoned": lambda s: with_node(s, "spec", unschedulable=True),
    "a node is not ready": lambda s: with_node(s, "status", conditions=[]),
    "a node's labels": lambda s: with_node(
        s, "metadata", labels={**(s.nodes[NAME].metadata.labels or {}), "x": "y"}
    ),
    "a node is deleted": lambda s: with_node(s, "metadata", deletion_timestamp=s.now),
    "a node drifts": lambda s: with_condition(s, DRIFTED),
    "an instance ends": lambda s: with_condition(s, INSTANCE_TERMINATING),
    "a NodeClaim's annotation": lambda s: with_claim(
        s, "metadata", annotations={"karpenter.sh/do-not-disrupt": "true"}
    ),
    "a promise of room": lambda s: replace(s, nominations={"default/waiting": NAME}),
    "kube-scheduler's promise of room": lambda s: with_pending_pod(s, nominated=NAME),
    "a NodePool's spec": with_pool_weight,
    "a command": lambda s: replace(s, disrupting=frozenset({NAME})),
    "a PodDisruptionBudget": with_budget,
    "instance types": lambda s: replace(
        s, instance_types={"default": s.instance_types["default"][1:]}
    ),
}


@pytest.mark.parametrize("change", NOTHING.values(), ids=NOTHING.keys())
def test_nothing_to_disruption(change: Callable[[Snapshot], Snapshot]) -> None:
    assert alike(BASE, change(BASE))


@pytest.mark.parametrize("change", SOMETHING.values(), ids=SOMETHING.keys())
def test_something_to_disruption(change: Callable[[Snapshot], Snapshot]) -> None:
    assert not alike(BASE, change(BASE))
    assert not alike(change(BASE), BASE)


def test_a_pod_that_runs_matters_where_a_budget_counts_healthy_pods() -> None:
    budget = with_budget(BASE)
    assert not alike(budget, with_pod(budget, status=RUNNING))


def test_a_pod_that_ends_while_it_goes_matters() -> None:
    """Its node keeps it where its successor waits for it, but it takes no room there any more."""
    owner = core.OwnerReference(api_version="apps/v1", kind="StatefulSet", name="s")
    going = with_pod_metadata(BASE, deletion_timestamp=BASE.now, owner_references=[owner])
    ended = with_pod(going, status=core.PodStatus(phase="Failed"))
    assert ended.state_nodes[NAME].pods
    assert not alike(going, ended)


def test_of_daemonsets_matters_what_their_next_pod_asks_for() -> None:
    before = with_daemons(BASE, "1", "1")
    assert not alike(BASE, before)
    assert alike(before, with_daemons(BASE, "2", "1")), "the count of its pods changed"
    assert alike(before, with_daemons(BASE, "2", "1", "1")), "a newer pod is like the one before"
    assert not alike(before, with_daemons(BASE, "1", "1", "2"))


def test_a_node_on_its_way_matters_where_limits_count_it() -> None:
    limited = with_limits(BASE)
    assert not alike(limited, with_new_claim(limited))


def test_becoming_quiet_matters_and_another_pod_event_on_a_busy_node_does_not() -> None:
    disruption = POOL.spec.disruption.model_copy(update={"consolidate_after": "30s"})
    spec = POOL.spec.model_copy(update={"disruption": disruption})
    patient = replace(BASE, node_pools={"default": POOL.model_copy(update={"spec": spec})})
    busy = with_claim(patient, "status", last_pod_event_time=patient.now)
    assert not alike(patient, busy)
    later = replace(busy, now=busy.now + timedelta(seconds=20))
    busy_again = with_claim(later, "status", last_pod_event_time=later.now)
    assert alike(busy, busy_again)
    assert not alike(busy, replace(busy, now=busy.now + timedelta(seconds=30)))


def test_of_a_node_whose_instance_ends_nothing_more_matters() -> None:
    ending = without_pod(with_condition(BASE, INSTANCE_TERMINATING))
    ending = with_node(ending, "metadata", deletion_timestamp=ending.now)
    ending = replace(
        ending, pods={k: p for k, p in ending.pods.items() if p.spec.node_name != NAME}
    )
    gone = replace(
        ending,
        nodes={k: n for k, n in ending.nodes.items() if k != NAME},
        node_claims={k: c for k, c in ending.node_claims.items() if k != NAME},
    )
    assert alike(ending, gone)
