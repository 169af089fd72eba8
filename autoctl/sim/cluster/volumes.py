"""Claims and volumes as pods see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.nodematch import term_matches
from autoctl.sim.cluster.store import Store

SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
ZONE_LABELS: Final = ("topology.kubernetes.io/zone", "topology.ebs.csi.aws.com/zone")
_WITHOUT_ATTACHMENT: Final = frozenset({"efs.csi.aws.com", "s3.csi.aws.com", "fsx.csi.aws.com"})
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"


def claim_names(pod: Object) -> list[str]:
    """The claims that the pod mounts, ephemeral volumes by the name their claim gets."""
    names = []
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            names.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            names.append(f"{pod['metadata']['name']}-{volume['name']}")
    return names


def bound_volume(store: Store, claim: Object) -> Object | None:
    """The PersistentVolume that the claim is bound to."""
    name = (claim.get("spec") or {}).get("volumeName")
    if not name or (claim.get("status") or {}).get("phase") != "Bound":
        return None
    return store.get(k8s.PERSISTENT_VOLUMES, name)


def driver_of(volume: Object) -> str | None:
    """The CSI driver of a PersistentVolume."""
    csi = volume["spec"].get("csi")
    return csi["driver"] if csi else None


def attachable_driver(volume: Object) -> str | None:
    """The CSI driver, where it attaches volumes to nodes."""
    driver = driver_of(volume)
    return None if driver in _WITHOUT_ATTACHMENT else driver


def storage_class_of(store: Store, claim: Object) -> Object | None:
    """The claim's StorageClass, if it has one that exists."""
    name = claim["spec"].get("storageClassName")
    return store.get(k8s.STORAGE_CLASSES, name) if name else None


def waits_for_consumer(storage_class: Object | None) -> bool:
    """Whether claims of the class are bound only when a pod is scheduled."""
    return (
        storage_class is not None
        and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
    )


def volume_fits_node(volume: Object, labels: Mapping[str, str], name: str) -> bool:
    """The PersistentVolume's node affinity."""
    required = ((volume["spec"].get("nodeAffinity") or {}).get("required")) or {}
    terms = required.get("nodeSelectorTerms")
    return not terms or any(term_matches(term, labels, name) for term in terms)


def topology_allows(storage_class: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """The StorageClass's `allowedTopologies`: one term whose expressions all hold."""
    terms = storage_class.get("allowedTopologies")
    if not terms:
        return True
    return any(
        all(
            _label(labels, expression["key"]) in expression["values"]
            for expression in term.get("matchLabelExpressions") or ()
        )
        for term in terms
    )


def _label(labels: Mapping[str, str], key: str) -> str | None:
    """A node's label; CSI drivers' own zone keys mean the zone that the node is in."""
    if key in ZONE_LABELS and key not in labels:
        return labels.get(ZONE_LABELS[0])
    return labels.get(key)
