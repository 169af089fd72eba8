"""Changing objects: smallest patches, optimistic where lists are replaced as a whole."""

from __future__ import annotations

from typing import Any, TypeVar

from autoctl.api.meta import ApiModel, CustomResource
from autoctl.controllers.runtime.events import ObjectReference
from autoctl.ports.kubernetes import KubernetesApi, Object, Resource

M = TypeVar("M", bound=CustomResource)


def merge_diff(old: Object, new: Object) -> Object:
    """The JSON merge patch (RFC 7386) that makes `new` of `old`."""
    patch: Object = dict.fromkeys(sorted(old.keys() - new.keys()))
    for key in sorted(new):
        before, after = old.get(key), new[key]
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            patch[key] = merge_diff(before, after)
        else:
            patch[key] = after
    return patch


async def write_status(api: KubernetesApi, resource: Resource, obj: M, status: ApiModel) -> M:
    """Make `status` the object's status, if it differs; return the object as it is then.

    Raises `Conflict` when the object has changed since it was read, as conditions are a list that
    a merge patch replaces and other controllers have theirs in it.
    """
    old: Any = getattr(obj, "status")  # noqa: B009 - every custom resource here has a status
    if status == old:
        return obj
    patch = merge_diff(old.to_dict(), status.to_dict())
    if not patch:
        return obj
    body = {"metadata": {"resourceVersion": obj.metadata.resource_version}, "status": patch}
    name, namespace = obj.metadata.name, obj.metadata.namespace
    written = await api.patch(resource, name, body, namespace, subresource="status")
    return type(obj).from_dict(written)


async def write_metadata(
    api: KubernetesApi,
    resource: Resource,
    obj: M,
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> M:
    """Set labels and annotations that are not as given; return the object as it is then."""
    patch: Object = {}
    for field, wanted, actual in (
        ("labels", labels, obj.metadata.labels),
        ("annotations", annotations, obj.metadata.annotations),
    ):
        missing = {k: v for k, v in (wanted or {}).items() if actual.get(k) != v}
        if missing:
            patch[field] = missing
    if not patch:
        return obj
    written = await api.patch(resource, obj.metadata.name, {"metadata": patch})
    return type(obj).from_dict(written)


async def add_finalizer(api: KubernetesApi, resource: Resource, obj: M, finalizer: str) -> M:
    """Put the finalizer on; raises `Conflict` when the object has changed since it was read."""
    if finalizer in obj.metadata.finalizers:
        return obj
    body = _finalizers(obj.metadata.resource_version, [*obj.metadata.finalizers, finalizer])
    return type(obj).from_dict(await api.patch(resource, obj.metadata.name, body))


async def remove_finalizer(api: KubernetesApi, resource: Resource, obj: M, finalizer: str) -> None:
    """Take the finalizer off; raises `Conflict` when the object has changed since it was read."""
    if finalizer in obj.metadata.finalizers:
        kept = [f for f in obj.metadata.finalizers if f != finalizer]
        await api.patch(
            resource, obj.metadata.name, _finalizers(obj.metadata.resource_version, kept)
        )


def reference(resource: Resource, obj: CustomResource) -> ObjectReference:
    """The object as events name it."""
    return ObjectReference.of(resource, obj.metadata.name, uid=obj.metadata.uid)


def _finalizers(version: str, finalizers: list[str]) -> Object:
    return {"metadata": {"resourceVersion": version, "finalizers": finalizers}}
