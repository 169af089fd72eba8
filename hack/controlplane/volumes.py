"""Volumes for claims, as a CSI driver's provisioner makes them: KWOK has none.

A claim of the class gets a PersistentVolume in the zone of the node that kube-scheduler chose for
its pod, and the volume goes with the claim. There is no disk behind it, as there are no containers.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, Final

from controlplane.plane import CommandError, ControlPlane

DRIVER: Final = "ebs.csi.eks.amazonaws.com"
ZONE: Final = "topology.kubernetes.io/zone"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
CLASS: Final = "auto-ebs"
_LABEL: Final = "provisioner"


def storage_class(*, default: bool) -> dict[str, Any]:
    """The class as EKS documents it for the block storage of Auto Mode."""
    marks = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": marks},
        "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "parameters": {"type": "gp3", "encrypted": "true"},
    }


class VolumeProvisioner:
    """Looks every `seconds` for claims that wait, and for volumes whose claims are gone."""

    def __init__(self, plane: ControlPlane, *, default: bool = False, seconds: float = 0.5) -> None:
        self._plane = plane
        self._default = default
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="volumes", daemon=True)

    def start(self) -> None:
        """Make the class, and serve its claims from now on."""
        self._plane.apply(storage_class(default=self._default))
        self._thread.start()

    def stop(self) -> None:
        """Serve nobody any more; what there is stays. Does nothing before `start`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def remove(self) -> None:
        """Delete the class and its volumes, after `stop`."""
        self._plane.kubectl("delete", "pv", "-l", f"{_LABEL}={DRIVER}", "--wait=false")
        self._plane.kubectl("delete", "storageclass", CLASS)

    def _work(self) -> None:
        while not self._stop.wait(self._seconds):
            # What fails now (a conflict, an API server that is busy) is tried with the next look.
            with suppress(CommandError):
                self._look()

    def _look(self) -> None:
        found = self._plane.get("pvc,pv", "-A")["items"]
        waiting = [o for o in found if is_waiting(o)]
        released = [o["metadata"]["name"] for o in found if is_released(o)]
        if released:
            self._plane.kubectl("delete", "pv", *released, "--wait=false")
        if not waiting:
            return
        nodes = self._plane.get("nodes")["items"]
        zones = {n["metadata"]["name"]: n["metadata"]["labels"].get(ZONE) for n in nodes}
        for claim in waiting:
            zone = zones.get(claim["metadata"]["annotations"][SELECTED_NODE])
            if zone is not None:
                self._plane.apply(volume_for(claim, zone))


def is_waiting(obj: dict[str, Any]) -> bool:
    """Whether it is a claim of the class whose pod has a node, but which has no volume yet."""
    return bool(
        obj["kind"] == "PersistentVolumeClaim"
        and obj["status"]["phase"] == "Pending"
        and obj["spec"].get("storageClassName") == CLASS
        and SELECTED_NODE in obj["metadata"].get("annotations", {})
    )


def is_released(obj: dict[str, Any]) -> bool:
    """Whether it is a volume made here whose claim is gone."""
    return bool(
        obj["kind"] == "PersistentVolume"
        and obj["metadata"].get("labels", {}).get(_LABEL) == DRIVER
        and obj["status"].get("phase") == "Released"
    )


def volume_for(claim: dict[str, Any], zone: str) -> dict[str, Any]:
    """The PersistentVolume of a claim, reachable from the zone alone."""
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{metadata['uid']}",
            "labels": {_LABEL: DRIVER},
            "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
        },
        "spec": {
            "storageClassName": CLASS,
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "csi": {"driver": DRIVER, "volumeHandle": f"vol-{metadata['uid']}"},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
                    ]
                }
            },
        },
    }
