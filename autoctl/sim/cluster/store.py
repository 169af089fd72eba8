"""The simulated etcd: objects by key, one counter of resource versions, a log for watches.

Stored objects are immutable by convention: a change commits a new dict that shares its unchanged
parts with the old one, so that a commit costs the same however many watchers there are. What leaves
through the API is a copy; the built-in controllers read the stored objects themselves.
"""

from __future__ import annotations

import asyncio
import uuid
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import PODS, EventType, Gone, Object, Resource

Key: TypeAlias = tuple[str, str]
"""Namespace ("" for cluster-scoped kinds) and name."""
Subscriber: TypeAlias = Callable[[Object | None, Object | None], None]
"""Called with the object before and after a change; `None` where it was not or is no more."""
GlobalSubscriber: TypeAlias = Callable[[Resource, Object | None, Object | None], None]
"""The same for changes of any resource."""

_NAME_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_TRIM_CHUNK: Final = 1024


def copy_object(obj: Any) -> Any:
    """A deep copy that holds JSON types only. Raises `TypeError` for anything else."""
    return msgspec.json.decode(msgspec.json.encode(obj))


def key_of(obj: Object) -> Key:
    """The key under which the object is stored."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def timestamp(instant: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as `metav1.Time` is written."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def micro_timestamp(instant: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as `metav1.MicroTime` is written."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> datetime:
    """The instant that `timestamp` or `micro_timestamp` wrote."""
    return datetime.fromisoformat(text)


class Change(NamedTuple):
    """One committed change: `before` is `None` for a creation, `type` DELETED for a removal."""

    resource_version: int
    time: float
    type: EventType
    before: Object | None
    object: Object


class ChangeLog:
    """The recent changes of one resource, oldest first, addressed by an ever-growing position.

    `dropped_version` is the resource version of the last change that was forgotten.
    """

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._base = 0
        self.dropped_version = 0
        self._watchers: dict[int, asyncio.Event] = {}
        self._next_watcher = 0

    @property
    def start(self) -> int:
        """The position of the oldest change still there."""
        return self._base

    @property
    def end(self) -> int:
        """The position of the next change."""
        return self._base + len(self._changes)

    def at(self, position: int) -> Change:
        """The change at `position`, which must lie in [start, end)."""
        return self._changes[position - self._base]

    def append(self, change: Change, oldest: float) -> None:
        """Add a change, drop those older than `oldest` (loop time), wake the watchers."""
        self._changes.append(change)
        if self._changes[0].time < oldest and len(self._changes) > _TRIM_CHUNK:
            expired = bisect_right(self._changes, oldest, key=lambda c: c.time)
            if expired >= _TRIM_CHUNK or expired * 2 > len(self._changes):
                self.dropped_version = self._changes[expired - 1].resource_version
                del self._changes[:expired]
                self._base += expired
        for event in self._watchers.values():
            event.set()

    def position_after(self, resource_version: int) -> int:
        """The position of the first change newer than `resource_version`."""
        return self._base + bisect_right(
            self._changes, resource_version, key=lambda c: c.resource_version
        )

    def add_watcher(self) -> tuple[int, asyncio.Event]:
        """Register a watcher: its handle, and an event that is set at every change."""
        handle, self._next_watcher = self._next_watcher, self._next_watcher + 1
        event = self._watchers[handle] = asyncio.Event()
        return handle, event

    def remove_watcher(self, handle: int) -> None:
        """Forget a watcher."""
        del self._watchers[handle]

    def wake(self) -> None:
        """Set every watcher's event, so that it looks at its state."""
        for event in self._watchers.values():
            event.set()


@dataclass(slots=True)
class Collection:
    """All objects of one resource, their change log, and who is told of changes inside."""

    resource: Resource
    objects: dict[Key, Object] = field(default_factory=dict)
    log: ChangeLog = field(default_factory=ChangeLog)
    subscribers: list[Subscriber] = field(default_factory=list)


class Store:
    """Objects of every resource. Not thread-safe; needs the running event loop."""

    def __init__(self, clock: Clock, seed: int, history_window: float) -> None:
        self._clock = clock
        self._window = history_window
        self._uids = Random(f"{seed}/uid")  # noqa: S311 - reproducible, not secret
        self._names = Random(f"{seed}/name")  # noqa: S311
        self._collections: dict[Resource, Collection] = {}
        self._version = 1
        self._compacted = 0
        self._by_node: dict[str, dict[Key, Object]] = {}
        self._by_owner: dict[str, dict[tuple[Resource, Key], None]] = {}
        self._by_uid: dict[str, tuple[Resource, Key]] = {}
        self._global_subscribers: list[GlobalSubscriber] = []
        self._undelivered: deque[tuple[Collection, Object | None, Object | None]] = deque()
        self._delivering = False
        self._in_delivery = False
        self.on_failure: Callable[[Exception], None] | None = None

    @property
    def resource_version(self) -> int:
        """The version of the last commit of any resource."""
        return self._version

    def now(self) -> datetime:
        """The clock's time."""
        return self._clock.now()

    def new_uid(self) -> str:
        """A random (version 4) UUID from the store's own seeded generator."""
        return str(uuid.UUID(int=self._uids.getrandbits(128), version=4))

    def new_suffix(self, length: int = 5) -> str:
        """What `generateName` appends."""
        return "".join(self._names.choices(_NAME_ALPHABET, k=length))

    def collection(self, resource: Resource) -> Collection:
        """The collection of a resource, made on first use."""
        found = self._collections.get(resource)
        if found is None:
            found = self._collections[resource] = Collection(resource)
        return found

    def resources(self) -> list[Resource]:
        """Every resource that was ever used."""
        return list(self._collections)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """The stored object itself: read it, never change it."""
        return self.collection(resource).objects.get((namespace, name))

    def objects(self, resource: Resource) -> Iterable[Object]:
        """The stored objects themselves, in order of creation."""
        return self.collection(resource).objects.values()

    def pods_on(self, node: str) -> list[Object]:
        """The stored pods bound to a node."""
        return list(self._by_node.get(node, {}).values())

    def dependents(self, uid: str) -> list[tuple[Resource, Object]]:
        """The stored objects that name `uid` among their owner references."""
        return [
            (resource, self.collection(resource).objects[key])
            for resource, key in self._by_owner.get(uid, {})
        ]

    def by_uid(self, uid: str) -> tuple[Resource, Object] | None:
        """The stored object of that uid."""
        found = self._by_uid.get(uid)
        if found is None:
            return None
        resource, key = found
        return resource, self.collection(resource).objects[key]

    def subscribe_all(self, subscriber: GlobalSubscriber) -> None:
        """Call `subscriber` after every commit of any resource."""
        self._global_subscribers.append(subscriber)

    def subscribe(self, resource: Resource, subscriber: Subscriber) -> None:
        """Call `subscriber` after every commit of the resource, in order, outside the commit."""
        self.collection(resource).subscribers.append(subscriber)

    def put(self, resource: Resource, obj: Object) -> Object:
        """Commit a creation or a change; the object gets the next resource version."""
        collection = self.collection(resource)
        key = key_of(obj)
        before = collection.objects.get(key)
        self._version += 1
        after = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        collection.objects[key] = after
        kind = EventType.ADDED if before is None else EventType.MODIFIED
        self._commit(collection, kind, before, after)
        self._index(resource, key, before, after)
        return after

    def remove(self, resource: Resource, obj: Object) -> Object:
        """Commit a removal; returns the last state with the removal's resource version."""
        collection = self.collection(resource)
        key = key_of(obj)
        before = collection.objects.pop(key)
        self._version += 1
        last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        self._commit(collection, EventType.DELETED, before, last)
        self._index(resource, key, before, None)
        return last

    def position_for_watch(self, resource: Resource, resource_version: str) -> int:
        """Where in the log a watch starts. Raises `Gone` for a version that was compacted away."""
        log = self.collection(resource).log
        if resource_version in ("", "0"):
            return log.end
        if not resource_version.isdigit():
            raise Gone(f"Invalid resource version {resource_version!r}", reason="Expired")
        version = int(resource_version)
        if version < max(self._compacted, log.dropped_version):
            raise Gone(
                f"The resourceVersion for the provided watch is too old: {version}",
                reason="Expired",
            )
        return log.position_after(version)

    def compact(self) -> None:
        """Forget all history: every watch from an earlier version is `Gone`."""
        self._version += 1
        self._compacted = self._version

    def _commit(
        self, collection: Collection, kind: EventType, before: Object | None, after: Object
    ) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        change = Change(self._version, now, kind, before, after)
        collection.log.append(change, now - self._window)
        if collection.subscribers or self._global_subscribers:
            self._undelivered.append(
                (collection, before, None if kind is EventType.DELETED else after)
            )
            if not self._delivering:
                self._delivering = True
                loop.call_soon(self._deliver)

    def deliver(self) -> None:
        """Tell the subscribers of every change so far; otherwise the loop's next step does it."""
        if self._undelivered and not self._in_delivery:
            self._deliver()

    def _deliver(self) -> None:
        self._in_delivery = True
        try:
            while self._undelivered:
                collection, before, after = self._undelivered.popleft()
                for subscriber in collection.subscribers:
                    subscriber(before, after)
                for observer in self._global_subscribers:
                    observer(collection.resource, before, after)
        except Exception as error:
            if self.on_failure is None:
                raise
            self.on_failure(error)
        finally:
            self._delivering = self._in_delivery = False

    def _index(
        self, resource: Resource, key: Key, before: Object | None, after: Object | None
    ) -> None:
        if resource == PODS:
            old, new = _node_of(before), _node_of(after)
            if old and old != new:
                self._by_node[old].pop(key, None)
                if not self._by_node[old]:
                    del self._by_node[old]
            if new and after is not None:
                self._by_node.setdefault(new, {})[key] = after
        if before is None and after is not None:
            self._by_uid[after["metadata"]["uid"]] = (resource, key)
        elif after is None and before is not None:
            del self._by_uid[before["metadata"]["uid"]]
        old_owners, new_owners = _owners_of(before), _owners_of(after)
        if old_owners == new_owners:
            return
        for uid in old_owners:
            self._by_owner[uid].pop((resource, key), None)
            if not self._by_owner[uid]:
                del self._by_owner[uid]
        for uid in new_owners:
            self._by_owner.setdefault(uid, {})[(resource, key)] = None


def _node_of(pod: Object | None) -> str:
    return "" if pod is None else (pod.get("spec") or {}).get("nodeName") or ""


def _owners_of(obj: Object | None) -> list[str]:
    if obj is None:
        return []
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()]
