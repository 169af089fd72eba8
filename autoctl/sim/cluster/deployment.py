"""Deployments and ReplicaSets (and ReplicationControllers, which behave like the latter)."""

from __future__ import annotations

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object, Resource
from autoctl.sim.cluster import pods
from autoctl.sim.cluster.runtime import Controller, Wheel
from autoctl.sim.cluster.server import Server, controller_of, owner_reference, set_condition
from autoctl.sim.cluster.store import Key, key_of
from autoctl.sim.cluster.timings import Timings

_HASH_LABEL = "pod-template-hash"


class ReplicaSets(Controller[Key]):
    """Keeps as many active pods as `spec.replicas`.

    A pod that is being deleted is replaced at once. Pods that merely match the
    selector are not adopted.
    """

    def __init__(
        self,
        server: Server,
        wheel: Wheel,
        timings: Timings,
        resource: Resource = k8s.REPLICA_SETS,
    ) -> None:
        super().__init__(server, wheel, timings)
        self.resource = resource
        # By owner's uid: active pods, and those of them that are ready. Counted change by change,
        # because a set of ten thousand pods sees hundreds of thousands of changes.
        self._tally: dict[str, list[int]] = {}

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(self.resource, self._changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        for obj in list(self.store.objects(self.resource)):
            self.enqueue(key_of(obj))
        for pod in list(self.store.objects(k8s.PODS)):
            self._pod_changed(None, pod)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None:
            self.enqueue(key_of(after))
        elif before is not None:
            self._tally.pop(before["metadata"]["uid"], None)

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        for pod, sign in ((before, -1), (after, 1)):
            owner = None if pod is None else controller_of(pod)
            if pod is None or owner is None or owner["kind"] != self.resource.kind:
                continue
            tally = self._tally.setdefault(owner["uid"], [0, 0])
            if pods.is_active(pod):
                tally[0] += sign
                tally[1] += sign if pods.is_ready(pod) else 0
            self.enqueue((pod["metadata"]["namespace"], owner["name"]))

    def reconcile(self, key: Key) -> None:
        """See `Controller.reconcile`."""
        found = self.store.get(self.resource, key[1], key[0])
        if found is None:
            return
        active, ready = self._tally.get(found["metadata"]["uid"], (0, 0))
        if not found["metadata"].get("deletionTimestamp"):
            wanted = found["spec"].get("replicas", 1)
            for _ in range(wanted - active):
                pods.create_pod(self.server, self.resource, found, found["spec"]["template"])
            if active > wanted:
                ready -= self._delete_surplus(found, active - wanted)
            active = wanted
        self.server.mutate(
            self.resource,
            found,
            status={
                "replicas": active,
                "fullyLabeledReplicas": active,
                "readyReplicas": ready,
                "availableReplicas": ready,
                "observedGeneration": found["metadata"]["generation"],
            },
        )

    def _delete_surplus(self, owner: Object, count: int) -> int:
        """Delete `count` pods; how many of them were ready."""
        active = [p for p in pods.owned(self.store, owner, k8s.PODS) if pods.is_active(p)]
        surplus = sorted(active, key=pods.deletion_order)[:count]
        for pod in surplus:
            pods.delete_pod(self.server, pod)
        return sum(1 for pod in surplus if pods.is_ready(pod))


class Deployments(Controller[Key]):
    """Rolls ReplicaSets by maxSurge and maxUnavailable, or recreates.

    Not modelled: pausing, rollbacks, proportional scaling of a roll-out under way,
    minReadySeconds and progress deadlines.
    """

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.DEPLOYMENTS, self._changed)
        self.store.subscribe(k8s.REPLICA_SETS, self._replica_set_changed)
        for obj in list(self.store.objects(k8s.DEPLOYMENTS)):
            self.enqueue(key_of(obj))

    def _changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None:
            self.enqueue(key_of(after))

    def _replica_set_changed(self, before: Object | None, after: Object | None) -> None:
        found = after or before
        assert found is not None
        owner = controller_of(found)
        if owner is not None and owner["kind"] == "Deployment":
            self.enqueue((found["metadata"]["namespace"], owner["name"]))

    def reconcile(self, key: Key) -> None:
        """See `Controller.reconcile`."""
        found = self.store.get(k8s.DEPLOYMENTS, key[1], key[0])
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        sets = pods.owned(self.store, found, k8s.REPLICA_SETS)
        # Sets restored from a dump carry the hash that their own cluster computed.
        current = next((s for s in sets if _same_template(s, found)), None)
        old = [s for s in sets if s is not current]
        if current is None:
            recreate = found["spec"]["strategy"].get("type") == "Recreate"
            if recreate and any(_replicas(s) or _count(s, "replicas") for s in old):
                self._scale_all_down(old)
                self._write_status(found, None, old)
                return
            current = self._create(found, 0 if old else found["spec"]["replicas"])
        if not old:
            self._scale(current, found["spec"]["replicas"])
        elif found["spec"]["strategy"].get("type") == "Recreate":
            self._recreate(found, current, old)
        else:
            self._roll(found, current, old)
        self._clean_up(found, old)
        self._write_status(found, current, old)

    def _create(self, deployment: Object, replicas: int) -> Object:
        spec, metadata = deployment["spec"], deployment["metadata"]
        digest = pods.template_hash(spec["template"])
        template = spec["template"]
        labels = {**((template.get("metadata") or {}).get("labels") or {}), _HASH_LABEL: digest}
        template = {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}}
        selector = spec["selector"]
        match = {**(selector.get("matchLabels") or {}), _HASH_LABEL: digest}
        return self.server.create(
            k8s.REPLICA_SETS,
            {
                "metadata": {
                    "name": f"{metadata['name']}-{digest}",
                    "labels": labels,
                    "ownerReferences": [owner_reference(k8s.DEPLOYMENTS, deployment)],
                },
                "spec": {
                    "replicas": replicas,
                    "selector": {**selector, "matchLabels": match},
                    "template": template,
                },
            },
            metadata["namespace"],
        )

    def _recreate(self, deployment: Object, current: Object, old: list[Object]) -> None:
        self._scale_all_down(old)
        if not any(_count(s, "replicas") for s in old):
            self._scale(current, deployment["spec"]["replicas"])

    def _scale_all_down(self, sets: list[Object]) -> None:
        for replica_set in sets:
            self._scale(replica_set, 0)

    def _roll(self, deployment: Object, current: Object, old: list[Object]) -> None:
        wanted = deployment["spec"]["replicas"]
        rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
        surge = pods.resolve(rolling.get("maxSurge", "25%"), wanted, round_up=True)
        unavailable = pods.resolve(rolling.get("maxUnavailable", "25%"), wanted, round_up=False)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        total = _replicas(current) + sum(_replicas(s) for s in old)
        if _replicas(current) > wanted:
            self._scale(current, wanted)
        elif total < wanted + surge:
            room = min(wanted + surge - total, wanted - _replicas(current))
            self._scale(current, _replicas(current) + room)
        current = self.server.get(
            k8s.REPLICA_SETS, current["metadata"]["name"], current["metadata"]["namespace"]
        )
        least = wanted - unavailable
        available = _count(current, "availableReplicas")
        # First the old pods that are not available: they keep nobody waiting.
        for replica_set in old:
            broken = _replicas(replica_set) - _count(replica_set, "availableReplicas")
            spare = _replicas(current) + sum(_replicas(s) for s in old) - least
            spare -= _replicas(current) - available
            if broken > 0 and spare > 0:
                self._scale(replica_set, _replicas(replica_set) - min(broken, spare))
        old = [
            self.server.get(k8s.REPLICA_SETS, s["metadata"]["name"], s["metadata"]["namespace"])
            for s in old
        ]
        available += sum(min(_count(s, "availableReplicas"), _replicas(s)) for s in old)
        spare = available - least
        for replica_set in old:
            if spare <= 0:
                break
            step = min(_replicas(replica_set), spare)
            self._scale(replica_set, _replicas(replica_set) - step)
            spare -= step

    def _scale(self, replica_set: Object, replicas: int) -> None:
        if _replicas(replica_set) != replicas:
            self.server.mutate(k8s.REPLICA_SETS, replica_set, spec={"replicas": replicas})

    def _clean_up(self, deployment: Object, old: list[Object]) -> None:
        empty = [s for s in old if _replicas(s) == 0 and _count(s, "replicas") == 0]
        keep = deployment["spec"].get("revisionHistoryLimit", 10)
        for replica_set in empty[: max(len(empty) - keep, 0)]:
            metadata = replica_set["metadata"]
            self.server.delete(k8s.REPLICA_SETS, metadata["name"], metadata["namespace"])

    def _write_status(self, deployment: Object, current: Object | None, old: list[Object]) -> None:
        namespace = deployment["metadata"]["namespace"]
        sets = [
            found
            for s in ([current] if current else []) + old
            if (found := self.store.get(k8s.REPLICA_SETS, s["metadata"]["name"], namespace))
        ]
        wanted = deployment["spec"]["replicas"]
        available = sum(_count(s, "availableReplicas") for s in sets)
        total = sum(_count(s, "replicas") for s in sets)
        rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
        least = wanted - pods.resolve(rolling.get("maxUnavailable", 0), wanted, round_up=False)
        enough = available >= least
        conditions = set_condition(
            (deployment.get("status") or {}).get("conditions"),
            "Available",
            "True" if enough else "False",
            now=self.store.now(),
            reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        )
        self.server.mutate(
            k8s.DEPLOYMENTS,
            deployment,
            status={
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": total,
                "updatedReplicas": _count(sets[0], "replicas") if current and sets else 0,
                "readyReplicas": sum(_count(s, "readyReplicas") for s in sets),
                "availableReplicas": available,
                "unavailableReplicas": max(wanted - available, 0),
                "conditions": conditions,
            },
        )


def _same_template(replica_set: Object, deployment: Object) -> bool:
    template = replica_set["spec"]["template"]
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != _HASH_LABEL}
    wanted = deployment["spec"]["template"]
    wanted_metadata = wanted.get("metadata") or {}
    return (
        labels == (wanted_metadata.get("labels") or {})
        and (metadata.get("annotations") or {}) == (wanted_metadata.get("annotations") or {})
        and template.get("spec") == wanted.get("spec")
    )


def _replicas(replica_set: Object) -> int:
    replicas: int = replica_set["spec"].get("replicas", 1)
    return replicas


def _count(replica_set: Object, field: str) -> int:
    count: int = (replica_set.get("status") or {}).get(field, 0)
    return count
