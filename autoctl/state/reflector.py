"""A live copy of one kind of object, kept by list and watch.

The reflector speaks only the Kubernetes seam, so the operator and the simulator share it. It never
gives up: a watch that ends is resumed, one that breaks is resumed or listed anew, and each list is
compared with what was known, so that objects deleted while nobody was looking are reported as
deleted (an API server does not tell about them after `410 Gone`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

import structlog

from autoctl.ports.kubernetes import (
    ApiError,
    EventType,
    Gone,
    KubernetesApi,
    Resource,
    TooManyRequests,
    Unavailable,
)

T = TypeVar("T")

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_SHORTEST_WATCH = 1.0
"""Seconds. A stream that ends sooner and empty is followed by a pause (else a hot loop)."""
_EVENTS_PER_TURN = 256
"""Events handled before other tasks get the loop; a stream with data at hand never suspends."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Extent(IntEnum):
    """How much of an object a change concerns, the least first."""

    STATUS = 0
    """Its status alone: what controllers write for people and for each other."""
    SPEC = 1
    """Its spec, labels, annotations, finalizers, owners, or that it is being deleted."""
    EXISTENCE = 2
    """It is new, or gone."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One difference of the store: what `key` is now (for DELETED: was last) and was before."""

    type: EventType
    key: str
    object: T
    previous: T | None

    @property
    def extent(self) -> Extent:
        """What of the object differs; SPEC where its kind counts no generations."""
        if self.previous is None or self.type is EventType.DELETED:
            return Extent.EXISTENCE
        before, after = _metadata(self.previous), _metadata(self.object)
        if isinstance(after, dict) or not after.generation:
            return Extent.SPEC
        same = (
            before.generation == after.generation
            and before.deletion_timestamp == after.deletion_timestamp
            and before.labels == after.labels
            and before.annotations == after.annotations
            and before.finalizers == after.finalizers
            and before.owner_references == after.owner_references
        )
        return Extent.STATUS if same else Extent.SPEC


Subscriber = Callable[[Sequence[Change[T]]], None]


def object_key(namespace: str | None, name: str) -> str:
    """The key of an object: `namespace/name`, or `name` where there is no namespace."""
    return f"{namespace}/{name}" if namespace else name


def split_key(key: str) -> tuple[str | None, str]:
    """The namespace (None for cluster-scoped objects) and name that `object_key` joined."""
    namespace, slash, name = key.rpartition("/")
    return (namespace, name) if slash else (None, name)


class Reflector(Generic[T]):
    """Mirrors the objects of `resource`, decoded to `model` (`None`: plain dicts).

    `parse` turns a plain dict into `T` where decoding needs more than msgspec (the pydantic models
    of the custom resources); an object that it rejects with `ValueError` is left out of the store
    and logged, the others go on. What `keep` turns down is left out as well, without a word.

    Subscribers are called in the order of subscription, in the event loop, with batches: the whole
    difference of a list, or what the watch tells. They must not block and should not raise: an
    error is logged and the other subscribers still hear.
    """

    def __init__(
        self,
        api: KubernetesApi,
        resource: Resource,
        model: type[T] | None = None,
        *,
        rng: random.Random,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        parse: Callable[[dict[str, Any]], T] | None = None,
        keep: Callable[[T], bool] | None = None,
        on_change: Subscriber[T] | None = None,
    ) -> None:
        if parse is not None and model is not None:
            raise ValueError("give a model or a parser, not both")
        self.resource = resource
        self.synced = asyncio.Event()
        self.restarts = 0
        """Times that the watch had to be taken up again after an error."""
        self.rejected: dict[str, str] = {}
        """Objects that `parse` refused, by key, with the reason."""
        self.aside: dict[str, T] = {}
        """Objects that `keep` turned down, by key."""
        self.last_error: Exception | None = None
        self._api = api
        self._model = model
        self._rng = rng
        self._namespace = namespace
        self._selectors = {"label_selector": label_selector, "field_selector": field_selector}
        self._parse = parse
        self._keep = keep
        self._subscribers: list[Subscriber[T]] = [] if on_change is None else [on_change]
        self._store: dict[str, T] = {}
        self._last_activity: float | None = None

    @property
    def last_activity(self) -> float | None:
        """Loop time at which the API server was last heard of, or None before the first list."""
        return self._last_activity

    @property
    def store(self) -> Mapping[str, T]:
        """The objects by key; a live, read-only view."""
        return MappingProxyType(self._store)

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[T]:
        return iter(self._store.values())

    def get(self, name: str, namespace: str | None = None) -> T | None:
        return self._store.get(object_key(namespace, name))

    def subscribe(self, subscriber: Subscriber[T]) -> None:
        """Call `subscriber` for every later change, and at once for all that is known."""
        self._subscribers.append(subscriber)
        if self._store:
            subscriber([Change(EventType.ADDED, k, o, None) for k, o in self._store.items()])

    def idle_seconds(self) -> float | None:
        """Loop seconds since the API server was last heard of, or None before the first list.

        Servers send a bookmark about every minute, so that minutes of silence mean a dead watch.
        """
        if self._last_activity is None:
            return None
        return asyncio.get_running_loop().time() - self._last_activity

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        version: str | None = None
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            heard = 0
            try:
                if version is None:
                    version = await self._list()
                async for seen in self._watch(version):
                    version = seen
                    heard += 1
                    failures = 0
                    if heard % _EVENTS_PER_TURN == 0:
                        await asyncio.sleep(0)
                self._last_activity = loop.time()
                if heard or loop.time() - started >= _SHORTEST_WATCH:
                    failures = 0
                    continue
                delay = self._backoff(failures)
            except Gone as error:
                version = None
                self._note(error)
                delay = 0.0 if failures == 0 else self._backoff(failures)
            except (Unavailable, TooManyRequests) as error:
                self._note(error)
                delay = max(self._backoff(failures), error.retry_after or 0.0)
            except ApiError as error:
                version = None
                self._note(error)
                delay = max(self._backoff(failures), error.retry_after or 0.0)
            except Exception as error:  # noqa: BLE001 - a mirror must outlive any one bad answer
                version = None
                self._note(error, unexpected=True)
                delay = self._backoff(failures)
            failures += 1
            await asyncio.sleep(delay)

    def _note(self, error: Exception, *, unexpected: bool = False) -> None:
        self.restarts += 1
        self.last_error = error
        if unexpected:
            _log.error("watch failed", resource=str(self.resource), exc_info=error)
        else:
            level = "info" if isinstance(error, Gone) else "warning"
            getattr(_log, level)("watch interrupted", resource=str(self.resource), error=str(error))

    def _backoff(self, failures: int) -> float:
        ceiling = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failures, 10))
        return ceiling * (0.5 + self._rng.random() / 2)

    async def _list(self) -> str:
        if self._model is not None:
            listed = await self._api.list(
                self.resource, self._namespace, model=self._model, **self._selectors
            )
            items, version = listed.items, listed.resource_version
        else:
            plain = await self._api.list(self.resource, self._namespace, **self._selectors)
            items, version = cast("list[T]", plain.items), plain.resource_version
        found: dict[str, T] = {}
        self.rejected.clear()
        self.aside.clear()
        for item in items:
            key = _key(item)
            decoded = self._decode(key, item)
            if decoded is not None:
                found[key] = decoded
        self._replace_all(found)
        self._last_activity = asyncio.get_running_loop().time()
        self.synced.set()
        return version

    def _decode(self, key: str, item: Any) -> T | None:
        """The object as it is to be stored; None for one that is not."""
        parsed = self._parsed(key, item)
        if parsed is None or self._keep is None or self._keep(parsed):
            self.aside.pop(key, None)
            return parsed
        self.aside[key] = parsed
        return None

    def _parsed(self, key: str, item: Any) -> T | None:
        if self._parse is None:
            return cast("T", item)
        try:
            parsed = self._parse(item)
        except ValueError as error:
            self.rejected[key] = str(error)
            _log.warning(
                "object left out", resource=str(self.resource), object=key, error=str(error)
            )
            return None
        self.rejected.pop(key, None)
        return parsed

    def _replace_all(self, found: dict[str, T]) -> None:
        """Make the store equal to `found` and tell the difference, deletions first."""
        changes: list[Change[T]] = []
        for key, old in list(self._store.items()):
            new = found.get(key)
            if new is None or _uid(new) != _uid(old):
                changes.append(Change(EventType.DELETED, key, old, old))
                del self._store[key]
        for key, new in found.items():
            before = self._store.get(key)
            if before is None:
                changes.append(Change(EventType.ADDED, key, new, None))
            elif before != new:
                changes.append(Change(EventType.MODIFIED, key, new, before))
            self._store[key] = new
        self._publish(changes)

    async def _watch(self, version: str) -> AsyncIterator[str]:
        """Apply the events of one stream; yield the resource version after each."""
        stream = self._api.watch(
            self.resource,
            self._namespace,
            resource_version=version,
            model=self._model,
            **self._selectors,
        )
        loop = asyncio.get_running_loop()
        async for event in stream:
            self._last_activity = loop.time()
            if event.object is not None:
                self._apply(event.type, event.object)
            yield event.resource_version

    def _apply(self, kind: EventType, item: Any) -> None:
        key = _key(item)
        before = self._store.get(key)
        decoded = None if kind is EventType.DELETED else self._decode(key, item)
        if decoded is None:
            # Deleted, or no longer valid. The last state goes with the news where it parses: a
            # DELETED event carries the object as it was at its end.
            if kind is EventType.DELETED:
                self.rejected.pop(key, None)
                self.aside.pop(key, None)
            if before is not None:
                del self._store[key]
                last = self._last_state(item) if kind is EventType.DELETED else None
                self._publish([Change(EventType.DELETED, key, last or before, before)])
            return
        changes: list[Change[T]] = []
        if before is not None and _uid(before) != _uid(decoded):
            changes.append(Change(EventType.DELETED, key, before, before))
            before = None
        self._store[key] = decoded
        kind = EventType.ADDED if before is None else EventType.MODIFIED
        changes.append(Change(kind, key, decoded, before))
        self._publish(changes)

    def _last_state(self, item: Any) -> T | None:
        if self._parse is None:
            return cast("T", item)
        try:
            return self._parse(item)
        except ValueError:
            return None

    def _publish(self, changes: list[Change[T]]) -> None:
        if not changes:
            return
        for subscriber in self._subscribers:
            try:
                subscriber(changes)
            except Exception:  # noqa: BLE001 - logged; one bad listener harms no other
                _log.exception("subscriber failed", resource=str(self.resource))


def _metadata(item: Any) -> Any:
    return item["metadata"] if isinstance(item, dict) else item.metadata


def _key(item: Any) -> str:
    meta = _metadata(item)
    if isinstance(meta, dict):
        return object_key(meta.get("namespace"), meta["name"])
    return object_key(meta.namespace, meta.name)


def _uid(item: Any) -> str | None:
    meta = _metadata(item)
    uid = meta.get("uid") if isinstance(meta, dict) else meta.uid
    return cast("str | None", uid)
