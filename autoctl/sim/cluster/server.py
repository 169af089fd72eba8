"""What a write does: the API server's rules between a request and the store, synchronous.

The asynchronous API (`api.py`) and the built-in controllers both write through here, so that
generations, finalizers, status isolation and preconditions hold for everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Object,
    PatchType,
    Resource,
    Subresource,
)
from autoctl.sim.cluster import kinds, validation
from autoctl.sim.cluster.defaults import with_defaults
from autoctl.sim.cluster.patch import apply_patch
from autoctl.sim.cluster.store import Store, parse_timestamp, timestamp

Admission: TypeAlias = Callable[[Object, Object | None], list[str]]
"""Validates a custom resource: the new object and the old one (`None` on create) to messages.

It sees stored objects and changes neither.
"""
Defaulting: TypeAlias = Callable[[Object, Object | None], Object]
"""Fills in the schema defaults of a custom resource; what it shares with the old one has them."""
Propagation: TypeAlias = Literal["Background", "Foreground", "Orphan"]

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
_TERMINAL: Final = ("Succeeded", "Failed")


class Server:
    """Creates, changes and deletes objects in a `Store` by the API server's rules."""

    def __init__(
        self,
        store: Store,
        *,
        admission: Admission | None = None,
        defaulting: Defaulting | None = None,
    ) -> None:
        self.store = store
        self._admission = admission
        self._defaulting = defaulting

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """The stored object itself (read only). Raises `NotFound`."""
        found = self.store.get(resource, name, self._scope(resource, namespace))
        if found is None:
            raise not_found(resource, name)
        return found

    def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
        restored: bool = False,
    ) -> Object:
        """Create an object; `restored` keeps uid, times and status as they came (a dump).

        Raises `AlreadyExists`, `Invalid`, `Forbidden`, `NotFound` (no such namespace).
        """
        metadata = dict(body.get("metadata") or {})
        scope = self._scope(resource, namespace or metadata.get("namespace"))
        if scope:
            metadata["namespace"] = scope
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise validation.invalid(
                    resource,
                    "",
                    ["metadata.name: Required value: name or generateName is required"],
                )
            metadata["name"] = metadata["generateName"] + self.store.new_suffix()
        name = metadata["name"]
        if not restored:
            if metadata.get("resourceVersion"):
                raise BadRequest("resourceVersion should not be set on objects to be created")
            for field in kinds.IMMUTABLE_META:
                metadata.pop(field, None)
        metadata.setdefault("uid", self.store.new_uid())
        metadata.setdefault("creationTimestamp", timestamp(self.store.now()))
        if kinds.has_generation(resource):
            metadata["generation"] = metadata.get("generation", 1) if restored else 1
        metadata.pop("managedFields", None)
        obj = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
        obj["metadata"] = metadata
        if not restored:
            if not kinds.keeps_status_on_create(resource):
                obj.pop("status", None)
            obj = with_defaults(self.store, resource, obj)
            if self._defaulting is not None and kinds.is_custom(resource):
                obj = self._defaulting(obj, None)
        self._check_namespace(resource, scope)
        if self.store.get(resource, name, scope) is not None:
            raise AlreadyExists(f'{resource} "{name}" already exists', reason="AlreadyExists")
        self._validate(resource, obj, None)
        return obj if dry_run else self.store.put(resource, obj)

    def replace(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
    ) -> Object:
        """PUT. Raises `Conflict` for a stale resourceVersion, `Invalid`, `NotFound`."""
        metadata = body.get("metadata") or {}
        before = self.get(resource, metadata["name"], namespace or metadata.get("namespace"))
        if not metadata.get("resourceVersion") and kinds.is_custom(resource):
            raise validation.invalid(
                resource,
                metadata["name"],
                ["metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"],
            )
        return self._update(resource, before, body, subresource)

    def patch(
        self,
        resource: Resource,
        name: str,
        body: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
        patch_type: PatchType = PatchType.MERGE,
    ) -> Object:
        """PATCH; an apply patch creates what is not there. Raises as `replace`."""
        scope = self._scope(resource, namespace)
        before = self.store.get(resource, name, scope)
        if before is None:
            if patch_type is PatchType.APPLY and subresource is None and isinstance(body, dict):
                metadata = {**(body.get("metadata") or {}), "name": name}
                return self.create(resource, {**body, "metadata": metadata}, namespace)
            raise not_found(resource, name)
        if subresource == "scale":
            return self._update(
                resource, before, apply_patch(_scale_of(before), body, patch_type), "scale"
            )
        return self._update(resource, before, apply_patch(before, body, patch_type), subresource)

    def mutate(
        self,
        resource: Resource,
        obj: Object,
        *,
        spec: Object | None = None,
        status: Object | None = None,
        metadata: Object | None = None,
    ) -> Object:
        """A built-in controller's change of the current object; merges one level deep.

        A `None` value removes a key. Admission is passed over: built-in kinds only.
        """
        current = self.get(resource, obj["metadata"]["name"], obj["metadata"].get("namespace"))
        after = dict(current)
        for part, change in (("spec", spec), ("status", status), ("metadata", metadata)):
            if change is not None:
                merged = {**(current.get(part) or {}), **change}
                after[part] = {k: v for k, v in merged.items() if v is not None}
        return self._commit_update(resource, current, after)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        """DELETE. Raises `NotFound`, or `Conflict` where `uid` is another object's."""
        current = self.get(resource, name, namespace)
        metadata = current["metadata"]
        if uid is not None and metadata["uid"] != uid:
            raise Conflict(
                f'Operation cannot be fulfilled on {resource} "{name}": the UID in the '
                f"precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
                "The object might have been deleted and then recreated",
                reason="Conflict",
            )
        finalizers = list(metadata.get("finalizers") or ())
        if propagation == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        if propagation == "Orphan" and ORPHAN not in finalizers:
            finalizers.append(ORPHAN)
        if resource == k8s.NAMESPACES:
            self._terminate_namespace(current)
            return
        grace = _grace(resource, current, grace_period_seconds)
        if metadata.get("deletionTimestamp"):
            self._shorten_deletion(resource, current, grace, finalizers)
            return
        if not finalizers and grace == 0:
            self.store.remove(resource, current)
            return
        deleting: Object = {
            "deletionTimestamp": timestamp(self.store.now() + timedelta(seconds=grace)),
            "deletionGracePeriodSeconds": grace,
        }
        if finalizers:
            deleting["finalizers"] = finalizers
        if metadata.get("generation"):
            deleting["generation"] = metadata["generation"] + 1
        self.store.put(resource, {**current, "metadata": {**metadata, **deleting}})

    def bind(self, name: str, namespace: str, node: str, *, uid: str | None = None) -> Object:
        """The pod's binding subresource. Raises `NotFound` and `Conflict`."""
        pod = self.get(k8s.PODS, name, namespace)
        metadata, spec = pod["metadata"], pod["spec"]
        message = ""
        if uid is not None and metadata["uid"] != uid:
            message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            message += metadata["uid"]
        elif metadata.get("deletionTimestamp"):
            message = f"pod {name} is being deleted, cannot be assigned to a host"
        elif spec.get("nodeName"):
            message = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
        elif spec.get("schedulingGates"):
            message = f"pod {name} has non-empty .spec.schedulingGates"
        if message:
            raise Conflict(
                f'Operation cannot be fulfilled on pods/binding "{name}": {message}',
                reason="Conflict",
            )
        status = pod.get("status") or {}
        conditions = set_condition(
            status.get("conditions"), "PodScheduled", "True", now=self.store.now()
        )
        return self.store.put(
            k8s.PODS,
            {
                **pod,
                "spec": {**spec, "nodeName": node},
                "status": {**status, "conditions": conditions},
            },
        )

    def _scope(self, resource: Resource, namespace: str | None) -> str:
        if not resource.namespaced:
            return ""
        if not namespace:
            raise BadRequest(f"{resource} is namespaced: a namespace must be given")
        return namespace

    def _check_namespace(self, resource: Resource, scope: str) -> None:
        if not scope:
            return
        namespace = self.store.get(k8s.NAMESPACES, scope)
        if namespace is None:
            raise not_found(k8s.NAMESPACES, scope)
        if (namespace.get("status") or {}).get("phase") == "Terminating":
            raise Forbidden(
                f"unable to create new content in namespace {scope} because it is being "
                f"terminated ({resource})",
                reason="Forbidden",
            )

    def _update(
        self,
        resource: Resource,
        before: Object,
        body: Object,
        subresource: Subresource | None,
    ) -> Object:
        name = before["metadata"]["name"]
        metadata = dict(body.get("metadata") or {})
        version = metadata.get("resourceVersion")
        if version and version != before["metadata"]["resourceVersion"]:
            raise Conflict(
                f'Operation cannot be fulfilled on {resource} "{name}": the object has been '
                "modified; please apply your changes to the latest version and try again",
                reason="Conflict",
            )
        if metadata.get("uid", before["metadata"]["uid"]) != before["metadata"]["uid"]:
            raise Conflict(
                f'Operation cannot be fulfilled on {resource} "{name}": Precondition failed: '
                f"UID in precondition: {metadata['uid']}, UID in object meta: "
                f"{before['metadata']['uid']}",
                reason="Conflict",
            )
        if metadata.get("name", name) != name:
            raise BadRequest(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({name})"
            )
        if subresource == "scale":
            return self._set_scale(resource, before, body)
        if subresource == "status" and not kinds.has_status(resource):
            raise NotFound("the server could not find the requested resource", reason="NotFound")
        after = self._isolated(resource, before, body, metadata, subresource)
        if subresource is None and self._defaulting is not None and kinds.is_custom(resource):
            after = self._defaulting(after, before)
        self._validate(resource, after, before)
        return self._commit_update(resource, before, after)

    def _isolated(
        self,
        resource: Resource,
        before: Object,
        body: Object,
        metadata: Object,
        subresource: Subresource | None,
    ) -> Object:
        """The new object with what this endpoint cannot write taken from the old one."""
        old = before["metadata"]
        if subresource == "status":
            after = {k: v for k, v in before.items() if k != "status"}
            if "status" in body:
                after["status"] = body["status"]
            if not kinds.is_custom(resource):
                kept = {k: metadata[k] for k in ("labels", "annotations") if k in metadata}
                after["metadata"] = {**old, **kept}
            return after
        for field in (*kinds.IMMUTABLE_META, "generation", "namespace", "name", "generateName"):
            metadata.pop(field, None)
            if field in old:
                metadata[field] = old[field]
        metadata["resourceVersion"] = old["resourceVersion"]
        metadata.pop("managedFields", None)
        after = {**body, "metadata": {k: v for k, v in metadata.items() if v is not None}}
        after["apiVersion"], after["kind"] = before["apiVersion"], before["kind"]
        if kinds.has_status(resource):
            after.pop("status", None)
            if "status" in before:
                after["status"] = before["status"]
        return after

    def _set_scale(self, resource: Resource, before: Object, body: Object) -> Object:
        if not kinds.has_scale(resource):
            raise NotFound("the server could not find the requested resource", reason="NotFound")
        replicas = (body.get("spec") or {}).get("replicas")
        if not isinstance(replicas, int) or replicas < 0:
            raise Invalid(
                f'Scale.autoscaling "{before["metadata"]["name"]}" is invalid: spec.replicas: '
                f"Invalid value: {replicas}: must be greater than or equal to 0",
                reason="Invalid",
            )
        after = {**before, "spec": {**(before.get("spec") or {}), "replicas": replicas}}
        self._validate(resource, after, before)
        return _scale_of(self._commit_update(resource, before, after))

    def _commit_update(self, resource: Resource, before: Object, after: Object) -> Object:
        if after == before:
            return before
        metadata = after["metadata"]
        if kinds.has_generation(resource) and kinds.desires_differ(before, after):
            generation = before["metadata"].get("generation", 0) + 1
            after = {**after, "metadata": {**metadata, "generation": generation}}
        if (
            before["metadata"].get("deletionTimestamp")
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
        ):
            return self.store.remove(resource, after)
        return self.store.put(resource, after)

    def _shorten_deletion(
        self, resource: Resource, current: Object, grace: int, finalizers: list[str]
    ) -> None:
        """A second DELETE: it may shorten the grace period and add a propagation finalizer."""
        metadata = current["metadata"]
        changed: Object = {}
        if finalizers != (metadata.get("finalizers") or []):
            changed["finalizers"] = finalizers
        left = metadata.get("deletionGracePeriodSeconds") or 0
        if grace < left:
            requested = parse_timestamp(metadata["deletionTimestamp"]) - timedelta(seconds=left)
            changed["deletionTimestamp"] = timestamp(requested + timedelta(seconds=grace))
            changed["deletionGracePeriodSeconds"] = left = grace
        if left == 0 and not finalizers:
            self.store.remove(resource, current)
        elif changed:
            self.store.put(resource, {**current, "metadata": {**metadata, **changed}})

    def _terminate_namespace(self, namespace: Object) -> None:
        if namespace["metadata"].get("deletionTimestamp"):
            return
        now = timestamp(self.store.now())
        self.store.put(
            k8s.NAMESPACES,
            {
                **namespace,
                "metadata": {**namespace["metadata"], "deletionTimestamp": now},
                "status": {"phase": "Terminating"},
            },
        )

    def _validate(self, resource: Resource, obj: Object, before: Object | None) -> None:
        errors = (
            validation.creation_errors(resource, obj)
            if before is None
            else validation.update_errors(resource, before, obj)
        )
        if self._admission is not None and kinds.is_custom(resource):
            errors += self._admission(obj, before)
        if errors:
            raise validation.invalid(resource, obj["metadata"]["name"], errors)


def not_found(resource: Resource, name: str) -> NotFound:
    """The 404 of an object that is not there."""
    return NotFound(f'{resource} "{name}" not found', reason="NotFound")


def set_condition(
    conditions: list[Object] | None,
    type_: str,
    status: str,
    *,
    now: datetime,
    reason: str = "",
    message: str = "",
) -> list[Object]:
    """The conditions with one set; the transition time moves only when the status changes."""
    new: Object = {"type": type_, "status": status, "lastTransitionTime": timestamp(now)}
    if reason:
        new["reason"] = reason
    if message:
        new["message"] = message
    result: list[Object] = []
    found = False
    for condition in conditions or ():
        if condition["type"] == type_:
            found = True
            if condition["status"] == status and "lastTransitionTime" in condition:
                new["lastTransitionTime"] = condition["lastTransitionTime"]
            result.append(new)
        else:
            result.append(condition)
    return result if found else [*result, new]


def condition_of(obj: Object, type_: str) -> Object | None:
    """The condition of that type, if the object has one."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition["type"] == type_:
            found: Object = condition
            return found
    return None


def is_true(obj: Object, type_: str) -> bool:
    """Whether the condition is there with status True."""
    condition = condition_of(obj, type_)
    return condition is not None and condition["status"] == "True"


def owner_reference(resource: Resource, owner: Object) -> Object:
    """The reference by which a controller owns what it makes."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, if any."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Object = owner
            return found
    return None


def _grace(resource: Resource, obj: Object, requested: int | None) -> int:
    """The grace period in seconds; only pods that run on a node have one."""
    if resource != k8s.PODS:
        return 0
    spec: dict[str, Any] = obj.get("spec") or {}
    if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in _TERMINAL:
        return 0
    if requested is not None:
        return max(requested, 0)
    grace: int = spec.get("terminationGracePeriodSeconds", 30)
    return grace


def _scale_of(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            k: metadata[k] for k in ("name", "namespace", "uid", "resourceVersion") if k in metadata
        },
        "spec": {"replicas": (obj.get("spec") or {}).get("replicas", 0)},
        "status": {"replicas": (obj.get("status") or {}).get("replicas", 0)},
    }
