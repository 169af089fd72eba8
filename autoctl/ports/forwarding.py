"""The Kubernetes API handed on, for those that add to some of its calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from autoctl.ports.kubernetes import (
    FIELD_MANAGER,
    KubernetesApi,
    Object,
    ObjectList,
    PatchType,
    Resource,
    Subresource,
    WatchEvent,
)


class ForwardingApi:
    """A `KubernetesApi` that hands everything to another one; subclasses add to some calls."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return await self._api.get(resource, name, namespace)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        model: type[Any] | None = None,
    ) -> ObjectList[Any]:
        selectors = {"label_selector": label_selector, "field_selector": field_selector}
        if model is None:
            return await self._api.list(resource, namespace, **selectors)
        return await self._api.list(resource, namespace, model=model, **selectors)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        model: type[Any] | None = None,
    ) -> AsyncIterator[WatchEvent[Any]]:
        return self._api.watch(
            resource,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
            model=model,
        )

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Object:
        return await self._api.create(resource, body, namespace, dry_run=dry_run)

    async def replace(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
    ) -> Object:
        return await self._api.replace(resource, body, namespace, subresource=subresource)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
        patch_type: PatchType = PatchType.MERGE,
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
    ) -> Object:
        return await self._api.patch(
            resource,
            name,
            body,
            namespace,
            subresource=subresource,
            patch_type=patch_type,
            field_manager=field_manager,
            force=force,
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] | None = None,
    ) -> None:
        await self._api.delete(
            resource,
            name,
            namespace,
            uid=uid,
            grace_period_seconds=grace_period_seconds,
            propagation=propagation,
        )

    async def evict(
        self,
        name: str,
        namespace: str,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        await self._api.evict(name, namespace, uid=uid, grace_period_seconds=grace_period_seconds)

    async def bind(self, name: str, namespace: str, node: str, *, uid: str | None = None) -> None:
        await self._api.bind(name, namespace, node, uid=uid)
