"""The write gate: every write asks first whether this replica surely leads at this moment.

A leader that was cut off, or that a long pause held up, must not go on where it stopped. Reads pass
always, so that a standby keeps its mirror warm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal

from autoctl.aws.executor import Executor
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

Check = Callable[[], None]
"""Raises when this replica must not write."""

_READS = ("describe_", "get_", "list_", "receive_")


class GatedApi:
    """A `KubernetesApi` whose writes pass the gate."""

    def __init__(self, api: KubernetesApi, check: Check) -> None:
        self._api = api
        self._check = check

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
        self._check()
        return await self._api.create(resource, body, namespace, dry_run=dry_run)

    async def replace(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
    ) -> Object:
        self._check()
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
        self._check()
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
        self._check()
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
        self._check()
        await self._api.evict(name, namespace, uid=uid, grace_period_seconds=grace_period_seconds)

    async def bind(self, name: str, namespace: str, node: str, *, uid: str | None = None) -> None:
        self._check()
        await self._api.bind(name, namespace, node, uid=uid)


class GatedExecutor:
    """An executor of boto3 methods: those that change something pass the gate."""

    def __init__(self, executor: Executor, check: Check) -> None:
        self._executor = executor
        self._check = check

    async def run(self, function: Callable[..., Any], /, **arguments: Any) -> Any:
        name: str = getattr(function, "__name__", "")
        if not name.startswith(_READS):
            self._check()
        return await self._executor.run(function, **arguments)
