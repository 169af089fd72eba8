"""The provisioner of volumes beside KWOK, on a control plane that only remembers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from controlplane.plane import CommandError
from controlplane.volumes import (
    CLASS,
    DRIVER,
    SELECTED_NODE,
    ZONE,
    VolumeProvisioner,
    is_released,
    storage_class,
)

NODES = [
    {"metadata": {"name": "n1", "labels": {ZONE: "us-west-2b"}}},
    {"metadata": {"name": "bare", "labels": {}}},
]


def claim(name: str, node: str | None = "n1", **changes: Any) -> dict[str, Any]:
    marks = {} if node is None else {SELECTED_NODE: node}
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}", "annotations": marks},
        "spec": {
            "storageClassName": changes.get("storage_class", CLASS),
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "8Gi"}},
        },
        "status": {"phase": changes.get("phase", "Pending")},
    }


def volume(name: str, phase: str, label: str = DRIVER) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"provisioner": label}}
    return {"kind": "PersistentVolume", "metadata": metadata, "status": {"phase": phase}}


class Plane:
    """Answers `get`, remembers the rest; fails as often as it is told to first."""

    def __init__(self, *found: dict[str, Any], failures: int = 0) -> None:
        self.found = list(found)
        self.failures = failures
        self.applied: list[Mapping[str, Any]] = []
        self.commands: list[tuple[str, ...]] = []
        self.provisioned = threading.Event()

    def get(self, *arguments: str) -> Any:
        if self.failures:
            self.failures -= 1
            raise CommandError("the server is busy")
        return {"items": NODES if arguments == ("nodes",) else self.found}

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.applied += objects
        if any(o["kind"] == "PersistentVolume" for o in objects):
            self.provisioned.set()
        # As the volume controller of a real control plane would bind them.
        names = {o.get("spec", {}).get("claimRef", {}).get("name") for o in objects}
        self.found = [o for o in self.found if o["metadata"]["name"] not in names]

    def kubectl(self, *arguments: str) -> str:
        self.commands.append(arguments)
        self.found = [o for o in self.found if o["metadata"]["name"] not in arguments]
        return ""


def serve(plane: Any, turns: int = 1) -> None:
    provisioner = VolumeProvisioner(plane)
    for _ in range(turns):
        provisioner._look()


def test_claims_that_have_a_node_get_a_volume_in_its_zone() -> None:
    plane = Plane(
        claim("data"),
        claim("early", None),
        claim("other", storage_class="fast"),
        claim("bound", phase="Bound"),
        claim("nowhere", "bare"),
        claim("gone", "n9"),
    )
    serve(plane)
    (made,) = plane.applied
    assert made["metadata"]["name"] == "pvc-u-data"
    spec = made["spec"]
    assert spec["capacity"] == {"storage": "8Gi"}
    assert spec["claimRef"] | {"apiVersion": "v1"} == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "shop",
        "name": "data",
        "uid": "u-data",
    }
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": ZONE, "operator": "In", "values": ["us-west-2b"]}]
    assert plane.commands == []


def test_volumes_go_with_their_claims() -> None:
    released = volume("pvc-1", "Released")
    plane = Plane(released, volume("pvc-2", "Bound"), volume("mine", "Released", "somebody"))
    assert is_released(released)
    serve(plane, 2)
    assert plane.commands == [("delete", "pv", "pvc-1", "--wait=false")]


def test_what_never_started_can_be_stopped() -> None:
    plane: Any = Plane()
    VolumeProvisioner(plane).stop()
    assert plane.applied == []


def test_a_busy_server_is_asked_again_and_the_class_is_there() -> None:
    plane: Any = Plane(claim("data"), failures=2)
    provisioner = VolumeProvisioner(plane, default=True, seconds=0.001)
    provisioner.start()
    assert plane.provisioned.wait(30)
    provisioner.stop()
    assert plane.applied[0] == storage_class(default=True)
    marks = plane.applied[0]["metadata"]["annotations"]
    assert marks == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert plane.applied[1]["kind"] == "PersistentVolume"
