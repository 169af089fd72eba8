"""The zones that pending pods can run in."""

from __future__ import annotations

from typing import Any

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import node_pool, pod

from autoctl.controllers.provisioning.zones import FLEXIBLE, NONE, pending_by_zone
from autoctl.state.problem import provisionable_pods, scheduling_problem

ZONE = "topology.kubernetes.io/zone"
A, B = "test-zone-1", "test-zone-2"


def claim(name: str, volume: str | None = None, storage_class: str = "gp3") -> dict[str, Any]:
    bound = {"volumeName": volume} if volume else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
            **bound,
        },
        "status": {"phase": "Bound" if volume else "Pending"},
    }


def volume(name: str, zone: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": name},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }


STORAGE = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "gp3"},
    "provisioner": "ebs.csi.aws.com",
    "volumeBindingMode": "WaitForFirstConsumer",
}


def using(*claims: str, **spec: Any) -> dict[str, Any]:
    made = pod(cpu="1")
    made["spec"] |= spec
    made["spec"]["volumes"] = [
        {"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims
    ]
    return made


def affinity(*zones: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": list(zones)}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        (using(), FLEXIBLE),
        (using(nodeSelector={ZONE: A}), A),
        (using(nodeSelector={ZONE: "us-west-2z"}), NONE),
        (using(**affinity(A, B)), FLEXIBLE),
        (using(**affinity(A, "us-west-2z")), A),
        (using("free"), FLEXIBLE),
        (using("in-a"), A),
        (using("in-a", nodeSelector={ZONE: B}), NONE),
        (using("in-a", "in-b"), NONE),
        (using("in-a", **affinity(A, B)), A),
        (using("missing"), NONE),
    ],
)
def test_a_pods_zone(waiting: dict[str, Any], expected: str) -> None:
    snapshot = snapshot_of_objects(
        node_pool("general"),
        STORAGE,
        claim("free"),
        claim("in-a", "pv-a"),
        claim("in-b", "pv-b"),
        volume("pv-a", A),
        volume("pv-b", B),
        waiting,
    )
    pods = provisionable_pods(snapshot)
    assert len(pods) == 1
    problem = scheduling_problem(snapshot, pods)
    assert pending_by_zone(problem, pods) == {expected: 1}
