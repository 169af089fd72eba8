"""Everything that is in a cluster, in a form that shows whether something changed."""

from __future__ import annotations

from typing import Any

from controlplane.plane import ControlPlane

Revisions = dict[tuple[str, str, str], Any]
EVENT_SOURCE = "eks-auto-mode/compute"


def revisions(plane: ControlPlane) -> Revisions:
    """(kind, namespace, name) -> resourceVersion, of every object of every kind.

    Left out is what others write all the time: Leases of nodes and API servers, heartbeats and
    taints of nodes, events that are not autoctl's, and what goes with a namespace being deleted.
    """
    kinds = set(plane.kubectl("api-resources", "--verbs=list", "-o", "name").split())
    # Events are listed by two groups.
    items = plane.get(",".join(sorted(kinds - _NOT_LISTED)), "-A")["items"]
    going = {
        item["metadata"]["name"]
        for item in items
        if item["kind"] == "Namespace" and item["status"]["phase"] == "Terminating"
    }
    return {
        (
            f"{item['apiVersion']}/{item['kind']}",
            item["metadata"].get("namespace", ""),
            item["metadata"]["name"],
        ): _revision(item)
        for item in items
        if not _changes_by_itself(item)
        and item["metadata"].get("namespace") not in going
        and not (item["kind"] == "Namespace" and item["metadata"]["name"] in going)
    }


_NOT_LISTED = {"events.events.k8s.io", "componentstatuses"}


def _changes_by_itself(item: dict[str, Any]) -> bool:
    metadata = item["metadata"]
    if item["kind"] == "Event":
        return bool(item["source"].get("component") != EVENT_SOURCE)
    return item["kind"] == "Lease" and (
        metadata["namespace"] == "kube-node-lease" or metadata["name"].startswith("apiserver-")
    )


def _revision(item: dict[str, Any]) -> Any:
    metadata = item["metadata"]
    if item["kind"] != "Node":
        return metadata["resourceVersion"]
    fields = ("uid", "labels", "annotations", "finalizers", "deletionTimestamp")
    taints = item["spec"].get("taints", ())
    return {field: metadata.get(field) for field in fields} | {
        "unschedulable": item["spec"].get("unschedulable"),
        "taints": [t for t in taints if not t["key"].startswith("node.kubernetes.io/")],
    }
