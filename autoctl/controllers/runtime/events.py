"""Kubernetes Events about decisions: deduplicated, rate limited, never in a reconciler's way.

`publish` only queues; a task of its own writes. What a cluster cannot take is dropped and counted:
events are a service to people, no record to rely on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import EVENTS, ApiError, KubernetesApi, NotFound, Object, Resource

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

DEDUPE_SECONDS = 120.0
"""Karpenter's default: the same event about the same object is not repeated within 2 minutes."""
_QUEUE_LIMIT = 1_000
_REMEMBERED = 4_096
_SERIES_SECONDS = 3_600.0
"""Within this time a repeated event raises the count of the first, as client-go does."""
_MESSAGE_LIMIT = 1_024
"""The API server refuses longer messages."""
_CLUSTER_NAMESPACE = "default"
"""Where events about objects without a namespace live."""


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    @classmethod
    def of(
        cls, resource: Resource, name: str, namespace: str | None = None, uid: str = ""
    ) -> ObjectReference:
        return cls(resource.api_version, resource.kind, name, namespace or "", uid)


@dataclass(frozen=True, slots=True)
class Event:
    """What to tell, and how often it may be told.

    Two events are the same when object, reason and `dedupe_values` agree; without values the
    message stands for them.
    """

    about: ObjectReference
    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    dedupe_values: tuple[str, ...] = ()
    dedupe_seconds: float = DEDUPE_SECONDS

    @property
    def key(self) -> tuple[str, ...]:
        about = self.about
        values = self.dedupe_values or (self.message,)
        return (about.kind, about.namespace, about.name, about.uid, self.reason, *values)


@dataclass(slots=True)
class TokenBucket:
    """`burst` tokens, refilled at `rate` a second; time is the caller's."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if self._at is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


_RATES = {"Nominated": (5.0, 10.0)}
"""Reasons with a limit of their own over all objects: events a second, and burst."""
_OTHER_RATE = (50.0, 200.0)


@dataclass(slots=True)
class _Written:
    """An event that the API server holds."""

    name: str
    namespace: str
    count: int
    at: float


class EventRecorder:
    """Publishes events about objects. `run` must run for anything to be written."""

    def __init__(
        self,
        api: KubernetesApi,
        clock: Clock,
        *,
        metrics: Metrics,
        component: str = "eks-auto-mode/compute",
        instance: str = "autoctl",
    ) -> None:
        """`component` becomes `source.component` and `reportingComponent`."""
        self._api = api
        self._clock = clock
        self._metrics = metrics
        self._component = component
        self._instance = instance
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUE_LIMIT)
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._written: OrderedDict[tuple[str, ...], _Written] = OrderedDict()
        self._buckets: dict[str, TokenBucket] = {}
        self._sequence = 0

    def publish(self, *events: Event) -> None:
        """Queue the events that are neither repetitions nor over their rate; returns at once."""
        now = asyncio.get_running_loop().time()
        for event in events:
            told = self._told.get(event.key)
            if told is not None and now - told < event.dedupe_seconds:
                continue
            if not self._bucket(event.reason).take(now):
                self._metrics.events_dropped.labels("rate").inc()
                continue
            try:
                self._queue.put_nowait(event)
            except asyncio.QueueFull:
                self._metrics.events_dropped.labels("queue").inc()
                continue
            _remember(self._told, event.key, now)

    async def run(self) -> None:
        """Write queued events until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except ApiError as error:
                self._metrics.events_dropped.labels("error").inc()
                _log.debug("event not written", reason=event.reason, error=str(error))
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait until all that was published is written, or dropped."""
        await self._queue.join()

    def _bucket(self, reason: str) -> TokenBucket:
        name = reason if reason in _RATES else ""
        if name not in self._buckets:
            self._buckets[name] = TokenBucket(*_RATES.get(reason, _OTHER_RATE))
        return self._buckets[name]

    async def _write(self, event: Event) -> None:
        now = asyncio.get_running_loop().time()
        instant = self._clock.now()
        before = self._written.get(event.key)
        if before is not None and now - before.at < _SERIES_SECONDS:
            patch: Object = {
                "count": before.count + 1,
                "lastTimestamp": _timestamp(instant),
                "message": event.message[:_MESSAGE_LIMIT],
            }
            try:
                await self._api.patch(EVENTS, before.name, patch, before.namespace)
            except NotFound:
                del self._written[event.key]
            else:
                before.count += 1
                before.at = now
                return
        body = self._body(event, instant)
        namespace = body["metadata"]["namespace"]
        await self._api.create(EVENTS, body, namespace)
        written = _Written(body["metadata"]["name"], namespace, 1, now)
        _remember(self._written, event.key, written)

    def _body(self, event: Event, instant: datetime) -> Object:
        about = event.about
        self._sequence += 1
        nanoseconds = int(instant.timestamp() * 1e6) * 1_000 + self._sequence % 1_000
        namespace = about.namespace or _CLUSTER_NAMESPACE
        involved = {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.uid,
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name[:230]}.{nanoseconds:x}", "namespace": namespace},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "reason": event.reason,
            "message": event.message[:_MESSAGE_LIMIT],
            "type": event.type,
            "count": 1,
            "firstTimestamp": _timestamp(instant),
            "lastTimestamp": _timestamp(instant),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }


def _remember(memory: OrderedDict[tuple[str, ...], Any], key: tuple[str, ...], value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _timestamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
