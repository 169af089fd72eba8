"""`KubernetesApi` over HTTP: aiohttp for the wire, msgspec for the bytes, one pool of connections.

Lists come in chunks and are decoded chunk by chunk to the caller's structs, so that the cost of a
list of 20,000 pods is that of its structs. Requests are tried again only where a second one cannot
do harm: reads after any passing failure, writes only when the first certainly did nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import aiohttp

from autoctl.kube import codec
from autoctl.kube.config import ConnectionConfig
from autoctl.kube.credentials import ConfigError
from autoctl.kube.ratelimit import RateLimiter
from autoctl.ports.kubernetes import (
    FIELD_MANAGER,
    PODS,
    ApiError,
    Gone,
    Object,
    ObjectList,
    PatchType,
    Resource,
    Subresource,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    WatchEvent,
)

CHUNK = 500
"""Objects asked for at once, as client-go does."""
INACTIVITY_SECONDS = 90.0
"""A watch that says nothing for longer ends, since its connection may be dead. Bookmarks come every
60 to 75 s, but not for a resource that never changed while the API server ran."""
_WATCH_SECONDS = (300, 600)
"""The server is asked to end a watch after a time from this range, so that load spreads out."""
_CONNECTIONS = 128
_CONNECT_SECONDS = 5.0
_ATTEMPTS = 4
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0
_RESTARTED_LISTS = 3

Observer = Callable[[str, Resource, int, float], None]
"""Hears of each request: HTTP method, resource, status (0: none came), seconds."""
Heard = Callable[[datetime], None]
"""Told the server's time (whole seconds), as an answer had it."""


class KubeClient:
    """A client of one API server. Use as an async context manager, or call `close`.

    It belongs to the event loop in which it was entered.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        *,
        rng: random.Random | None = None,
        qps: float = 200.0,
        burst: int = 300,
        timeout: float = 30.0,
        attempts: int = _ATTEMPTS,
        observer: Observer | None = None,
        heard: Heard | None = None,
        user_agent: str = "autoctl",
    ) -> None:
        """`timeout` is the number of seconds for one request or one chunk of a list."""
        self._config = config
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._limiter = RateLimiter(qps, burst)
        self._timeout = timeout
        self._attempts = attempts
        self._observer = observer
        self._heard = heard
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; watches under way end with `Unavailable`."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=_CONNECTIONS, ssl=self._config.ssl_context(), keepalive_timeout=60
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": self._user_agent, "Accept": "application/json"},
                auto_decompress=True,
                trust_env=False,
            )
        return self._session

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        body = await self._request("GET", resource, _path(resource, namespace, name))
        return codec.decode_object(body)

    async def get_raw(self, path: str) -> Object:
        """GET any path: `/version`, discovery documents."""
        resource = Resource("", "", path, "", namespaced=False)
        return codec.decode_object(await self._request("GET", resource, path))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        model: type[Any] | None = None,
    ) -> ObjectList[Any]:
        for restart in range(_RESTARTED_LISTS):
            try:
                return await self._list_chunks(
                    resource, namespace, _selectors(label_selector, field_selector), model
                )
            except Gone:
                # The list grew too old between two chunks; the next try starts afresh.
                if restart == _RESTARTED_LISTS - 1:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    async def _list_chunks(
        self,
        resource: Resource,
        namespace: str | None,
        query: Mapping[str, str],
        model: type[Any] | None,
    ) -> ObjectList[Any]:
        items: list[Any] = []
        token = ""
        path = _path(resource, namespace)
        while True:
            chunk = {**query, "limit": str(CHUNK), **({"continue": token} if token else {})}
            body = await self._request("GET", resource, path, query=chunk)
            part, version, token = codec.decode_page(body, resource, model)
            items.extend(part)
            if not token:
                return ObjectList(items, version)

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
        query = {
            **_selectors(label_selector, field_selector),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(self._rng.randint(*_WATCH_SECONDS)),
        }
        try:
            async with await self._open_watch(_path(resource, namespace), query) as response:
                try:
                    async for line in _lines(response.content):
                        yield codec.decode_event(line, model)
                except TimeoutError:
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"watch of {resource}: {_words(error)}", code=0) from error

    async def _open_watch(self, path: str, query: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The answer that a watch is read from, asked for again where the server wants a pause.

        It does so for a definition that is new to it, until its cache of these objects is filled
        ("storage is (re)initializing"); client-go waits then without a word, too.
        """
        left = self._attempts
        pause = _FIRST_PAUSE
        while True:
            left -= 1
            await self._limiter.wait()
            response = await self._open().request(
                "GET",
                self._config.server + path,
                params=query,
                headers=await self._headers(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=INACTIVITY_SECONDS
                ),
                proxy=self._config.proxy,
                server_hostname=self._config.server_name,
            )
            if response.status == 200:
                return response
            try:
                async with response:
                    if response.status == 401:
                        await self._renew()
                    await self._refused(response)
            except TooManyRequests as error:
                if left <= 0:
                    raise
                pause = await self._wait_out(error, pause)

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Object:
        namespace = namespace or body.get("metadata", {}).get("namespace")
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        answer = await self._request(
            "POST", resource, _path(resource, namespace), query=query, body=body
        )
        return codec.decode_object(answer)

    async def replace(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
    ) -> Object:
        meta = body["metadata"]
        path = _path(resource, namespace or meta.get("namespace"), meta["name"], subresource)
        query = {"fieldManager": FIELD_MANAGER}
        answer = await self._request("PUT", resource, path, query=query, body=body)
        return codec.decode_object(answer)

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
        query = {"fieldManager": field_manager}
        if patch_type is PatchType.APPLY and force:
            query["force"] = "true"
        answer = await self._request(
            "PATCH",
            resource,
            _path(resource, namespace, name, subresource),
            query=query,
            body=body,
            content_type=patch_type.value,
        )
        return codec.decode_object(answer)

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
        options = _delete_options(uid, grace_period_seconds)
        if propagation is not None:
            options["propagationPolicy"] = propagation
        await self._request("DELETE", resource, _path(resource, namespace, name), body=options)

    async def evict(
        self,
        name: str,
        namespace: str,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        body: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": _delete_options(uid, grace_period_seconds),
        }
        # 429 is an answer here (a budget says no), not a plea to slow down: the caller decides.
        await self._request(
            "POST", PODS, _path(PODS, namespace, name, "eviction"), body=body, attempts=1
        )

    async def bind(self, name: str, namespace: str, node: str, *, uid: str | None = None) -> None:
        body: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, **({"uid": uid} if uid else {})},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._request("POST", PODS, _path(PODS, namespace, name, "binding"), body=body)

    async def _request(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        attempts: int | None = None,
    ) -> bytes:
        """Send a request, again where that is safe, and return the body of the answer."""
        left = self._attempts if attempts is None else attempts
        pause = _FIRST_PAUSE
        renewed = False
        while True:
            left -= 1
            try:
                return await self._send(method, resource, path, query or {}, body, content_type)
            except Unauthorized:
                if renewed or not await self._renew():
                    raise
                renewed = True
                left += 1
            except ApiError as error:
                if left <= 0 or not _repeatable(method, error):
                    raise
                pause = await self._wait_out(error, pause)

    async def _wait_out(self, error: ApiError, pause: float) -> float:
        """Wait as long as the server asks, else about `pause` seconds; return the next pause."""
        wait = error.retry_after or pause * (0.5 + self._rng.random())
        await asyncio.sleep(min(wait, _LONGEST_PAUSE))
        return min(_LONGEST_PAUSE, pause * 2)

    async def _send(
        self,
        method: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str],
        body: Any,
        content_type: str,
    ) -> bytes:
        await self._limiter.wait()
        headers = await self._headers()
        data = None
        if body is not None:
            data = codec.encode(body)
            headers["Content-Type"] = content_type
        started = asyncio.get_running_loop().time()
        code = 0
        try:
            async with self._open().request(
                method,
                self._config.server + path,
                params=query,
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=_CONNECT_SECONDS),
                proxy=self._config.proxy,
                server_hostname=self._config.server_name,
            ) as response:
                code = response.status
                self._tell_time(response)
                if code >= 300:
                    await self._refused(response)
                return await response.read()
        except aiohttp.ClientConnectorError as error:
            message = f"cannot connect to {self._config.server}: {_words(error)}"
            raise NotSent(message, code=0) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {_words(error)}", code=0) from error
        finally:
            if self._observer is not None:
                elapsed = asyncio.get_running_loop().time() - started
                self._observer(method, resource, code, elapsed)

    def _tell_time(self, response: aiohttp.ClientResponse) -> None:
        date = response.headers.get("Date")
        if self._heard is None or date is None:
            return
        try:
            server = parsedate_to_datetime(date)
        except ValueError:
            return
        if server.tzinfo is not None:
            self._heard(server)

    async def _headers(self) -> dict[str, str]:
        try:
            return await self._config.headers()
        except ConfigError as error:
            raise Unauthorized(str(error), code=0) from error

    async def _renew(self) -> bool:
        try:
            return await self._config.renew()
        except ConfigError as error:
            raise Unauthorized(str(error), code=0) from error

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        body = await response.read()
        raise codec.error_from_response(response.status, body, response.headers.get("Retry-After"))


class NotSent(Unavailable):
    """No connection came about, so that the request certainly did nothing."""


def _repeatable(method: str, error: ApiError) -> bool:
    if isinstance(error, NotSent | TooManyRequests):
        return True
    return method == "GET" and isinstance(error, Unavailable)


def _path(
    resource: Resource,
    namespace: str | None,
    name: str | None = None,
    subresource: str | None = None,
) -> str:
    parts = [resource.path]
    if namespace and resource.namespaced:
        parts.append(f"namespaces/{quote(namespace, safe='')}")
    elif name and resource.namespaced:
        raise ValueError(f"{resource.kind} {name!r} needs a namespace")
    parts.append(resource.plural)
    if name:
        parts.append(quote(name, safe=""))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    pairs = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in pairs.items() if value}


def _delete_options(uid: str | None, grace_period_seconds: int | None) -> Object:
    options: Object = {}
    if uid is not None:
        options["preconditions"] = {"uid": uid}
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    return options


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of a stream; a line may be longer than aiohttp's own limit allows."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
