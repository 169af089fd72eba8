"""What goes over the wire, and what comes of each answer."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from kube_wire import Wire, status

from autoctl.api.core import Pod
from autoctl.kube import client as client_module
from autoctl.kube.client import KubeClient
from autoctl.kube.config import ConnectionConfig
from autoctl.ports.kubernetes import (
    NODES,
    PODS,
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    EventType,
    Forbidden,
    Gone,
    Invalid,
    KubernetesApi,
    NotFound,
    PatchType,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)


def pod(name: str, version: str = "1") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "resourceVersion": version, "uid": name},
        "spec": {"containers": [{"name": "c"}]},
    }


def test_the_client_is_the_seam() -> None:
    api: KubernetesApi = KubeClient(ConnectionConfig(server="http://127.0.0.1:1"))
    assert api is not None


async def test_a_list_takes_all_chunks_and_decodes_to_structs(wire: Wire) -> None:
    async def handler(request: web.Request) -> web.Response:
        second = request.query.get("continue") == "more"
        return web.json_response(
            {
                "kind": "PodList",
                "metadata": {"resourceVersion": "7", "continue": "" if second else "more"},
                "items": [pod("c")] if second else [pod("a"), pod("b")],
            }
        )

    wire.handler = handler
    pods = await wire.client.list(PODS, field_selector="spec.nodeName=", model=Pod)
    assert [item.metadata.name for item in pods.items] == ["a", "b", "c"]
    assert isinstance(pods.items[0], Pod)
    assert pods.resource_version == "7"
    assert [query for _, _, query in wire.requests] == [
        {"fieldSelector": "spec.nodeName=", "limit": "500"},
        {"fieldSelector": "spec.nodeName=", "limit": "500", "continue": "more"},
    ]


async def test_listed_dicts_name_their_kind_and_a_null_list_is_empty(wire: Wire) -> None:
    answers = [[pod("a")], None]

    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": answers.pop(0)})

    wire.handler = handler
    listed = await wire.client.list(PODS, "default")
    assert (listed.items[0]["apiVersion"], listed.items[0]["kind"]) == ("v1", "Pod")
    assert wire.requests[0][1] == "/api/v1/namespaces/default/pods"
    assert (await wire.client.list(PODS)).items == []


async def test_an_expired_continue_token_starts_the_list_afresh(wire: Wire) -> None:
    expired = [True]

    async def handler(request: web.Request) -> web.Response:
        if "continue" in request.query:
            if expired.pop():
                return status(410, "Expired", "The provided continue parameter is too old")
            return web.json_response({"metadata": {"resourceVersion": "9"}, "items": [pod("b")]})
        expired.append(len(wire.requests) == 1)
        meta = {"resourceVersion": "9", "continue": "x"}
        return web.json_response({"metadata": meta, "items": [pod("a")]})

    wire.handler = handler
    listed = await wire.client.list(PODS, model=Pod)
    assert [item.metadata.name for item in listed.items] == ["a", "b"]


async def test_a_list_that_always_expires_raises_gone(wire: Wire) -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(410, "Expired")

    wire.handler = handler
    with pytest.raises(Gone):
        await wire.client.list(PODS)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (405, "MethodNotAllowed", ApiError),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Gone", Gone),
        (422, "Invalid", Invalid),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
    ],
)
async def test_status_bodies_become_errors(
    wire: Wire, code: int, reason: str, kind: type[ApiError]
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(code, reason, f"because of {reason}", details={"name": "x"})

    wire.handler = handler
    with pytest.raises(ApiError) as caught:
        await wire.client.create(PODS, {"metadata": {"name": "x", "namespace": "default"}})
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.reason) == (code, reason)
    assert error.message == f"because of {reason}"
    assert error.details == {"name": "x"}
    assert len(wire.requests) == 1, "a create that may have happened is not sent again"


async def test_a_proxys_html_answer_is_quoted(wire: Wire) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>bad gateway</html>")

    wire.handler = handler
    with pytest.raises(Unavailable, match=r"HTTP 502: <html>bad gateway"):
        await wire.client.delete(NODES, "n")


async def test_reads_are_tried_again_after_passing_failures(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_FIRST_PAUSE", 0.001)
    answers = [status(503, "ServiceUnavailable"), status(500, "InternalError")]

    async def handler(_: web.Request) -> web.Response:
        return answers.pop(0) if answers else web.json_response(pod("a"))

    wire.handler = handler
    assert (await wire.client.get(PODS, "a", "default"))["metadata"]["name"] == "a"
    assert len(wire.requests) == 3


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client sleeps for, which take no time."""
    found: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(client_module.asyncio, "sleep", sleep)
    return found


async def test_an_overloaded_servers_retry_after_is_waited_for(
    wire: Wire, waits: list[float]
) -> None:
    answers = [status(429, "TooManyRequests", headers={"Retry-After": "3"})]

    async def handler(_: web.Request) -> web.Response:
        return answers.pop(0) if answers else web.json_response(pod("a"))

    wire.handler = handler
    await wire.client.create(PODS, pod("a"))
    assert 3.0 in waits
    assert len(wire.requests) == 2


async def test_an_eviction_that_a_budget_refuses_is_not_repeated(wire: Wire) -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(429, "TooManyRequests", details={"retryAfterSeconds": 10})

    wire.handler = handler
    with pytest.raises(TooManyRequests) as caught:
        await wire.client.evict("a", "default", uid="u", grace_period_seconds=30)
    assert caught.value.retry_after == 10
    assert len(wire.requests) == 1
    assert wire.requests[0][:2] == ("POST", "/api/v1/namespaces/default/pods/a/eviction")
    assert wire.bodies[0]["deleteOptions"] == {
        "preconditions": {"uid": "u"},
        "gracePeriodSeconds": 30,
    }


async def test_nobody_listening_is_unavailable_with_the_address() -> None:
    config = ConnectionConfig(server="http://127.0.0.1:1")
    async with KubeClient(config, attempts=1) as client:
        with pytest.raises(Unavailable, match=r"cannot connect to http://127\.0\.0\.1:1") as caught:
            await client.get(NODES, "n")
    assert caught.value.code == 0


async def test_a_server_that_hangs_is_unavailable(wire: Wire) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    wire.handler = handler
    wire.client._timeout = 0.05
    with pytest.raises(Unavailable, match="timed out"):
        await wire.client.replace(NODES, {"metadata": {"name": "n"}})
    assert len(wire.requests) == 1


async def test_patches_carry_type_manager_and_subresource(wire: Wire) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(pod("a"))

    wire.handler = handler
    await wire.client.patch(NODES, "n", {"status": {}}, subresource="status")
    await wire.client.patch(NODES, "n", [{"op": "test"}], patch_type=PatchType.JSON)
    await wire.client.patch(NODES, "n", {}, patch_type=PatchType.APPLY, force=True)
    assert [(path, query) for _, path, query in wire.requests] == [
        ("/api/v1/nodes/n/status", {"fieldManager": "autoctl"}),
        ("/api/v1/nodes/n", {"fieldManager": "autoctl"}),
        ("/api/v1/nodes/n", {"fieldManager": "autoctl", "force": "true"}),
    ]
    assert [headers["Content-Type"] for headers in wire.headers] == [
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/apply-patch+yaml",
    ]


async def test_a_namespaced_object_without_namespace_is_a_mistake_of_the_caller(
    wire: Wire,
) -> None:
    with pytest.raises(ValueError, match="needs a namespace"):
        await wire.client.get(PODS, "a")


def line(kind: str, body: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


async def test_a_watch_yields_events_and_bookmarks_and_ends_with_the_stream(wire: Wire) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        data = line("ADDED", pod("a", "5")) + line("DELETED", pod("a", "6"))
        # Cut in the middle of a line, as the network does.
        await response.write(data[:100])
        await asyncio.sleep(0.01)
        await response.write(data[100:])
        await response.write(
            line("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "9"}})
        )
        return response

    wire.handler = handler
    events = [e async for e in wire.client.watch(PODS, resource_version="4", model=Pod)]
    assert [(e.type, e.resource_version) for e in events] == [
        (EventType.ADDED, "5"),
        (EventType.DELETED, "6"),
        (EventType.BOOKMARK, "9"),
    ]
    assert isinstance(events[0].object, Pod)
    assert events[2].object is None
    query = wire.requests[0][2]
    assert query["resourceVersion"] == "4"
    assert query["allowWatchBookmarks"] == "true"
    assert 300 <= int(query["timeoutSeconds"]) <= 600


async def test_error_events_are_raised(wire: Wire) -> None:
    codes = [(410, "Expired", Gone), (500, "InternalError", Unavailable)]
    for code, reason, kind in codes:

        async def handler(
            request: web.Request, code: int = code, reason: str = reason
        ) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            body = {"kind": "Status", "code": code, "reason": reason, "message": "too old"}
            await response.write(line("ERROR", body))
            return response

        wire.handler = handler
        with pytest.raises(kind, match="too old"):
            async for _ in wire.client.watch(PODS, resource_version="4"):
                pass


async def test_a_refused_watch_is_raised(wire: Wire) -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(410, "Gone", "too old resource version")

    wire.handler = handler
    with pytest.raises(Gone):
        async for _ in wire.client.watch(PODS, resource_version="4"):
            pass


@pytest.mark.parametrize(("refusals", "opens"), [(1, True), (3, True), (4, False)])
async def test_a_watch_is_opened_once_the_server_is_ready_for_it(
    wire: Wire, waits: list[float], refusals: int, opens: bool
) -> None:
    """As a real API server answers for a definition that was just made."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if len(wire.requests) <= refusals:
            return status(
                429,
                "TooManyRequests",
                "storage is (re)initializing",
                details={"retryAfterSeconds": 1},
                headers={"Retry-After": "1"},
            )
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(line("ADDED", pod("a", "5")))
        return response

    wire.handler = handler
    if opens:
        events = [e async for e in wire.client.watch(PODS, resource_version="4")]
        assert [e.resource_version for e in events] == ["5"]
    else:
        with pytest.raises(TooManyRequests, match="initializing"):
            async for _ in wire.client.watch(PODS, resource_version="4"):
                pass
    assert waits.count(1.0) == min(refusals, 3)


async def test_a_silent_watch_ends_as_if_the_server_had(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "INACTIVITY_SECONDS", 0.05)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(line("ADDED", pod("a", "5")))
        await asyncio.sleep(5)
        return response

    wire.handler = handler
    stream = wire.client.watch(PODS, resource_version="4")
    assert (await anext(stream)).resource_version == "5"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_watch_that_is_not_answered_is_an_error(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "INACTIVITY_SECONDS", 0.05)

    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    wire.handler = handler
    with pytest.raises(Unavailable, match="timed out"):
        await anext(wire.client.watch(PODS, resource_version="4"))


async def test_a_line_longer_than_the_transports_buffer_is_one_event(wire: Wire) -> None:
    big = pod("a", "5")
    big["metadata"]["annotations"] = {"x": "y" * 600_000}

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(line("ADDED", big))
        return response

    wire.handler = handler
    events = [e async for e in wire.client.watch(PODS, resource_version="4")]
    assert events[0].object == big


@pytest.mark.parametrize("code", [200, 404])
async def test_every_answer_tells_the_servers_time(wire: Wire, code: int) -> None:
    """What cannot be read as a time is no news."""
    heard: list[datetime] = []
    dates = iter(["Mon, 05 Jan 2026 10:20:30 GMT", "yesterday", "Mon, 05 Jan 2026 10:20:31 GMT"])

    async def answer(_: web.Request) -> web.StreamResponse:
        headers = {"Date": next(dates)}
        if code != 200:
            return status(code, "NotFound", headers=headers)
        return web.json_response(pod("a"), headers=headers)

    wire.handler = answer
    wire.client._heard = heard.append
    for _ in range(3):
        try:
            await wire.client.get(PODS, "a", "default")
        except NotFound:
            assert code == 404
    first = datetime(2026, 1, 5, 10, 20, 30, tzinfo=UTC)
    assert heard == [first, first + timedelta(seconds=1)]
