"""`KubernetesApi` on the simulated cluster: requests with latency, faults and watches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import (
    EventType,
    NotFound,
    Object,
    ObjectList,
    PatchType,
    Resource,
    Subresource,
    WatchEvent,
)
from autoctl.sim.cluster import eviction
from autoctl.sim.cluster.faults import Faults, Point, Request
from autoctl.sim.cluster.selectors import compile_filter
from autoctl.sim.cluster.server import Server
from autoctl.sim.cluster.store import Change, ChangeLog, Store, copy_object, key_of
from autoctl.sim.cluster.timings import Timings

T = TypeVar("T")
_EPSILON = 1e-9


class SimApi:
    """The simulated API server as a client sees it; implements `KubernetesApi`.

    `requests` counts them by verb and plural. `missing` are resources that answer 404 as if their
    CustomResourceDefinition were not there. Objects that go in and out are copies.
    """

    def __init__(
        self,
        server: Server,
        faults: Faults,
        timings: Timings,
        check: Callable[[], None],
        budgets_of: Callable[[Object], list[Object]],
    ) -> None:
        self._budgets_of = budgets_of
        self._server = server
        self._store: Store = server.store
        self._faults = faults
        self._timings = timings
        self._check = check
        self._watch_epoch = 0
        self.requests: Counter[tuple[str, str]] = Counter()
        self.dates: list[Callable[[datetime], None]] = []
        """Told the server's time with every answer, as the `Date` header has it."""
        self.missing: set[Resource] = set()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """See `KubernetesApi.get`."""
        return await self._call(
            Request("get", resource, name, namespace or ""),
            lambda: self._server.get(resource, name, namespace),
        )

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        model: type[Any] | None = None,
    ) -> ObjectList[Any]:
        """See `KubernetesApi.list`; sorted by namespace and name, as etcd sorts its keys."""
        await self._begin(Request("list", resource, "", namespace or ""))
        accept = compile_filter(resource, namespace, label_selector, field_selector)
        found = sorted(
            (o for o in self._store.objects(resource) if accept is None or accept(o)), key=key_of
        )
        version = str(self._store.resource_version)
        if model is None:
            return ObjectList(copy_object(found), version)
        return ObjectList(msgspec.convert(found, list[model], strict=False), version)  # type: ignore[valid-type]

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        model: type[Any] | None = None,
    ) -> AsyncIterator[WatchEvent[Any]]:
        """See `KubernetesApi.watch`; without a version, what is there comes first as ADDED."""
        await self._begin(Request("watch", resource, "", namespace or ""))
        accept = compile_filter(resource, namespace, label_selector, field_selector)
        log = self._store.collection(resource).log
        position = self._store.position_for_watch(resource, resource_version)
        if resource_version in ("", "0"):
            for obj in sorted(self._store.objects(resource), key=key_of):
                if accept is None or accept(obj):
                    yield _event(EventType.ADDED, obj, model)
        async for found in self._follow(log, position):
            if isinstance(found, str):
                yield WatchEvent(EventType.BOOKMARK, None, found)
            elif (kind := _transition(found, accept)) is not None:
                yield _event(kind, found.object, model, accept, found.before)

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Object:
        """See `KubernetesApi.create`."""
        name = (body.get("metadata") or {}).get("name") or ""
        body = copy_object(body)
        return await self._call(
            Request("create", resource, name, namespace or ""),
            lambda: self._server.create(resource, body, namespace, dry_run=dry_run),
        )

    async def replace(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
    ) -> Object:
        """See `KubernetesApi.replace`."""
        body = copy_object(body)
        return await self._call(
            Request(
                "replace", resource, body["metadata"]["name"], namespace or "", subresource or ""
            ),
            lambda: self._server.replace(resource, body, namespace, subresource=subresource),
        )

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
        patch_type: PatchType = PatchType.MERGE,
        field_manager: str = "autoctl",  # noqa: ARG002 - no managed fields are kept
        force: bool = False,  # noqa: ARG002 - so there are no field conflicts to force
    ) -> Object:
        """See `KubernetesApi.patch`; managed fields are not kept (see `patch.py`)."""
        body = copy_object(body)
        return await self._call(
            Request("patch", resource, name, namespace or "", subresource or ""),
            lambda: self._server.patch(
                resource, name, body, namespace, subresource=subresource, patch_type=patch_type
            ),
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
        """See `KubernetesApi.delete`."""
        await self._call(
            Request("delete", resource, name, namespace or ""),
            lambda: self._server.delete(
                resource,
                name,
                namespace,
                uid=uid,
                grace_period_seconds=grace_period_seconds,
                propagation=propagation,
            ),
        )

    async def evict(
        self,
        name: str,
        namespace: str,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """See `KubernetesApi.evict`."""

        def evict() -> None:
            if self._faults.eviction_blocked(namespace, name):
                self._server.get(k8s.PODS, name, namespace)
                raise eviction.blocked()
            eviction.evict(
                self._server,
                name,
                namespace,
                budgets_of=self._budgets_of,
                uid=uid,
                grace_period_seconds=grace_period_seconds,
            )

        await self._call(Request("evict", k8s.PODS, name, namespace, "eviction"), evict)

    async def bind(self, name: str, namespace: str, node: str, *, uid: str | None = None) -> None:
        """See `KubernetesApi.bind`."""
        await self._call(
            Request("bind", k8s.PODS, name, namespace, "binding"),
            lambda: self._server.bind(name, namespace, node, uid=uid),
        )

    def drop_watches(self) -> None:
        """End every open watch, as a restarting API server does."""
        self._watch_epoch += 1
        for resource in self._store.resources():
            self._store.collection(resource).log.wake()

    def expire_watches(self) -> None:
        """End every open watch and forget all history: each client must list again (410)."""
        self._store.compact()
        self.drop_watches()

    async def _begin(self, request: Request) -> None:
        self._check()
        self.requests[request.verb, request.resource.plural] += 1
        await asyncio.sleep(self._timings.request_latency / 2 + self._faults.delay(request))
        if self.dates:
            date = self._store.now().replace(microsecond=0)
            for heard in self.dates:
                heard(date)
        if request.resource in self.missing:
            raise NotFound("the server could not find the requested resource", reason="NotFound")
        error = self._faults.error(request)
        if error is not None:
            raise error

    async def _call(self, request: Request, act: Callable[[], T]) -> T:
        await self._begin(request)
        if self._faults.notify(request, Point.BEFORE):
            # An observer that killed the caller did so before the write: let that take effect.
            await asyncio.sleep(0)
        result: T = act()
        self._faults.notify(request, Point.AFTER)
        await asyncio.sleep(self._timings.request_latency / 2)
        error = self._faults.error(request, after_commit=True)
        if error is not None:
            raise error
        copied: T = copy_object(result)
        return copied

    async def _follow(self, log: ChangeLog, position: int) -> AsyncIterator[Change | str]:
        """The log's changes from `position`, and resource versions to bookmark, until the end."""
        loop = asyncio.get_running_loop()
        epoch = self._watch_epoch
        deadline = loop.time() + self._timings.watch_timeout
        bookmark = loop.time() + self._timings.bookmark_interval
        handle, changed = log.add_watcher()
        timer: asyncio.TimerHandle | None = None
        try:
            while epoch == self._watch_epoch and position >= log.start:
                now = loop.time()
                if position < log.end:
                    change = log.at(position)
                    wait = change.time + self._timings.watch_latency - now
                    if wait > _EPSILON:
                        await asyncio.sleep(wait)
                        continue
                    position += 1
                    yield change
                    continue
                if now >= deadline - _EPSILON:
                    return
                if now >= bookmark - _EPSILON:
                    bookmark = now + self._timings.bookmark_interval
                    yield str(self._store.resource_version)
                    continue
                changed.clear()
                if timer is None or timer.when() <= now:
                    timer = loop.call_at(min(bookmark, deadline), changed.set)
                await changed.wait()
                self._check()
        finally:
            log.remove_watcher(handle)
            if timer is not None:
                timer.cancel()


def _transition(change: Change, accept: Callable[[Object], bool] | None) -> EventType | None:
    """What a filtered watch shows of a change: objects enter and leave the selection."""
    if accept is None:
        return change.type
    before = change.before is not None and accept(change.before)
    if change.type is EventType.DELETED:
        return EventType.DELETED if before else None
    after = accept(change.object)
    if before and after:
        return EventType.MODIFIED
    if after:
        return EventType.ADDED
    return EventType.DELETED if before else None


def _event(
    kind: EventType,
    obj: Object,
    model: type[Any] | None,
    accept: Callable[[Object], bool] | None = None,
    before: Object | None = None,
) -> WatchEvent[Any]:
    version = obj["metadata"]["resourceVersion"]
    if kind is EventType.DELETED and accept is not None and before is not None and not accept(obj):
        # kube-apiserver shows the last state that matched, with the new resource version.
        obj = {**before, "metadata": {**before["metadata"], "resourceVersion": version}}
    decoded = copy_object(obj) if model is None else msgspec.convert(obj, model, strict=False)
    return WatchEvent(kind, decoded, version)
