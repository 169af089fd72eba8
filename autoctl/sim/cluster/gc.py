"""Garbage collection by owner references, and the emptying of namespaces that are deleted."""

from __future__ import annotations

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object, Resource
from autoctl.sim.cluster.runtime import Controller
from autoctl.sim.cluster.server import FOREGROUND, ORPHAN


class GarbageCollector(Controller[str]):
    """Deletes objects whose owners are all gone; keys are uids.

    Background: dependents go after their owner. Foreground: the owner waits, with a finalizer, for
    the dependents that block it. Orphan: dependents lose the reference and stay.
    """

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe_all(self._changed)
        for resource in self.store.resources():
            for obj in list(self.store.objects(resource)):
                self._changed(resource, None, obj)

    def _changed(self, resource: Resource, before: Object | None, after: Object | None) -> None:
        if after is None:
            assert before is not None
            for _, dependent in self.store.dependents(before["metadata"]["uid"]):
                self.enqueue(dependent["metadata"]["uid"])
            for owner in before["metadata"].get("ownerReferences") or ():
                self.enqueue(owner["uid"])
            if resource.namespaced:
                self._namespace_emptier(before["metadata"]["namespace"])
            return
        metadata = after["metadata"]
        if metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
            self.enqueue(metadata["uid"])

    def _namespace_emptier(self, name: str) -> None:
        namespace = self.store.get(k8s.NAMESPACES, name)
        if namespace is not None and namespace["metadata"].get("deletionTimestamp"):
            self.enqueue(namespace["metadata"]["uid"])

    def reconcile(self, key: str) -> None:
        """See `Controller.reconcile`."""
        found = self.store.by_uid(key)
        if found is None:
            return
        resource, obj = found
        if resource == k8s.NAMESPACES:
            self._empty_namespace(obj)
            return
        if obj["metadata"].get("deletionTimestamp"):
            self._finish_deletion(resource, obj)
            return
        owners = obj["metadata"].get("ownerReferences") or []
        solid = [owner for owner in owners if self.store.by_uid(owner["uid"]) is not None]
        waiting = [owner for owner in solid if self._deletes_in_foreground(owner["uid"])]
        if (owners and not solid) or (waiting and len(waiting) == len(solid)):
            self._delete(resource, obj)
        elif len(solid) < len(owners):
            self.server.mutate(resource, obj, metadata={"ownerReferences": solid})

    def _deletes_in_foreground(self, uid: str) -> bool:
        found = self.store.by_uid(uid)
        return found is not None and _deleting_with(found[1], FOREGROUND)

    def _finish_deletion(self, resource: Resource, obj: Object) -> None:
        dependents = self.store.dependents(obj["metadata"]["uid"])
        if _deleting_with(obj, ORPHAN):
            for kind, dependent in dependents:
                kept = [
                    owner
                    for owner in dependent["metadata"]["ownerReferences"]
                    if owner["uid"] != obj["metadata"]["uid"]
                ]
                self.server.mutate(kind, dependent, metadata={"ownerReferences": kept or None})
            self._remove_finalizer(resource, obj, ORPHAN)
        elif _deleting_with(obj, FOREGROUND):
            for _, dependent in dependents:
                if not dependent["metadata"].get("deletionTimestamp"):
                    self.enqueue(dependent["metadata"]["uid"])
            uid = obj["metadata"]["uid"]
            blocking = [
                dependent
                for _, dependent in dependents
                for owner in dependent["metadata"]["ownerReferences"]
                if owner["uid"] == uid and owner.get("blockOwnerDeletion")
            ]
            if not blocking:
                self._remove_finalizer(resource, obj, FOREGROUND)

    def _remove_finalizer(self, resource: Resource, obj: Object, finalizer: str) -> None:
        left = [f for f in obj["metadata"]["finalizers"] if f != finalizer]
        self.server.mutate(resource, obj, metadata={"finalizers": left or None})

    def _delete(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        self.server.delete(
            resource, metadata["name"], metadata.get("namespace"), uid=metadata["uid"]
        )

    def _empty_namespace(self, namespace: Object) -> None:
        if not namespace["metadata"].get("deletionTimestamp"):
            return
        name = namespace["metadata"]["name"]
        left = False
        for resource in self.store.resources():
            if not resource.namespaced:
                continue
            for obj in list(self.store.objects(resource)):
                if obj["metadata"]["namespace"] == name:
                    left = True
                    if not obj["metadata"].get("deletionTimestamp"):
                        self._delete(resource, obj)
        if not left:
            self.store.remove(k8s.NAMESPACES, namespace)


def _deleting_with(obj: Object, finalizer: str) -> bool:
    metadata = obj["metadata"]
    return bool(metadata.get("deletionTimestamp")) and finalizer in (
        metadata.get("finalizers") or ()
    )
