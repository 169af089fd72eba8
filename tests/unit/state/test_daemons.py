"""Which pod stands for a DaemonSet, and what is changed on it."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.ports.clock import FixedClock
from autoctl.ports.kubernetes import DAEMON_SETS, PODS, EventType
from autoctl.scheduling.templates import template_of
from autoctl.state.cluster import ClusterState
from autoctl.state.daemons import NewestPods, representatives
from autoctl.state.snapshot import Snapshot

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
GENERATION = "deprecated.daemonset.template.generation"


def terms(key: str, *, fields: bool = False) -> dict[str, Any]:
    kind = "matchFields" if fields else "matchExpressions"
    return {"nodeSelectorTerms": [{kind: [{"key": key, "operator": "In", "values": ["a"]}]}]}


PINNED = terms("metadata.name", fields=True)
IN_ZONE = terms("topology.kubernetes.io/zone")
WISH = [{"weight": 1, "preference": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}]


def spec(cpu: str, node_affinity: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    affinity = {} if node_affinity is None else {"affinity": {"nodeAffinity": node_affinity}}
    return {"containers": [{"resources": {"requests": {"cpu": cpu}}}], **affinity, **more}


def daemon_set(
    node_affinity: dict[str, Any] | None = None, *, generation: str | None = None, **metadata: Any
) -> core.DaemonSet:
    noted = {"annotations": {GENERATION: generation}} if generation else {}
    return msgspec.convert(
        {
            "metadata": {"name": "agent", "namespace": "n", "uid": "ds", **noted, **metadata},
            "spec": {"template": {"spec": spec("1", node_affinity)}},
        },
        core.DaemonSet,
    )


def pod(
    name: str,
    cpu: str,
    created: datetime | None = NOW,
    *,
    owner: dict[str, Any] | None = None,
    namespace: str = "n",
    phase: str = "Running",
    metadata: dict[str, Any] | None = None,
    node_affinity: dict[str, Any] | None = None,
    **more: Any,
) -> core.Pod:
    ours = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "ds"}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"{namespace}/{name}",
                "creationTimestamp": created,
                "ownerReferences": [{**ours, "controller": True, **(owner or {})}],
                **(metadata or {}),
            },
            "spec": spec(cpu, node_affinity or {REQUIRED: PINNED}, nodeName="a", **more),
            "status": {"phase": phase},
        },
        core.Pod,
    )


def representative(daemons: core.DaemonSet, pods: Iterable[core.Pod]) -> core.Pod:
    (found,) = representatives([daemons], NewestPods(pods).of)
    return found


def cpu_of(found: core.Pod) -> int:
    return template_of(found).requests["cpu"] // 1000


@pytest.mark.parametrize(
    ("pods", "cpu"),
    [
        pytest.param([], 1, id="the template where there is none"),
        pytest.param([pod("a", "2")], 2, id="a real pod"),
        pytest.param([pod("a", "2"), pod("b", "3", LATER), pod("c", "4")], 3, id="the newest"),
        pytest.param([pod("b", "2"), pod("c", "3"), pod("a", "4")], 3, id="names decide ties"),
        pytest.param([pod("b", "2", None), pod("a", "3")], 3, id="an unknown age is the oldest"),
        pytest.param([pod("a", "2"), pod("b", "3", LATER, phase="Failed")], 2, id="not an ended"),
        pytest.param([pod("a", "2", phase="Succeeded")], 1, id="only ended ones"),
        pytest.param([pod("a", "2", phase="Pending")], 2, id="one that waits"),
        pytest.param([pod("a", "2", metadata={"deletionTimestamp": NOW})], 2, id="one that goes"),
        pytest.param([pod("a", "2", owner={"controller": None})], 1, id="owned, not controlled"),
        pytest.param([pod("a", "2", owner={"uid": "before"})], 1, id="of one of the same name"),
        pytest.param([pod("a", "2", owner={"name": "other"})], 1, id="of another DaemonSet"),
        pytest.param([pod("a", "2", owner={"kind": "ReplicaSet"})], 1, id="of another kind"),
        pytest.param([pod("a", "2", namespace="m")], 1, id="in another namespace"),
    ],
)
def test_who_stands_for_a_daemonset(pods: list[core.Pod], cpu: int) -> None:
    assert cpu_of(representative(daemon_set(), pods)) == cpu
    assert cpu_of(representative(daemon_set(), reversed(pods))) == cpu


@pytest.mark.parametrize(
    ("now", "then", "cpu"), [("2", "1", 1), ("2", "2", 2), (None, "1", 2), ("2", None, 2)]
)
def test_a_pod_of_an_older_template_does_not(now: str | None, then: str | None, cpu: int) -> None:
    labels = {"labels": {"pod-template-generation": then}} if then else {}
    mine = daemon_set(generation=now)
    assert cpu_of(representative(mine, [pod("a", "2", metadata=labels)])) == cpu


def test_who_it_is_does_not_depend_on_the_pod() -> None:
    mine = daemon_set()
    found = representative(mine, [pod("a", "2")])
    assert found.metadata == representative(mine, []).metadata
    assert found.spec.node_name is None
    assert representatives([daemon_set(deletionTimestamp=NOW)], NewestPods().of) == ()


@pytest.mark.parametrize(
    ("template", "real", "expected"),
    [
        pytest.param(None, {REQUIRED: PINNED}, None, id="none"),
        pytest.param({REQUIRED: IN_ZONE}, {REQUIRED: PINNED}, {REQUIRED: IN_ZONE}, id="a zone"),
        pytest.param(
            {REQUIRED: IN_ZONE},
            {REQUIRED: PINNED, PREFERRED: WISH},
            {REQUIRED: IN_ZONE, PREFERRED: WISH},
            id="with a preference of the pod's",
        ),
        pytest.param(
            None, {REQUIRED: PINNED, PREFERRED: WISH}, {PREFERRED: WISH}, id="a preference alone"
        ),
        pytest.param({REQUIRED: IN_ZONE}, {}, {REQUIRED: IN_ZONE}, id="a pod without"),
    ],
)
def test_the_required_node_affinity_is_the_templates(
    template: dict[str, Any] | None, real: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    found = representative(daemon_set(template), [pod("a", "1", node_affinity=real or {"x": 1})])
    affinity = found.spec.affinity
    assert (None if affinity is None else affinity.node_affinity) == (
        None if expected is None else msgspec.convert(expected, core.NodeAffinity)
    )


def test_the_affinity_between_pods_stays() -> None:
    away = {"podAntiAffinity": {REQUIRED: [{"topologyKey": "kubernetes.io/hostname"}]}}
    real = pod("a", "1")
    affinity = msgspec.convert(
        {"nodeAffinity": {REQUIRED: PINNED}, **away},
        core.Affinity,
    )
    real = msgspec.structs.replace(real, spec=msgspec.structs.replace(real.spec, affinity=affinity))
    found = representative(daemon_set(), [real])
    assert found.spec.affinity == msgspec.convert(away, core.Affinity)


def test_pods_that_admission_left_alone_are_one_template_wherever_they_run() -> None:
    mine = daemon_set()
    one, other = (
        msgspec.structs.replace(
            representative(mine, [pod(name, "1", node_affinity={REQUIRED: terms(name)})]),
            status=core.PodStatus(phase="Running"),
        )
        for name in ("a", "b")
    )
    assert template_of(one) is template_of(other) is template_of(representative(mine, []))


def told(state: ClusterState) -> list[int]:
    return [cpu_of(p) for p in state.snapshot().daemons]


def mirror() -> ClusterState:
    api: Any = None
    return ClusterState(api, FixedClock(NOW), rng=random.Random(1))


def test_the_mirror_tells_the_newest_pod_as_it_is_now() -> None:
    state = mirror()
    pods, sets = (state.reflectors()[r]._apply for r in (PODS, DAEMON_SETS))
    pods(EventType.ADDED, pod("a", "2"))
    assert told(state) == []
    sets(EventType.ADDED, daemon_set())
    assert told(state) == [2]
    pods(EventType.ADDED, pod("b", "3", LATER))
    assert told(state) == [3]
    pods(EventType.MODIFIED, pod("b", "4", LATER))
    assert told(state) == [4], "resized"
    pods(EventType.MODIFIED, pod("b", "4", LATER, phase="Failed"))
    assert told(state) == [2]
    pods(EventType.DELETED, pod("a", "2"))
    assert told(state) == [1]
    pods(EventType.ADDED, pod("c", "5", owner={"controller": None}))
    assert told(state) == [1]
    pods(EventType.MODIFIED, pod("c", "5"))
    assert told(state) == [5], "adopted"
    before = state.snapshot()
    pods(EventType.MODIFIED, pod("c", "5", owner={"controller": None}))
    assert told(state) == [1], "orphaned"
    assert [cpu_of(p) for p in before.daemons] == [5]


@pytest.mark.parametrize("seed", range(20))
def test_the_mirror_tells_what_looking_at_all_pods_would(seed: int) -> None:
    state, rng = mirror(), random.Random(seed)
    pods = state.reflectors()[PODS]
    for uid in ("ds", "other"):
        state.reflectors()[DAEMON_SETS]._apply(EventType.ADDED, daemon_set(uid=uid, name=uid))
    for step in range(80):
        uid = rng.choice(["ds", "other"])
        made = pod(
            f"p{rng.randrange(6)}",
            str(step + 2),
            NOW + timedelta(seconds=rng.randrange(3)),
            owner={"uid": uid, "name": uid},
            phase=rng.choice(["Pending", "Running", "Running", "Failed"]),
        )
        known = pods.get(made.key)
        if known is not None and rng.random() < 0.3:
            pods._apply(EventType.DELETED, known)
        elif known is not None:
            # The same pod keeps its age; another one of the name has a UID of its own.
            age = rng.choice([known.metadata.creation_timestamp, LATER])
            uid = known.metadata.uid + ("" if age == known.metadata.creation_timestamp else "'")
            metadata = msgspec.structs.replace(made.metadata, creation_timestamp=age, uid=uid)
            pods._apply(EventType.MODIFIED, msgspec.structs.replace(made, metadata=metadata))
        else:
            pods._apply(EventType.ADDED, made)
        if rng.random() < 0.5:
            now = state.snapshot()
            plain = Snapshot(now=NOW, pods=now.pods, daemon_sets=now.daemon_sets)
            assert now.daemons == plain.daemons
