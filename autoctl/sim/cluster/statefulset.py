"""StatefulSets: pods with ordinals and claims of their own, one after the other."""

from __future__ import annotations

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster import pods
from autoctl.sim.cluster.runtime import Controller
from autoctl.sim.cluster.server import controller_of
from autoctl.sim.cluster.store import Key, key_of

_REVISION = "controller-revision-hash"


class StatefulSets(Controller[Key]):
    """Ordered (or parallel) creation, deletion and rolling update.

    Claims are kept when the set is scaled down. Not modelled: maxUnavailable of the update
    strategy, retention policies of claims.
    """

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.STATEFUL_SETS, self._changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        for obj in list(self.store.objects(k8s.STATEFUL_SETS)):
            self.enqueue(key_of(obj))

    def _changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None:
            self.enqueue(key_of(after))

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        pod = after or before
        assert pod is not None
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "StatefulSet":
            self.enqueue((pod["metadata"]["namespace"], owner["name"]))

    def reconcile(self, key: Key) -> None:
        """See `Controller.reconcile`."""
        found = self.store.get(k8s.STATEFUL_SETS, key[1], key[0])
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        revision = self._revision(found)
        existing = {
            _ordinal(pod): pod
            for pod in pods.owned(self.store, found, k8s.PODS)
            if _ordinal(pod) >= 0
        }
        self._scale(found, existing, revision)
        self._write_status(found, revision)

    def _scale(self, owner: Object, existing: dict[int, Object], revision: str) -> None:
        spec = owner["spec"]
        start = (spec.get("ordinals") or {}).get("start", 0)
        wanted = range(start, start + spec["replicas"])
        ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for ordinal in wanted:
            pod = existing.get(ordinal)
            if pod is None:
                self._create(owner, ordinal, revision)
            elif not pod["metadata"].get("deletionTimestamp") and not pods.is_active(pod):
                # A pod that ended makes room for its successor.
                pods.delete_pod(self.server, pod)
            if ordered and (pod is None or not pods.is_ready(pod)):
                return
        for ordinal in sorted((o for o in existing if o not in wanted), reverse=True):
            if not existing[ordinal]["metadata"].get("deletionTimestamp"):
                pods.delete_pod(self.server, existing[ordinal])
            if ordered:
                return
        self._roll(owner, [existing[o] for o in wanted if o in existing], revision)

    def _roll(self, owner: Object, current: list[Object], revision: str) -> None:
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        for pod in reversed(current):
            if _ordinal(pod) < partition:
                return
            if (pod["metadata"].get("labels") or {}).get(_REVISION) != revision:
                if not pod["metadata"].get("deletionTimestamp"):
                    pods.delete_pod(self.server, pod)
                return
            if not pods.is_ready(pod):
                return

    def _revision(self, owner: Object) -> str:
        """The revision of the template; a set restored from a dump keeps the one it had."""
        digest = pods.template_hash(owner["spec"]["template"])
        status = owner.get("status") or {}
        if (
            status.get("updateRevision")
            and status.get("observedGeneration") == owner["metadata"]["generation"]
        ):
            return str(status["updateRevision"])
        return f"{owner['metadata']['name']}-{digest}"

    def _create(self, owner: Object, ordinal: int, revision: str) -> None:
        metadata, spec = owner["metadata"], owner["spec"]
        name = f"{metadata['name']}-{ordinal}"
        volumes = list((spec["template"].get("spec") or {}).get("volumes") or ())
        for claim in spec.get("volumeClaimTemplates") or ():
            volume = claim["metadata"]["name"]
            claim_name = f"{volume}-{name}"
            if (
                self.store.get(k8s.PERSISTENT_VOLUME_CLAIMS, claim_name, metadata["namespace"])
                is None
            ):
                labels = (spec.get("selector") or {}).get("matchLabels") or {}
                self.server.create(
                    k8s.PERSISTENT_VOLUME_CLAIMS,
                    {
                        "metadata": {**claim["metadata"], "name": claim_name, "labels": labels},
                        "spec": claim["spec"],
                    },
                    metadata["namespace"],
                )
            volumes = [v for v in volumes if v["name"] != volume]
            volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": claim_name}})
        pods.create_pod(
            self.server,
            k8s.STATEFUL_SETS,
            owner,
            spec["template"],
            name=name,
            labels={
                "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": str(ordinal),
                _REVISION: revision,
            },
            spec={"volumes": volumes, "hostname": name} if volumes else {"hostname": name},
        )

    def _write_status(self, owner: Object, revision: str) -> None:
        mine = [p for p in pods.owned(self.store, owner, k8s.PODS) if pods.is_active(p)]
        ready = sum(1 for pod in mine if pods.is_ready(pod))
        updated = sum(
            1 for pod in mine if (pod["metadata"].get("labels") or {}).get(_REVISION) == revision
        )
        self.server.mutate(
            k8s.STATEFUL_SETS,
            owner,
            status={
                "observedGeneration": owner["metadata"]["generation"],
                "replicas": len(mine),
                "readyReplicas": ready,
                "availableReplicas": ready,
                "updatedReplicas": updated,
                "updateRevision": revision,
            },
        )


def _ordinal(pod: Object) -> int:
    text = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(text) if text.isdigit() else -1
