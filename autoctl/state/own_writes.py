"""Which objects the mirror has not seen yet as this process wrote them last.

The answer to a write comes before the watch tells of it. A controller that looks in between finds
the object as it was, does once more what it has just done, and ends with a conflict. It should
rather leave the object alone: what it waits for wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from autoctl.ports.forwarding import ForwardingApi
from autoctl.ports.kubernetes import EventType, KubernetesApi, Object, Resource
from autoctl.state.reflector import Change, Reflector, object_key

LAG_SECONDS: Final = 5.0
"""Waited at most for the watch: a list after a broken one skips versions."""

_Key = tuple[Resource, str]


@dataclass(slots=True)
class _UnderWay:
    """Writes of an object without an answer so far, and what the watch told meanwhile."""

    count: int = 0
    seen: set[str] = field(default_factory=set)
    gone: bool = False


class OwnWrites:
    """The versions that this process wrote and the mirror is still to see."""

    def __init__(self) -> None:
        self._reflectors: dict[Resource, Reflector[Any]] = {}
        self._under_way: dict[_Key, _UnderWay] = {}
        self._awaited: dict[_Key, tuple[str, float]] = {}
        """The version, and until when (loop time) it is waited for."""

    def follow(self, resource: Resource, reflector: Reflector[Any]) -> None:
        """Have what the mirror sees of `resource` told by its reflector."""
        self._reflectors[resource] = reflector
        reflector.subscribe(partial(self._seen, resource))

    def awaited(self, resource: Resource, key: str) -> bool:
        """Whether the mirror does not have the object as this process wrote it."""
        entry = self._awaited.get((resource, key))
        if entry is None:
            return False
        if asyncio.get_running_loop().time() < entry[1]:
            return True
        del self._awaited[resource, key]
        return False

    @contextmanager
    def writing(self, resource: Resource, key: str) -> Iterator[Callable[[Object], None]]:
        """While a request that writes the object is under way; to be called with its answer."""
        place = (resource, key)
        entry = self._under_way.setdefault(place, _UnderWay())
        entry.count += 1
        try:
            yield partial(self._answered, place, entry)
        finally:
            entry.count -= 1
            if not entry.count:
                del self._under_way[place]

    def _answered(self, place: _Key, entry: _UnderWay, answer: Object) -> None:
        version = answer.get("metadata", {}).get("resourceVersion", "")
        reflector = self._reflectors.get(place[0])
        if not version or reflector is None or entry.gone or version in entry.seen:
            return
        known = reflector.store.get(place[1])
        # What is not in the mirror may never come there: it is another controller's.
        if known is not None and _version(known) != version:
            deadline = asyncio.get_running_loop().time() + LAG_SECONDS
            self._awaited[place] = version, deadline

    def _seen(self, resource: Resource, changes: Sequence[Change[Any]]) -> None:
        for change in changes:
            place = (resource, change.key)
            version = _version(change.object)
            gone = change.type is EventType.DELETED
            under_way = self._under_way.get(place)
            if under_way is not None:
                under_way.seen.add(version)
                under_way.gone = gone
            if place in self._awaited:
                awaited, deadline = self._awaited[place]
                late = asyncio.get_running_loop().time() >= deadline
                if gone or late or awaited == version:
                    del self._awaited[place]


class NotedApi(ForwardingApi):
    """A `KubernetesApi` whose changes of objects are noted until the mirror has them."""

    def __init__(self, api: KubernetesApi, writes: OwnWrites) -> None:
        super().__init__(api)
        self._writes = writes

    async def patch(
        self, resource: Resource, name: str, body: Any, namespace: str | None = None, **options: Any
    ) -> Object:
        with self._writes.writing(resource, object_key(namespace, name)) as answered:
            answer = await super().patch(resource, name, body, namespace, **options)
            answered(answer)
            return answer

    async def replace(
        self, resource: Resource, body: Object, namespace: str | None = None, **options: Any
    ) -> Object:
        name = body["metadata"]["name"]
        with self._writes.writing(resource, object_key(namespace, name)) as answered:
            answer = await super().replace(resource, body, namespace, **options)
            answered(answer)
            return answer


def _version(obj: Any) -> str:
    meta = obj["metadata"] if isinstance(obj, dict) else obj.metadata
    version = meta.get("resourceVersion") if isinstance(meta, dict) else meta.resource_version
    return version or ""
