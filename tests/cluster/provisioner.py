"""A provisioner of volumes, as a CSI driver brings one: KWOK has none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from controlplane.plane import ControlPlane

DRIVER = "ebs.csi.eks.amazonaws.com"
ZONE = "topology.kubernetes.io/zone"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "auto-ebs"},
    "provisioner": DRIVER,
    "volumeBindingMode": "WaitForFirstConsumer",
    "parameters": {"type": "gp3", "encrypted": "true"},
}
"""As EKS documents it for the block storage of Auto Mode."""


@contextmanager
def provisioning(plane: ControlPlane) -> Iterator[None]:
    """The StorageClass, and a volume for each claim of it that kube-scheduler chose a node for.

    The volumes are deleted at the end.
    """
    plane.apply(STORAGE_CLASS)
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.5):
            _provision(plane)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield
        finally:
            stop.set()
        working.result()
    plane.kubectl("delete", "pv", "-l", f"provisioner={DRIVER}", "--wait=false")
    plane.kubectl("delete", "storageclass", "auto-ebs")


def _provision(plane: ControlPlane) -> None:
    claims = [
        claim
        for claim in plane.get("pvc", "-A")["items"]
        if claim["status"]["phase"] == "Pending"
        and claim["spec"].get("storageClassName") == "auto-ebs"
        and SELECTED_NODE in claim["metadata"].get("annotations", {})
    ]
    if not claims:
        return
    zones = {
        node["metadata"]["name"]: node["metadata"]["labels"][ZONE]
        for node in plane.get("nodes")["items"]
    }
    for claim in claims:
        node = claim["metadata"]["annotations"][SELECTED_NODE]
        if node in zones:
            plane.apply(_volume(claim, zones[node]))


def _volume(claim: dict[str, Any], zone: str) -> dict[str, Any]:
    metadata = claim["metadata"]
    name = f"pvc-{metadata['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": {"provisioner": DRIVER},
            "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
        },
        "spec": {
            "storageClassName": "auto-ebs",
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": "Retain",
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
