"""Volumes through `solve`: zones, attach limits, claims that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from scheduling_worlds import ZONE, answer, domains, fake_type, make_pod, many, node, pool, spread

from autoctl.api import core
from autoctl.scheduling.problem import Volumes

DRIVER = "ebs.csi.eks.amazonaws.com"
BOUND = {"pv.kubernetes.io/bind-completed": "yes"}


def claim(name: str, **spec: Any) -> core.PersistentVolumeClaim:
    metadata = {"name": name, "namespace": "default", **spec.pop("metadata", {})}
    status = spec.pop("status", {})
    return msgspec.convert(
        {"metadata": metadata, "spec": spec, "status": status}, core.PersistentVolumeClaim
    )


def volume(name: str, *zones: str, **spec: Any) -> core.PersistentVolume:
    terms = [
        {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]} for zone in zones
    ]
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "spec": {
                "csi": {"driver": DRIVER, "volumeHandle": name},
                "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
                **spec,
            },
        },
        core.PersistentVolume,
    )


def storage(name: str, mode: str = "WaitForFirstConsumer", **more: Any) -> core.StorageClass:
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "provisioner": DRIVER,
            "volumeBindingMode": mode,
            **more,
        },
        core.StorageClass,
    )


def volumes(
    claims: list[core.PersistentVolumeClaim],
    persistent: list[core.PersistentVolume] | None = None,
    classes: list[core.StorageClass] | None = None,
) -> Volumes:
    return Volumes(
        claims={f"default/{c.metadata.name}": c for c in claims},
        volumes={v.metadata.name: v for v in persistent or []},
        classes={s.metadata.name: s for s in classes or []},
    )


def uses(*claims: str) -> dict[str, Any]:
    return {
        "volumes": [
            {"name": f"v{i}", "persistentVolumeClaim": {"claimName": c}}
            for i, c in enumerate(claims)
        ]
    }


def bound(name: str, persistent: str) -> core.PersistentVolumeClaim:
    return claim(name, volumeName=persistent, metadata={"annotations": BOUND})


def test_a_bound_volume_decides_the_zone() -> None:
    world = volumes([bound("data", "pv")], [volume("pv", "test-zone-3")])
    solution = answer([make_pod("p", **uses("data"))], volumes=world)
    assert domains(solution) == {"test-zone-3": 1}


def test_volumes_in_two_zones_cannot_meet() -> None:
    world = volumes(
        [bound("a", "pv-a"), bound("b", "pv-b")],
        [volume("pv-a", "test-zone-1"), volume("pv-b", "test-zone-2")],
    )
    solution = answer([make_pod("p", **uses("a", "b"))], volumes=world)
    assert "cannot be reached" in solution.unschedulable["default/p"].reason


def test_the_storage_class_decides_for_claims_that_wait() -> None:
    allowed = [
        {
            "matchLabelExpressions": [
                {"key": "topology.ebs.csi.eks.amazonaws.com/zone", "values": [z]}
            ]
        }
        for z in ("test-zone-2", "test-zone-9")
    ]
    world = volumes(
        [claim("data", storageClassName="gp3")], classes=[storage("gp3", allowedTopologies=allowed)]
    )
    solution = answer([make_pod("p", **uses("data"))], volumes=world)
    assert solution.new_nodes[0].offer.zone == "test-zone-2"


def test_volume_zones_and_spread() -> None:
    web = {"app": "web"}
    old = [
        node(f"n{z}", f"test-zone-{z}", allocatable={}, pods=(make_pod(f"o{z}", labels=web),))
        for z in (1, 2, 3)
    ]
    world = volumes([bound("data", "pv")], [volume("pv", "test-zone-1")])
    pod = make_pod("p", labels=web, **uses("data"), **spread(ZONE, minDomains=3))
    solution = answer([pod], nodes=old, volumes=world)
    assert domains(solution) == {"test-zone-1": 1}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "not found"),
        (claim("data"), "no storage class"),
        (claim("data", storageClassName="now"), "binds immediately"),
        (claim("data", storageClassName="none"), '"none" of claim "data" not found'),
        (claim("data", storageClassName="gp3", status={"phase": "Lost"}), "lost its volume"),
        (
            claim(
                "data",
                storageClassName="gp3",
                metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"},
            ),
            "is being deleted",
        ),
        (claim("data", volumeName="pv"), "is not bound to it yet"),
        (bound("data", "gone"), 'persistentvolume "gone"'),
    ],
)
def test_claims_that_cannot_be_used(given: core.PersistentVolumeClaim | None, reason: str) -> None:
    world = volumes(
        [given] if given else [],
        [volume("pv", "test-zone-1")],
        [storage("gp3"), storage("now", "Immediate")],
    )
    solution = answer([make_pod("p", **uses("data")), make_pod("fine")], volumes=world)
    assert list(solution.unschedulable) == ["default/p"]
    assert reason in solution.unschedulable["default/p"].reason


def waiting(number: int, each: int) -> tuple[list[core.Pod], Volumes]:
    names = [f"c{i}-{j}" for i in range(number) for j in range(each)]
    pods = [make_pod(f"p{i}", **uses(*(f"c{i}-{j}" for j in range(each)))) for i in range(number)]
    return pods, volumes(
        [claim(n, storageClassName="gp3") for n in names], classes=[storage("gp3")]
    )


def test_a_node_attaches_no_more_than_its_limit() -> None:
    pods, world = waiting(6, 2)
    roomy = {"cpu": 8000, "memory": 2**34, "pods": 50}
    limited = node("n", allocatable=roomy, csi_limits={DRIVER: 10})
    solution = answer(pods, nodes=[limited], volumes=world)
    assert len(solution.placements) == 5
    assert len(solution.new_nodes) == 1


def test_new_nodes_attach_no_more_than_their_type_does() -> None:
    pods, world = waiting(6, 2)
    kind = fake_type("t", 8, 8, pods=50)
    attachable = {**kind.capacity, f"attachable-volumes-csi-{DRIVER}": 10}
    limited = replace(kind, capacity=attachable)
    assert len(answer(pods, pool(types=(kind,)), volumes=world).new_nodes) == 1
    assert len(answer(pods, pool(types=(limited,)), volumes=world).new_nodes) == 2


def test_a_shared_volume_is_attached_once() -> None:
    world = volumes([bound("shared", "pv")], [volume("pv", "test-zone-1")])
    pods = many(100, cpu="1m", memory="1Mi", **uses("shared"))
    roomy = fake_type("roomy", 8, 8, pods=1024)
    assert len(answer(pods, pool(types=(roomy,)), volumes=world).new_nodes) == 1
    limited = node(
        "n", allocatable={"cpu": 8000, "memory": 2**34, "pods": 200}, csi_limits={DRIVER: 1}
    )
    assert len(answer(pods, nodes=[limited], volumes=world).placements) == 100


def test_ephemeral_volumes_count_by_their_template() -> None:
    spec = {"storageClassName": "gp3"}
    volume_spec = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}]
    pods = many(3, volumes=volume_spec)
    limited = node("n", csi_limits={DRIVER: 2})
    solution = answer(pods, nodes=[limited], volumes=volumes([], classes=[storage("gp3")]))
    assert len(solution.placements) == 2
