"""Registration: the Node object that a kubelet creates when its machine has booted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.kubelet import Kubelets
from autoctl.sim.cluster.runtime import Wheel
from autoctl.sim.cluster.server import Server, owner_reference, set_condition
from autoctl.sim.cluster.store import micro_timestamp, timestamp
from autoctl.sim.cluster.timings import Timings

HEALTHY: Final = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
"""Condition types a healthy kubelet reports as False, with their reasons and messages."""


class NodeRegistrar:
    """Creates Node objects as a kubelet does when its machine has booted."""

    def __init__(self, server: Server, wheel: Wheel, timings: Timings, kubelets: Kubelets) -> None:
        self._server = server
        self._wheel = wheel
        self._timings = timings
        self._kubelets = kubelets

    def register(
        self,
        name: str,
        *,
        provider_id: str,
        capacity: Mapping[str, str],
        allocatable: Mapping[str, str],
        labels: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        taints: Sequence[Object] = (),
        csi_drivers: Mapping[str, int] | None = None,
        ready_after: float | None = None,
        architecture: str = "amd64",
    ) -> Object:
        """Create the Node (or, where it exists, revive it), its Lease and its CSINode.

        `labels` and `taints` are what the kubelet was told to register with; a taint not-ready is
        added until the Ready condition is True, `ready_after` seconds later (the default is the
        cluster's timing; infinity for never). `csi_drivers` maps driver names to attach limits.
        """
        store = self._server.store
        existing = store.get(k8s.NODES, name)
        if existing is not None:
            self._kubelets.revive(name)
            return existing
        now = timestamp(store.now())
        conditions = [
            {
                "type": type_,
                "status": "False",
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for type_, (reason, message) in HEALTHY.items()
        ]
        not_ready = {
            "type": "Ready",
            "status": "False",
            "reason": "KubeletNotReady",
            "message": "container runtime network not ready: NetworkReady=false",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        hostname = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        node = self._server.create(
            k8s.NODES,
            {
                "metadata": {
                    "name": name,
                    "labels": {**hostname, "kubernetes.io/arch": architecture, **labels},
                    "annotations": {
                        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
                        **(annotations or {}),
                    },
                },
                "spec": {"providerID": provider_id, "taints": [dict(t) for t in taints]},
                "status": {
                    "capacity": dict(capacity),
                    "allocatable": dict(allocatable),
                    "conditions": [*conditions, not_ready],
                    "addresses": [{"type": "Hostname", "address": name}],
                    "nodeInfo": {"architecture": architecture, "operatingSystem": "linux"},
                },
            },
        )
        self._create_lease(node)
        self._create_csi_node(node, csi_drivers or {})
        seconds = self._timings.node_ready if ready_after is None else ready_after
        if seconds != float("inf"):
            uid = node["metadata"]["uid"]
            self._wheel.after(seconds, partial(self._become_ready, name, uid))
        return node

    def set_condition(
        self, name: str, type_: str, status: str, *, reason: str = "", message: str = ""
    ) -> None:
        """Report a node condition, as the kubelet or a node agent does. Raises `NotFound`."""
        node = self._server.get(k8s.NODES, name)
        conditions = set_condition(
            (node.get("status") or {}).get("conditions"),
            type_,
            status,
            now=self._server.store.now(),
            reason=reason,
            message=message,
        )
        self._server.mutate(k8s.NODES, node, status={"conditions": conditions})

    def _become_ready(self, name: str, uid: str) -> None:
        node = self._server.store.get(k8s.NODES, name)
        if node is None or node["metadata"]["uid"] != uid or self._kubelets.is_silent(name):
            return
        self.set_condition(
            name,
            "Ready",
            "True",
            reason="KubeletReady",
            message="kubelet is posting ready status",
        )

    def _create_lease(self, node: Object) -> None:
        name = node["metadata"]["name"]
        if self._server.store.get(k8s.LEASES, name, "kube-node-lease") is not None:
            return
        owner = owner_reference(k8s.NODES, node)
        self._server.create(
            k8s.LEASES,
            {
                "metadata": {"name": name, "ownerReferences": [_plain(owner)]},
                "spec": {
                    "holderIdentity": name,
                    "leaseDurationSeconds": 40,
                    "renewTime": micro_timestamp(self._server.store.now()),
                },
            },
            "kube-node-lease",
        )

    def _create_csi_node(self, node: Object, drivers: Mapping[str, int]) -> None:
        name = node["metadata"]["name"]
        if self._server.store.get(k8s.CSI_NODES, name) is not None:
            return
        self._server.create(
            k8s.CSI_NODES,
            {
                "metadata": {
                    "name": name,
                    "ownerReferences": [_plain(owner_reference(k8s.NODES, node))],
                },
                "spec": {
                    "drivers": [
                        {
                            "name": driver,
                            "nodeID": node["spec"]["providerID"].rpartition("/")[2],
                            "topologyKeys": ["topology.kubernetes.io/zone"],
                            "allocatable": {"count": limit},
                        }
                        for driver, limit in drivers.items()
                    ]
                },
            },
        )


def _plain(owner: Object) -> Object:
    return {k: v for k, v in owner.items() if k not in ("controller", "blockOwnerDeletion")}
