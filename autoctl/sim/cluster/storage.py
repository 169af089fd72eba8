"""Volumes: binding and provisioning of claims, attachment to nodes and detachment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster import volumes
from autoctl.sim.cluster.runtime import Controller, Wheel
from autoctl.sim.cluster.server import Server
from autoctl.sim.cluster.store import Key, key_of
from autoctl.sim.cluster.timings import Timings

_GIB_DEFAULT = "1Gi"


class VolumeBinder(Controller[Key]):
    """Makes claims Bound: to a volume that is there, or to one it provisions.

    Claims of a WaitForFirstConsumer class wait for the scheduler's `selected-node` annotation; a
    provisioned volume is held to the node's zone. Also makes the claims of ephemeral volumes, and
    deletes volumes whose claim is gone where the reclaim policy says so. Sizes of volumes that
    exist are not compared. Keys are claims.
    """

    def __init__(self, server: Server, wheel: Wheel, timings: Timings) -> None:
        super().__init__(server, wheel, timings)
        self._provisioning: set[str] = set()

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.PERSISTENT_VOLUME_CLAIMS, self._claim_changed)
        self.store.subscribe(k8s.PERSISTENT_VOLUMES, self._volume_changed)
        self.store.subscribe(k8s.STORAGE_CLASSES, self._class_changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        for claim in list(self.store.objects(k8s.PERSISTENT_VOLUME_CLAIMS)):
            self.enqueue(key_of(claim))

    def _claim_changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None:
            if (after.get("status") or {}).get("phase") != "Bound":
                self.enqueue(key_of(after))
        elif before is not None:
            self._release(before)

    def _volume_changed(self, before: Object | None, after: Object | None) -> None:
        reference = (after or {}).get("spec", {}).get("claimRef")
        if before is None and reference:
            self.enqueue((reference["namespace"], reference["name"]))
        elif before is None:
            self._class_changed(None, after)

    def _class_changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None:
            for claim in list(self.store.objects(k8s.PERSISTENT_VOLUME_CLAIMS)):
                if (claim.get("status") or {}).get("phase") != "Bound":
                    self.enqueue(key_of(claim))

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        if before is not None or after is None:
            return
        metadata = after["metadata"]
        if self.store.by_uid(metadata["uid"]) is None:
            return
        for volume in after["spec"].get("volumes") or ():
            if "ephemeral" not in volume:
                continue
            name = f"{metadata['name']}-{volume['name']}"
            namespace = metadata["namespace"]
            if self.store.get(k8s.PERSISTENT_VOLUME_CLAIMS, name, namespace) is not None:
                continue
            template = volume["ephemeral"]["volumeClaimTemplate"]
            owner = {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "uid": metadata["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
            self.server.create(
                k8s.PERSISTENT_VOLUME_CLAIMS,
                {
                    "metadata": {
                        **(template.get("metadata") or {}),
                        "name": name,
                        "ownerReferences": [owner],
                    },
                    "spec": template["spec"],
                },
                namespace,
            )

    def reconcile(self, key: Key) -> None:
        """See `Controller.reconcile`."""
        claim = self.store.get(k8s.PERSISTENT_VOLUME_CLAIMS, key[1], key[0])
        if claim is None or (claim.get("status") or {}).get("phase") == "Bound":
            return
        storage_class = volumes.storage_class_of(self.store, claim)
        annotations = claim["metadata"].get("annotations") or {}
        selected = annotations.get(volumes.SELECTED_NODE)
        undecided = not selected and not claim["spec"].get("volumeName")
        if undecided and volumes.waits_for_consumer(storage_class):
            return
        volume = self._existing(claim, selected)
        if volume is not None:
            self._bind(claim, volume)
        elif (
            storage_class is not None
            and storage_class["provisioner"] != volumes.NO_PROVISIONER
            and not claim["spec"].get("volumeName")
        ):
            uid = claim["metadata"]["uid"]
            if uid not in self._provisioning:
                self._provisioning.add(uid)
                self.wheel.after(self.timings.volume_provision, partial(self._provision, uid))

    def _existing(self, claim: Object, selected: str | None) -> Object | None:
        metadata, spec = claim["metadata"], claim["spec"]
        if spec.get("volumeName"):
            return self.store.get(k8s.PERSISTENT_VOLUMES, spec["volumeName"])
        node = self.store.get(k8s.NODES, selected) if selected else None
        for volume in self.store.objects(k8s.PERSISTENT_VOLUMES):
            reference = volume["spec"].get("claimRef")
            if reference:
                mine = (metadata["namespace"], metadata["name"])
                if (reference["namespace"], reference["name"]) == mine and reference.get(
                    "uid", metadata["uid"]
                ) == metadata["uid"]:
                    return volume
                continue
            if (volume["spec"].get("storageClassName") or "") != (
                spec.get("storageClassName") or ""
            ):
                continue
            if node is None or volumes.volume_fits_node(
                volume, node["metadata"].get("labels") or {}, node["metadata"]["name"]
            ):
                return volume
        return None

    def _provision(self, uid: str) -> None:
        self._provisioning.discard(uid)
        found = self.store.by_uid(uid)
        if found is None or found[1]["metadata"].get("deletionTimestamp"):
            return
        claim = found[1]
        storage_class = volumes.storage_class_of(self.store, claim)
        if storage_class is None or claim["spec"].get("volumeName"):
            return
        annotations = claim["metadata"].get("annotations") or {}
        selected = annotations.get(volumes.SELECTED_NODE)
        node = self.store.get(k8s.NODES, selected) if selected else None
        if selected and node is None:
            # The node went away meanwhile: the claim is the scheduler's again.
            left = {k: v for k, v in annotations.items() if k != volumes.SELECTED_NODE}
            self.server.mutate(k8s.PERSISTENT_VOLUME_CLAIMS, claim, metadata={"annotations": left})
            return
        zone = self._zone(storage_class, node)
        handle = hashlib.sha256(uid.encode()).hexdigest()[:17]
        requests = (claim["spec"].get("resources") or {}).get("requests") or {}
        spec: Object = {
            "capacity": {"storage": requests.get("storage", _GIB_DEFAULT)},
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": storage_class["metadata"]["name"],
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "csi": {"driver": storage_class["provisioner"], "volumeHandle": f"vol-{handle}"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim["metadata"]["namespace"],
                "name": claim["metadata"]["name"],
                "uid": uid,
            },
        }
        if zone:
            expression = {"key": volumes.ZONE_LABELS[0], "operator": "In", "values": [zone]}
            spec["nodeAffinity"] = {
                "required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
            }
        volume = self.server.create(
            k8s.PERSISTENT_VOLUMES,
            {
                "metadata": {
                    "name": f"pvc-{uid}",
                    "annotations": {
                        "pv.kubernetes.io/provisioned-by": storage_class["provisioner"]
                    },
                },
                "spec": spec,
                "status": {"phase": "Available"},
            },
        )
        self._bind(claim, volume)

    def _zone(self, storage_class: Object, node: Object | None) -> str:
        if node is not None:
            return str((node["metadata"].get("labels") or {}).get(volumes.ZONE_LABELS[0], ""))
        for term in storage_class.get("allowedTopologies") or ():
            for expression in term.get("matchLabelExpressions") or ():
                if expression["key"] in volumes.ZONE_LABELS:
                    return str(expression["values"][0])
        zones = sorted(
            {
                zone
                for n in self.store.objects(k8s.NODES)
                if (zone := (n["metadata"].get("labels") or {}).get(volumes.ZONE_LABELS[0]))
            }
        )
        return zones[0] if zones else ""

    def _bind(self, claim: Object, volume: Object) -> None:
        metadata = claim["metadata"]
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        self.server.mutate(
            k8s.PERSISTENT_VOLUMES, volume, spec={"claimRef": reference}, status={"phase": "Bound"}
        )
        self.server.mutate(
            k8s.PERSISTENT_VOLUME_CLAIMS,
            claim,
            spec={"volumeName": volume["metadata"]["name"]},
            status={"phase": "Bound", "capacity": volume["spec"].get("capacity") or {}},
        )

    def _release(self, claim: Object) -> None:
        name = claim["spec"].get("volumeName")
        volume = self.store.get(k8s.PERSISTENT_VOLUMES, name) if name else None
        if volume is None:
            return
        if volume["spec"].get("persistentVolumeReclaimPolicy", "Retain") == "Delete":
            self.server.delete(k8s.PERSISTENT_VOLUMES, volume["metadata"]["name"])
        else:
            self.server.mutate(k8s.PERSISTENT_VOLUMES, volume, status={"phase": "Released"})


class AttachDetach(Controller[str]):
    """Attaches CSI volumes to the nodes of the pods that use them, and detaches afterwards.

    A volume that only one node may mount waits until it is detached elsewhere. Keys are names of
    PersistentVolumes. `is_silent` tells whether a node's kubelet cannot unmount any more.
    """

    def __init__(
        self, server: Server, wheel: Wheel, timings: Timings, is_silent: Callable[[str], bool]
    ) -> None:
        super().__init__(server, wheel, timings)
        self._is_silent = is_silent
        self._users: dict[Key, dict[Key, None]] = {}
        self._attachments: dict[str, dict[str, str]] = {}
        self._detaching: set[str] = set()

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.VOLUME_ATTACHMENTS, self._attachment_changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        self.store.subscribe(k8s.PERSISTENT_VOLUME_CLAIMS, self._claim_changed)
        for attachment in list(self.store.objects(k8s.VOLUME_ATTACHMENTS)):
            self._attachment_changed(None, attachment)
        for pod in list(self.store.objects(k8s.PODS)):
            self._pod_changed(None, pod)

    def pod_may_start(self, pod: Object) -> bool:
        """Whether every claim of the pod is bound and its volume attached to the pod's node."""
        node, namespace = pod["spec"]["nodeName"], pod["metadata"]["namespace"]
        for name in volumes.claim_names(pod):
            claim = self.store.get(k8s.PERSISTENT_VOLUME_CLAIMS, name, namespace)
            volume = None if claim is None else volumes.bound_volume(self.store, claim)
            if volume is None:
                return False
            if volumes.attachable_driver(volume) is None:
                continue
            attachment = self.store.get(k8s.VOLUME_ATTACHMENTS, _attachment_name(volume, node))
            if attachment is None or not (attachment.get("status") or {}).get("attached"):
                return False
        return True

    def _attachment_changed(self, before: Object | None, after: Object | None) -> None:
        found = after or before
        assert found is not None
        spec = found["spec"]
        volume = spec["source"].get("persistentVolumeName")
        if not volume:
            return
        known = self._attachments.setdefault(volume, {})
        if after is None:
            known.pop(found["metadata"]["name"], None)
        else:
            known[found["metadata"]["name"]] = spec["nodeName"]
        self.enqueue(volume)

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        pod = after or before
        assert pod is not None
        if not pod["spec"].get("volumes"):
            return
        namespace = pod["metadata"]["namespace"]
        for name in volumes.claim_names(pod):
            users = self._users.setdefault((namespace, name), {})
            if after is None:
                users.pop(key_of(pod), None)
            else:
                users[key_of(pod)] = None
            self._enqueue_claim((namespace, name))

    def _claim_changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None:
            self._enqueue_claim(key_of(after))

    def _enqueue_claim(self, key: Key) -> None:
        claim = self.store.get(k8s.PERSISTENT_VOLUME_CLAIMS, key[1], key[0])
        if claim is not None and claim["spec"].get("volumeName"):
            self.enqueue(claim["spec"]["volumeName"])

    def reconcile(self, key: str) -> None:
        """See `Controller.reconcile`."""
        volume = self.store.get(k8s.PERSISTENT_VOLUMES, key)
        wanted = {} if volume is None else self._wanted_nodes(volume)
        attached = self._attachments.get(key, {})
        for name, node in list(attached.items()):
            if node not in wanted and name not in self._detaching:
                self._detaching.add(name)
                silent = self._is_silent(node) and self.store.get(k8s.NODES, node) is not None
                seconds = self.timings.volume_force_detach if silent else self.timings.volume_detach
                self.wheel.after(seconds, partial(self._detach, key, name))
        if volume is None or volumes.attachable_driver(volume) is None:
            return
        many = {"ReadWriteMany", "ReadOnlyMany"} & set(volume["spec"].get("accessModes") or ())
        for node in wanted:
            name = _attachment_name(volume, node)
            if name in attached or (attached and not many):
                continue
            self._attach(volume, node, name)

    def _wanted_nodes(self, volume: Object) -> dict[str, None]:
        reference = volume["spec"].get("claimRef")
        if not reference:
            return {}
        nodes: dict[str, None] = {}
        for namespace, name in self._users.get((reference["namespace"], reference["name"]), {}):
            pod = self.store.get(k8s.PODS, name, namespace)
            if pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                continue
            node = pod["spec"].get("nodeName")
            if node and self.store.get(k8s.NODES, node) is not None:
                nodes[node] = None
        return nodes

    def _attach(self, volume: Object, node: str, name: str) -> None:
        self.server.create(
            k8s.VOLUME_ATTACHMENTS,
            {
                "metadata": {"name": name},
                "spec": {
                    "attacher": volumes.driver_of(volume),
                    "nodeName": node,
                    "source": {"persistentVolumeName": volume["metadata"]["name"]},
                },
            },
        )
        self._attachments.setdefault(volume["metadata"]["name"], {})[name] = node
        self.wheel.after(self.timings.volume_attach, partial(self._attached, name))

    def _attached(self, name: str) -> None:
        attachment = self.store.get(k8s.VOLUME_ATTACHMENTS, name)
        if attachment is not None:
            self.server.mutate(k8s.VOLUME_ATTACHMENTS, attachment, status={"attached": True})

    def _detach(self, volume_name: str, name: str) -> None:
        self._detaching.discard(name)
        attachment = self.store.get(k8s.VOLUME_ATTACHMENTS, name)
        if attachment is None:
            return
        volume = self.store.get(k8s.PERSISTENT_VOLUMES, volume_name)
        if volume is None or attachment["spec"]["nodeName"] not in self._wanted_nodes(volume):
            self.server.delete(k8s.VOLUME_ATTACHMENTS, name)


def _attachment_name(volume: Object, node: str) -> str:
    """As the attach-detach controller names it: a digest of handle, driver and node."""
    csi = volume["spec"].get("csi") or {}
    text = f"{csi.get('volumeHandle')}{csi.get('driver')}{node}"
    return f"csi-{hashlib.sha256(text.encode()).hexdigest()}"
